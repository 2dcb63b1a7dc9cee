#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A vnode that means harm. First it sends everybody what nobody expects; then messages that no
# nanokernel makes; then it stores at random where it may, in several lives; then wherever kernels
# read: stores for 30 seconds in all, or for 100 when there is time. What it may write to costs nobody else anything: the others ask
# each other, raise portals, share bridges, start and end as ever, and the root puts it into quarantine,
# with a reason. When it writes to what others have between them, these may lose each other, but all of
# them live, and once it has been killed all is as it was. What it stores, and what is spared for the
# sake of the test, is in selftests/kernel/hostile/places.rs. docs/dsp.md is cited as DS-n.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 400
# longer

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
dsp=/sys/kernel/debug/dsp_test/run
bridges=/sys/kernel/debug/bridge_test/control
portals=/sys/kernel/debug/portal_test/run
locks=/sys/kernel/debug/lock_test/run
vnodes=/sys/kernel/debug/adeos/vnodes
# What the hostile vnode does besides is its own business; how long the rest takes is not.
patience=$((10 * slow))

seed=$(od -An -tu4 -N4 /dev/urandom | tr -d ' ')
remark "seed $seed"

# progress WORD: what hostile.ko says of itself in the last page of the control area, which is the
# pool's first allocation: 0 whether it is at it (1) or has ended (2), 1 stores, 2 messages.
progress() {
    base=$(sed -n '1s/^used \(0x[0-9a-f]*\)+.*/\1/p' /sys/kernel/debug/adeos/pool)
    dd if=/dev/mem bs=4096 skip=$(((base + 0xbff000) >> 12)) count=1 2>/dev/null |
        od -An -tu8 -j $(($1 * 8)) -N8 | tr -d ' '
}

at_it() {
    [ "$(progress 0)" = 1 ]
}

ended() {
    [ "$(progress 0)" = 2 ]
}

# attack VERB SECONDS: the hostile vnode begins; nobody waits for it.
attack() {
    on hostile sh -c "setsid sh -c 'echo $1 $2 $seed >/sys/kernel/debug/hostile/run' \
        >/dev/null 2>&1 </dev/null &"
    check "$1: the hostile vnode is at it" eventually 10 at_it
}

# begin NAME CPU: a vnode that can be asked.
begin() {
    start "$1" --cpus "$2" --memory $((small + 32))M && on "$1" insmod "$modules/dsp_test.ko"
}

# prepare_bystander: makes it one that can do all that the root can.
prepare_bystander() {
    on bystander insmod "$modules/bridge_test.ko" &&
        on bystander insmod "$modules/lock_test.ko" &&
        on bystander insmod "$modules/portal_test.ko" memory="$memory" &&
        on bystander sh -c "echo open >$portals"
}

# answered WHERE NUMBER: how many requests of a kernel to the vnode of this number were answered. WHERE
# is a command that runs another one there.
answered() {
    $1 cat "$dsp" | awk -v to="$2" '$1 == "asked" && $2 == to { sum += $5 } END { print sum + 0 }'
}

# asks WHERE NUMBER: a request is answered, in the stage and in the thread.
asks() {
    before_asking=$(answered "$1" "$2")
    for service in echo_stage echo_thread; do
        $1 sh -c "echo ask $2 $service 1 $((patience * 1000)) >$dsp" || return
    done
    after_asking=$(answered "$1" "$2")
    echo "$1: of 2 requests to $2, $((after_asking - before_asking)) were answered"
    [ "$after_asking" = $((before_asking + 2)) ]
}

# wrong WHERE: how many answers a kernel has had that were not what the asked one sends.
wrong() {
    $1 cat "$dsp" | awk '$1 == "asked" { sum += $7 } END { print sum + 0 }'
}

linked() {
    asks env 2 && asks 'on bystander' 0
}

# raised: a portal that the root raises reaches the bystander's handler, after what it announces.
raised() {
    number=$(on bystander cat "$portals" | awk '$1 == "portal" && $2 == 0 { print $3 }')
    echo "raise 2 0 $number" >"$portals" || return
    last=$(awk '$1 == "last" { print $2 }' "$portals")
    eventually "$patience" has_seen "$last"
}

has_seen() {
    [ "$(on bystander cat "$portals" | awk '$1 == "seen" && $2 == 0 { print $3 }')" = "$1" ]
}

# shared: what the one writes into a bridge the other finds there, and each can have a new one.
shared() {
    word=$(now_ms)
    echo "poke 0 64 $word" >"$bridges" &&
        on bystander sh -c "echo peek 0 64 >$bridges" &&
        on bystander grep -q " peeked $word " "$bridges" &&
        on bystander sh -c "echo rounds fresh 2 >$bridges" &&
        echo 'rounds fresh 2' >"$bridges"
}

# time_ns: the common time as the root reads it where all do; nothing if it makes no sense.
time_ns() {
    sed -n 's/^time_ns //p' /sys/kernel/debug/adeos/clock
}

# rounds COMMAND: runs it as long as the hostile vnode is at it; how often, or nothing if it failed.
rounds() {
    count=0
    while at_it; do
        "$@" >/tmp/said 2>&1 || return
        count=$((count + 1))
    done
    echo $count
}

# untouched: the root and the bystander have each other, and the root its vnodes.
untouched() {
    timeout "$patience" on bystander true && linked && raised && shared &&
        timeout "$patience" vnode list && [ "$(field bystander state)" = running ]
}

# both: that, and a third vnode comes and goes.
both() {
    untouched && start third --cpus 3 --memory "${small}M" && on third true && vnode kill third
}

# take WHERE: a kernel has the lock in time, and frees it.
take() {
    $1 sh -c "echo take $((patience * 1000)) >$locks"
}

# comes_back WHERE: whoever wants the lock has it in time, or hears that it was taken from it, or that
# the time is over.
comes_back() {
    tried=$(now_ms)
    said=$($1 sh -c "echo take 1000 >$locks" 2>&1) ||
        echo "$said" | grep -qE 'timed out|Owner died' || { echo "take: $said" && return 1; }
    [ $(($(now_ms) - tried)) -lt $((patience * 1000)) ]
}

# unhung: what depends on the lock comes back; nothing else has anything to do with it.
unhung() {
    untouched && comes_back env && comes_back 'on bystander'
}

# alive: the root answers, and ends what it has begun, whatever becomes of it.
alive() {
    timeout "$patience" vnode list || return
    timeout $((patience * 6)) vnode start third --cpus 3 --memory "${small}M" --timeout "$patience" &&
        echo 'third has started'
    timeout $((patience * 3)) vnode kill third || [ "$(grep -c '^. third ' "$vnodes")" = 0 ]
}

# long SECONDS, or a third of it when there is less time.
long() {
    if [ "$is_long" = long ]; then
        echo $(($1 * slow))
    else
        echo $(($1 * slow / 3))
    fi
}

# survives VERB SECONDS COMMAND LEAST DESC: COMMAND succeeds, again and again, while hostile is at it.
survives() {
    attack "$1" "$2"
    count=$(rounds "$3")
    [ -n "$count" ] || remark "$(cat /tmp/said)"
    within "${count:-0}" "$4" 1000000 "$1: $5, again and again"
    check "$1: it comes to its end" eventually "$2" ended
    is "$(dmesg | complaints)" '' "$1: the root's kernel complains of nothing"
}

# mistrusted PATTERN: the root has the hostile vnode in quarantine for a reason, and nobody else.
mistrusted() {
    check 'DS-55: the root mistrusts it, with a reason' eventually 10 suspected "$1"
    remark "$(field hostile suspicion)"
    is "$(field hostile quarantined)" true 'and has it in quarantine'
    is "$(grep -c '^2 bystander .* suspect -$' "$vnodes")" 1 'and nobody else'
    is "$(dmesg | grep -cE "vnode 1, life $life: ($1); it is in quarantine")" 1 'and says so, once'
    refuses 'Broken pipe' 'nothing goes to it any more' tells 1
}

as_before() {
    [ "$(view)" = "$before" ]
}

suspected() {
    field hostile suspicion | grep -qE "^($1)\$" && grep -qE "^1 hostile .* suspect ($1)\$" "$vnodes"
}

# tells NUMBER: a message that wants no answer is sent.
tells() {
    echo "tell $1 count 1" >"$dsp"
}

# comes_again: the hostile vnode is killed, and its next life is as good as any, at first.
comes_again() {
    check 'it is killed' vnode kill hostile
    check 'it comes again' begin hostile 1
    check 'DS-55: and is heard' eventually 10 asks 'on hostile' 0
    is "$(field hostile quarantined)" false 'for nobody mistrusts its new life'
    check 'and has its module' on hostile insmod "$modules/hostile.ko"
    life=$((life + 1))
}

nonsense='acknowledged a view that does not exist|wrote nonsense into its mailboxes|sent malformed messages'
life=1
for module in dsp_test bridge_test portal_test lock_test; do
    check "the root has $module" insmod "$modules/$module.ko"
done
memory=$(sed -n 's/^memory //p' "$portals")
before=$(view)
check 'a vnode that will be hostile' begin hostile 1
check 'a bystander' begin bystander 2
check 'that can do all that the root can' prepare_bystander
id=$(boot_id bystander)
check 'they have links' eventually 10 linked
check 'and a bridge' sh -c "echo create 0 wire 1 15 0xffff 0xffff moves >$bridges"
check 'which the one maps' sh -c "echo map 0 >$bridges"
check 'and the other' on bystander sh -c "echo open 0 wire w moves >$bridges && echo map 0 >$bridges"
check 'all of that works' untouched
check 'the hostile one has its module' on hostile insmod "$modules/hostile.ko"
refuses 'Invalid argument' 'which the root does not take' insmod "$modules/hostile.ko"

survives talk "$(long 15)" untouched 1 'the others do not notice'
within "$(progress 2)" 100 1000000000 'talk: it has sent what it could'
is "$(grep -c ' suspect -$' "$vnodes")" 2 'which is no reason to mistrust it'

sent=$(progress 2)
survives forge 5 untouched 1 'the others do not notice'
within $(($(progress 2) - sent)) 100 1000000000 'forge: it has put in what it could'
mistrusted 'sent malformed messages'

for round in first second; do
    comes_again
    stored=$(progress 1)
    survives own "$(long 15)" both 1 "$round time: the others do not notice, and a third one comes and goes"
    within $(($(progress 1) - stored)) 50000 1000000000000 'own: it has stored a lot'
    mistrusted "$nonsense"
done
comes_again
stored=$(progress 1)
survives lock "$(long 10)" unhung 1 'the others wait for no lock in vain'
within $(($(progress 1) - stored)) 50000 1000000000000 'lock: it has stored a lot'
is "$(field hostile quarantined)" false 'that is its right, so nobody mistrusts it'
comes_again
check 'the root has the lock again' take env
check 'and so has the bystander' take 'on bystander'

is "$(boot_id bystander)" "$id" 'the bystander has not booted again'
is "$(wrong env) $(wrong 'on bystander')" '0 0' 'and no answer was wrong'

time=$(time_ns)
stored=$(progress 1)
survives all "$(long 60)" alive 1 'the root answers and ends what it begins'
within $(($(progress 1) - stored)) 100000 1000000000000 'all: it has stored a lot'
remark "$(cat "$vnodes")"
is "$(field hostile quarantined)" true 'DS-55: the root has put it into quarantine'
check 'the hostile vnode is killed' vnode kill hostile
check 'the bystander lives' eventually 10 on bystander true
is "$(boot_id bystander)" "$id" 'and has not booted again'
is "$(($(on bystander cat /proc/sys/kernel/tainted) & (128 + 512)))" 0 'nor has it seen an oops'
is "$(on bystander dmesg | complaints)" '' 'nor does it complain'

# What others have between them is whole again with their next lives. Each has its number again.
check 'the hostile vnode comes again, as a good one' begin hostile 1
within "$(($(time_ns) - time))" "$(long 60)000000000" 400000000000 'for which the time has gone on'
check 'the bystander is restarted' vnode restart bystander --timeout $((60 * slow))
check 'it can be asked' on bystander insmod "$modules/dsp_test.ko"
check 'and do all that the root can' prepare_bystander
check 'it has links again' eventually 10 linked
check 'the bridge is still there' on bystander sh -c "echo open 0 wire w moves >$bridges && echo map 0 >$bridges"
check 'and so has the other one' eventually 10 asks 'on hostile' 2
check 'all works as before' untouched
is "$(grep -c ' suspect -$' "$vnodes")" 2 'the root mistrusts nobody'
sound hostile bystander
check 'the one stops' vnode stop hostile
check 'and the other' vnode stop bystander
check 'the root closes the bridge' sh -c "echo close 0 >$bridges"
check 'CPUs and memory are as they were' eventually 10 as_before
finish
