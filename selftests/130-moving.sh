#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Memory that can be moved: when a request does not fit though enough is free, bridges give way, with
# what is in them, and who keeps one from moving is left in peace. docs/movable-memory.md and
# docs/bridges-and-portals.md are cited as MM-n and BR-n.
#
# cluster: --cpus 5 --memory 2800M --config /dev/null --timeout 800

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

control=/sys/kernel/debug/bridge_test/control
module=/lib/modules/$(uname -r)/adeos/bridge_test.ko
all='15 0xffff 0xffff'
# Granules of a piece: four of them, and nothing less, hold the smallest vnode.
piece=$((small / 2 / 4))

# at NAME COMMAND: in a vnode, or here.
at() {
    if [ "$1" = root ]; then
        sh -c "$2"
    else
        on "$1" sh -c "$2"
    fi
}

# b NAME COMMAND...: a command of bridge_test in a kernel.
b() {
    where=$1
    shift
    at "$where" "echo '$*' >$control"
}

# value NAME SLOT WORD: what bridge_test tells of a slot.
value() {
    at "$1" "cat $control" | awk -v slot="$2" -v word="$3" \
        '$2 == slot { for (i = 3; i < NF; i++) if ($i == word) print $(i + 1) }'
}

# bridge BRIDGE WORD: the word that follows another one in the line of debugfs.
bridge() {
    awk -v name="$1" -v word="$2" \
        '$2 == name { for (i = 1; i < NF; i++) if ($i == word) print $(i + 1) }' \
        /sys/kernel/debug/adeos/bridges
}

# total KEY: one of the numbers of `vnode bridge stat`.
total() {
    vnode bridge stat --json | sed -n "s/^  \"$1\": \([0-9]*\),*\$/\1/p"
}

# pool KEY: MiB of the pool, free or in the largest piece.
pool() {
    echo $(($(vnode info --json | sed -n "s/^  \"pool_$1_bytes\": \([0-9]*\),*\$/\1/p") >> 20))
}

# unfinished GROUP: what a group of tests needs has failed, and so the rest of it was not run.
unfinished() {
    not_ok "$1 comes to its end"
}

begin() {
    for name in one two three; do
        check "vnode $name" start $name --cpus $((cpu = cpu + 1)) --memory "${small}M"
        check 'loads the driver of bridges' on $name insmod "$module"
    done
    check 'and so does the root' insmod "$module"
}

# owner NUMBER: who creates a piece, and another one that uses it.
owner() {
    echo one two three | cut -d ' ' -f $(($1 % 3 + 1))
}

user() {
    owner $(($1 + 1))
}

# leave_room: the pool is filled but for nine pieces.
leave_room() {
    check 'a bridge fills the pool but for nine pieces' \
        b root create 30 filler $(($(pool largest) / 2 - 9 * piece)) "$all" stays
    is "$(pool free)" $((18 * piece)) 'which are free'
}

# fragment WHY: what is left of the pool is filled with pieces, and every other one is free again.
fragment() {
    number=0
    while [ $number -lt 9 ]; do
        b "$(owner $number)" create $number piece.$number $piece "$all" moves || return
        b "$(owner $number)" map $number || return
        b "$(owner $number)" fill $number $((number + 100)) || return
        b "$(user $number)" open $number piece.$number w moves || return
        b "$(user $number)" map $number || return
        number=$((number + 1))
    done
    is "$(pool free)" 0 "$1: nine bridges take all that is left"
    for number in 0 2 4 6 8; do
        b "$(owner "$number")" close "$number" || return
        b "$(user "$number")" close "$number" || return
    done
    eventually 10 has_free $((10 * piece))
    is "$(pool largest)" $((2 * piece)) "$1: five are closed, and no two free pieces touch"
}

has_free() {
    [ "$(pool free)" = "$1" ]
}

# users COMMAND [ARG]: a command for the other user of each piece that is left.
users() {
    for number in 1 3 5 7; do
        b "$(user $number)" "$1" $number "${2:-}" || return
    done
}

# clear: the pieces that are left go.
clear() {
    users close || return
    for number in 1 3 5 7; do
        b "$(owner "$number")" close "$number" || return
    done
    eventually 10 has_free $((18 * piece))
}

# unharmed: the bridges that are left hold what was written, for those that created them and others.
unharmed() {
    for number in 1 3 5 7; do
        for who in "$(owner "$number")" "$(user "$number")"; do
            b "$who" check "$number" $((number + 100)) || return
            told "$who" "$number" failed 0 || return
        done
    done
}

# told NAME SLOT WORD NUMBER: what bridge_test tells of a slot is that.
told() {
    [ "$(value "$1" "$2" "$3")" = "$4" ]
}

# follows NUMBER: users of a piece have been called as often as it has moved, and map it where it is.
follows() {
    for who in "$(owner "$1")" "$(user "$1")"; do
        is_mapped "$who" "$1" || return
        told "$who" "$1" let_go "$(bridge "piece.$1" freezes)" || return
        told "$who" "$1" settled "$(bridge "piece.$1" freezes)" || return
    done
}

# A bridge that does not fit has others moved.
a_bridge_makes_its_way() {
    fragment MM-41 || return
    is "$(total moved)" 0 'nothing has been moved yet'
    check 'a bridge of two pieces is created' b root create 31 wide $((2 * piece)) "$all" stays
    check 'is mapped' b root map 31
    check 'BR-11: and holds zeros' b root zeros 31
    isnt "$(total moved)" 0 'others were moved for it'
    is "$(total requests_served_by_moves)" 1 'MM-43: one request was served so'
    check 'the moved bridges hold what was written' unharmed
    for number in 1 3 5 7; do
        check "the users of piece $number have followed" eventually 5 follows $number
    done
    is "$(total refused_freezes) $(total timed_out_freezes)" '0 0' 'nobody has refused or been late'
    # A freeze ends after the time-out and one copy, however slow the machine.
    within "$(total longest_freeze_us)" 1 $((2000000 * slow)) 'the longest freeze, in microseconds'
    remark "longest freeze: $(total longest_freeze_us) us, for $((piece * 2)) MiB"
    check 'it goes' b root close 31
    under_load
    check 'with the others' clear
}

# MM-41: users write to the bridges all the time, and nothing of it gets lost when these are moved.
under_load() {
    for number in 1 3 5 7; do
        b "$(owner $number)" load $number 0 &
        b "$(user $number)" load $number 64 &
    done
    check 'all users write to their bridges' eventually 30 each_has_passed 2
    moved=$(total moved)
    served=$(total requests_served_by_moves)
    check 'meanwhile a bridge of four pieces is created' b root create 31 wide $((4 * piece)) "$all" stays
    isnt "$(total moved)" "$moved" 'others were moved for it'
    is "$(total requests_served_by_moves)" $((served + 1)) 'MM-43: which was served so'
    further=$(($(passes | tail -n 1) + 2))
    check 'MM-41: all users go on writing' eventually 30 each_has_passed "$further"
    for number in 1 3 5 7; do
        for who in "$(owner $number)" "$(user $number)"; do
            b "$who" rest $number
            is "$(value "$who" $number lost) $(value "$who" $number failed)" '0 0' \
                "MM-41: nothing that $who wrote to piece $number was lost"
        done
    done
    wait
    is "$(total refused_freezes) $(total timed_out_freezes)" '0 0' 'nobody has refused or been late'
    within "$(total longest_freeze_us)" 1 $((2000000 * slow)) 'the longest freeze under load'
    remark "longest freeze under load: $(total longest_freeze_us) us"
    check 'it goes' b root close 31
}

# passes: how often each user has written to all pages of a bridge, in rising order.
passes() {
    for name in one two three; do
        at $name "cat $control"
    done | sed -n 's/.* passes \([0-9]*\) .*/\1/p' | sort -n
}

each_has_passed() {
    [ "$(passes | head -n 1)" -ge "$1" ]
}

# So has a vnode, by the same call.
a_vnode_makes_its_way() {
    fragment 'a vnode' || return
    check 'there is less than it needs in one piece' [ "$(pool largest)" -lt "$small" ]
    moved=$(total moved)
    check 'it starts' start four --cpus 4 --memory "${small}M"
    isnt "$(total moved)" "$moved" 'after bridges were moved'
    check 'which hold what was written' unharmed
    check 'it answers' on four true
    check 'and is taken back' vnode kill four
    check 'the bridges go' clear
}

# keeps_the_bridges HOW WHY: each bridge has a user that does not let go.
keeps_the_bridges() {
    fragment "$2" || return
    moved=$(total moved)
    users behave "$1" || return
    begun=$(now_ms)
    refuses 'Cannot allocate memory|Out of memory' "$2: a bridge of four pieces does not fit" \
        b root create 31 wide $((4 * piece)) "$all" stays
    took=$(($(now_ms) - begun))
    is "$(total moved)" "$moved" "$2: nothing was moved for it"
    isnt "$(grep -c 'piece.*pinned 0x[1-9a-f]' /sys/kernel/debug/adeos/bridges)" 0 "MM-42: $2: bridges are pinned"
    for number in 1 3 5 7; do
        pinned=$(bridge piece.$number pinned)
        [ "$pinned" != 0x0 ] || continue
        is "$pinned" "$(bit_of "$(user $number)")" "$2: piece $number by its user"
        check 'where it is' is_in_phase piece.$number Settled
    done
    check "$2: the log says why" sh -c \
        "dmesg | grep 'no $((8 * piece)) MiB in one piece, though .* cannot be moved'"
    vnode start four --cpus 4 --memory "${small}M" 2>/tmp/said
    is $? 1 "$2: nor does a vnode"
    check "$2: whose start says how much there is in one piece" grep 'the largest piece' /tmp/said
}


# bit_of NAME: the vnode's, in a set.
bit_of() {
    printf '0x%x' $((1 << $(field "$1" id)))
}

# BR-74: who refuses pins its bridge, at once; and is forgiven when it follows again.
who_refuses() {
    keeps_the_bridges refuses BR-74 || return
    isnt "$(total refused_freezes)" 0 'BR-74: the refusals were counted'
    is "$(total timed_out_freezes)" 0 'BR-74: and nobody was late'
    check 'BR-74: the bridges hold what was written' unharmed
    forgive || return
}

# BR-75: who does not answer is left out after the time-out, and the others go on.
who_hangs() {
    keeps_the_bridges hangs BR-75 || return
    isnt "$(total timed_out_freezes)" 0 'BR-75: time-outs were counted'
    within "$(total longest_freeze_us)" 1000000 $((2000000 * slow)) 'BR-75: the longest freeze'
    remark "it took $(total longest_freeze_us) us; the request failed after $took ms"
    for number in 1 3 5 7; do
        check "BR-75: the other user of piece $number goes on" \
            b "$(owner "$number")" check "$number" $((number + 100))
    done
    forgive || return
}

# BR-71: who wants to map a bridge that is frozen is told when it can.
who_comes_late() {
    fragment BR-71 || return
    b "$(user 1)" behave 1 hangs || return
    b "$(user 1)" unmap 1 || return
    users follow stays || return
    b "$(user 1)" follow 1 moves || return
    # Only piece 1 can move: its owner has it mapped, and does not let go for a while.
    b "$(owner 1)" pause 1 500 || return
    b "$(user 1)" map_late 1 >/tmp/mapped 2>&1 &
    mapping=$!
    check 'somebody is about to map it' eventually 10 told "$(user 1)" 1 waiting 1
    check 'BR-71: the bridge moves, and the request is served' \
        b root create 31 wide $((2 * piece)) "$all" stays
    wait $mapping
    isnt $? 0 'BR-71: who does not have it mapped waits'
    check 'and is told so' grep 'temporarily unavailable' /tmp/mapped
    check 'BR-71: then it is mapped where it is' eventually 5 is_mapped "$(user 1)" 1
    check 'BR-71: and holds what was written' b "$(user 1)" check 1 101
    b "$(user 1)" behave 1 lets_go || return
    users follow moves || return
    check 'it goes' b root close 31
    check 'with the others' clear
}

is_in_phase() {
    grep -q " $1 $2 " /sys/kernel/debug/adeos/bridges
}

# is_mapped NAME SLOT: where piece SLOT is now.
is_mapped() {
    base=$(bridge "piece.$2" memory)
    told "$1" "$2" mapped "${base%+*}"
}

# forgive: the users let go again, and say so.
forgive() {
    users behave lets_go || return
    users follow moves || return
    is "$(grep -c 'piece.*pinned 0x[1-9a-f]' /sys/kernel/debug/adeos/bridges)" 0 \
        'BR-75: who follows again pins nothing'
    check 'and a bridge of four pieces fits' b root create 31 wide $((4 * piece)) "$all" stays
    check 'and the others hold what was written' unharmed
    check 'it goes' b root close 31
    check 'with the others' clear
}

# dies_when_asked NAME SLOT: the vnode crashes while a watcher of its own is to let go. A freeze does
# not last long enough for commands from here.
dies_when_asked() {
    b "$1" behave "$2" hangs || return
    asked=$(($(value "$1" "$2" let_go) + 1))
    on "$1" sh -c "echo 'await $2 $asked' >$control && echo c >/proc/sysrq-trigger" >/dev/null 2>&1 &
    check "$1 is to die when it is asked" eventually 10 told "$1" "$2" waiting 1
}

# BR-61: a death in the middle of a move. Whoever dies has let go; without any user, there is nothing
# left to be moved.
who_dies() {
    fragment BR-61 || return
    # Only piece 1 can move. Two has it mapped, and so has three.
    for pair in 'one 3' 'one 5' 'three 7'; do
        b "${pair% *}" follow "${pair#* }" stays || return
    done
    moved=$(total moved)
    late=$(total timed_out_freezes)
    dies_when_asked two 1 || return
    check 'BR-61: a user dies in the middle of a move, which goes on' \
        b root create 31 wide $((2 * piece)) "$all" stays
    is "$(total moved)" $((moved + 1)) 'the bridge was moved'
    is "$(field two state) $(field two cause)" 'dead panic' 'the user is dead'
    is "$(total timed_out_freezes)" "$late" 'and nobody has waited for it to the end'
    check 'the other user has followed' eventually 5 is_mapped three 1
    check 'and finds what was written' b three check 1 101
    check 'it is the only one' grep -q 'piece.1 .* users 3.1 mapped 0x8 ' /sys/kernel/debug/adeos/bridges
    check 'the request is taken back' b root close 31

    # Piece 1 goes, wherever it is now. Then only piece 3 can move, and nobody but one has it.
    b three close 1 || return
    b one follow 3 moves || return
    dies_when_asked one 3 || return
    check 'BR-61: the only user dies in the middle of a move' \
        b root create 31 wide $((4 * piece)) "$all" stays
    is "$(grep -c 'piece.3' /sys/kernel/debug/adeos/bridges)" 0 'its bridge has gone with it'
    is "$(total moved)" $((moved + 1)) 'and was not moved'
    is "$(total timed_out_freezes)" "$late" 'nor waited for to the end'
    check 'the request is taken back' b root close 31
    for number in 5 7; do
        b three close $number || return
    done
    wait
    for pair in 'one 1' 'two 2'; do
        check "${pair% *} is taken back" vnode kill "${pair% *}"
        check 'and starts again' start "${pair% *}" --cpus "${pair#* }" --memory "${small}M"
        check 'with its driver' on "${pair% *}" insmod "$module"
    done
    check 'all bridges are gone' eventually 10 has_free $((18 * piece))
}

# BR-76: a user that stays pins its bridge. BR-61: one that has died does not.
who_stays_or_dies() {
    fragment BR-76 || return
    users follow stays || return
    refuses 'Cannot allocate memory|Out of memory' 'BR-76: users that do not follow pin their bridges' \
        b root create 31 wide $((4 * piece)) "$all" stays
    for name in one two three; do
        check "$name is killed" vnode kill $name
    done
    is "$(grep -c piece /sys/kernel/debug/adeos/bridges)" 0 'BR-61: with its last user each bridge goes'
    check 'and the bridge fits' b root create 31 wide $((4 * piece)) "$all" stays
}

all_is_free() {
    [ "$(grep -c used /sys/kernel/debug/adeos/pool)" = 1 ]
}

# noted NAME PLACE WORD: what a requester of a transient bridge has noted.
noted() {
    at "$1" "cat $control" | awk -v place="$2" -v word="$3" \
        '$1 == "transient" && $2 == place { for (i = 3; i < NF; i++) if ($i == word) print $(i + 1) }'
}

# transients: the pieces that are left are transient bridges; those between go.
transients() {
    number=0
    while [ "$number" -lt 9 ]; do
        b "$(owner "$number")" request "$number" "piece.$number" "$piece" $((number + 100)) || return
        b "$(user "$number")" join "$number" "piece.$number" || return
        number=$((number + 1))
    done
    for number in 0 2 4 6 8; do
        b "$(owner "$number")" leave "$number" || return
        b "$(user "$number")" leave "$number" || return
    done
    eventually 10 has_free $((10 * piece))
}

# each COMMAND...: for both requesters of each transient bridge that is left.
each() {
    for number in 1 3 5 7; do
        for who in "$(owner "$number")" "$(user "$number")"; do
            "$@" || return
        done
    done
}

holds() {
    b "$who" hold "$number" $((number + 100))
}

is_told() {
    place=$(bridge "piece.$number" memory)
    [ "$(noted "$who" "$number" at)" = "${place%+*}" ] &&
        [ "$(noted "$who" "$number" relocated)" = "$(bridge "piece.$number" moves)" ] &&
        [ "$(noted "$who" "$number" wrong)" = 0 ]
}

leaves() {
    b "$who" leave "$number"
}

# Whoever requests transient memory says what to do when it was moved, and nothing else.
transient_memory() {
    check 'nine transient bridges, and five of them go' transients
    before=$(total moved)
    check 'a bridge that fits nowhere makes its way' b root create 31 wide $((4 * piece)) "$all" stays
    isnt "$(total moved)" "$before" 'transient bridges have moved'
    check 'all requesters were told, and where to' eventually 5 each is_told
    check 'and find what was written' each holds
    check 'the bridge goes' b root close 31
    check 'so do the transient ones' each leaves
    check 'and leave nothing' eventually 10 has_free $((18 * piece))
}

# lingers NAME NUMBER: a requester uses its memory for longer than a move waits, from now on.
lingers() {
    b "$1" linger "$2" $((8000 * slow)) &
}

no_longer_pinned() {
    [ "$(grep -c 'piece.*pinned 0x[1-9a-f]' /sys/kernel/debug/adeos/bridges)" = 0 ]
}

# A requester that is late pins its bridge for this once; and one whose owner dies is told.
transient_users() {
    check 'nine transient bridges, and five of them go' transients
    late=$(total timed_out_freezes)
    for number in 1 3 5 7; do
        lingers "$(owner "$number")" "$number"
    done
    sleep $((1 * slow))
    refuses 'Cannot allocate memory|Out of memory' 'BR-75: no move waits for a requester for ever' \
        b root create 31 wide $((4 * piece)) "$all" stays
    isnt "$(total timed_out_freezes)" "$late" 'it was waited for to the end'
    wait
    check 'who was late follows again' eventually 5 no_longer_pinned
    check 'the memory can be used, and holds what was written' each holds
    check 'then it makes way' b root create 31 wide $((4 * piece)) "$all" stays
    check 'all requesters were told, and where to' eventually 5 each is_told
    check 'the bridge goes' b root close 31

    # Of piece 1, whose owner is two, three is a user.
    check 'an owner is killed' vnode kill two
    check 'BR-62: the other requester is told' eventually 5 mourns three 1
    is "$(noted three 5 mourned)" 0 'of no other'
    number=1 who=three
    check 'and finds what was written' holds
    for name in one three; do
        for number in 0 1 2 3 4 5 6 7 8; do
            b "$name" leave "$number" >/dev/null 2>&1
        done
    done
    check 'it starts again' start two --cpus 2 --memory "${small}M"
    check 'with its driver' on two insmod "$module"
    check 'and all is gone' eventually 10 has_free $((18 * piece))
}

# mourns NAME PLACE
mourns() {
    [ "$(noted "$1" "$2" mourned)" = 1 ]
}

cpu=0
begin || unfinished begin
leave_room || unfinished leave_room
a_bridge_makes_its_way || unfinished a_bridge_makes_its_way
a_vnode_makes_its_way || unfinished a_vnode_makes_its_way
transient_memory || unfinished transient_memory
who_refuses || unfinished who_refuses
who_hangs || unfinished who_hangs
who_comes_late || unfinished who_comes_late
who_dies || unfinished who_dies
transient_users || unfinished transient_users
who_stays_or_dies || unfinished who_stays_or_dies
check 'the driver of the root goes' rmmod bridge_test
check 'nothing but the control area is in use' eventually 10 all_is_free
sound
finish
