#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The interrupt pipeline of a kernel, of the root's and of a vnode's: domains ahead of Linux and behind
# it, interrupts that Linux never sees, stalls and their replay, synthetic interrupts. The rules of
# docs/pipeline.md are cited as PI-n.
#
# cluster: --cpus 4 --memory 2G --config /dev/null --timeout 180

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

module=/lib/modules/$(uname -r)/adeos/pipeline_test.ko
file=/sys/kernel/debug/pipeline_test/run
view=/sys/kernel/debug/adeos/pipeline

# in_ COMMAND...: runs a command in the kernel that is tested.
in_() {
    if [ "$where" = root ]; then
        "$@"
    else
        on "$where" "$@"
    fi
}

# tell LINE: has the module do something, and waits for that. Both CPUs are the kernel's 0 and 1.
tell() {
    in_ sh -c "echo '$1' >$file"
}

# tell_on CPU LINE: the same on a CPU.
tell_on() {
    in_ taskset "$((1 << $1))" sh -c "echo '$2' >$file"
}

said() {
    in_ cat "$file" | awk -v key="$1" '$1 == key { sub(/^[a-z]+ ?/, ""); print }'
}

# has KEY VALUE: the module says so.
has() {
    [ "$(said "$1")" = "$2" ]
}

# fresh EARLY LATE: nothing is noted, and the two handlers do this.
fresh() {
    tell clear
    tell "$1 2"
    tell "$2 6"
}

# seen: interrupts that Linux has counted, but for those that come by themselves.
seen() {
    in_ cat /proc/interrupts | grep -Ev '^ *(CPU|LOC|RES|CAL|TLB|IWI|MCP|PLT|[0-9]+:)' | xargs
}

opened() {
    check "$where: two domains register" tell open
    vectors=$(said vectors)
    first=$(echo "$vectors" | cut -d ' ' -f 1)
    second=$(echo "$vectors" | cut -d ' ' -f 2)
    isnt "$first" "$second" "$where: PI-60: and get vectors that Linux has no use for, $first and $second"
    is "$(in_ grep '^stage' "$view" | sed 's/ vectors.*//' | xargs)" \
        'stage 0 adeos stage 2 early stage 4 linux stage 6 late' "$where: PI-2: the view tells who they are"
    is "$(in_ grep '^stage [04]' "$view" | sed 's/.* vectors //' | xargs)" '0x00 0xf7 0x00 0xf7' \
        "$where: PI-61: Adeos and Linux are both offered the portals' vector"
}

# Linux never sees what a domain has taken, nor that nobody has taken it.
secrets() {
    before=$(seen)
    for outcome in takes passes; do
        fresh "$outcome" "$outcome"
        for cpu in 0 1; do
            tell "send $cpu 0"
            check "$where: an interrupt comes (CPU $cpu, $outcome)" eventually 2 has early $((cpu + 1))
        done
        [ "$outcome" = takes ] || eventually 2 has late 2
        case $outcome in
        takes) wanted="2:$first 2:$first" ;;
        passes) wanted="2:$first 6:$first 2:$first 6:$first" ;;
        esac
        is "$(said latest)" "$wanted" "$where: PI-4, PI-14: one that is $outcome"
    done
    is "$(seen)" "$before" "$where: PI-14: Linux has counted nothing of it"
    is "$(in_ dmesg | grep -ci spurious)" 0 "$where: and finds nothing spurious"
    check "$where: PI-15: what all have passed on is counted" eventually 2 unclaimed 2
}

# unclaimed COUNT: as many have been passed on by all, on all CPUs.
# shellcheck disable=SC2016 # The dollar signs are awk's.
unclaimed() {
    [ "$(in_ awk '/unclaimed/ { sum += $4 } END { print sum }' "$view")" = "$1" ]
}

# is_logged VECTOR...: on CPU 1, for the early stage.
is_logged() {
    [ "$(in_ sed -n 's/^cpu 1 stage 2 .*logged //p' "$view")" = "$(printf '%s\n' "$@" | sort | xargs)" ]
}

stalls() {
    fresh takes takes
    tell_on 1 'stall 2'
    for place in 1 0 1; do
        tell "send 1 $place"
        tell "send 0 $place"
    done
    check "$where: another CPU is not stalled" eventually 2 has early 3
    check "$where: the view tells what is logged" eventually 2 is_logged "$first" "$second"
    logged=$(in_ sed -n 's/^cpu 1 stage 2 //p' "$view")
    is "$(echo "$logged" | cut -d ' ' -f 1)" stalled "$where: and of the stall"
    is "$(said latest | wc -w)" 3 "$where: PI-13: nothing of it runs"
    is "$(echo "$logged" | sed 's/.*merged \([0-9]*\).*/\1/')" 1 "$where: PI-16: the third is one with the first"
    tell clear
    tell_on 1 'unstall 2'
    is "$(said latest)" "$(printf '2:%s\n' "$first" "$second" | sort -r | xargs)" \
        "$where: PI-20: they are replayed, the highest vector first"
    tell "send 1 0"
    check "$where: and the stall is over" eventually 2 has early 3

    # Of a later stage, the earlier one goes on.
    fresh passes takes
    tell_on 1 'stall 6'
    tell 'send 1 0'
    check "$where: an earlier stage is not stalled" eventually 2 has early 1
    is "$(said late)" 0 "$where: PI-13: the later one is"
    tell_on 1 'unstall 6'
    is "$(said latest)" "2:$first 6:$first" "$where: and gets it afterwards"
}

synthetic() {
    fresh takes takes
    check "$where: a stage is triggered" tell 'trigger 2 3'
    is "$(said latest)" '2:0x03' "$where: and has run when that is over"
    tell 'trigger 6 3'
    is "$(said latest)" '2:0x03 6:0x03' "$where: PI-31: a later one, as if the earlier had passed it on"
    fresh passes takes
    tell 'trigger 2 3'
    is "$(said latest)" '2:0x03 6:0x03' "$where: what is passed on goes on"
    fresh hands-on takes
    tell 'trigger 2 3'
    is "$(said latest)" '2:0x03 6:0x05' "$where: PI-24: one stage triggers the other"
    fresh puts-off takes
    tell_on 1 'trigger 2 3'
    is "$(said latest)" '2:0x03' "$where: PI-32: a handler puts it off"
    tell_on 1 'unstall 2'
    is "$(said latest)" '2:0x03 2:0x03' "$where: and gets it back"
    fresh takes takes
    tell_on 0 'ask 1 6 5'
    check "$where: PI-33: one on another CPU" eventually 2 has latest '6:0x05'
    check "$where: PI-60: what has to be refused is" tell refuse
}

# cpu1 ONLINE
cpu1() {
    in_ sh -c "echo $1 >/sys/devices/system/cpu/cpu1/online"
}

offline() {
    fresh takes takes
    tell_on 1 'stall 2'
    tell 'send 1 0'
    tell 'send 0 0'
    check "$where: a CPU has something logged" eventually 2 has early 1
    check "$where: it goes offline" cpu1 0
    is "$(said early)" 2 "$where: PI-54: it has replayed it before"
    refuses 'No such device|nonexistent' "$where: it cannot be interrupted" tell 'send 1 0'
    check "$where: it comes back" cpu1 1
    check "$where: where a stage can be stalled again" tell_on 1 'stall 2'
    tell 'send 1 0'
    tell_on 1 'unstall 2'
    check "$where: and replays" eventually 2 has early 3
}

# A domain goes and comes back while interrupts come: each is handled by it or by the next.
churn() {
    fresh takes takes
    rounds=$((12 / slow))
    in_ sh -c "
        (while [ ! -e /tmp/over ]; do taskset 1 sh -c 'echo storm 1 500 >$file'; done) &
        taskset 1 sh -c 'echo churn $rounds >$file'
        status=\$?
        touch /tmp/over
        wait
        rm /tmp/over
        exit \$status"
    is "$(said churned)" $rounds "$where: a domain goes and comes back in a storm of $(said sent) interrupts"
    is "$(said lost)" 0 "$where: PI-11, PI-41, PI-50: none is lost"
    is "$(($(said early) + $(said late)))" "$(said sent)" "$where: PI-12, PI-50: none is handled twice"
    isnt "$(said early)" 0 "$where: some by the domain"
    isnt "$(said late)" 0 "$where: some by the next one"
}

# What is logged for a domain that goes is passed on.
leave() {
    fresh takes takes
    tell_on 1 'stall 2'
    tell 'send 1 0'
    tell 'send 0 0'
    check "$where: something is logged for a domain" eventually 2 has early 1
    check "$where: which goes" tell 'churn 1'
    is "$(said latest)" "2:$first 6:$first" "$where: PI-42: the next one gets it"
    tell 'send 1 0'
    check "$where: and the stage, given out again, is not stalled" eventually 2 has early 2
}

# A domain gives up a vector; the next one gets what comes.
gives_up() {
    fresh takes takes
    check "$where: a domain gives up a vector" tell 'remove 0'
    tell 'send 0 0'
    check "$where: PI-43: it comes to the next one" eventually 2 has latest "6:$first"
    check "$where: it takes it again" tell 'add 0'
    tell 'send 0 0'
    check "$where: and is offered it first" eventually 2 has latest "6:$first 2:$first"
}

# tested NAME
tested() {
    where=$1
    check "$where: the module is loaded" in_ insmod "$module"
    opened
    secrets
    stalls
    synthetic
    offline
    churn
    leave
    gives_up
    check "$where: adeos_core does not unload" in_ sh -c '! rmmod adeos_core'
    check "$where: the domains go" tell close
    is "$(in_ grep -c '^stage' "$view")" 2 "$where: and leave nothing"
    check "$where: so does the module" in_ rmmod pipeline_test
}

check 'a vnode with two CPUs' start east --cpus 2-3 --memory $((128 + more))M
tested root
tested east
isnt "$(grep -c '^ *PLT:' /proc/interrupts)" 0 "portals have a line in /proc/interrupts"
sound east
finish
