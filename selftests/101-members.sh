#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Who takes part, as four kernels see it: the same views everywhere through every kind of death; what
# becomes of requests to the dead; and peers that write what they should not. The rules of docs/dsp.md
# are cited as DS-n.
#
# cluster: --cpus 4 --memory 4G --config /dev/null --timeout 300
# alone

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh
# shellcheck source=selftests/dsp.sh
. /selftests/dsp.sh

# waits NAME: 16 requests to east that nobody will answer; ends when they have ended.
waits() {
    in_ "$1" sh -c "for _ in $(seq -s ' ' 16); do echo 'ask 3 silent 1 $patience' >$file & done; wait"
}

# The dead take no request with them, and keep none.
dying() {
    waits root &
    first=$!
    waits north &
    second=$!
    check 'the root has 16 requests to east' eventually 10 outstanding root 16
    check 'and so has north' eventually 10 outstanding north 16
    do_ root 'ask 3 echo_stage 1 1000'
    is "$(report root 'asked 3 echo_stage' | sed 's/.* error //; s/ us.*//')" -11 \
        'DS-30: a 17th fails at the caller (EAGAIN)'
    begin=$(now_ms)
    check 'east is killed' vnode kill east
    wait "$first" "$second"
    within $(($(now_ms) - begin)) 0 $((patience / 3)) 'DS-35: its death ends the requests, not their deadline (ms)'
    for kernel in root north; do
        is "$(report $kernel 'asked 3 silent' | sed 's/ us.*//')" 'answered 0 wrong 0 failed 16 error -6' \
            "each of $kernel once (ENXIO)"
        check "and none is left" outstanding $kernel 0
    done
}

# seen NAME FROM: the views from number FROM on, as a subscriber in a kernel was told of them.
seen() {
    report "$1" view | awk -v from="$2" '$1 >= from'
}

# Lives come and go in every way.
lives() {
    check 'all agree on a view' eventually 10 agree root north south
    first=$(($(latest root) + 1))
    check 'east comes again' begin east 3
    check 'all agree with it' eventually 10 agree root north south east
    on south sh -c 'echo c >/proc/sysrq-trigger' >/tmp/said 2>&1
    check 'south panics, and all agree without it' eventually 10 agree root north east
    is "$(sed -n 's/^2 south .* fence \([a-z]*\) .*/\1/p' /sys/kernel/debug/adeos/vnodes)" closed \
        'DS-68: it is proven to have stopped by then'
    check 'it is restarted' vnode restart south --timeout $((60 * slow))
    check 'and has its module' on south insmod "$module"
    check 'all agree with its next life' eventually 10 agree root north south east
    check 'east is killed' vnode kill east
    check 'all agree without it' eventually 10 agree root north south
    is "$(seen north "$first")" "$(seen root "$first")" \
        'DS-62: north was told of the same views in the same order as the root'
    check 'north is told to stop' vnode stop north
    check 'all agree without it' eventually 10 agree root south
    check 'north comes again' begin north 1
    check 'east comes again' begin east 3
    # shellcheck disable=SC2086 # These are several words.
    check 'all agree in the end' eventually 10 agree $all
}

# Two die at once: still, each view is one change.
two_lives() {
    for kernel in south east; do
        on $kernel sh -c 'echo c >/proc/sysrq-trigger' >/tmp/said.$kernel 2>&1 &
    done
    check 'south and east panic at once, and the others agree' eventually 10 agree root north
    wait
    for kernel in south east; do
        check "$kernel is restarted" vnode restart $kernel --timeout $((60 * slow))
        check 'and has its module' on $kernel insmod "$module"
    done
    # shellcheck disable=SC2086 # These are several words.
    check 'all agree again' eventually 10 agree $all
}

# All kernels tell the same story of that.
# shellcheck disable=SC2016 # The dollar signs are awk's.
views() {
    last=$(latest root)
    change='{ print $5, $7, $8, $9 }'
    is "$(seen root "$first" | awk "$change" | head -n 7 | xargs -n 4 | tr '\n' ';')" \
        '3 2 joined 0;2 1 died 1;2 2 joined 0;3 2 died 7;1 1 left 0;1 2 joined 0;3 3 joined 0;' \
        'DS-60: each view is one change, and names it'
    is "$(seen root 2 | awk '{ print $1 }' | xargs)" "$(seq 2 "$last" | xargs)" \
        'DS-62: the root was told of each'
    # North has joined anew in view `first + 5`; its module came after that.
    is "$(seen north $((first + 6)))" "$(seen root $((first + 6)))" \
        'DS-62: and north, since it is there again, through two deaths at once'
}

# life NUMBER: the generation of a member.
life() {
    sed -n "s/^member $1 life \([0-9]*\) .*/\1/p" $members
}

# mailbox FROM TO: where the mailbox between two numbers lies in the control area.
mailbox() {
    echo $((0x840000 + (16 * $2 + $1) * 0x2180))
}

# What a vnode writes where it should not marks it, and costs nobody else anything.
nonsense() {
    # The word that north acknowledges views in: 0x81_1000 + 0x2000 + 64.
    poke $((0x813040)) '\377\377\377\377\377\377\000\000'
    check 'DS-65: who acknowledges a view that does not exist is a liar' eventually 10 \
        grep -q '^1 north .*suspect acknowledged a view that does not exist' /sys/kernel/debug/adeos/vnodes
    # The tail of the mailbox from the root to south is south's.
    poke $(($(mailbox 0 2) + 0x100)) '\001\002\003\004\000\000\000\000'
    do_ root 'ask 2 echo_stage 1 2000'
    is "$(report root 'asked 2 echo_stage' | sed 's/.* error //; s/ us.*//')" -32 \
        'DS-52: an index that makes no sense breaks the link (EPIPE)'
    do_ root 'ask 2 echo_stage 1 2000'
    is "$(report root 'asked 2 echo_stage' | sed 's/.* error //; s/ us.*//')" -32 'for good'
    check 'the root notes it' eventually 10 \
        grep -q '^2 south .*suspect wrote nonsense into its mailboxes' /sys/kernel/debug/adeos/vnodes
    is "$(dmesg | grep -c "vnode 2, life $(life 2): wrote nonsense")" 1 'and says so once'
    is "$(dmesg | grep -c "vnode 1, life $(life 1): acknowledged a view")" 1 'as it does of the liar'
    check 'its other links go on' answers south east
    check 'as do those of the root' answers root east
    check 'south is restarted' vnode restart south --timeout $((60 * slow))
    check 'with its module' on south insmod "$module"
    check 'DS-52: and its next life is heard' eventually 10 answers root south
}

# le BYTES NUMBER: a number as it lies in memory, as escapes.
le() {
    at=0
    while [ $at -lt "$1" ]; do
        printf '\\%03o' $((($2 >> (8 * at)) & 255))
        at=$((at + 1))
    done
}

# forge VERSION SERVICE KIND FLAGS SENDER COOKIE STATUS: puts a message, without a payload, behind those that
# south has pushed into its mailbox to the root; `head` is where the first one goes.
forge() {
    at=$((box + 0x180 + (head + forged) % 64 * 128))
    poke "$at" "$(le 2 "$1")$(le 2 "$2")$(le 1 "$3")$(le 1 "$4")$(le 2 0)"
    poke $((at + 8)) "$(le 4 "$5")$(le 4 "$(life 0)")$(le 8 "$6")$(le 8 "$7")"
    forged=$((forged + 1))
}

# forge_all COOKIE: messages that a nanokernel of ours never sends, while the root waits for one of this cookie.
forge_all() {
    south=$(life 2)
    box=$(mailbox 2 0)
    head=$(peek $((box + 0x80)))
    forged=0
    forge 2 0xff00 2 0 "$south" 1 0
    forge 1 0xff00 2 1 "$south" 2 0
    forge 1 0xff00 9 0 "$south" 3 0
    forge 1 0xff00 2 0 $((south - 1)) 4 0
    forge 1 0xff00 3 0 "$south" "$1" 0
    forge 1 0xff02 3 0 "$south" $(($1 + 1)) 0
    forge 2 0xff02 4 0 "$south" "$1" 1
    forge 2 0xff02 4 0 "$south" "$1" 1
    # Now and then it tells the root about its clock, in the place of the first of these.
    [ "$(peek $((box + 0x80)))" = "$head" ] || return
    poke $((box + 0x80)) "$(le 8 $((head + forged)))"
}

# dropped: what the root has dropped of south's.
dropped() {
    for key in foreign unmatched malformed version; do
        counter root $key 2
    done | xargs
}

# They are dropped, each for its reason.
forgeries() {
    # shellcheck disable=SC2046 # These are several numbers.
    set -- $(dropped)
    do_ root "ask 2 silent 1 $patience" &
    check 'the root asks south something that it does not answer' eventually 10 outstanding root 1
    box=$(mailbox 0 2)
    cookie=$(peek $((box + 0x180 + ($(peek $((box + 0x80))) - 1) % 64 * 128 + 0x10)))
    check 'somebody pushes for south what that would not' eventually 10 forge_all "$cookie"
    # South's word in the root's inbox: 0x1_0000 + 0x3000 + 2 * 64. It raises the mail portal without
    # an interrupt, and the root finds that by itself.
    poke $((0x013080)) "$(le 8 4)"
    wait
    is "$(report root 'asked 2 silent' | sed 's/ us.*//')" 'answered 0 wrong 0 failed 1 error -95' \
        'DS-36: a refusal in a later version ends its request, and nothing else does (EOPNOTSUPP)'
    # shellcheck disable=SC2046 # These are several numbers.
    set -- "$@" $(dropped)
    is $(($5 - $1)) 1 'DS-14: what another life would have sent is dropped'
    is $(($6 - $2)) 3 'DS-31: so are answers of another service, to another request, and again'
    is $(($7 - $3)) 2 'DS-13: and what is malformed'
    is $(($8 - $4)) 1 'DS-34: and a request of another version'
    is "$(counter south unmatched 0)" 2 'DS-34: of these, requests alone were refused'
}

kernels
dying
lives
two_lives
views
nonsense
forgeries
sound north
# South and east have panicked, as they were told to: what counts are their present lives.
for kernel in south east; do
    is "$(console $kernel | complaints)" '' "nor does that of $kernel"
done
finish
