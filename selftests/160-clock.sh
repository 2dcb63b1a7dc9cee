#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One time for the whole machine: each vnode finds out how far its counter is from the root's, to less
# than a microsecond, and what it then takes for the time is what the others do (CK-10, CK-31).
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 200

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

# clock NAME WHAT: a number of a kernel's clock; nothing while it has none.
clock() {
    show='cat /sys/kernel/debug/adeos/clock'
    [ "$1" = root ] || show="on $1 $show"
    $show | sed -n "s/^$2 //p"
}

has_time() {
    [ -n "$(clock "$1" time_ns)" ]
}

# in_order NUMBER...: none is less than the one before it.
in_order() {
    last=$1
    for number; do
        [ "$number" -ge "$last" ] || return
        last=$number
    done
}

measures() {
    check "$1: knows the time" eventually 60 has_time "$1"
    khz=$(clock "$1" khz)
    error=$(($(clock "$1" error_ticks) * 1000000 / khz))
    offset=$(($(clock "$1" offset_ticks) * 1000000 / khz))
    within "$error" 0 1000 "$1: to less than a microsecond (ns)"
    # The counters of this machine are one.
    within "$offset" $((-error - 1)) $((error + 1)) "$1: and is right about it (ns)"
}

check 'the root has published it' has_time root
check 'a vnode' start one --cpus 1 --memory "${small}M"
check 'another one, with two CPUs' start two --cpus 2-3 --memory "${small}M"
measures one
measures two

# What each says of the same counter: by that much the two disagree.
apart=$(($(clock one offset_ticks) - $(clock two offset_ticks)))
within $((apart * 1000000 / $(clock one khz))) -999 999 'the two agree to less than a microsecond (ns)'

# The same by a ping-pong between the two: what the other says lies between what the asker says before
# and after, but for the errors of both.
module=/lib/modules/$(uname -r)/adeos/clock_test.ko
file=/sys/kernel/debug/clock_test/run
for name in one two; do
    check "$name: the module is loaded" on $name insmod "$module"
done
# told KEY: what the asker's module tells.
told() {
    on one sed -n "s/^$1 //p" $file
}
on two sh -c "echo answer 15000 >$file" &
check 'a vnode asks another one for its time, directly' eventually 10 on one sh -c "echo ask 1 >$file"
check 'and 500 times more' on one sh -c "echo ask 500 >$file"
check 'which ends it' on one sh -c "echo over 0 >$file"
within "$(told rounds)" 501 501 'each time it was told'
within "$(told outside_ns)" 0 999 'the two agree to less than a microsecond (ns)'
remark "shortest round: $(told shortest_ns) ns"
wait

# Each question takes far longer than the errors are.
times=
for _ in 1 2 3 4 5; do
    for kernel in root one root two; do
        times="$times $(clock $kernel time_ns)"
    done
done
# shellcheck disable=SC2086 # These are several numbers.
check 'asked in turn, all see the same time go on' in_order $times
remark "$times"

first=$(clock one offset_ticks)
check 'one is taken back' vnode kill one
check 'one starts again' start one --cpus 1 --memory "${small}M"
# CK-33.
measures one
remark "offsets of two lives: $first and $(clock one offset_ticks) ticks"
sound one two
finish
