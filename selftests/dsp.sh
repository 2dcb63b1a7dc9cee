# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the tests of the distributed sharing protocol share: four kernels, and dsp_test.ko, which drives
# the protocol inside each of them. Sourced after ktap.sh.

module=/lib/modules/$(uname -r)/adeos/dsp_test.ko
file=/sys/kernel/debug/dsp_test/run
members=/sys/kernel/debug/adeos/members
dsp=/sys/kernel/debug/adeos/dsp
all='root north south east'
# Longer than any answer takes, and than any death takes to be known.
# shellcheck disable=SC2034 # Test files use it.
patience=$((60000 * slow))

# number NAME: the number of a vnode.
number() {
    case $1 in
    root) echo 0 ;;
    north) echo 1 ;;
    south) echo 2 ;;
    east) echo 3 ;;
    esac
}

# in_ NAME COMMAND...: runs a command in a vnode, or here.
in_() {
    if [ "$1" = root ]; then
        shift
        "$@"
    else
        on "$@"
    fi
}

# do_ NAME LINE: has the test's module in a kernel do something, and waits for that.
do_() {
    in_ "$1" sh -c "echo '$2' >$file"
}

# report NAME PREFIX: the lines of the module's report that begin so, without that.
report() {
    in_ "$1" sed -n "s/^$2 //p" $file
}

# count NAME KEY PREFIX: the number that follows KEY in the line that begins so; 0 without one.
count() {
    report "$1" "$3" | awk -v key="$2" '
        { for (at = 1; at < NF; at++) if ($at == key) value = $(at + 1) }
        END { print value + 0 }'
}

# counter NAME KEY PEER: what adeos_core has counted of a peer.
# shellcheck disable=SC2016 # The dollar signs are awk's.
counter() {
    in_ "$1" awk -v key="$2" -v peer="$3" '
        $1 == "peer" && $2 == peer { for (at = 3; at < NF; at++) if ($at == key) print $(at + 1) }
        ' $dsp
}

# begin NAME CPU: a vnode with the test's module.
# shellcheck disable=SC2154 # ktap.sh says what is small.
begin() {
    start "$1" --cpus "$2" --memory "$((small + 32))M" && on "$1" insmod "$module"
}

# The number of the latest view, as each of these kernels has it, on one line.
latest() {
    for kernel; do
        in_ "$kernel" sed -n '1s/^view \([0-9]*\) .*/\1/p' $members
    done | xargs
}

# agree NAME...: these kernels, and no others, are members, and all have taken the root's view.
agree() {
    mine=$(latest root)
    [ "$(grep -c '^member' $members)" = $# ] || return
    [ "$(grep -c "reached $mine\$" $members)" = $# ] || return
    [ "$(latest "$@" | tr ' ' '\n' | sort -u)" = "$mine" ]
}

# linked NAME PEER: a request reaches the peer, and what it says of it comes back. A link opens a
# moment after the view: when both ends have acknowledged.
linked() {
    do_ "$1" "ask $(number "$2") absent 1 1000"
    [ "$(report "$1" "asked $(number "$2") absent" | sed 's/.* error //; s/ us.*//')" = -95 ]
}

# answers NAME PEER: the peer answers a request.
answers() {
    before=$(count "$1" answered "asked $(number "$2") echo_stage")
    do_ "$1" "ask $(number "$2") echo_stage 1 1000" || return
    [ "$(count "$1" answered "asked $(number "$2") echo_stage")" = $((before + 1)) ]
}

# others NAME: all kernels but that one.
others() {
    for other in $all; do
        [ "$other" = "$1" ] || echo "$other"
    done
}

outstanding() {
    [ "$(in_ "$1" sed -n 's/^calls \([0-9]*\) .*/\1/p' $dsp)" = "$2" ]
}

# peek OFFSET: a number of 64 bits in the control area.
peek() {
    base=$(sed -n '1s/^used \(0x[0-9a-f]*\)+.*/\1/p' /sys/kernel/debug/adeos/pool)
    dd if=/dev/mem bs=8 skip=$(((base + $1) >> 3)) count=1 2>/dev/null | od -A n -t u8 | xargs
}

# poke OFFSET BYTES: writes to the control area, as a vnode could.
poke() {
    base=$(sed -n '1s/^used \(0x[0-9a-f]*\)+.*/\1/p' /sys/kernel/debug/adeos/pool)
    printf '%b' "$2" | dd of=/dev/mem bs=8 seek=$(((base + $1) >> 3)) conv=notrunc 2>/dev/null
}

# kernels: the root, and three vnodes of one CPU each.
kernels() {
    check 'the module of the root' insmod "$module"
    check 'north' begin north 1
    check 'south' begin south 2
    check 'east' begin east 3
    # shellcheck disable=SC2086 # These are several words.
    check 'DS-66: all agree on a view' eventually 10 agree $all
    for from in $all; do
        for to in $(others "$from"); do
            check "DS-24: $from and $to are linked" eventually 10 linked "$from" "$to"
        done
    done
}
