#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Portals between kernels: a storm of more than a million raises, from three vnodes to one, of
# portals that are left alone, masked and unmasked, and released and given out again meanwhile.
# Each raise follows the store of a sequence number, so that a wake-up which is lost shows. The
# rules of docs/bridges-and-portals.md are cited as PO-n.
#
# cluster: --cpus 6 --memory 4G --config /dev/null --timeout 300 --add-kernel plain
# alone

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
module=$modules/portal_test.ko
file=/sys/kernel/debug/portal_test/run
bench=/sys/kernel/debug/bench/run
portals=/sys/kernel/debug/adeos/portals
senders='west north south'
# Raises by each sender, at least; and how often a portal is released and given out again meanwhile.
count=$((350000 / slow))
churns=$((1000 / slow))
# A command in the receiver answers within this, in the storm.
patience_ms=$((5000 * slow))

# in NAME COMMAND...: runs a command in a vnode, or here.
in_() {
    if [ "$1" = root ]; then
        shift
        "$@"
    else
        on "$@"
    fi
}

# tell NAME LINE: has the test's module in a kernel do something, and waits for that.
tell() {
    in_ "$1" sh -c "echo '$2' >$file"
}

# said NAME KEY [N]: the N-th word (the first) that the module's report has under KEY.
said() {
    in_ "$1" cat "$file" | awk -v key="$2" -v at="${3:-1}" '$1 == key { print $(at + 1) }'
}

# load NAME: the module, with the memory that all share.
load() {
    in_ "$1" insmod "$module" memory="$memory"
}

# portal PLACE: the number of the receiver's portal of a place.
portal() {
    in_ "$receiver" cat "$file" | awk -v place="$1" '$1 == "portal" && $2 == place { print $3 }'
}

# seen FROM PLACE: what the receiver has seen of a sender.
seen() {
    in_ "$receiver" cat "$file" |
        awk -v from="$1" -v at="$2" '$1 == "seen" && $2 == from { print $(at + 3) }'
}

# has_seen FROM PLACE SEQUENCE
has_seen() {
    [ "$(seen "$1" "$2")" = "$3" ]
}

# counted NAME NUMBER FIELD: what adeos_core has counted of a portal's number there.
counted() {
    in_ "$1" cat "$portals" | awk -v number="$2" -v field="$3" '
        $1 == "portal" && $2 == number {
            for (at = 5; at < NF; at++) if ($at == field) value = $(at + 1)
        }
        END { print value + 0 }'
}

boot() {
    check 'a receiver with two CPUs' start east --cpus 1-2 --memory $((128 + more))M
    check 'and three senders' start west --cpus 3 --memory $((96 + more))M
    start north --cpus 4 --memory $((96 + more))M
    start south --cpus 5 --memory $((96 + more))M
    receiver=east
    memory=0
    check 'the root takes memory for the test' load root
    memory=$(said root memory)
    for name in east $senders; do
        check "$name: the module is loaded" load "$name"
    done
    to=$(said east vnode)
    west=$(said west vnode)
    check 'the receiver allocates portals' tell east open
    numbers=$(for place in 0 1 2 3 4 5; do portal $place; done | xargs)
    is "$(echo "$numbers" | tr ' ' '\n' | sort -u | wc -l)" 6 "they have numbers of their own: $numbers"
}

# number PLACE: that of the receiver's portal, remembered.
number() {
    echo "$numbers" | cut -d ' ' -f $(($1 + 1))
}

# raise NAME PLACE: one raise; sets `last` to its sequence number.
raise() {
    tell "$1" "raise $to $2 $(number "$2")"
    last=$(said "$1" last $(($2 + 1)))
}

singles() {
    for place in 0 1 5; do
        raise west $place
        check "a raise is delivered (place $place)" eventually 2 has_seen "$west" $place "$last"
    done
    for place in 0 1; do
        tell east "mask $place"
        delivered=$(said east deliveries $((place + 1)))
        raise west $place
        raise west $((1 - place))
        check "while it is masked, another one is (place $place)" \
            eventually 2 has_seen "$west" $((1 - place)) "$last"
        is "$(said east deliveries $((place + 1)))" "$delivered" "PO-20: it is not (place $place)"
        last=$(said west last $((place + 1)))
        # From the receiver's other CPU: the first one takes the interrupts.
        on east taskset 2 sh -c "echo unmask $place >$file"
        check "PO-20: it is when it is unmasked (place $place)" \
            eventually 2 has_seen "$west" $place "$last"
        [ $place = 1 ] || is "$(said east cpu 1)" 1 'on the CPU that has unmasked it'
    done
    refuses 'Invalid argument' 'there are no more portals than 64' tell west "raise $to 0 64"
    tell west "raise $to 0 63"
    check 'PO-33: a raise of a portal that nobody owns is counted' \
        eventually 2 on east grep '^portal 63 owner - masked .* arrived 1 .* held 1$' $portals
    tell west "die $to 0 $(number 0)"
    # To ask the receiver would be an interrupt, which finds it, too. Its watch looks each 100 ms.
    sleep $slow
    last=$(said west last 1)
    check 'PO-16: what no interrupt comes for is found' eventually 2 has_seen "$west" 0 "$last"
    is "$(of_all found)" 1 'which is counted'
}

# of_all FIELD: what the receiver has counted of all portals together.
of_all() {
    on east cat $portals | sed -n "s/^interrupts.* $1 \([0-9]*\).*/\1/p"
}

# silence: for how long a CPU of the receiver has not given a sign of life, in ms.
silence() {
    sed -n 's/^[0-9]* east .* silent \([0-9]*\) ms .*/\1/p' /sys/kernel/debug/adeos/vnodes
}

# still NUMBER...: one of these processes runs.
still() {
    for process; do
        kill -0 "$process" 2>/dev/null && return
    done
    return 1
}

storm() {
    begin=$(now_ms)
    tell east 'toggle 200' &
    jobs=$!
    tell east "churn $churns" &
    jobs="$jobs $!"
    for name in $senders; do
        tell "$name" "storm $to $count $numbers" &
        jobs="$jobs $!"
    done
    slowest=0
    longest=0
    answers=0
    # shellcheck disable=SC2086 # These are several words.
    while still $jobs; do
        asked=$(now_ms)
        # On the CPU that takes the interrupts.
        on east taskset 1 true && answers=$((answers + 1))
        took=$(($(now_ms) - asked))
        [ $took -le $slowest ] || slowest=$took
        silent=$(silence)
        [ "$silent" -le $longest ] || longest=$silent
    done
    failed=0
    for job in $jobs; do
        wait "$job" || failed=$((failed + 1))
    done
    remark "the storm took $(($(now_ms) - begin)) ms; the slowest of $answers commands $slowest ms"
    remark "the longest silence was $longest ms; $(on east head -n 1 $portals)"
    is $failed 0 'a storm from three vnodes; portals are masked and released in it'
    within $answers 3 1000000 'meanwhile the receiver takes commands'
    within $slowest 0 $patience_ms "each is done within $patience_ms ms"
    within "$longest" 0 $((1000 * slow)) 'and its CPUs beat in time'
    is "$(of_all found)" 1 'PO-12: no interrupt has failed to come'
}

# The interrupts of a portal that raises itself follow one another without an instruction between.
chase() {
    left=$(of_all left)
    check 'a portal raises itself without end' tell east chase
    begin=$(now_ms)
    for _ in 1 2 3 4 5; do
        check 'PO-41: the receiver takes commands on this CPU' timeout $((20 * slow)) on east taskset 1 true
    done
    within $(($(now_ms) - begin)) 0 $((5 * patience_ms)) "each is done within $patience_ms ms"
    within "$(silence)" 0 $((1000 * slow)) 'and its CPUs beat in time'
    raise west 0
    check 'PO-42: what others raise is delivered' eventually 5 has_seen "$west" 0 "$last"
    check 'it ends' tell east rest
    left=$(($(of_all left) - left))
    remark "$(said east deliveries 7) deliveries; $left interrupts were left to Linux"
    within $left 1 1000000000 'PO-41: interrupts were left to Linux'
    # Which looks each 100 ms: on a busy machine a turn may come later than that.
    within "$(of_all found)" 1 $((1 + left / 100)) 'PO-42: and none to the watch'
}

storm_is_seen() {
    all=0
    for name in $senders; do
        from=$(said "$name" vnode)
        for place in 0 1 2 3 5; do
            last=$(said "$name" last $((place + 1)))
            check "PO-12: the last raise of $name is delivered (place $place: $last)" \
                eventually 5 has_seen "$from" $place "$last"
            all=$((all + last))
        done
        all=$((all + $(said "$name" last 5)))
    done
    within $all $((1000000 / slow)) 1000000000 "more than 10^6 were raised, or as many as such a kernel has time for: $all"
    remark "deliveries by place: $(on east cat "$file" | sed -n 's/^deliveries//p')"
    is "$(said east toggles 1)" 200 'a portal was masked 200 times in the storm'
    within "$(said east toggles 2)" 20 200 'others were delivered meanwhile'
    is "$(said east toggles 3)" 0 'PO-20: it never was'
    is "$(said east churns 1)" $churns "one was released and given out again $churns times"
    is "$(said east churns 2)" 0 'PO-30, PO-31: no handler has run for an owner that had released it'
    within "$(said east deliveries 5)" 100 1000000000 'many ran for those that had not'
}

# adds_up PLACE: PO-25, for a number that nobody raises any more.
adds_up() {
    number=$(number "$1")
    handled=$(said east deliveries $(($1 + 1)))
    sent=0
    case $1 in
    # The raise of the sender that has died in it is counted by nobody.
    0) sent=1 ;;
    # Before the storm its number was that of the portals that handlers were to outlast.
    4) handled=$((handled + $(said east outlasts 2))) ;;
    esac
    for name in east $senders; do
        sent=$((sent + $(counted "$name" "$number" sent)))
        sent=$((sent - $(counted "$name" "$number" coalesced)))
        is "$(counted "$name" "$number" sent)" "$(($(counted "$name" "$number" interrupting) + \
            $(counted "$name" "$number" announced) + $(counted "$name" "$number" coalesced)))" \
            "PO-25: $name has counted each raise once (place $1)"
    done
    is "$(counted east "$number" arrived)" $sent 'PO-25: what is not coalesced has arrived'
    remark "place $1: $(on east grep "^portal $number " $portals)"
    is "$(counted east "$number" delivered)" "$handled" \
        'PO-25: and the handler has run as often as is counted'
    # The last one has no owner.
    [ "$1" = 4 ] || is "$(counted east "$number" held)" 0 'PO-25: nothing waits'
}

# PO-30, PO-31 and PO-33: there are no more portals than that, and each has one owner at a time.
exhausted() {
    # The numbers of consoles, of regions, and the four of the network are kept for them, and no owner has them here.
    owned=$(on east grep -Evc '^interrupts| owner - ' $portals)
    free=$((64 - 6 - owned))
    raised=$(counted east 63 held)
    check 'all portals that are free are given out, and no more' tell east exhaust
    is "$(said east exhausts 1)" $free "those are $free"
    is "$(said east exhausts 2)" 0 'PO-32: none gets what was raised for nobody'
    is "$(counted east 63 forgotten)" "$raised" 'which is forgotten'
    is "$(on east grep -Evc '^interrupts| owner - ' $portals)" "$owned" 'and they are given back'
}

# PO-30: the receiver's other CPU releases while handlers run, which the first one or a thread does.
outlasted() {
    check 'portals are released while their handlers run' \
        on east taskset 2 sh -c "echo outlast 20 >$file"
    is "$(said east outlasts 1) $(said east outlasts 2)" '20 20' 'each of them did'
    is "$(said east outlasts 3)" 0 'PO-30: none does when the release is over'
}

forgotten() {
    check 'a hundred portals are released with a raise under way' tell east 'forget 100'
    is "$(said east forgets 1)" 100 'all of them'
    is "$(said east forgets 2)" 0 'PO-32: none of the next owners gets it'
    is "$(said east forgets 3)" 0 'PO-32: each gets its own'
}

# PO-14 and PO-15: the south dies.
death() {
    south=$(said south vnode)
    tell east 'mask 0'
    raise south 0
    check 'a vnode that has raised a portal dies' vnode kill south
    tell east 'unmask 0'
    check 'PO-14: the portal is delivered' eventually 2 has_seen "$south" 0 "$last"
    tell west "raise $south 7 50"
    check 'its number begins another life' start south --cpus 5 --memory $((96 + more))M
    is "$(counted south 50 arrived)" 0 'PO-15: which gets nothing that was raised for the dead'
    check 'its nanokernel takes portals' load south
    to=$south
    receiver=south
    tell south open
    numbers=$(portal 0)
    raise west 0
    check 'from others' eventually 2 has_seen "$west" 0 "$last"
    check 'it stops' vnode stop south
    receiver=east
    to=$(said east vnode)
}

# A kernel without the patches looks for portals by itself, and then does the same.
polled() {
    check 'a kernel without the patches' start plain --cpus 5 --memory 128M --entry sipi \
        --kernel /boot/vmlinuz-plain --initrd /boot/initrd-plain.img
    check 'has the module, too' on plain insmod \
        "/lib/modules/$(on plain uname -r)/adeos/portal_test.ko" memory="$memory"
    receiver=plain
    to=$(said plain vnode)
    tell plain open
    numbers=$(for place in 0 1 2 3 4 5; do portal $place; done | xargs)
    tell plain 'toggle 5' &
    check 'CA-63: a storm on it' tell west "storm $to 20000 $numbers"
    wait $!
    for place in 0 1 2 3 5; do
        last=$(said west last $((place + 1)))
        check "CA-63: its last raise is delivered (place $place: $last)" \
            eventually 5 has_seen "$west" $place "$last"
    done
    check 'portals are released there' tell plain 'forget 3'
    is "$(said plain forgets 2) $(said plain forgets 3)" '0 0' 'PO-32: without a trace'
    check 'all of them are given out' tell plain exhaust
    tell plain 'mask 0'
    raise root 0
    tell plain 'unmask 0'
    check 'PO-20: what is unmasked is delivered' eventually 2 has_seen 0 0 "$last"
    check 'it stops' vnode stop plain
    receiver=east
    to=$(said east vnode)
}

# Only that it is measured: how long it may take is for scripts/bench to say.
measured() {
    check 'the benchmark is loaded' insmod "$modules/bench.ko"
    check 'in the receiver, too' on east insmod "$modules/bench.ko"
    check 'which answers' on east sh -c "echo serve >$bench"
    for what in "portals $to 5 200" "requests $to 5 200" 'copies 5'; do
        check "it measures $what" taskset 1 sh -c "echo $what >$bench"
    done
    on east sh -c "echo send 1000 >$bench" &
    check 'it measures messages' sh -c "echo receive 1 1000 >$bench"
    wait $!
    remark "$(cat $bench)"
    is "$(awk '$2 > 0 && $3 > 0' $bench | wc -l)" 6 'all of these take some time'
    check 'it goes' rmmod bench
    check 'from the receiver, too' on east rmmod bench
}

unload() {
    for name in east west north root; do
        check "$name: the module goes" in_ "$name" rmmod portal_test
    done
    is "$(on east grep -c 'owner portal_test' $portals)" 0 \
        'its portals have no owner any more'
}

before=$(view)
boot
singles
exhausted
outlasted
storm
storm_is_seen
for place in 0 1 2 3 4 5; do
    adds_up $place
done
chase
forgotten
death
polled
measured
sound east west north
unload
for name in east west north; do
    check "$name stops" vnode stop $name
done
is "$(view)" "$before" 'and the root has everything again'
finish
