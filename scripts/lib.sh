# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # Variables are used by those who source this.
# What the scripts of this folder share. Sourced, never run; the caller has set -euo pipefail.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
cache=${ADEOS_CACHE:-${HOME:-/root}/.cache/adeos}

# One version of LLVM compiles the kernel and gives bindgen its libclang.
llvm=19
export LLVM=-$llvm
export PATH=$PATH:/usr/lib/llvm-$llvm/bin:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# Where tools/vnode is built: static, so that it runs in the small file system of the vnodes.
vnode_target=x86_64-unknown-linux-gnu
vnode_binary=${CARGO_TARGET_DIR:-$top/target}/$vnode_target/release/vnode

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "${0##*/}: $*"
    exit 1
}

# show_usage FILE: prints the comment that opens a script, which is its manual.
show_usage() {
    sed -n '3,/^$/ { s/^# \{0,1\}//p }' "$1"
}

# check_variant NAME: there are three kernels, see scripts/kernel.
check_variant() {
    case $1 in
    adeos | plain | debug) ;;
    *) die "no kernel variant is called '$1'; there are adeos, plain and debug" ;;
    esac
}

# bytes SIZE: "512M" or "4G" in bytes.
bytes() {
    local number=${1%[KkMmGg]}
    [[ $number =~ ^[0-9]+$ ]] || die "'$1' is not a size; write it like 512M or 4G"
    case $1 in
    *[Kk]) echo $((10#$number << 10)) ;;
    *[Mm]) echo $((10#$number << 20)) ;;
    *[Gg]) echo $((10#$number << 30)) ;;
    *) echo $((10#$number)) ;;
    esac
}

# quote WORD...: the words as one line that any POSIX shell reads back as they were.
quote() {
    local word
    for word; do
        printf "'%s' " "${word//\'/\'\\\'\'}"
    done
}

# archive FOLDER: the folder as a cpio archive, the same for the same content.
archive() {
    find "$1" -exec touch --no-dereference --date=@0 {} +
    (cd "$1" && find . -mindepth 1 -printf '%P\0' | LC_ALL=C sort -z |
        cpio --null --create --format=newc --owner=0:0 --reproducible --quiet)
}

# join_archives FILE...: archives one after the other. Linux looks for the next one behind zero
# bytes at a multiple of four, and LZ4's old format has no other end than four zero bytes.
join_archives() {
    local file size
    for file; do
        size=$(stat --dereference --format=%s "$file")
        cat "$file"
        head --bytes=$((4 + (512 - (size + 4) % 512) % 512)) /dev/zero
    done
}

# kernel_release IMAGE: what uname -r says in a bzImage (Documentation/arch/x86/boot.rst, offset
# 0x20e: where the version's text lies, less 0x200).
kernel_release() {
    local offset text
    [ "$(od --address-radix=n --skip-bytes=0x202 --read-bytes=4 --format=c "$1" 2>&1 |
        tr -d ' \n')" != "" ] || die "$1 is not readable"
    [ "$(dd if="$1" bs=1 skip=514 count=4 status=none)" = HdrS ] ||
        die "$1 is not a bzImage"
    offset=$(od --address-radix=n --skip-bytes=0x20e --read-bytes=2 --format=u2 "$1")
    text=$(dd if="$1" bs=1 skip=$((offset + 0x200)) count=128 status=none | tr '\0' '\n')
    echo "${text%% *}"
}

# elapsed START: time since the moment START of $SECONDS.
elapsed() {
    local seconds=$((SECONDS - $1))
    printf '%d:%02d' $((seconds / 60)) $((seconds % 60))
}

# step_log LABEL: the log of the step of this name.
step_log() {
    echo "$build/logs/$(tr -cs 'a-zA-Z0-9.\n' - <<<"$1").log"
}

# step LABEL COMMAND...: runs COMMAND with its output in a log under build/logs and tells on one
# line how long it took; on a terminal the line is alive, elsewhere a long step says every minute
# that it goes on. When COMMAND fails, the end of the log is shown and so is its place. COMMAND
# runs in a process of its own: it cannot set variables, and is no function that relies on set -e.
step() {
    local label=$1 start=$SECONDS status=0 pid log shown=0
    shift
    mkdir -p "$build/logs"
    log=$(step_log "$label")
    # Job control gives the command a process group, so that ^C ends all of it.
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    # shellcheck disable=SC2064 # The number is to be filled in now.
    trap "kill -- -$pid 2>/dev/null; exit 130" INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        [ $((SECONDS - start)) -gt "$shown" ] || continue
        shown=$((SECONDS - start))
        if [ -t 2 ]; then
            printf '\r\033[K  %s  %s' "$label" "$(progress "$log" "$start")" >&2
        elif [ $((shown % 60)) = 0 ]; then
            say "  $label: $(progress "$log" "$start") so far"
        fi
    done
    wait "$pid" || status=$?
    trap - INT TERM
    [ ! -t 2 ] || printf '\r\033[K' >&2
    if [ "$status" = 0 ]; then
        say "  $label  $(elapsed "$start")"
        return
    fi
    tail -n 30 "$log" >&2
    say "  $label FAILED after $(elapsed "$start"); the log is $log"
    return "$status"
}

# progress LOG START: what there is to tell of a step that goes on. Kbuild names every file that
# it makes on a line of its own.
progress() {
    local files
    files=$(grep -cE '^  [A-Z]+ +(\[M\] )?[^ ]+$' "$1") || files=0
    if [ "$files" = 0 ]; then
        elapsed "$2"
    else
        echo "$files files, $(elapsed "$2")"
    fi
}
