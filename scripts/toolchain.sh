# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # Variables are used by those who source this.
# What the project is built with: names, versions and places. Sourced behind lib.sh by setup,
# doctor and kernel, so that they never disagree.

# Debian packages. libelf and openssl are for tools of the kernel's build.
packages=(
    "clang-$llvm" "lld-$llvm" "llvm-$llvm" "libclang-$llvm-dev"
    dwarves flex bison libelf-dev libssl-dev bc cpio kmod rsync lz4 xz-utils patch perl
    make gcc libc6-dev ccache busybox-static qemu-system-x86 shellcheck debian-archive-keyring
)

# Linux is built from this series; any release of it will do.
kernel_series=7.3
# Debian's suite that has it, and the core sources of the rustc that goes with it.
source_suite=trixie-backports

rustc_minimum=1.85
bindgen_version=0.72.1

# What a cold build writes, in GiB, and what it needs while it runs.
disk_needed_gib=12
memory_needed_gib=3

# version_of PROGRAM: the number in the first line of PROGRAM --version; nothing if it is missing.
version_of() {
    command -v "$1" >/dev/null || return 0
    "$1" --version | grep -oE -m 1 '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1
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
    local folder
    for folder in "${RUST_LIB_SRC:-}" "$(rustc --print sysroot)/lib/rustlib/src/rust/library" \
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

memory_gib() {
    awk '/^MemTotal:/ { printf "%d\n", $2 / 1024 / 1024 + 0.5 }' /proc/meminfo
}
