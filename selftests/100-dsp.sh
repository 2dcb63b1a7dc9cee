#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The distributed sharing protocol between four kernels: requests and messages, each once, over every
# link; full rings; services and nanokernels that come and go while they are asked; and silence when
# there is nothing to say. The rules of docs/dsp.md are cited as DS-n.
#
# cluster: --cpus 4 --memory 4G --config /dev/null --timeout 300
# alone

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh
# shellcheck source=selftests/dsp.sh
. /selftests/dsp.sh

# Requests over each link, to each of two services.
many=$((5000 / slow))

# every_link COMMAND: runs it for each ordered pair, as COMMAND FROM TO, side by side for each FROM.
every_link() {
    for from in $all; do
        (for to in $(others "$from"); do "$@" "$from" "$to" || exit; done) &
    done
    wait
}

both_echoes() {
    do_ "$1" "ask $(number "$2") echo_stage $many $patience" &&
        do_ "$1" "ask $(number "$2") echo_thread $many $patience"
}

# exchanged FROM TO: what both ends have counted of that, on one line.
exchanged() {
    for service in echo_stage echo_thread; do
        report "$1" "asked $(number "$2") $service" | sed 's/ error.*//'
        report "$2" "heard $(number "$1") $service"
    done | xargs
}

requests() {
    want="answered $many wrong 0 failed 0 $many misordered 0"
    every_link both_echoes
    for from in $all; do
        for to in $(others "$from"); do
            is "$(exchanged "$from" "$to")" "$want $want" \
                "DS-30, 32: $from asks $to $((2 * many)) times, and each is answered once"
        done
    done
    drops=$(for kernel in $all; do in_ "$kernel" sed -n 's/.* \(foreign .*\) service.*/\1/p' $dsp; done)
    is "$(echo "$drops" | sort -u)" 'foreign 0 unmatched 0 malformed 0 version 0' \
        'DS-53: no message was dropped anywhere'
}

# flood FROM TO: many messages that want no answer.
flood() {
    do_ "$1" "tell $(number "$2") count $many"
}

floods() {
    every_link flood
    for from in $all; do
        for to in $(others "$from"); do
            told=$(report "$from" "told $(number "$to") count" | cut -d ' ' -f 1)
            is "$told $(report "$to" "heard $(number "$from") count")" "$many $many misordered 0" \
                "DS-21: $from tells $to $many messages, and each comes once, in order"
        done
    done
}

# Requests that nobody answers, or nobody can.
refusals() {
    do_ root 'ask 1 silent 3 300'
    is "$(report root 'asked 1 silent' | sed 's/ us.*//')" 'answered 0 wrong 0 failed 3 error -110' \
        'DS-32: requests that are not answered end by their deadline (ETIMEDOUT)'
    check 'DS-34: requests for a service that is not there are refused (EOPNOTSUPP)' linked root north
    refuses 'No such device or address' 'DS-35: a request to no member fails at once (ENXIO)' \
        do_ root 'ask 9 echo_stage 1 1000'
    do_ root 'ask 0 silent 1 1000'
    is "$(report root 'asked 0 silent' | sed 's/ us.*//')" 'answered 0 wrong 0 failed 1 error -6' \
        'and so does one to itself'
    do_ root 'ask 1 nested 3 1000'
    is "$(report root 'asked 1 nested' | sed 's/ us.*//')" 'answered 3 wrong 0 failed 0 error 0' \
        'DS-2: a handler in the DSP thread cannot wait for another vnode (EDEADLK)'
}

# A handler that does not go on fills its queue, and then its sender's ring; nothing else.
full_ring() {
    do_ north 'gate closed'
    do_ root 'fill 1 gated'
    # To messages a ring is full at 48; 16 wait in the queue, and one may be being handled.
    fits=$(report root 'told 1 gated' | cut -d ' ' -f 1)
    within "$fits" 64 65 'DS-21: a ring takes what fits'
    isnt "$(counter root full 1)" 0 'and then says that it is full (EAGAIN)'
    before=$(count root failed 'asked 1 silent')
    do_ root 'ask 1 silent 1 1000'
    is "$(report root 'asked 1 silent' | sed 's/.* failed //; s/ us.*//')" \
        "$((before + 1)) error -11" 'to requests as well'
    check 'DS-54: other senders are not held up' answers south north
    do_ north 'tell 0 count 1'
    is "$(report root 'heard 1 count')" "$((many + 1)) misordered 0" 'nor is the other direction'
    do_ north 'gate open'
    check 'the ring empties' eventually 10 drained
    is "$(report north 'heard 0 gated')" "$fits misordered 0" 'and nothing was lost'
    check 'DS-51: and the link goes on' answers root north
}

drained() {
    [ "$(report north 'heard 0 gated' | cut -d ' ' -f 1)" = "$fits" ]
}

queued() {
    [ "$(in_ "$1" sed -n 's/^calls .* queued //p' "$dsp")" = "$2" ]
}

# reloaded NAME: the test's module goes, and comes again.
reloaded() {
    on "$1" sh -c "rmmod dsp_test && insmod $module"
}

# More than all of the coming and going takes.
deadline=$((2 * patience))

# keeps_asking NAME: asks north again and again, until it is told that it is enough.
keeps_asking() {
    until [ -e /tmp/enough ]; do
        do_ "$1" "ask 1 echo_stage 500 $deadline" || return
        do_ "$1" "ask 1 echo_thread 500 $deadline" || return
    done
}

# asked_of_north NAME: what has come of a kernel's requests for both echoes, in all.
asked_of_north() {
    for key in answered wrong failed; do
        echo "$(($(count "$1" $key 'asked 1 echo_stage') + $(count "$1" $key 'asked 1 echo_thread')))"
    done | xargs
}

# refused NAME BEFORE: more of a kernel's requests have failed than before.
refused() {
    # shellcheck disable=SC2046 # These are three numbers.
    set -- "$2" $(asked_of_north "$1")
    [ "$4" -gt "$1" ]
}

# Services come and go while others ask for them. Each request is answered or refused, and at once.
coming_and_going() {
    rm -f /tmp/enough
    begin=$(now_ms)
    askers='root south east'
    for kernel in $askers; do
        asked_of_north "$kernel" >"/tmp/asked.$kernel"
        keeps_asking "$kernel" &
    done
    check 'the module of north goes' on north rmmod dsp_test
    for kernel in $askers; do
        check "and $kernel finds out" eventually 10 refused "$kernel" "$(cut -d ' ' -f 3 "/tmp/asked.$kernel")"
    done
    check 'it comes again' on north insmod "$module"
    for round in 1 2 3 4 5 6 7 8; do
        check "DS-41: the module of north goes and comes while three others ask it, $round" reloaded north
    done
    touch /tmp/enough
    wait
    within $(($(now_ms) - begin)) 0 $((deadline - 1)) 'DS-32: none of them waited for its deadline (ms)'
    for kernel in $askers; do
        # shellcheck disable=SC2046 # These are three numbers, and three again.
        set -- $(cat "/tmp/asked.$kernel") $(asked_of_north "$kernel")
        within $(($4 - $1)) 1 1000000000 "requests of $kernel were answered"
        is $(($5 - $2)) 0 'none of them wrongly'
        errors=$(in_ "$kernel" sed -n 's/^asked 1 echo_.* error \(.*\) us .*/\1/p' $file)
        is "$(echo "$errors" | sort -u | grep -vx 0)" -95 \
            'DS-34: as the service was not there (EOPNOTSUPP)'
    done
    left_behind
}

# serves NAME SERVICE: a kernel has a service, by its number in hexadecimal.
serves() {
    in_ "$1" grep -q "^service 0x$2 " "$dsp"
}

has_gone() {
    ! serves north ff01
}

# A service goes while a request for it waits, behind a handler that does not go on.
left_behind() {
    before=$(count root failed 'asked 1 echo_thread')
    do_ north 'gate closed'
    do_ root 'tell 1 gated 1'
    do_ root "ask 1 echo_thread 1 $patience" &
    asker=$!
    check 'a request of the root waits' eventually 10 outstanding root 1
    check 'behind a handler that does not go on' eventually 10 queued north 1
    on north rmmod dsp_test &
    remover=$!
    check 'its service goes' eventually 10 has_gone
    check 'but its module waits for the handler' on north grep -q '^dsp_test .* Unloading ' /proc/modules
    do_ root 'tell 1 open 1'
    wait $remover
    is $? 0 'until that goes on'
    wait $asker
    is "$(report root 'asked 1 echo_thread' | sed 's/.* failed //; s/ us.*//')" \
        "$((before + 1)) error -95" 'DS-41: the request is refused (EOPNOTSUPP)'
    check 'the module comes again' on north insmod "$module"
    check 'and answers' answers root north
}

# image OFFSET PAGES: a sum of a part of the control area, which is the pool's first allocation.
image() {
    base=$(sed -n '1s/^used \(0x[0-9a-f]*\)+.*/\1/p' /sys/kernel/debug/adeos/pool)
    dd if=/dev/mem bs=4096 skip=$(((base + $1) >> 12)) count="$2" 2>/dev/null | md5sum
}

# Two seconds are many rounds of every thread.
idleness() {
    views=$(image $((0x811000)) 3)
    mail=$(image $((0x840000)) 536)
    sent=$(all_sent)
    raised=$(all_raised)
    sleep 2
    is "$(image $((0x811000)) 3)" "$views" 'DS-3: nothing is written to the views while nothing changes'
    is "$(image $((0x840000)) 536)" "$mail" 'nor to the mailboxes'
    isnt "$mail" "$(head -c $((536 * 4096)) /dev/zero | md5sum)" 'which are there'
    is "$(all_sent)" "$sent" 'and nobody sends'
    is "$(all_raised)" "$raised" 'nor raises a portal'
}

# all_raised: the raises that each kernel has counted, of portals of others and of its own. Those of
# channels, by which this asks, are left out.
all_raised() {
    for from in $all; do
        at "$from" 'cat /sys/kernel/debug/adeos/portals' |
            awk '$1 == "portal" && $2 != 1 { for (i = 3; i < NF; i++) if ($i == "sent") print $2, $(i + 1) }'
    done | xargs
}

# all_sent: the messages that each kernel has sent to each other one.
all_sent() {
    for from in $all; do
        for to in $(others "$from"); do
            counter "$from" sent "$(number "$to")"
        done
    done | xargs
}

# reload: what north does by itself: its nanokernel is unloaded, and loaded again 3 s later.
# shellcheck disable=SC2016 # The vnode's shell expands it.
reload='
cp /etc/inittab /tmp/inittab
: >/etc/inittab
kill -HUP 1
rmmod dsp_test
while ! rmmod adeos_core 2>/dev/null; do usleep 20000; done
sleep 3
insmod /lib/modules/$(uname -r)/adeos/adeos_core.ko
insmod /lib/modules/$(uname -r)/adeos/dsp_test.ko
cp /tmp/inittab /etc/inittab
kill -HUP 1
'

falls_silent() {
    do_ root 'ask 1 echo_stage 1 200'
    [ "$(report root 'asked 1 echo_stage' | sed 's/.* error //; s/ us.*//')" = -110 ]
}

# A nanokernel that is loaded anew in the same life goes on where it left off.
reloading() {
    view=$(latest root)
    # This command does not end in good order: it ends the agent that it runs under.
    on north sh -c "echo '$reload' >/tmp/reload; setsid sh /tmp/reload >/tmp/reload.log 2>&1 &" \
        >/tmp/said 2>&1
    check 'north unloads its nanokernel: requests end by their deadline (ETIMEDOUT)' \
        eventually 10 falls_silent
    check 'DS-23: it answers again' eventually 20 answers root north
    check 'it takes commands again' eventually 20 on north true
    is "$(on north cat /tmp/reload.log)" '' 'nothing of that has failed'
    check 'DS-23: it asks' answers north south
    check 'and is asked by others' answers south north
    # shellcheck disable=SC2086 # These are several words.
    is "$(latest $all | tr ' ' '\n' | sort -u)" "$view" 'DS-64: it is still the same member'
    is "$(report south 'heard 1 echo_stage' | sed 's/.* //')" 0 'DS-31: nothing came twice'
}

kernels
requests
floods
refusals
full_ring
coming_and_going
idleness
reloading
sound north south east
finish
