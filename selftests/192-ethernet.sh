#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What Linux makes of network devices, made of vnet's: VLANs, bridges to other segments and to a real network
# device, bonds. docs/vnet.md is cited as VN-n.
#
# QEMU stands for the world outside: it has the address 10.0.2.2, a program behind 10.0.2.100 that sends back what it
# is told by TCP.
#
# cluster: --cpus 3 --memory 2G --config /dev/null --timeout 240 --qemu "-nic user,model=virtio-net-pci,mac=52:54:00:12:34:56,restrict=on,guestfwd=tcp:10.0.2.100:7-cmd:cat"
# cargo: nettest

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
vnodes='one two'

# link NAME WORD DEVICE: whether Linux says so of a vnode's device.
link() {
    on "$1" ip link show "$3" | head -n 1 | tr '<,>' '   ' | grep -qw -- "$2"
}

# joined DEVICE: of the root.
joined() {
    eventually 10 sh -c "[ \"\$(cat /sys/class/net/$1/carrier)\" = 1 ]"
}

boot() {
    cpu=1
    for name in $vnodes; do
        check "$name starts" start "$name" --cpus $cpu --memory $((small + 96))M
        cpu=$((cpu + 1))
    done
    check 'the root has two devices' insmod "$modules/vnet.ko" devices=2
    check 'one is on both segments as well' on one insmod "$modules/vnet.ko" devices=2
    check 'two too' on two insmod "$modules/vnet.ko" devices=2
    for device in vnet0 vnet1; do
        ip link set $device up
        for name in $vnodes; do
            on "$name" ip link set $device up
        done
        check "the root is on the segment of $device" joined $device
        for name in $vnodes; do
            check "$name is" eventually 10 link "$name" LOWER_UP $device
        done
    done
    ip addr add 10.7.0.1/24 dev vnet0
    on one ip addr add 10.7.0.2/24 dev vnet0
    on two ip addr add 10.7.0.3/24 dev vnet0
    for name in $vnodes; do
        on "$name" sh -c 'nettest serve >/tmp/serve 2>&1 &'
        check "$name answers" eventually 5 on "$name" grep -q ready /tmp/serve
    done
}

vlans() {
    for name in $vnodes; do
        check "$name has a VLAN" on "$name" ip link add link vnet0 name vnet0.5 type vlan id 5
        on "$name" ip link set vnet0.5 up
    done
    on one ip addr add 10.5.0.2/24 dev vnet0.5
    on two ip addr add 10.5.0.3/24 dev vnet0.5
    check 'they reach each other there' on one ping -c 2 -W 3 10.5.0.3
    check 'by packets of all sizes up to the largest' on one nettest echo --until 1472 --step 67 10.5.0.3
    check 'by the largest frame' on one nettest echo --from 1472 --until 1472 10.5.0.3
    check 'by packets in pieces' on one nettest echo --from 9000 --step 4001 10.5.0.3
    check 'by streams' on one nettest stream --bytes 4000000 10.5.0.3
    ip link add link vnet0 name vnet0.6 type vlan id 6
    ip link set vnet0.6 up
    ip addr add 10.5.0.1/24 dev vnet0.6
    refuses . 'whoever is on another VLAN is not reached' ping -c 1 -W 1 10.5.0.3
    check 'one in another is made' on one ip link add link vnet0.5 name inner type vlan id 7
    on two ip link add link vnet0.5 name inner type vlan id 7
    on one sh -c 'ip link set inner up; ip addr add 10.57.0.2/24 dev inner'
    on two sh -c 'ip link set inner up; ip addr add 10.57.0.3/24 dev inner'
    check 'and goes through' on two nettest stream --bytes 500000 10.57.0.2
    ip link del vnet0.6
    for name in $vnodes; do
        check "the VLAN of $name goes" on "$name" ip link del vnet0.5
    done
}

# One is on the segment 0 only, two on the segment 1, and the root's bridge connects them.
bridges() {
    on one ip link set vnet1 down
    on two sh -c 'ip addr flush dev vnet0; ip link set vnet0 down; ip addr add 10.7.0.3/24 dev vnet1'
    refuses . 'two is not reached on another segment' on one ping -c 1 -W 1 10.7.0.3
    ip addr flush dev vnet0
    check 'the root makes a bridge' brctl addbr br0
    check 'of one segment' brctl addif br0 vnet0
    check 'and another one' brctl addif br0 vnet1
    ip link set br0 up
    ip addr add 10.7.0.1/24 dev br0
    check 'then it is reached' eventually 10 on one ping -c 1 -W 1 10.7.0.3
    check 'so is the root' on one ping -c 1 -W 3 10.7.0.1
    check 'packets of many sizes go through' on one nettest echo --step 4999 10.7.0.3
    check 'streams too' on one nettest stream --bytes 4000000 10.7.0.3
    check 'and back' on two nettest stream --bytes 4000000 10.7.0.2
    check 'the bridge has learnt who is where' sh -c "od -An -v -tx1 /sys/class/net/br0/brforward | tr -d ' \n' | grep -q $(on two cat /sys/class/net/vnet1/address | tr -d :)"
}

# A real network device joins that bridge. What vnodes send has no checksums and is not cut: now it has to be.
outside() {
    eth=$(grep -l 52:54:00:12:34:56 /sys/class/net/*/address | grep -v br0 | cut -d / -f 5)
    isnt "$eth" '' 'the machine has a network device'
    check 'which joins the bridge' brctl addif br0 "$eth"
    ip link set "$eth" up
    on one sh -c 'ip addr flush dev vnet0; ip addr add 10.0.2.15/24 dev vnet0'
    on two sh -c 'ip addr flush dev vnet1; ip addr add 10.0.2.16/24 dev vnet1'
    check 'one reaches the world outside' eventually 20 on one ping -c 1 -W 1 10.0.2.2
    check 'two too, on another segment' eventually 20 on two ping -c 1 -W 1 10.0.2.2
    for name in $vnodes; do
        size=$((2000000 / slow))
        on "$name" sh -c "head -c $size /dev/urandom >/tmp/there; timeout 60 nc 10.0.2.100 7 </tmp/there >/tmp/back"
        is "$(on "$name" sha256sum /tmp/back | cut -d ' ' -f 1)" "$(on "$name" sha256sum /tmp/there | cut -d ' ' -f 1)" \
            "what $name sends by TCP comes back as it was"
    done
    check 'the bridge goes' sh -c "ip link set br0 down && brctl delbr br0"
    ip link set "$eth" down
    on one ip addr flush dev vnet0
    on two ip addr flush dev vnet1
}

# bond NAME MODE ADDRESS: both devices of a kernel are one.
bond() {
    # shellcheck disable=SC2016 # The kernel concerned expands it.
    script='cd /sys/class/net
        ip link set vnet0 down; ip link set vnet1 down
        echo +bond7 >bonding_masters &&
        echo $1 >bond7/bonding/mode && echo 100 >bond7/bonding/miimon &&
        echo +vnet0 >bond7/bonding/slaves && echo +vnet1 >bond7/bonding/slaves &&
        ip addr add $2/24 dev bond7 && ip link set bond7 up'
    if [ "$1" = root ]; then
        sh -c "$script" sh "$2" "$3"
    else
        on "$1" sh -c "$script" sh "$2" "$3"
    fi
}

unbond() {
    script='echo -bond7 >/sys/class/net/bonding_masters
        ip link set vnet0 up; ip link set vnet1 up'
    if [ "$1" = root ]; then
        sh -c "$script"
    else
        on "$1" sh -c "$script"
    fi
}

# active NAME: which device of a vnode's bond is used.
active() {
    on "$1" cat /sys/class/net/bond7/bonding/active_slave
}

bonds() {
    for name in $vnodes; do
        check "$name bonds both segments" bond "$name" active-backup "10.9.0.$(field "$name" id)"
    done
    peer=10.9.0.$(field two id)
    check 'they reach each other' eventually 20 on one ping -c 1 -W 1 "$peer"
    is "$(active one)" vnet0 'by the first one'
    on one nettest stream --bytes $((100000000 / slow)) "$peer" >/tmp/stream 2>&1 &
    job=$!
    # Both change, as nothing tells one that the other has: they are at different hubs.
    check 'one loses its segment' on one ip link set vnet0 down
    check 'it takes the other one' eventually 10 sh -c "[ \$(vnode exec one cat /sys/class/net/bond7/bonding/active_slave) = vnet1 ]"
    on two sh -c 'echo vnet1 >/sys/class/net/bond7/bonding/active_slave'
    check 'they reach each other' eventually 20 on one ping -c 1 -W 1 "$peer"
    check 'it has it again' on one ip link set vnet0 up
    wait $job
    is "$(cut -d ' ' -f 1,2 /tmp/stream)" "stream $((100000000 / slow))" 'a stream has gone on meanwhile, and arrives as it was'
    for name in $vnodes; do
        check "$name takes its bond apart" unbond "$name"
    done
    for name in $vnodes; do
        check "$name bonds them to use both" bond "$name" balance-rr "10.9.0.$(field "$name" id)"
    done
    check 'they reach each other' eventually 20 on one ping -c 1 -W 1 "$peer"
    before=$(on one cat /sys/class/net/vnet1/statistics/tx_packets)
    check 'a stream goes through' on one nettest stream --bytes 4000000 "$peer"
    check 'by both' [ "$(on one cat /sys/class/net/vnet1/statistics/tx_packets)" -gt $((before + 20)) ]
    for name in $vnodes; do
        check "$name takes its bond apart" unbond "$name"
    done
}

gone() {
    for name in $vnodes; do
        check "$name lets go of all" on "$name" rmmod vnet
    done
    check 'and the root' rmmod vnet
    is "$(vnode bridge list | grep -c 'vnet\.')" 0 'no segment stays'
}

boot
vlans
bridges
outside
bonds
gone
# shellcheck disable=SC2086 # These are several words.
sound $vnodes
finish
