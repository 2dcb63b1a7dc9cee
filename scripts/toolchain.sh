# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # Variables are used by those who source this.
# What the project is built with: names, versions and places. Sourced behind lib.sh by setup,
# doctor and kernel, so that they never disagree.

# Debian packages. libelf and openssl are for tools of the kernel's build, g++ for libFuzzer.
packages=(
    "clang-$llvm" "lld-$llvm" "llvm-$llvm" "libclang-$llvm-dev"
    dwarves flex bison libelf-dev libssl-dev bc cpio kmod rsync lz4 xz-utils patch perl
    make gcc g++ libc6-dev ccache busybox-static qemu-system-x86 shellcheck debian-archive-keyring
    debootstrap e2fsprogs
)

# Linux is built from this series; any release of it will do.
kernel_series=7.3
# Debian's suite that has it, and the core sources of the rustc that goes with it.
source_suite=trixie-backports

# The kernel asks for rustc 1.85, and so does the vnode tool; proptest, which the tests need, in the
# version of Cargo.lock for 1.88.
rustc_minimum=1.88
# These are installed when there are none or older ones. Bindgen asks for rustc 1.70 and this
# nextest for 1.87; later ones for more than the minimum above.
bindgen_version=0.72.1
nextest_version=0.9.108
fuzz_version=0.13.0

# What a cold build writes, in GiB; and the memory without which the demonstration does not begin:
# its machine has 4 GiB, and Linux gives no program more than memory and swap together.
disk_needed_gib=12
memory_needed_gib=5

# version_of PROGRAM: the first number in what PROGRAM --version says; nothing if it is missing or
# does not run, like rustup's stand-in for a component that is not installed.
version_of() {
    local said
    said=$("$1" --version 2>&1) || return 0
    sed -nE '1 s/^[^0-9]*([0-9]+\.[0-9]+(\.[0-9]+)?).*/\1/p' <<<"$said"
}

# at_least HAVE WANT: whether version HAVE is WANT or later.
at_least() {
    [ -n "$1" ] && printf '%s\n%s\n' "$2" "$1" | sort --version-sort --check=quiet
}

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = \
            installed ] || echo "$package"
    done
}

# linux_version FOLDER: the release of the kernel source there, from the head of its Makefile.
linux_version() {
    awk -F ' *= *' '
        $1 == "VERSION" { version = $2 } $1 == "PATCHLEVEL" { patchlevel = $2 }
        $1 == "SUBLEVEL" { print version "." patchlevel "." $2; exit }' "$1/Makefile"
}

# linux_source: the folder of the kernel source: KSRC, or what setup has fetched. Fails when there
# is none, or one of another series.
linux_source() {
    local folder=${KSRC:-$cache/source/linux}
    [ -e "$folder/Makefile" ] || return 1
    case $(linux_version "$folder") in
    "$kernel_series".*) readlink -f "$folder" ;;
    *) return 1 ;;
    esac
}

# rust_library: the folder of the sources of Rust's core library, of the very version of rustc:
# RUST_LIB_SRC, rustc's own, or what setup has fetched. Fails when there is none.
rust_library() {
    local folder sysroot
    sysroot=$(rustc --print sysroot 2>&1) || return 1
    for folder in "${RUST_LIB_SRC:-}" "$sysroot/lib/rustlib/src/rust/library" \
        "$cache/source/rust-$(version_of rustc)"; do
        if [ -n "$folder" ] && [ -e "$folder/core/src/lib.rs" ]; then
            readlink -f "$folder"
            return
        fi
        # A place that the user names is not replaced by another behind the user's back.
        [ -z "$folder" ] || [ "$folder" != "${RUST_LIB_SRC:-}" ] || return 1
    done
    return 1
}

# free_gib FOLDER: free disk space where FOLDER is or will be.
free_gib() {
    local folder=$1
    while [ ! -d "$folder" ]; do
        folder=$(dirname "$folder")
    done
    echo $(($(df --output=avail --block-size=1M "$folder" | tail -n 1) / 1024))
}

# memory_gib: memory and swap.
memory_gib() {
    awk '/^(MemTotal|SwapTotal):/ { sum += $2 } END { printf "%d\n", sum / 1024 / 1024 + 0.5 }' \
        /proc/meminfo
}

# as_root COMMAND...
as_root() {
    if [ "$EUID" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "$1 needs root or sudo"
    fi
}

# mirror: where this machine gets its Debian from: the first suite that is no add-on to another.
# Its configuration is asked, for lists there may be none yet.
mirror() {
    local site
    site=$(apt-get --print-uris update |
        sed -nE "s|^'(.*)/dists/([^/]*)/InRelease' .*|\1 \2|p" |
        awk '!site && $2 !~ /-(security|updates|backports)/ { site = $1 } END { print site }')
    [ -n "$site" ] || die "no Debian mirror is named in this machine's apt configuration"
    echo "$site"
}
