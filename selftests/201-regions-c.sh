#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Bridges for programs, in C: programs over tools/libbridge-c/include/bridge.h in the root and in a vnode, one against the other.
# docs/bridge-shm.md is cited as SH-n.
#
# cluster: --cpus 2 --memory 2G --config /dev/null --timeout 200
# c: bridge_c bridge_refusals

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh
# shellcheck source=selftests/regions.sh
. /selftests/regions.sh

# c NAME COMMAND [NUMBER]: has the program of a kernel do something with the region (selftests/c/bridge_c.c).
c() {
    where=$1
    command=$2
    shift 2
    at "$where" bridge_c "$command" c "$@" 2>&1
}

# begin NAME COMMAND WORD [NUMBER]: the same as c, in the background of that kernel, as soon as it has said the word. What it says is in
# /tmp/COMMAND there, its number in /tmp/COMMAND.pid.
begin() {
    at "$1" sh -c "rm -f /tmp/$2; bridge_c $2 c ${4:-} >/tmp/$2 2>&1 </dev/null & echo \$! >/tmp/$2.pid"
    eventually 20 has_said "$1" "$2" "$3"
}

has_said() {
    at "$1" grep -q "$3" "/tmp/$2"
}

# said NAME COMMAND WORD: all that one in the background has said when it has said the word.
said() {
    eventually 30 has_said "$1" "$2" "$3"
    at "$1" cat "/tmp/$2" | xargs
}

# end NAME COMMAND: kills one in the background.
end() {
    at "$1" sh -c "kill -9 \$(cat /tmp/$2.pid)"
}

region_is_gone() {
    ! vnode bridge list | grep -q ' shm\.c '
}

no_regions() {
    ! vnode bridge list | grep -q 'shm\.[^ ]'
}

begins() {
    check 'a vnode' start one --cpus 1 --memory "$((small + 32))M"
    check 'the root loads the module' insmod "$module"
    check 'and so does it' on one insmod "$module"
    for name in root one; do
        is "$(at $name bridge_refusals errors 2>&1)" 'done' "what is wrong is refused, and nothing is lost ($name)"
        check 'and nothing stays' eventually 5 no_regions
    done
    check 'the root makes a region with channels' begin root keep ready
}

channels() {
    count=$((404 / slow))
    check 'a program of one serves' begin one serve ready
    is "$(c root ask $count)" "asked $count" 'the root is answered, each time and byte by byte'
    is "$(said one serve served)" "ready served $count" 'and one has been asked as often'
    check 'the root serves' begin root serve ready
    is "$(c one ask $count)" "asked $count" 'and one is answered'
    is "$(said root serve served)" "ready served $count" 'as often'
}

waits() {
    check 'one waits for a notice' begin one wait waits
    check 'the root gives one' c root notify
    is "$(said one wait noticed)" 'waits noticed 1' 'SH-41: it is woken'
    rounds=$((40 / slow))
    c one pong $rounds >/tmp/pong &
    pong=$!
    # One who looks once a second, for nobody tells it, would take more than a second for each.
    within "$(c root ping $rounds)" 0 10000 'SH-41: words are told of at once (ms)'
    wait $pong
    within "$(cat /tmp/pong)" 0 10000 'by both'
}

conditions() {
    check 'one waits for a condition' begin one await waits 5
    check 'the root tells it, which is another value' c root tell 4
    check 'and that' c root tell 5
    is "$(said one await is)" 'waits is 5' 'one has seen it'
    check 'the root waits for one' begin root await waits 6
    check 'one wakes the one that waits' c one tell -6
    is "$(said root await is)" 'waits is 6' 'the root has seen it'
}

locks() {
    turns=$((2000 / slow))
    c one add $turns >/tmp/added &
    adding=$!
    is "$(c root add $turns)" "added $turns" 'SH-62: two vnodes take a lock in turn'
    wait $adding
    is "$(cat /tmp/added)" "added $turns" 'none finds the other one in the middle of it'
    is "$(c root numbers | xargs)" "$((2 * turns)) $((2 * turns))" 'and nothing is lost'

    check 'one takes the lock' begin one hold had
    c root mend 0 >/tmp/mended &
    mending=$!
    check 'the root waits for it' eventually 5 c root contended
    check 'who has it is killed' end one hold
    wait $mending
    is "$(cat /tmp/mended)" inherited 'SH-61: the root has it, and is told'
    is "$(c root numbers | xargs)" "$((2 * turns + 1)) $((2 * turns))" 'of what is half-done'
    is "$(c one mend 1)" inherited 'SH-63: the next one is told as well, and says that all is whole'
    is "$(c root mend 1)" had 'after which nobody is'
    is "$(c root add 1)" 'added 1' 'and all goes on'
}

ends_of_pipes() {
    check 'one fills the pipe' begin one fill full
    refuses 'busy' 'which nobody else can do then' c root fill
    check 'it is killed' end one fill
    is "$(c root drain | xargs)" 'drains 4, then its end' 'the root has all of it, and is told of its end'
    is "$(c root drain 1 | xargs)" 'drains 0, then its end' 'as is one who does not wait'
    check 'one fills it again' begin one fill full
    check 'the root drains it' begin root drain drains
    check 'one takes the lock' begin one hold had
    c root mend 1 >/tmp/mended &
    mending=$!
    check 'the root waits for it' eventually 5 c root contended
    on one sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    wait $mending
    is "$(cat /tmp/mended)" inherited 'SH-63: when one dies, the root has its lock, and is told'
    is "$(said root drain end)" 'drains 4, then its end' 'and of the end of the pipe'
    is "$(c root drain 1 | xargs)" 'drains 0, then its end' 'also one who does not wait'
    check 'the root takes the end that it had' begin root fill full
}

ends() {
    check 'the dead one is taken back' vnode kill one
    check 'the root lets go' end root fill
    check 'of all' end root keep
    check 'then the region is gone' eventually 10 region_is_gone
    check 'and the module can be' rmmod bridge_shm
    sound
    is "$(view)" "$before" 'the root has all again'
}

before=$(view)
begins
channels
waits
conditions
locks
ends_of_pipes
ends
finish
