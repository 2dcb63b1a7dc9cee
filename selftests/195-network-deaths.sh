#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A vnode of a segment dies while all send to all, and comes again, as often as the first argument says (100). It dies
# in a random moment: killed, by a panic, by a hang with interrupts off, or by leaving in good order. What the others
# lose is what was for it.
#
# long
# cluster: --cpus 5 --memory 3G --config /dev/null --timeout 2400
# cargo: nettest

# shellcheck disable=SC2016,SC2317 # The kernel concerned expands it; functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

many=$((${1:-100} / slow))
modules=/lib/modules/$(uname -r)/adeos

# random BELOW: a random number.
random() {
    echo $(($(od -An -tu4 -N4 /dev/urandom) % $1))
}

# joins NAME NUMBER
joins() {
    start "$1" --cpus "$2" --memory $((small + 96))M && enters "$1" "$2"
}

# enters NAME NUMBER: a vnode that runs joins.
enters() {
    on "$1" insmod "$modules/vnet.ko" &&
        on "$1" sh -c "ip addr add 10.7.0.$2/24 dev vnet0 && ip link set vnet0 up
            nettest serve >/tmp/serve 2>&1 &" &&
        eventually 10 on "$1" grep -q ready /tmp/serve &&
        eventually 10 on "$1" sh -c '[ "$(cat /sys/class/net/vnet0/carrier)" = 1 ]'
}

# dies HOW: three does.
dies() {
    case $1 in
    kill) vnode kill three >/dev/null ;;
    panic) on three sh -c 'echo c >/proc/sysrq-trigger' >/dev/null 2>&1 ;;
    hang) on three sh -c 'echo HARDLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT' >/dev/null 2>&1 ;;
    leave) on three sh -c 'killall nettest; rmmod vnet' >/dev/null ;;
    esac
}

# over NAME: it has ended.
over() {
    case $(field "$1" state) in
    loaded | running | ready | stopping) return 1 ;;
    esac
}

one_death() {
    how=$1
    # Streams that go on for as long as nobody dies.
    on three nettest stream --bytes 20000000000 10.7.0.1 >/dev/null 2>&1 &
    jobs=$!
    on one nettest stream --bytes 20000000000 10.7.0.3 >/dev/null 2>&1 &
    jobs="$jobs $!"
    nettest stream --bytes 20000000000 10.7.0.3 >/dev/null 2>&1 &
    own=$!
    on one nettest rounds --count $((200 / slow)) 10.7.0.2 >/tmp/rounds 2>&1 &
    between=$!
    usleep $((100000 + $(random 400000)))
    dies "$how"
    wait $between
    is "$(cut -d ' ' -f 1,2 /tmp/rounds)" "rounds $((200 / slow))" "round $round, $how: two others go on"
    worst=$(cut -d ' ' -f 3 /tmp/rounds)
    [ "$worst" -le "$longest" ] || longest=$worst
    kill $own
    on one sh -c 'killall nettest; nettest serve >/dev/null 2>&1 &'
    if [ "$how" = leave ]; then
        # What is left of its streams ends with their other ends.
        check 'it enters again' enters three 3
    else
        check 'it is over' eventually 10 over three
        vnode kill three >/dev/null 2>&1
        check 'it comes again' joins three 3
    fi
    for job in $jobs $own; do
        wait "$job"
    done
    check 'and is reached' on one ping -c 1 -W 5 10.7.0.3
    check 'with all that it sends' on three nettest stream --bytes 300000 10.7.0.2
}

check 'one joins' joins one 1
check 'two joins' joins two 2
check 'three joins' joins three 3
check 'the root joins' insmod "$modules/vnet.ko"
ip addr add 10.7.0.100/24 dev vnet0
ip link set vnet0 up
check 'and is reached' eventually 10 on one ping -c 1 -W 1 10.7.0.100
longest=0
ways='kill leave panic hang'
round=0
while [ $round -lt $many ]; do
    # shellcheck disable=SC2086 # These are four words.
    set -- $ways
    shift $((round % 4))
    round=$((round + 1))
    one_death "$1"
done
remark "the longest that one and two have waited for each other in a round: $longest us"
sound one two
finish
