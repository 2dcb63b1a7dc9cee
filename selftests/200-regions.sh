#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Bridges for programs: what one vnode's program stores another's sees; who may use them, and how much; waiting, deaths, and
# moves while programs go on writing. docs/bridge-shm.md is cited as SH-n.
#
# cluster: --cpus 4 --memory 2G --config /dev/null --timeout 400
# cargo: shmtest
# longer
# shellcheck disable=SC2016,SC2317 # Other shells expand what is quoted; functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh
# shellcheck source=selftests/regions.sh
. /selftests/regions.sh

granule=2097152
all=65535

# later NAME COMMAND...: the same as s, in the background; what it says is in /tmp/later, its end in its last line.
later() {
    : >/tmp/later
    {
        s "$@"
        echo "status $?"
    } >/tmp/later &
    later=$!
    sleep 0.5
}

# is_later SAID DESC: what was begun in the background has said this.
is_later() {
    wait $later
    is "$(xargs </tmp/later)" "$1" "$2"
}

no_bridge_of_one() {
    ! vnode bridge list | grep -q 'one/shm'
}

free_mib() {
    echo $(($(vnode info --json | sed -n 's/^  "pool_free_bytes": \([0-9]*\),*$/\1/p') >> 20))
}

begins() {
    check 'a vnode' start one --cpus 2 --memory "$((small + 32))M"
    check 'another one' start two --cpus 3 --memory "$((small + 32))M"
    check 'it loads the module' on one insmod "$module"
    refuses 'not connected|endpoint' 'without the root there are no regions' \
        at one shmtest rounds early 1
    check 'the root loads it' insmod "$module"
    check 'the other one too' on two insmod "$module"
    is "$(stat -c '%a %u %g' /dev/bridge_shm)" '666 0 0' 'anybody may open the device'
    for name in root one two; do
        check "a program runs in $name" serve $name
    done
}

regions() {
    check 'the root makes a region' s root create 1 queue $((2 * granule)) 600 $all $all
    check 'it maps it' s root map 1
    check 'SH-21: it is zeros' s root verify 1 18446744073709551615
    check 'it fills it' s root fill 1 7
    for name in one two; do
        check "$name opens it" s $name open 1 queue w
        check "$name maps it" s $name map 1
        check "$name finds what the root has written" s $name verify 1 7
    done
    check 'one writes' s one fill 1 8
    check 'the root sees it' s root verify 1 8
    check 'and two' s two verify 1 8
    refuses 'exists' 'SH-1: there is one of a name' s two create 2 queue $granule 600 0 0
    refuses 'No such file' 'and none of another' s two open 2 nothing w
    refuses 'Invalid argument' 'a size that is no whole granules' s root create 2 odd 4096 600 0 0
    refuses 'Invalid argument' 'no size' s root create 2 none 0 600 0 0
    refuses 'Invalid argument' 'a name with a wrong character' s root create 2 'a+b' $granule 600 0 0
    refuses '27 characters' 'a name that is too long' s root create 2 a234567890123456789012345678 $granule 600 0 0
    refuses 'Invalid argument' 'mode bits that no region has' s root create 2 x $granule 700 0 0
    refuses 'Cannot allocate' 'more than there is' s root create 2 x $((granule << 20)) 600 0 0
    check 'a name of the vnode' s one create 2 own/queue $granule 600 $all 0
    check 'is another region' s one map 2
    check 'of zeros' s one verify 2 18446744073709551615
    check 'two can read it by that name' s two open 2 1/queue r
    refuses 'Permission denied' 'not write it' s two open 3 1/queue w
    refuses 'Permission denied' "nobody else can use the vnode's names" s two create 3 1/mine $granule 600 0 0
    is "$(s two stat 2 | grep -o 'name.*owner: ([0-9]*')" 'name: "queue", bytes: 2097152, user: 0, group: 0, mode: 384, owner: (1' \
        'it tells what it is'
    refuses 'Bad file descriptor' 'a reader gives no notices' s two notify 2
    refuses 'Bad file descriptor' 'and wakes nobody' s two wake_word 2 0 1
    check 'two lets go' s two close 2
    check 'one as well' s one close 2
    check 'SH-4: then it is gone' eventually 5 no_bridge_of_one
    refuses 'in use|busy|temporarily' 'the module stays while something is open' rmmod bridge_shm
}

waits() {
    notices=$(s one notices 1)
    later one wait 1 "$notices" 20000
    check 'the root gives a notice' s root notify 1
    is_later "$((notices + 1)) status 0" 'SH-41: it wakes who waits'
    is "$(s one wait 1 "$notices" 20000)" "$((notices + 1))" 'what is news does not sleep'
    refuses 'timed out' 'SH-45: the time is over' s one wait 1 $((notices + 1)) 100
    is "$(s one poll 1 0)" io 'SH-5: a poll tells it'
    is "$(s one read 1)" 1 'a read takes it'
    is "$(s one poll 1 0)" o 'and then there is no more'
    later one poll 1 20000
    check 'two gives a notice' s two notify 1
    is_later 'i status 0' 'it ends a poll'
    later one read 1
    check 'and one more' s root notify 1
    is_later '1 status 0' 'the read that follows had one to take'
    is "$(s one read 1)" 1 'and this one too'
    # One who looks once a second, for nobody tells it, would take more than a second for each.
    notices=$(s root notices 1)
    s one pong 1 "$notices" 40 >/tmp/pong 2>&1 &
    pong=$!
    within "$(s root ping 1 40)" 0 $((10000 * slow)) 'SH-41: 40 notices are answered at once (ms)'
    wait $pong
    is "$(cat /tmp/pong)" '' 'each once'
    check 'a notice by writing' s root write 1
    isnt "$(s root read_now 1)" '' 'is read without sleeping'
    refuses 'temporarily unavailable' 'SH-5: without one that fails' s root read_now 1
    s one read_now 1 >/tmp/said
    check 'a word that two count up in turn' s root store 1 12288 0
    s one pong_word 1 12288 40 >/tmp/pong 2>&1 &
    pong=$!
    within "$(s root ping_word 1 12288 40)" 0 $((10000 * slow)) 'SH-41: they wake each other at once (ms)'
    wait $pong
    is "$(cat /tmp/pong) $(s root load 1 12288)" ' 80' 'each time'
    check 'a word' s root store 1 4096 5
    refuses 'temporarily unavailable' 'a word of another value does not sleep' s one wait_word 1 4096 6 20000
    later one wait_word 1 4096 5 20000
    check 'the word changes' s root store 1 4096 6
    check 'who sleeps on it is woken' s root wake_word 1 4096 1
    wait $later
    # It may have looked by itself in between.
    check 'and says so' grep -qE 'status 0|temporarily unavailable' /tmp/later
    later one wait_word 1 4096 6 3000
    first=$later
    mv /tmp/later /tmp/first
    later one wait_word 1 4096 6 3000
    check 'of two that sleep' s one wake_word 1 4096 1
    wait $first
    wait $later
    is "$(xargs </tmp/first)" 'status 0' 'SH-44: the older one is woken'
    check 'and the other one is not' grep 'timed out' /tmp/later
    later one wait_word 1 4096 6 20000
    check 'another program of the same vnode wakes as well' s one wake_word 1 4096 1
    is_later 'status 0' 'without a portal'
    refuses 'timed out' 'nobody wakes' s one wait_word 1 4096 6 100
    refuses 'Invalid argument' 'a word that is none' s one wait_word 1 4097 6 100
    refuses 'Invalid argument' 'nor one behind the end' s one wait_word 1 $((2 * granule)) 0 100
}

# What can be mapped, and how.
mappings() {
    is "$(shmtest mapping queue 2>&1)" 13 'SH-30: no more than is allowed can be mapped'
    is "$(on one shmtest mapping queue 2>&1)" 13 'nor in a vnode'
    is "$(shmtest passing passed 2>&1)" 3 'SH-3, 26, 35: it is passed on, SIGBUS is where it has been, a futex it is not'
    is "$(on one shmtest passing passed 2>&1)" 3 'nor in a vnode'
}

# eventfds, and what a signal does to who waits.
signals() {
    check 'one has an eventfd signalled' s one signal 1
    s one signalled 1 0 >/tmp/said
    is "$(s one signalled 1 0)" 0 'SH-46: nothing has come'
    later one signalled 1 20000
    check 'the root gives a notice' s root notify 1
    is_later '1 status 0' 'it is signalled'
    check 'two gives one' s two notify 1
    is "$(s one signalled 1 20000)" 1 'and again'
    later one signalled 1 1500
    check 'a word is woken' s root wake_word 1 4096 1
    is_later '0 status 0' 'which is no notice'
    check 'one has it signalled no more' s one signal_no_more 1
    check 'a notice' s root notify 1
    is "$(s one signalled 1 1500)" 0 'is not signalled then'
    check 'a notice is there' s root notify 1
    check 'when the eventfd is told of' s one signal 1
    is "$(s one signalled 1 0)" 1 'it is signalled at once'
    check 'one lets go of it' s one signal_no_more 1
    check 'a region for signals' s root create 8 signals $granule 600 $all $all
    is "$(shmtest signals signals 2>&1)" 10 'SH-45: a signal ends each way of waiting, or has it begun again'
    check 'it is closed' s root close 8
    isnt "$(s root read_now 1)" '' 'the root reads what it has said'
}

# Another size, where nobody uses it.
sizes() {
    free=$(free_mib)
    check 'one makes a region' s one create 9 sizes $((2 * granule)) 600 $all $all
    check 'and writes' s one map 9
    check 'to all of it' s one fill 9 5
    check 'two opens it' s two open 9 sizes w
    refuses 'busy' 'SH-26: one that is mapped stays as it is' s one resize 9 $((4 * granule))
    check 'one unmaps it' s one unmap 9
    check 'two maps it' s two map 9
    check 'and touches it' s two load 9 0
    refuses 'busy' 'it stays so wherever it is mapped' s one resize 9 $((4 * granule))
    check 'two unmaps it' s two unmap 9
    refuses 'Permission denied' "another vnode's it is not" s two resize 9 $((4 * granule))
    check 'nobody has it mapped' eventually 5 s one resize 9 $((4 * granule))
    is "$(s one size 9)" $((4 * granule)) 'it is larger'
    is "$(free_mib)" $((free - 8)) 'by so much'
    check 'two maps all' s two map 9
    is "$(s two load_all 9 5 $((2 * granule)))" 'kept zeros' 'BR-47: what it had is there, and zeros behind it'
    check 'two fills all' s two fill 9 6
    check 'and unmaps it' s two unmap 9
    check 'it gets smaller, as the root says' eventually 5 s root open 9 sizes w
    check 'than it was' eventually 5 s root resize 9 $granule
    is "$(free_mib)" $((free - 2)) 'which is given back'
    check 'one maps it' s one map 9
    is "$(s one load_all 9 6 $granule)" kept 'what there is room for is kept'
    check 'and unmaps it' s one unmap 9
    for bytes in 0 4096 $((granule + 1)); do
        refuses 'Invalid argument' "$bytes bytes are no size" eventually_not_busy s one resize 9 $bytes
    done
    refuses 'uota' 'nor more than one may have' eventually_not_busy s one resize 9 $((300 << 20))
    check 'a lock is guarded' s one map 9
    check 'by who takes it' s one hold 9 0 0
    check 'one unmaps it' s one unmap 9
    refuses 'busy' 'it keeps its size for that' s root resize 9 $((2 * granule))
    check 'a reader' s two close 9
    check 'opens it' s two open 9 sizes r
    refuses 'Bad file descriptor' 'but gives it no size' s two resize 9 $granule
    for name in root one two; do
        check "$name lets go" s $name close 9
    done
    check 'a large region is mapped by large pages' s root create 9 large $((32 << 20)) 600 0 0
    check 'all of it' s root map 9
    within "$(s root faults 9)" 16 24 'SH-34: and touched in a fault for each'
    check 'it is unmapped' s root unmap 9
    refuses 'Cannot allocate' 'there is no room for more than there is' eventually_not_busy s root resize 9 $((1 << 40))
    check 'it is closed' s root close 9
    check 'and all is given back' eventually 5 is_free "$free"
}

is_free() {
    [ "$(free_mib)" = "$1" ]
}

# eventually_not_busy COMMAND...: who has unmapped it says so to the root soon.
eventually_not_busy() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        said=$("$@" 2>&1) && return 0
        case $said in
        *busy*) sleep 0.5 ;;
        *) break ;;
        esac
    done
    echo "$said"
    return 1
}

# Locks of the library: word 8192 is one, what it protects is at 8196.
locks() {
    turns=$((2000 / slow))
    check 'a lock that nobody has' s root store 1 8192 0
    check 'and a number' s root store 1 8196 0
    adders=
    for name in root one two; do
        s $name add 1 8192 8196 $turns >/tmp/add.$name &
        adders="$adders $!"
    done
    # shellcheck disable=SC2086 # These are numbers of processes.
    wait $adders
    is "$(cat /tmp/add.* | xargs)" '' 'SH-62: three vnodes take a lock in turn'
    is "$(s root load 1 8196)" $((3 * turns)) 'no two have it at once'
    is "$(s root load 1 8192)" 0 'and nobody in the end'
    check 'a second program of one' on one sh -c \
        'shmtest serve /tmp/second >/dev/null 2>&1 </dev/null & echo $! >/tmp/second.pid'
    check 'has the region too' eventually 5 on one sh -c \
        'shmtest ask /tmp/second open 1 queue w && shmtest ask /tmp/second map 1'
    on one shmtest ask /tmp/second hold 1 8192 600000 >/tmp/dies 2>&1 &
    dying=$!
    check 'and the lock' eventually 5 lock_is_had
    later two hold 1 8192 0
    check 'it is killed' on one sh -c 'kill -9 "$(cat /tmp/second.pid)"'
    is_later 'inherited status 0' 'SH-61: who waits for the lock has it, and is told'
    wait $dying
    is "$(s root hold 1 8192 0)" had 'SH-63: the next one is not'
}

# Channels of the library, in a region of zeros.
channels() {
    check 'a region for channels' s root create 20 channels $granule 600 $all $all
    for name in one two; do
        check "$name has it" s $name open 20 channels w
    done
    for name in root one two; do
        check "and maps it ($name)" s $name map 20
    done
    refuses 'no channel' 'there is none yet' s one queue_receive 20 0
    check 'a queue is made' s root queue 20 0 8 100
    messages=$((500 / slow))
    s root queue_receive 20 0 >/tmp/came.root 2>&1 &
    receiving=$!
    s two queue_receive 20 0 >/tmp/came.two 2>&1 &
    receiving="$receiving $!"
    sending=
    for name in root one two; do
        s $name queue_send 20 0 "$(field_number $name)" $messages >/tmp/sent.$name 2>&1 &
        sending="$sending $!"
    done
    # shellcheck disable=SC2086 # These are numbers of processes.
    wait $sending
    is "$(cat /tmp/sent.* | xargs)" '' 'three send'
    check 'and end the two that receive' s root queue_end 20 0 2
    # shellcheck disable=SC2086 # As above.
    wait $receiving
    is "$(awk '{ sum += $1 } END { print sum }' /tmp/came.root /tmp/came.two)" $((3 * messages)) \
        'each message came once, whole and in order'
    check 'a pipe is made' s root pipe 20 65536 4 1000
    s one pipe_receive 20 65536 1000 $messages >/tmp/came.one 2>&1 &
    receiving=$!
    check 'two sends' s two pipe_send 20 65536 1000 $messages
    wait $receiving
    is "$(cat /tmp/came.one)" $messages 'one has each message, whole and in order'
    check 'another program of one' third
    # Nobody receives: it waits for room.
    on one shmtest ask /tmp/third pipe_send 20 65536 1000 100 >/tmp/sent.one 2>&1 &
    sending=$!
    check 'sends' eventually 5 pipe_is_full
    refuses 'has this end' 'nobody else can send then' s two pipe_send 20 65536 1000 1
    on one sh -c 'kill -9 "$(cat /tmp/third.pid)"'
    wait $sending
    is "$(s two pipe_receive 20 65536 1000 100)" died 'who receives has what it sent, and is told of its end'
    # Wherever one that sends is killed, what others send and receive is whole.
    s root queue_receive 20 0 >/tmp/came.root 2>&1 &
    receiving=$!
    killed=0
    for number in 11 12 13 14 15; do
        third || continue
        on one shmtest ask /tmp/third queue_send 20 0 $number 1000000 >/tmp/sent.one 2>&1 &
        sending=$!
        s two queue_send 20 0 "2$number" 20 || continue
        on one sh -c 'kill -9 "$(cat /tmp/third.pid)"' && killed=$((killed + 1))
        wait $sending
    done
    is $killed 5 'five that send are killed in the middle of it'
    check 'two sends all the same' s two queue_send 20 0 99 $messages
    check 'and ends who receives' s two queue_end 20 0 1
    wait $receiving
    within "$(cat /tmp/came.root)" $((messages + 100)) 1000000 'which has found each message whole and in order'
    for name in root one two; do
        check "$name lets go" s $name close 20
    done
}

# third: another program of one has the region of channels.
third() {
    on one sh -c 'rm -f /tmp/third; shmtest serve /tmp/third >/dev/null 2>&1 </dev/null & echo $! >/tmp/third.pid'
    eventually 5 on one sh -c 'shmtest ask /tmp/third open 20 channels w && shmtest ask /tmp/third map 20'
}

# field_number NAME: the number of a vnode.
field_number() {
    if [ "$1" = root ]; then
        echo 0
    else
        field "$1" id
    fi
}

pipe_is_full() {
    [ "$(s root load 20 $((65536 + 64)))" -ge $((messages + 4)) ]
}

lock_is_had() {
    [ "$(s root load 1 8192)" != 0 ]
}

# Rights: users, groups, modes and vnodes.
rights() {
    check 'the root makes a region' s root create 5 rights $granule 600 $all $all
    wrong=0
    tried=0
    for user in 0 2 4 6; do
        for group in 0 2 4 6; do
            for other in 0 4 6; do
                mode=$user$group$other
                s root protect 5 1000 2000 $mode $all $all >/tmp/said || wrong=$((wrong + 1))
                said=$(shmtest callers rights $mode w 2>&1) || {
                    remark "$said"
                    wrong=$((wrong + 1))
                    said=0
                }
                tried=$((tried + said))
            done
        done
    done
    is "$wrong" 0 'SH-11: modes mean what they mean of files'
    is "$tried" 240 'for five callers each'
    for mode in 600 640 666 406; do
        for vnodes in "0 0 none" "$all 0 r" "$all $all w" "4 0 none" "2 2 w"; do
            # shellcheck disable=SC2086 # These are three words.
            set -- $vnodes
            s root protect 5 1000 2000 $mode "$1" "$2" >/tmp/said
            is "$(on one shmtest callers rights $mode "$3" 2>&1)" 5 "SH-13: mode $mode, vnodes $1 and $2"
        done
    done
    check 'one has opened it' s one open 5 rights r
    s root protect 5 0 0 600 1 1 >/tmp/said
    refuses 'Permission denied' 'SH-11: a vnode that may no more maps nothing' s one map 5
    check 'it lets go' s one close 5
    for mode in 600 060 006 666; do
        s root protect 5 1000 2000 $mode $all $all >/tmp/said
        is "$(shmtest callers rights $mode w --apart 2>&1)" 5 "SH-15: mode $mode is no other in user namespaces"
    done
    check 'it is closed' s root close 5
}

quota() {
    limits="shmtest ask /tmp/poor"
    echo 'poor:x:1000:1000:poor:/:/bin/sh' >>/etc/passwd
    su poor -c 'shmtest serve /tmp/poor >/tmp/poor.out 2>&1 </dev/null & echo $! >/tmp/poor.pid'
    check 'a program of a user without privileges' eventually 5 test -S /tmp/poor
    for number in 1 2 3 4 5 6 7 8; do
        check "SH-20: region $number" su poor -c "$limits create $number poor.$number $granule 600 0 0"
    done
    refuses 'uota' 'one more is too much' su poor -c "$limits create 9 poor.9 $granule 600 0 0"
    check 'not when one is closed' su poor -c "$limits close 1"
    refuses 'uota' 'but too many bytes are' su poor -c "$limits create 9 poor.9 $((26 * granule)) 600 0 0"
    check 'as many as may be are not' su poor -c "$limits create 9 poor.9 $((25 * granule)) 600 0 0"
    refuses 'not permitted' 'SH-14: a user gives nothing away' su poor -c "$limits protect 2 0 0 600 0 0"
    check 'but says who may' su poor -c "$limits protect 2 1000 1000 666 0 0"
    check 'a region for all' s root create 13 open $granule 666 0 0
    check 'the user opens it' su poor -c "$limits open 13 open w"
    check 'it is for its own user now' s root protect 13 0 0 600 0 0
    refuses 'Permission denied' 'SH-11: who may no more maps nothing' su poor -c "$limits map 13"
    check 'it lets go' su poor -c "$limits close 13"
    check 'and so does the root' s root close 13
    check "another user's program opens it" s root open 7 poor.2 w
    # Not the label's user; the root has all capabilities.
    check 'and closes it' s root close 7
    check 'it ends' kill "$(cat /tmp/poor.pid)"
    check 'and all that it had' eventually 10 sh -c '! vnode bridge list | grep -q poor'
}

# big NUMBER: regions fill the pool, every other one goes, and a larger one needs what is free together.
moves() {
    piece=16
    filler=$((($(free_mib) - 9 * piece) << 20))
    check 'a region fills the pool but for nine pieces' s root create 100 filler $filler 600 0 0
    for number in 0 1 2 3 4 5 6 7 8; do
        owner=one
        [ $((number % 2)) = 1 ] || owner=root
        check "piece $number" s $owner create 1$number piece.$number $((piece << 20)) 600 $all $all
    done
    is "$(free_mib)" 0 'then all is used'
    for number in 1 3 5 7; do
        check "piece $number is mapped by one" s one map 1$number
        check 'and filled' s one fill 1$number $number
        check 'two has it too' s two open 1$number piece.$number w
        check 'mapped' s two map 1$number
    done
    for number in 0 2 4 6 8; do
        check "piece $number goes" s root close 1$number
    done
    check 'which is known soon' eventually 5 sh -c "[ \$(vnode bridge list | grep -c 'shm.piece') = 4 ]"
    # Somebody goes on writing, in two vnodes: each a piece of its own.
    s one churn 11 $((5000 * slow)) >/tmp/churn.one &
    churning=$!
    s two churn 13 $((5000 * slow)) >/tmp/churn.two &
    churning="$churning $!"
    sleep 1
    moves_before=$(vnode bridge stat | awk '$1 == "moves" { print $2 }')
    check 'SH-32: a larger region finds room' s root create 50 large $((4 * piece << 20)) 600 0 0
    check 'while they are written' [ ! -s /tmp/churn.one ]
    # shellcheck disable=SC2086 # These are numbers of processes.
    wait $churning
    within "$(cat /tmp/churn.one)" 2 1000000 'one has found what it wrote, each time'
    within "$(cat /tmp/churn.two)" 2 1000000 'and two'
    check 'one writes what it had' s one fill 11 1
    check 'and so does two' s two fill 13 3
    moved=$(($(vnode bridge stat | awk '$1 == "moves" { print $2 }') - moves_before))
    within $moved 1 4 'regions have been moved'
    check 'SH-21: it is zeros' s root map 50
    check 'all of it' s root verify 50 18446744073709551615
    for number in 1 3 5 7; do
        check "piece $number is what it was, in one" s one verify 1$number $number
        check 'and in two' s two verify 1$number $number
        check 'two writes' s two fill 1$number 9$number
        check 'one sees it' s one verify 1$number 9$number
    done
    for number in 1 3 5 7; do
        s one close 1$number && s two close 1$number
    done
    check 'the large one goes' s root close 50
    check 'and what filled the pool' s root close 100
}

kept() {
    check 'an administrator makes a region' vnode bridge create standing --size 2M --mode 640 --user 1000 --group 2000 --vnodes one
    is "$(vnode bridge list | awk '$2 == "shm.standing" { print $4, $5 }')" '2M root' 'which is there though nobody uses it'
    is "$(shmtest callers standing 640 w)" 5 'SH-22: for those that it was made for'
    is "$(on one shmtest callers standing 640 w)" 5 'in the vnode that may'
    is "$(on two shmtest callers standing 640 none)" 5 'and in no other'
    refuses 'a region .standing. already' 'there is one of a name' vnode bridge create standing --size 2M
    refuses 'multiple of 2M' 'a size that makes no sense' vnode bridge create more --size 1M
    refuses 'no region has' 'nor a mode' vnode bridge create more --size 2M --mode 755
    refuses 'no vnode .nobody.' 'nor a vnode' vnode bridge create more --size 2M --vnodes nobody
    refuses 'no region can be called' 'nor a name' vnode bridge create a+b --size 2M
    refuses 'no region .nothing.' 'what is not there is not removed' vnode bridge remove nothing
    refuses 'not kept here' 'nor what a program has made' vnode bridge remove queue
    check 'a program uses it' s one open 30 standing w
    check 'it is removed' vnode bridge remove standing
    check 'and is there while it is used' s one map 30
    check 'the program lets go' s one close 30
    check 'then it is gone' eventually 5 bridge_is_gone standing
    check 'one more is kept' vnode bridge create staying --size 4M
}

deaths() {
    check 'one makes a region' s one create 6 heir $granule 600 $all $all
    check 'the root uses it' s root open 6 heir w
    check 'maps it' s root map 6
    check 'and fills it' s root fill 6 3
    s one hold 1 8192 600000 >/tmp/dies 2>&1 &
    dying=$!
    check 'it has a lock' eventually 5 lock_is_had
    s two hold 1 8192 0 >/tmp/heir 2>&1 &
    heir=$!
    check 'another file of the root waits on a word' s root open 14 queue w
    # Of another class than the lock, whose new holder wakes others.
    s root wait_word 14 4100 "$(s root load 1 4100)" 20000 >/tmp/word 2>&1 &
    word=$!
    later root wait 6 "$(s root notices 6)" 20000
    on one sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    is_later 'Error: Owner died (os error 130) status 1' 'SH-50: its death wakes who waits'
    wait $dying
    wait $heir
    wait $word
    is "$(cat /tmp/word)" 'Error: Owner died (os error 130)' 'and who waits on a word'
    is "$(cat /tmp/heir)" inherited 'SH-63: who waits for its lock has it, and is told'
    is "$(s root poll 1 0)" ou 'a poll tells it of each region'
    refuses 'died' 'and so does the next call' s root wait 1 "$(s root notices 1)" 100
    refuses 'timed out' 'once' s root wait 1 "$(s root notices 1)" 100
    check 'SH-52: what it had is there' s root verify 6 3
    is "$(s root stat 6 | grep -o 'is_orphan: [a-z]*')" 'is_orphan: true' "without an owner"
    is "$(s root stat 6 | grep -o 'users: .*')" 'users: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }' \
        'SH-51: who uses it is told'
    check 'it goes with its last user' s root close 6
    check 'and is gone' eventually 5 bridge_is_gone heir
}

ends() {
    check 'the dead one is taken back' vnode kill one
    check 'the program of two ends' end_serving two
    check 'and that of the root' end_serving root
    check 'the kept one stays' vnode bridge show shm.staying
    check 'until it is removed' vnode bridge remove staying
    check 'SH-3: with them all regions' eventually 10 bridge_is_gone '[^ ][^ ]*'
    check "rounds to warm up" shmtest rounds round 20
    slab=$(kilobytes Slab)
    free=$(free_mib)
    rounds=500
    [ "$is_long" = no ] || rounds=10000
    check 'a region is made and closed, again and again' shmtest rounds round $((rounds / slow))
    is "$(free_mib)" "$free" 'after that there is as much free as before'
    within $(($(kilobytes Slab) - slab)) -100000 $slack 'and no memory of the kernel is lost (kB)'
    check 'two unloads the module' on two rmmod bridge_shm
    check 'and the root' rmmod bridge_shm
    check 'the board is gone' eventually 5 bridge_is_gone ''
    check 'it can be loaded again' insmod "$module"
    check 'and used' shmtest rounds again 3
    check 'and unloaded' rmmod bridge_shm
    sound two
    check 'two is stopped' vnode stop two
    is "$(view)" "$before" 'the root has all again'
}

before=$(view)
begins
regions
mappings
waits
signals
sizes
locks
channels
rights
quota
kept
moves
deaths
ends
finish
