#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# doctor and setup say what is wrong with a machine before any work starts, and look where they are
# told to.
#
# host: boots nothing and installs nothing

set -u
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=selftests/ktap.sh
. "$top/selftests/ktap.sh"
# shellcheck source=scripts/lib.sh
. "$top/scripts/lib.sh"
# shellcheck source=scripts/toolchain.sh
. "$top/scripts/toolchain.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# All programs that this machine has are in one folder, so that one can be taken away from it.
mkdir "$work/bin" "$work/cargo" "$work/cache" "$work/empty"
IFS=: read -ra folders <<<"$PATH"
for folder in "${folders[@]}"; do
    [ ! -d "$folder" ] ||
        find "$folder/" -maxdepth 1 -xtype f -perm /111 \
            -exec cp --symbolic-link --no-clobber -t "$work/bin" {} +
done

# ask SCRIPT [VARIABLE=VALUE...]: what setup or doctor says on this machine, with its status in the
# first line.
ask() {
    local said
    said=$(env -u KSRC -u RUST_LIB_SRC PATH="$work/bin" CARGO_HOME="$work/cargo" \
        ADEOS_CACHE="$work/cache" "${@:2}" "$top/scripts/$1" 2>&1 </dev/null)
    printf 'status %s\n%s\n' "$?" "$said"
}

# says PATTERN TEXT DESC: one line of it matches.
says() {
    check "$3" grep -E -- "$1" <<<"$2"
}

# instead PROGRAM: what is on standard input takes its place in PATH.
instead() {
    mv "$work/bin/$1" "$work/$1.real"
    cat >"$work/bin/$1"
    chmod 755 "$work/bin/$1"
}

again() {
    mv "$work/$1.real" "$work/bin/$1"
}

# linux FOLDER VERSION PATCHLEVEL: the head of a kernel's Makefile, by which its source is known.
linux() {
    mkdir -p "$1"
    printf 'VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = 99\n' "$2" "$3" >"$1/Makefile"
}

# The series that is wanted, and one that is not.
linux "$work/right" "${kernel_series%.*}" "${kernel_series#*.}"
linux "$work/wrong" "${kernel_series%.*}" $((${kernel_series#*.} + 1))
linux "$work/cache/source/linux" "${kernel_series%.*}" "${kernel_series#*.}"

said=$(ask doctor)
says "^ok +bindgen +[0-9]" "$said" 'doctor: what is there is told with its version'
says "^ok +Linux source +$kernel_series.99 in $work/cache/source/linux\$" "$said" \
    'ADEOS_CACHE is where sources are looked for'
says "^[a-z ]+disk, $work/cache " "$said" 'and whose disk has to have room'

mv "$work/bin/bindgen" "$work/bindgen"
said=$(ask doctor)
says '^status 1$' "$said" 'doctor fails when a tool is missing'
says "^missing +bindgen +$bindgen_version or later is needed\$" "$said" 'and names it'
says '^ +-> make setup$' "$said" 'and says what to do'
mv "$work/bindgen" "$work/bin/bindgen"

instead rustc <<'END'
#!/bin/sh
echo 'rustc 1.63.0 (4b91a6ea7 2022-08-08)'
END
said=$(ask doctor)
says '^status 1$' "$said" 'doctor fails when rustc is too old'
says "^too old +rustc +1.63.0; $rustc_minimum or later is needed\$" "$said" 'and names both versions'
said=$(ask setup)
says '^status 1$' "$said" 'setup as well'
is "$(wc -l <<<"$said")" 2 'in one sentence'
says "^setup: rustc is 1.63.0, and $rustc_minimum or later is needed" "$said" 'with both versions'
again rustc

# A first build is not begun where it would fill the disk.
instead df <<'END'
#!/bin/sh
echo Avail
echo 2048
END
said=$(ask setup)
says '^status 1$' "$said" 'setup: there is too little room'
says "^setup: $work/cache has [0-9]+ GiB free, and a first build needs $disk_needed_gib: make room" "$said" \
    'it says how much there is, and is needed'
is "$(grep -cE '  (crates|packages|bindgen|package lists) ' <<<"$said")" 0 'before it has fetched a thing'
again df

# What cargo cannot fetch is told with what to try.
instead cargo <<'END'
#!/bin/sh
case $1 in
fetch) echo 'error: failed to get `anyhow`: Could not resolve host' >&2 && exit 101 ;;
*) echo 'cargo 1.99.0' ;;
esac
END
said=$(ask setup)
says '^status 1$' "$said" 'setup: crates that cannot be fetched'
says 'Could not resolve host' "$said" 'what cargo says is shown'
says '^setup: the crates that Cargo.lock names cannot be fetched: is there a way to their registry' "$said" \
    'and what to look at'
again cargo

# So does rustup's stand-in for a component that is not installed.
instead cargo-fmt <<'END'
#!/bin/sh
echo "error: 'cargo-fmt' is not installed for the toolchain '1.99'" >&2
exit 1
END
said=$(ask doctor)
says '^missing +cargo-fmt ' "$said" 'doctor: a component that does not run is missing'
says '^[a-z ]+Linux source ' "$said" 'and that is not the end of the list'
says '^setup: cargo-fmt is missing .*: rustup component add rustfmt$' "$(ask setup)" \
    'setup says how to get it'
again cargo-fmt

says "^ok +Linux source +$kernel_series.99 in $work/right\$" "$(ask doctor KSRC="$work/right")" \
    'KSRC is looked at instead of the cache'
for folder in empty wrong nowhere; do
    said=$(ask doctor KSRC="$work/$folder")
    says '^status 1$' "$said" "KSRC=$folder: doctor fails"
    says "^missing +Linux source +$kernel_series is not in $work/$folder\$" "$said" 'and says why'
    is "$(ask setup KSRC="$work/$folder")" \
        "status 1
setup: KSRC=$work/$folder holds no source of Linux $kernel_series" 'setup says that and no more'
done
check 'setup locks the cache that it is told' test -e "$work/cache/setup.lock"

# The archive is asked for the core sources of this rustc before anything is installed.
instead rustc <<END
#!/bin/sh
[ "\$1" = --version ] && echo 'rustc 1.99.99 (unreleased)' && exit
echo $work/empty
END
rm "$work/bin/bindgen" "$work/bin/cargo"
instead apt-get <<'END'
#!/bin/sh
echo "'http://localhost:9/debian/dists/stable/InRelease' localhost 0"
echo "apt-get $*" >&2
case $* in *--print-uris*) ;; *) exit 100 ;; esac
END
said=$(ask setup)
says '^status 1$' "$said" 'setup fails without the core sources of rustc'
says "^setup: $source_suite cannot be read" "$said" 'because of the archive'
is "$(grep -cE '  (packages|bindgen|package lists) ' <<<"$said")" 0 'before it has installed a thing'
finish
