#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# As many stations as a segment has, 16 with the root's, and all sizes of packets.
#
# long
# cluster: --cpus 16 --memory 4G --config /dev/null --timeout 1500
# cargo: nettest

# shellcheck disable=SC2016,SC2317 # The kernel concerned expands it; functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
group=239.1.2.3
numbers='1 2 3 4 5 6 7 8 9 10 11 12 13 14 15'

# joins NUMBER: a vnode of one CPU, with the address of that number.
joins() {
    start "v$1" --cpus "$1" --memory $((small + 64))M &&
        on "v$1" insmod "$modules/vnet.ko" &&
        on "v$1" sh -c "ip addr add 10.7.0.$1/24 dev vnet0 && ip link set vnet0 up && ip route add 239.0.0.0/8 dev vnet0
            nettest serve --group $group >/tmp/serve 2>&1 &" &&
        eventually 10 on "v$1" grep -q ready /tmp/serve &&
        eventually 10 on "v$1" sh -c '[ "$(cat /sys/class/net/vnet0/carrier)" = 1 ]'
}

boot() {
    check 'the root joins' insmod "$modules/vnet.ko"
    ip addr add 10.7.0.100/24 dev vnet0
    ip link set vnet0 up
    ip route add 239.0.0.0/8 dev vnet0
    nettest serve --group $group >/tmp/serve 2>&1 &
    check 'with a carrier' eventually 10 sh -c '[ "$(cat /sys/class/net/vnet0/carrier)" = 1 ]'
    for number in $numbers; do
        check "vnode $number of 15 joins" joins "$number"
    done
}

all_at_once() {
    for to in 10.7.0.255 $group; do
        said=$(nettest who --via 10.7.0.100 "$to")
        is "$(echo "$said" | cut -d ' ' -f 1,2)" 'who 16' "all 16 hear what is sent to $to"
    done
    for number in $numbers; do
        to=$((number % 15 + 1))
        on "v$number" nettest stream --bytes $((2000000 / slow)) "10.7.0.$to" >"/tmp/stream.$number" 2>&1 &
        eval "job_$number=$!"
    done
    for number in $numbers; do
        eval "wait \$job_$number"
        is "$(cut -d ' ' -f 1,2 "/tmp/stream.$number")" "stream $((2000000 / slow))" \
            "what vnode $number sends to the next one arrives, beside 14 others"
    done
    for number in $numbers; do
        nettest stream --bytes $((500000 / slow)) "10.7.0.$number" >"/tmp/stream.$number" 2>&1 &
        eval "job_$number=$!"
    done
    for number in $numbers; do
        eval "wait \$job_$number"
        is "$(cut -d ' ' -f 1,2 "/tmp/stream.$number")" "stream $((500000 / slow))" "the root sends to vnode $number and 14 others at once"
    done
}

# One to whom all send.
all_to_one() {
    for number in 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        on "v$number" nettest stream --bytes $((500000 / slow)) 10.7.0.1 >"/tmp/stream.$number" 2>&1 &
        eval "job_$number=$!"
    done
    for number in 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        eval "wait \$job_$number"
        is "$(cut -d ' ' -f 1,2 "/tmp/stream.$number")" "stream $((500000 / slow))" "vnode $number sends to one that 13 others send to"
    done
    remark "collisions: $(for number in $numbers; do on "v$number" cat /sys/class/net/vnet0/statistics/collisions; done | xargs)"
}

sizes() {
    check 'datagrams of every size from 0 to 65507 come back as they were' \
        on v1 nettest echo --step "$slow" 10.7.0.2
    check 'in packets of 64 KiB' sh -c 'for name in v1 v2; do vnode exec $name ip link set vnet0 mtu 65535 || exit; done'
    # What is that long reaches the root as well.
    ip link set vnet0 mtu 65535
    check 'of every size as well' on v1 nettest echo --step "$slow" 10.7.0.2
    for size in 0 1 55 56 1400 1472 1473 9000 65507; do
        check "ping with $size bytes of a pattern" ping -c 1 -W 5 -p 5a -s $size 10.7.0.1
    done
}

# reaches NUMBER: a vnode is reached soon, though by its number it is another one now (VN-64).
reaches() {
    eventually 5 ping -c 1 -W 1 "10.7.0.$1"
}

# Half of them die at once, while the others send to each other and to them.
deaths() {
    for number in 1 2 3 4 5 6 7; do
        on "v$number" nettest stream --bytes $((4000000 / slow)) "10.7.0.$((number % 7 + 1))" >"/tmp/stream.$number" 2>&1 &
        eval "job_$number=$!"
        on "v$number" nettest stream --bytes 2000000000 "10.7.0.$((number + 8))" >/dev/null 2>&1 &
        others="$others $!"
    done
    sleep 2
    for number in 9 10 11 12 13 14 15; do
        vnode kill "v$number" >/dev/null &
        kills="$kills $!"
    done
    for job in $kills; do
        wait "$job"
    done
    for number in 1 2 3 4 5 6 7; do
        eval "wait \$job_$number"
        is "$(cut -d ' ' -f 1,2 "/tmp/stream.$number")" "stream $((4000000 / slow))" "vnode $number and its peer do not notice"
        on "v$number" killall nettest
    done
    for job in $others; do
        wait "$job"
    done
    for number in 9 12 15; do
        check "vnode $number comes again" joins "$number"
        check 'and is reached' reaches "$number"
    done
}

others=
kills=
boot
all_at_once
all_to_one
sizes
deaths
sound v1 v2 v8
finish
