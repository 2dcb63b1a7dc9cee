#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Locks between kernels: three vnodes and the root contend for one, and it counts exactly and in
# fairness; what becomes of it when who holds it or waits for it dies, gives up, or scribbles over it.
# docs/inter-vnode-locks.md is cited as IL-n.
#
# cluster: --cpus 5 --memory 3G --config /dev/null --timeout 400

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

module=/lib/modules/$(uname -r)/adeos/lock_test.ko
file=/sys/kernel/debug/lock_test/run
vnodes='one two three'
# Turns of all together.
total=$((100000 / slow))
# In this time a lock is handed on, whatever has become of its owner. In ms.
patience=$((5000 * slow))
# Times that a taker is to reach, and not to.
long=$((30000 * slow))
short=300

# Where the lock has its parts, and what the words of the owner and of a place consist of.
owner=0x00
places=0x40
lkdtm=/sys/kernel/debug/provoke-crash/DIRECT

# in_ NAME COMMAND...: runs a command in a vnode, or here.
in_() {
    if [ "$1" = root ]; then
        shift
        "$@"
    else
        on "$@"
    fi
}

# l NAME WORD...: a command of lock_test in a kernel.
l() {
    where=$1
    shift
    in_ "$where" sh -c "echo '$*' >$file"
}

# said NAME KEY: what lock_test tells there.
said() {
    in_ "$1" cat "$file" | awk -v key="$2" '$1 == key { print $2 }'
}

# each NAME KIND: what a hand-over has taken, in ns.
each() {
    in_ "$1" cat "$file" | awk -v kind="$2" '$1 == kind { print $NF }'
}

# end_of NAME WORD: what adeos_core tells of the lock there; what it does with it without a word.
end_of() {
    in_ "$1" cat /sys/kernel/debug/adeos/locks | awk -v word="${2:-}" '
        $1 == "lock" && word == "" { print $3 }
        $1 == "lock" { for (i = 4; i < NF; i++) if ($i == word) print $(i + 1) }'
}

# does NAME WHAT: whether a kernel holds the lock, waits for it or does neither.
does() {
    [ "$(end_of "$1")" = "$2" ]
}

holds() {
    [ "$(said "$1" holding)" = 1 ]
}

# hold NAME: has a kernel hold the lock until it is told otherwise.
hold() {
    l "$1" hold 600000 2>/tmp/hold.said &
    holder=$!
    check "$1 holds the lock" eventually 10 holds "$1"
}

# let_go NAME: has the holder free it.
let_go() {
    check "$1 lets go" l "$1" release
    wait "$holder"
    is "$?" 0 'and has had it until then'
}

# takes NAME [HOW]: has a kernel wait for the lock; sets `taker`.
takes() {
    l "$1" "${2:-take}" $long 2>/tmp/take.said &
    taker=$!
    check "$1 waits for it" eventually 10 does "$1" waiting
}

# has_taken NAME FOUND: the kernel that waits last gets its turn.
has_taken() {
    wait "$taker"
    is "$?" 0 "$1 gets it"
    is "$(said "$1" found)" "$2" "$2"
}

# deaths: how often the kernels that live have broken the lock of a dead one.
deaths() {
    broken=0
    for name; do
        broken=$((broken + $(end_of "$name" dead)))
    done
    echo $broken
}

# rise NAME: starts a vnode with the test in it.
rise() {
    check "vnode $1" start "$1" --cpus "$(($(echo "$vnodes" | tr ' ' '\n' | grep -n "^$1\$" | cut -d : -f 1) + 1))" \
        --memory "${small}M"
    check 'opens the lock' on "$1" insmod "$module"
}

begin() {
    check 'the root creates the lock' insmod "$module"
    for name in $vnodes; do
        rise "$name"
    done
    does_nothing
}

does_nothing() {
    for name in root $vnodes; do
        is "$(end_of "$name")" idle "$name has nothing to do with it"
    done
}

# IL-10, IL-12, IL-24, and that locks that cannot be are refused.
single() {
    check 'the root takes it' l root take 0
    is "$(said root found)" clean 'clean'
    check 'tries it' l root try
    check 'and tries it in the handler of a portal' l root stage
    is "$(said root found)" clean 'which has got it'
    check 'a vnode as well' l one stage
    refuses 'File exists' 'IL-3, IL-50: a kernel has one end' l root open 0
    refuses 'Invalid argument' 'a lock has its alignment' l root open 0x120
    refuses 'Invalid argument' 'and its size' l root open 0x1fff80
    check 'there is room for another one' l root open 0x1fff40

    hold one
    refuses 'resource busy' 'IL-10: while one has it, the root does not get it' l root try
    refuses 'resource busy' 'nor in a handler' l root stage
    refuses 'resource busy' 'nor another caller of one' l one try
    before=$(now_ms)
    refuses 'timed out' 'IL-54: who waits gives up in time' l root take $short
    within $(($(now_ms) - before)) $short $patience 'and not before (ms)'
    refuses 'timed out' 'another caller of the kernel that holds it gives up, too' l one take $short
    # A hand-over that comes just when the sleeper looks again by itself may be found by that.
    before=$(end_of two unwoken)
    for _ in 1 2 3 4 5; do
        takes two
        let_go one
        has_taken two clean
        hold one
    done
    let_go one
    within $(($(end_of two unwoken) - before)) 0 2 'IL-22: who is next has been woken'
    does_nothing
}

# shares: each kernel has had turns, and waited for each of the others once at most; sets `sum`. How
# many turns each has is a matter of how often it comes, and so of the machine's load.
shares() {
    sum=0
    for name; do
        turns=$(said "$name" turns)
        sum=$((sum + turns))
        within "$turns" 1 $total "$name has had turns"
        within "$(end_of "$name" longest_wait)" 0 $(($# - 1)) 'IL-15: and let each other kernel pass once at most'
        remark "$name has had $turns turns"
    done
}

contention() {
    for name in root $vnodes; do
        check "$name begins at zero" l "$name" reset
    done
    jobs=
    # The root contends with two callers, which have one place together.
    for name in root root $vnodes; do
        l "$name" contend $total 0xf 2>>/tmp/contend.said &
        jobs="$jobs $!"
    done
    failed=0
    for job in $jobs; do
        wait "$job" || failed=$((failed + 1))
    done
    is "$failed" 0 'three vnodes and the root contend'
    remark "$(cat /tmp/contend.said)"
    is "$(said root counter)" $total 'IL-41: no turn is lost'
    # shellcheck disable=SC2086 # These are several names.
    shares root $vnodes
    is "$sum" $total 'and none is had by two'
    remark "hand-overs take $(each root lock) ns each"
    does_nothing
}

# IL-33, IL-36.
a_holder_dies() {
    before=$(deaths root two three)
    hold one
    takes two
    check 'the holder is killed' vnode kill one
    killed=$(now_ms)
    wait "$holder"
    has_taken two inconsistent
    within $(($(now_ms) - killed)) 0 $patience 'IL-33: within a bounded time (ms)'
    is $(($(deaths root two three) - before)) 1 'one of those that live has broken it'
    check 'the next one' l three take $long
    is "$(said three found)" inconsistent 'IL-36: is told as well'
    check 'the root declares it consistent' l root repair $long
    is "$(said root found)" inconsistent 'IL-36: as the last one that is told'
    check 'the next one' l three take $long
    is "$(said three found)" clean 'is not told'
    rise one

    hold one
    # It crashes, and nobody waits.
    on one sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    wait "$holder"
    check 'when the holder crashes, another one takes it' l three repair $long
    is "$(said three found)" inconsistent 'inconsistent'
    check 'the dead one is taken back' vnode kill one
    rise one
}

# IL-33, of one that nobody has stopped and that does not stop by itself.
a_holder_hangs() {
    hold one
    takes two
    before=$(now_ms)
    # Interrupts stay off: that has to be noticed first, and this does not return by itself.
    on one sh -c "echo HARDLOCKUP >$lkdtm" 2>/dev/null &
    hung=$!
    has_taken two inconsistent
    within $(($(now_ms) - before)) 0 $((2 * patience)) 'when the holder hangs, within a bounded time (ms)'
    is "$(field one cause)" hang 'because it hangs'
    wait $hung $holder
    check 'the dead one is taken back' vnode kill one
    check 'two declares it consistent' l two repair $patience
    rise one
}

# IL-34.
a_waiter_dies() {
    hold root
    takes one
    first=$taker
    takes two
    check 'the first waiter is killed' vnode kill one
    wait "$first"
    before=$(now_ms)
    let_go root
    has_taken two clean
    within $(($(now_ms) - before)) 0 $patience 'IL-34: it is skipped at once (ms)'
    rise one

    hold root
    takes one
    first=$taker
    takes two
    before=$(now_ms)
    check 'the module of the first waiter is removed' on one rmmod lock_test
    within $(($(now_ms) - before)) 0 $patience 'at once (ms)'
    wait "$first"
    isnt "$?" 0 'and its waiting has failed'
    let_go root
    has_taken two clean
    check 'the module comes again' on one insmod "$module"
    check 'and takes the lock' l one take $long
}

# IL-11, IL-34: of three that wait, the one in the middle dies; the others have their turns in order.
the_middle_dies() {
    hold root
    l two hold 600000 2>/dev/null &
    first=$!
    check 'two waits' eventually 10 does two waiting
    takes one
    middle=$taker
    takes three
    # It crashes, and stays a member until the root has noticed.
    on one sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    wait "$middle"
    let_go root
    check 'the first one has it next' eventually 10 holds two
    is "$(said two found)" clean 'clean'
    check 'the last one waits still' does three waiting
    before=$(now_ms)
    check 'the first one lets go' l two release
    wait "$first"
    is "$?" 0 'and has had it until then'
    has_taken three clean
    within $(($(now_ms) - before)) 0 $patience 'IL-34: who was between them is skipped (ms)'
    check 'the dead one is taken back' vnode kill one
    rise one
}

# IL-25: a process that waits is killed.
a_caller_is_killed() {
    hold one
    sh -c "echo take $long >$file" 2>/dev/null &
    killed=$!
    check 'a process of the root waits' eventually 10 does root waiting
    takes two
    before=$(now_ms)
    kill -9 $killed
    wait $killed 2>/dev/null
    is "$?" 137 'it is killed'
    within $(($(now_ms) - before)) 0 $patience 'at once (ms)'
    check 'and the root does not wait any more' does root idle
    let_go one
    has_taken two clean
}

# IL-40 to IL-42. What is written here, any kernel that maps the bridge can write.
scribbled() {
    vnode=$(said three vnode)
    generation=$(awk -v vnode="$vnode" '$1 == "member" && $2 == vnode { print $4 }' \
        /sys/kernel/debug/adeos/members)
    check 'one writes what is no owner' l one poke $owner 0x20000000001
    check 'IL-42: the root takes the lock' l root repair $patience
    is "$(said root found)" inconsistent 'inconsistent'

    check 'one says that three has it' l one poke $owner $((vnode << 32 | generation))
    refuses 'timed out' 'IL-40, IL-54: the root gives up in time' l root take $short
    check 'IL-42: three takes it' l three repair $patience
    is "$(said three found)" inconsistent 'inconsistent'

    check 'one says that three waits' l one poke $((places + 8 * vnode)) "$generation"
    before=$(now_ms)
    check 'IL-42: the root takes the lock' l root take $patience
    is "$(said root found)" clean 'clean'

    hold root
    check 'one takes the lock out of its hands' l one poke $owner 0
    check 'the root lets go' l root release
    wait "$holder"
    isnt "$?" 0 'IL-42: and is told'
    is "$(grep -c 'Owner died' /tmp/hold.said)" 1 'that its owner has died, for the others'
    is "$(end_of root lost)" 1 'which is counted'

    offset=0
    while [ $offset -lt 192 ]; do
        l one poke $offset 0xffffffffffffffff
        offset=$((offset + 8))
    done
    for name in root $vnodes; do
        check "with all bits set, $name takes it" l "$name" take $patience
        is "$(said "$name" found)" inconsistent 'inconsistent'
    done
    hold two
    takes three
    check 'one clears its place' l one poke $((places + 8 * $(said three vnode))) 0
    let_go two
    has_taken three inconsistent
    check 'it is declared consistent' l two repair $patience
    does_nothing
}

# Two vnodes contend for the lock, and two CPUs of the root for a spinlock of Linux, which takes so
# much less that there are more turns of it: or else one of them has had all before the other comes.
compared() {
    check 'the counter is zero again' l root reset
    first=$(said one vnode)
    second=$(said two vnode)
    for name in one two; do
        l "$name" contend 10000 $((1 << first | 1 << second)) &
    done
    wait
    is "$(said root counter)" 10000 'two vnodes contend'
    for cpus in 1 2; do
        taskset $cpus sh -c "echo spin 1000000 >$file" &
    done
    wait
    isnt "$(each root spinlock)" 0 'and two CPUs of the root for a spinlock'
    remark "of one: $(in_ one grep '^lock handovers' "$file")"
    remark "of the root: $(grep '^spinlock handovers' "$file")"
}

begin
single
contention
a_holder_dies
a_holder_hangs
a_waiter_dies
the_middle_dies
a_caller_is_killed
scribbled
compared
# The console of one remembers its crashes.
sound two three
for name in root $vnodes; do
    check "$name removes the module" in_ "$name" rmmod lock_test
    is "$(in_ "$name" cat /sys/kernel/debug/adeos/locks)" '' 'and has no lock open'
done
finish
