#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Ethernets between vnodes: ordinary devices to all of Linux. docs/vnet.md is cited as VN-n.
#
# cluster: --cpus 6 --memory 3G --config /dev/null --timeout 450
# cargo: nettest

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
vnodes='one two three'
group=239.1.2.3

# in_ NAME COMMAND...: runs a command in a vnode, or in the root.
in_() {
    if [ "$1" = root ]; then
        shift
        "$@"
    else
        on "$@"
    fi
}

# address NAME: what it has on the segment 0.
address() {
    case $1 in
    root) echo 10.7.0.1 ;;
    one) echo 10.7.0.2 ;;
    two) echo 10.7.0.3 ;;
    three) echo 10.7.0.4 ;;
    esac
}

# cpus NAME: those of a vnode. The root keeps the first and the last one.
cpus() {
    case $1 in
    one) echo 1 ;;
    two) echo 2-3 ;;
    three) echo 4 ;;
    esac
}

# six NAME: the same for IPv6.
six() {
    echo "fd00:7::${1}" | sed 's/root/1/; s/one/2/; s/two/3/; s/three/4/'
}

# counts NAME WORD [DEVICE]: a counter of Linux's.
counts() {
    in_ "$1" cat "/sys/class/net/${3:-vnet0}/statistics/$2"
}

# link NAME WORD [DEVICE]: whether Linux says so of a device, LOWER_UP or NO-CARRIER for example.
link() {
    in_ "$1" ip link show "${3:-vnet0}" | head -n 1 | tr '<,>' '   ' | grep -qw -- "$2"
}

# up NAME: the device of a kernel, with its addresses; it has joined.
up() {
    in_ "$1" sh -c "ip addr add $(address "$1")/24 dev vnet0 &&
        ip -6 addr add $(six "$1")/64 dev vnet0 && ip link set vnet0 up &&
        ip route add 239.0.0.0/8 dev vnet0" && eventually 10 link "$1" LOWER_UP
}

# serve NAME: what the tests talk to.
serve() {
    in_ "$1" sh -c "nettest serve --group $group >/tmp/serve 2>&1 &"
    eventually 5 in_ "$1" grep -q ready /tmp/serve
}

# join NAME
join() {
    in_ "$1" insmod "$modules/vnet.ko" && up "$1" && serve "$1"
}

boot() {
    for name in $vnodes; do
        check "$name starts" start "$name" --cpus "$(cpus "$name")" --memory $((small + 96))M
    done
    check 'the root has the module' insmod "$modules/vnet.ko"
    is "$(cat /sys/class/net/vnet0/operstate)" down 'its device is down'
    check 'and goes up, VN-60: with a carrier, though it is alone' up root
    check 'what answers is there' serve root
    for name in $vnodes; do
        check "$name joins" join "$name"
    done
}

addresses() {
    all=$(for name in root $vnodes; do in_ "$name" cat /sys/class/net/vnet0/address; done)
    is "$(echo "$all" | sort -u | wc -l)" 4 'VN-12: each has an address of its own'
    is "$(echo "$all" | cut -c 1-5 | sort -u)" 02:ad 'VN-12: which is locally administered'
    before=$(on one cat /sys/class/net/vnet0/address)
    check 'another address is taken' on one ip link set vnet0 address 02:00:00:00:00:99
    on one ip neigh flush dev vnet0 >/dev/null 2>&1
    check 'and heard of' on one ping -c 1 -W 3 "$(address two)"
    check 'by all' ping -c 1 -W 3 "$(address one)"
    on one ip link set vnet0 address "$before"
    for name in root two; do
        in_ $name ip neigh flush dev vnet0 >/dev/null
    done
}

# ARP, IPv4 and IPv6 in all pairs.
everyone_reaches_everyone() {
    for from in root $vnodes; do
        for to in root $vnodes; do
            [ "$from" != "$to" ] || continue
            check "$from reaches $to" in_ "$from" ping -c 2 -W 3 "$(address "$to")"
            check "$from reaches $to by IPv6" \
                in_ "$from" ping -6 -c 1 -W 3 "$(six "$to")"
        done
    done
    check 'datagrams of many sizes come back as they were' \
        on one nettest echo --step $((211 * slow)) "$(address two)"
    check 'and the largest' on one nettest echo --from 65000 --step 13 "$(address two)"
    check 'also whole' sh -c "ip link set vnet0 mtu 65535 && on two ip link set vnet0 mtu 65535"
    check 'in one frame' nettest echo --from 65000 --step 29 "$(address two)"
    check 'and as before' sh -c "ip link set vnet0 mtu 1500 && on two ip link set vnet0 mtu 1500"
}

# Streams in all pairs of the vnodes, both ways, at once.
streams() {
    bytes=$(((8 << 20) / slow))
    for from in $vnodes; do
        for to in $vnodes; do
            [ "$from" != "$to" ] || continue
            on "$from" nettest stream --bytes $bytes "$(address "$to")" >"/tmp/$from.$to" 2>&1 &
            eval "stream_${from}_${to}=$!"
        done
    done
    for from in $vnodes; do
        for to in $vnodes; do
            [ "$from" != "$to" ] || continue
            eval "wait \$stream_${from}_${to}"
            is "$(cut -d ' ' -f 1,2 "/tmp/$from.$to")" "stream $bytes" \
                "a stream from $from to $to arrives as it was, beside five others"
        done
    done
    check 'several flows at once' on one nettest stream --flows 4 --bytes 2000000 "$(address two)"
    check 'and backwards' on one nettest stream --reverse --bytes 4000000 "$(address root)"
    check 'by IPv6' on three nettest stream --bytes 4000000 "$(six two)"
}

# queues NAME: how many queues the device of a kernel has to send by: 16 for each lane.
queues() {
    in_ "$1" ls /sys/class/net/vnet0/queues | grep -c '^tx-'
}

# portals NAME WORD LANE: how often a kernel has had the portals of a lane number, whosever: `sent` or `delivered`.
portals() {
    # shellcheck disable=SC2016 # awk expands it.
    in_ "$1" awk -v word="$2" -v number=$((5 + $3)) '
        $1 == "portal" && $2 == number {
            for (at = 3; at < NF; at++) if ($at == word) value = $(at + 1)
        }
        END { print value + 0 }' /sys/kernel/debug/adeos/portals
}

# received NAME CPU: packets that a CPU of a kernel has received, as Linux says it.
received() {
    in_ "$1" cut -d ' ' -f 1 /proc/net/softnet_stat | sed -n "$(($2 + 1))p"
}

# use_both: flows from the root to two have used both lanes since `first` and `second` were taken. Only two has a second
# lane to be raised; what kernels say to their neighbours by themselves is less than this.
use_both() {
    nettest stream --flows 4 --bytes $((4000000 / slow)) "$(address two)" >/dev/null &&
        [ "$(portals root sent 0)" -ge $((first + 8)) ] && [ "$(portals root sent 1)" -ge $((second + 8)) ]
}

# VN-56 to VN-58: who has two CPUs sends and receives by both.
lanes() {
    for name in root two; do
        is "$(queues $name)" 32 "VN-56: $name has two lanes"
    done
    for name in one three; do
        is "$(queues $name)" 16 "VN-56: $name has one"
    done
    first=$(portals root sent 0)
    second=$(portals root sent 1)
    before=$(received two 1)
    check 'VN-57, VN-58: flows between two with two lanes use both' eventually 20 use_both
    check 'the second CPU receives' [ $((0x$(received two 1))) -ge $((0x$before + 8)) ]
    first=$(portals two delivered 1)
    check 'VN-57: who has one lane' on one nettest stream --bytes $((1000000 / slow)) "$(address two)"
    # Its number says to which one; what it gets back may raise the same.
    remark "one is vnode $(field one id), and has raised the second lane of two $(($(portals two delivered 1) - first)) times"
}

# VN-50: as long as there is room, nothing is lost: whoever sends is stopped when there is none.
nothing_is_lost() {
    for size in 16 1472 9000 65507; do
        count=$(((size < 60000 ? 3000 : 1000) / (slow * slow)))
        said=$(on one nettest numbered --count $count --size $size --ahead 16 "$(address three)")
        remark "$said"
        is "${said% *}" "numbered $count $count 0" "of $count datagrams of $size bytes none is lost or late"
    done
}

groups() {
    said=$(on one nettest who --via "$(address one)" 10.7.0.255)
    is "$said" "who 4 $(address root) $(address one) $(address two) $(address three)" \
        'all hear what is for all'
    said=$(on one nettest who --via "$(address one)" $group)
    is "$said" "who 4 $(address root) $(address one) $(address two) $(address three)" \
        'and what is for their group'
    before=$(counts root rx_packets)
    on one nettest rounds --count 500 "$(address two)" >/dev/null
    # Something that is for all may come at any time.
    within $(($(counts root rx_packets) - before)) 0 20 'VN-13: nobody hears what is for others'
    ip link set vnet0 promisc on
    before=$(counts root rx_packets)
    on one nettest rounds --count 20 "$(address two)" >/dev/null
    check 'VN-14: but who listens to all' [ "$(counts root rx_packets)" -ge $((before + 40)) ]
    ip link set vnet0 promisc off
}

# A device takes what fits its MTU, and stations with the same address both get what is for it.
mismatches() {
    ip link set vnet0 mtu 9000
    before=$(counts two rx_length_errors)
    refuses . 'what is too long for the receiver does not arrive' \
        ping -c 1 -W 1 -s 4000 "$(address two)"
    within "$(counts two rx_length_errors)" $((before + 1)) $((before + 5)) 'and is counted'
    check 'what fits does' ping -c 1 -W 3 -s 1400 "$(address two)"
    check 'a stream is cut as the receiver wants it' nettest stream --bytes 500000 "$(address two)"
    ip link set vnet0 mtu 1500
    before=$(on three cat /sys/class/net/vnet0/address)
    seen=$(counts three rx_packets)
    on three ip link set vnet0 address "$(on two cat /sys/class/net/vnet0/address)"
    check 'one of two with the same address answers' on one ping -c 3 -W 3 "$(address two)"
    check 'the other one hears it' [ "$(counts three rx_packets)" -ge $((seen + 3)) ]
    on three ip link set vnet0 address "$before"
    check 'it is itself again' eventually 10 on three ping -c 1 -W 1 "$(address one)"
}

# goes_on: those that are sound reach each other.
goes_on() {
    on one nettest stream --bytes 500000 "$(address two)" && on two nettest rounds --count 50 "$(address one)"
}

# VN-51, VN-52: a station that claims of its frames whatever it likes, and one that writes over the segment, cost the
# others what is lost, and nothing else.
hostile() {
    run=/sys/kernel/debug/net_test/run
    check 'three leaves' on three rmmod vnet
    check 'and becomes a station that nobody should trust' on three insmod "$modules/net_test.ko"
    before=$(($(counts two rx_packets) + $(counts two rx_errors)))
    check 'its frames have all kinds of claims' on three sh -c "echo claims $(field two id) >$run"
    remark "$(on three cat $run | xargs); $(counts two rx_frame_errors) made no sense, $(counts two rx_length_errors) were too long"
    # shellcheck disable=SC2016 # awk expands it.
    within "$(on three awk '$1 == "sent" { print $2 }' $run)" 2000 2016 'they are sent'
    check 'they arrive' [ $(($(counts two rx_packets) + $(counts two rx_errors))) -ge $((before + 1900)) ]
    check 'the others go on' goes_on
    for count in 1 10 1000 100000; do
        check "it writes over $count words" on three sh -c "echo scribble $count >$run"
        check 'the others come to themselves' eventually 20 goes_on
    done
    check 'it leaves' on three rmmod net_test
    check 'and joins as it should' join_again
}

join_again() {
    on three sh -c 'killall nettest'
    join three && eventually 10 on one ping -c 1 -W 1 "$(address three)"
}

# A station leaves and comes again, and asks for something each time, while others send to each other.
comes_and_goes() {
    on two nettest stream --bytes $((60000000 / slow)) "$(address one)" >/tmp/stream 2>&1 &
    job=$!
    check 'a station leaves and comes 40 times' on three sh -c "i=0
        while [ \$i -lt 40 ]; do
            ip link set vnet0 down && ip link set vnet0 up || exit
            until [ \"\$(cat /sys/class/net/vnet0/carrier)\" = 1 ]; do sleep 0.01; done
            ping -c 1 -W 1 $(address one) >/dev/null
            i=\$((i + 1))
        done"
    wait $job
    is "$(cut -d ' ' -f 1,2 /tmp/stream)" "stream $((60000000 / slow))" 'others do not notice'
    # As one that has got another number comes again. What the root knows of it is good for longer than this waits.
    before=$(on three cat /sys/class/net/vnet0/address)
    for mac in 02:00:00:00:00:33 "$before"; do
        check 'the root knows a station' ping -c 1 -W 3 "$(address three)"
        check 'which comes again with another address' on three sh -c "ip link set vnet0 down &&
            ip link set vnet0 address $mac && ip link set vnet0 up"
        check 'VN-64: and is reached soon' eventually 5 ping -c 1 -W 1 "$(address three)"
    done
    on three ip route add 239.0.0.0/8 dev vnet0
    on three ip -6 addr add "$(six three)/64" dev vnet0
    check 'it is reached' on one ping -c 1 -W 3 "$(address three)"
}

segments() {
    check 'another segment' ip link add vnet7 type vnet
    check 'in two kernels' on one ip link add vnet7 type vnet
    ip addr add 10.8.0.1/24 dev vnet7
    ip link set vnet7 up
    on one sh -c 'ip addr add 10.8.0.2/24 dev vnet7; ip link set vnet7 up'
    check 'is joined' eventually 10 link root LOWER_UP vnet7
    check 'by both' eventually 10 link one LOWER_UP vnet7
    check 'connects them' ping -c 1 -W 3 10.8.0.2
    is "$(vnode bridge list | grep -c 'vnet\.')" 2 'each is a bridge'
    check 'a segment is left' ip link del vnet7
    check 'by all' on one ip link del vnet7
    is "$(vnode bridge list | grep -c 'vnet\.')" 1 'and is gone when nobody is on it'
    refuses . 'one vnode has no two devices on a segment' ip link add other0 type vnet
    refuses . 'a device without a number has to name its segment' ip link add other type vnet
}

# The same by the tool.
verbs() {
    check 'a device is made on a named segment' vnode network add web0 --segment web
    check 'in a vnode as well' on one vnode network add web --mac 02:00:00:00:00:77
    is "$(on one cat /sys/class/net/web/address)" 02:00:00:00:00:77 'with an address'
    is "$(vnode network list | awk '$1 == "web" { print $2, $3, $4, $5 }')" '- all web0 down' 'it is down'
    ip link set web0 up
    on one ip link set web up
    check 'they join' eventually 10 link one LOWER_UP web
    check 'both' eventually 10 link root LOWER_UP web0
    is "$(vnode network list | awk '$1 == "web" { print $2, $3, $4, $5 }')" 'root,one all web0 joined' 'which is listed'
    is "$(on one vnode network list --json | tr -d ' \n' | grep -o '"segment":"web","vnodes":\[0,[0-9]*\],"open_to":null,"device":{"name":"web","address":"02:00:00:00:00:77","state":"joined"}' | wc -l)" \
        1 'also in a vnode, as JSON'
    refuses 'by the device .web0.' 'VN-10: a second device is refused' vnode network add web1 --segment web
    refuses 'there is a device .web0. already' 'and a second one of a name' vnode network add web0 --segment more
    refuses 'no device .lo. on a segment' 'other devices are none of its business' vnode network remove lo
    refuses 'no name of a segment' 'names are checked' vnode network add x --segment 'a b'
    check 'a device goes' vnode network remove web0
    check 'and the other one' on one vnode network remove web
    is "$(vnode network list | grep -c web)" 0 'and the segment with them'
}

# allow NAME...: who may be on the segment 9, beside the one that owns it.
allow() {
    bits=0
    for name; do
        bits=$((bits | 1 << $(field "$name" id)))
    done
    echo "protect vnet.9 15 $bits $bits" >/sys/kernel/debug/bridge_test/control
}

# one_has_it: one has the bridge of the segment 9 open, and nobody else.
one_has_it() {
    [ "$(vnode bridge list | awk '$2 == "vnet.9" { print $(NF - 2) }')" = one ]
}

# VN-60 to VN-63: the carrier tells whether the station is on its segment.
carriers() {
    check 'something that is no segment has the name of one' insmod "$modules/bridge_test.ko"
    check 'a bridge' sh -c 'echo "create 0 vnet.9 5 15 0xffff 0xffff stays" >/sys/kernel/debug/bridge_test/control'
    check 'VN-61: a device is made' on one ip link add vnet9 type vnet
    check 'and goes up without waiting for it' on one ip link set vnet9 up
    check 'its kernel is told why it is on no segment' \
        eventually 10 on one sh -c "dmesg | grep -q 'not on the segment 9: its bridge is none'"
    check 'VN-60: it has no carrier' link one NO-CARRIER vnet9
    check 'what is no segment goes' sh -c 'echo "close 0" >/sys/kernel/debug/bridge_test/control'
    check 'VN-63: then it has one' eventually 10 link one LOWER_UP vnet9
    check 'another one joins' on two sh -c 'ip link add vnet9 type vnet && ip link set vnet9 up'
    check 'and has one' eventually 10 link two LOWER_UP vnet9
    on one ip addr add 10.9.0.2/24 dev vnet9
    on two ip addr add 10.9.0.3/24 dev vnet9
    check 'they reach each other' on one ping -c 1 -W 5 10.9.0.3
    check 'the root says who may be there' allow one
    check 'VN-62: who may not be there any more leaves' eventually 10 link two NO-CARRIER vnet9
    check 'the others stay' link one LOWER_UP vnet9
    check 'and nobody else has it open' eventually 10 one_has_it
    refuses . 'it is not reached' on one ping -c 1 -W 1 10.9.0.3
    refuses 'denied|may not' 'VN-62: and others get no device there' on three ip link add vnet9 type vnet
    refuses 'may not be on the segment .9.' 'and are told why' \
        on three vnode network add x9 --segment 9
    check 'it may again' allow one two
    check 'VN-63: and comes back' eventually 10 link two LOWER_UP vnet9
    check 'and is reached' on one ping -c 1 -W 5 10.9.0.3
    check 'a device that is down' on two ip link set vnet9 down
    is "$(on two cat /sys/class/net/vnet9/operstate)" down 'has no carrier'
    check 'and no bridge open' eventually 10 one_has_it
    on one ip link del vnet9
    on two ip link del vnet9
    is "$(vnode bridge list | grep -c 'vnet\.')" 1 'the segment goes'
    check 'and what made it' rmmod bridge_test
}

# Somebody dies while it sends and is sent to; the others go on, and it comes again.
deaths() {
    for round in 1 2 3; do
        on three nettest stream --bytes 2000000000 "$(address one)" >/dev/null 2>&1 &
        one=$!
        nettest stream --bytes 2000000000 "$(address three)" >/dev/null 2>&1 &
        two=$!
        sleep 0.5
        vnode kill three >/dev/null
        check "the others go on ($round)" on one nettest stream --bytes 500000 "$(address two)"
        kill $two
        wait $one $two
        start three --cpus "$(cpus three)" --memory $((small + 96))M
        check "and it comes again ($round)" join three
        check "and is reached ($round)" on one ping -c 1 -W 3 "$(address three)"
        check "with what it sends ($round)" on three nettest stream --bytes 500000 "$(address two)"
    done
}

# VN-50: a vnode that lives and takes nothing holds up nobody else. Linux is told to poll its device every four
# seconds, whatever comes.
stuck() {
    check 'it is reached' on one ping -c 1 -W 3 "$(address three)"
    on three sh -c 'cd /sys/class/net/vnet0; echo 4000000000 >gro_flush_timeout; echo 100 >napi_defer_hard_irqs'
    on one ping -c 1 -W 1 "$(address three)" >/dev/null
    missed=$(counts one tx_fifo_errors)
    on one nettest numbered --count 300 --size 60000 --ahead 300 "$(address three)" >/tmp/numbered 2>&1 &
    job=$!
    check 'who is sent to takes nothing' \
        eventually 4 sh -c "[ \$(vnode exec one cat /sys/class/net/vnet0/statistics/tx_fifo_errors) -gt $missed ]"
    said=$(on one nettest rounds --count 200 "$(address two)")
    remark "$said"
    is "$(echo "$said" | cut -d ' ' -f 1,2)" 'rounds 200' 'others take what is for them'
    check 'meanwhile' kill -0 $job
    on three sh -c 'cd /sys/class/net/vnet0; echo 0 >napi_defer_hard_irqs; echo 0 >gro_flush_timeout'
    wait $job
    remark "to whom took nothing: $(cat /tmp/numbered)"
    check 'it is reached again' eventually 10 on one ping -c 1 -W 1 "$(address three)"
    check 'with all that is sent' on one nettest stream --bytes 500000 "$(address three)"
}

# VN-55: a queue that was stopped and that nobody wakes goes on, without what it has sent and was not taken. No rule
# leaves one so; a module does.
timeouts() {
    queue=$(field three id)
    check 'one more is reached' on one ping -c 1 -W 3 "$(address three)"
    on three sh -c "cd /sys/class/net/vnet0; echo $((60000000000 * slow)) >gro_flush_timeout; echo 100 >napi_defer_hard_irqs"
    check 'who is sent to falls silent' eventually 10 sh -c "! vnode exec one ping -c 1 -W 1 $(address three)"
    refuses . 'and takes nothing' on one ping -c 3 -W 1 "$(address three)"
    aborted=$(counts one tx_aborted_errors)
    check 'the queue of what is for it is stopped' on one insmod "$modules/queue_test.ko" device=vnet0 queue="$queue"
    on one ping -c 1 -W 1 "$(address three)" >/dev/null
    check 'VN-55: Linux notices' eventually 20 on one sh -c "[ \$(cat /sys/class/net/vnet0/queues/tx-$queue/tx_timeout) = 1 ]"
    check 'what was not taken is given up' [ "$(counts one tx_aborted_errors)" -ge $((aborted + 3)) ]
    is "$(counts one tx_errors)" "$(counts one tx_aborted_errors)" 'and counted as an error'
    on three sh -c 'cd /sys/class/net/vnet0; echo 0 >napi_defer_hard_irqs; echo 0 >gro_flush_timeout
        ip link set vnet0 down; ip link set vnet0 up'
    check 'the queue goes on' eventually 10 on one ping -c 1 -W 1 "$(address three)"
    check 'with all that is sent' on one nettest stream --bytes 500000 "$(address three)"
    check 'what stopped it goes' on one rmmod queue_test
}

gone() {
    refuses 'unavailable' 'the nanokernel stays while it is used' rmmod adeos_core
    for name in $vnodes; do
        check "$name goes" on "$name" rmmod vnet
    done
    check 'and the root' rmmod vnet
    is "$(vnode bridge list | grep -c 'vnet\.')" 0 'no bridge stays'
    check 'it is loaded again' insmod "$modules/vnet.ko"
    check 'and goes again' rmmod vnet
}

boot
addresses
everyone_reaches_everyone
streams
lanes
nothing_is_lost
groups
mismatches
hostile
comes_and_goes
segments
verbs
carriers
deaths
stuck
timeouts
gone
# shellcheck disable=SC2086 # These are several words.
sound $vnodes
finish
