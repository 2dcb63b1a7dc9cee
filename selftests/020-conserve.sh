#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What vnodes are lent comes back: every CPU and every byte, scrubbed, whenever they end.
#
# cluster: --cpus 6 --memory 4G --config /dev/null --timeout 900
# cargo: physmem

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

# How many rounds of starting and killing: 100, or as many as the first argument says.
many=$((${1:-100} / slow / 2 * 2))
pattern='the secret of a vnode'
# Below the end of the root's own RAM: /dev/mem reads no further.
base=0x50000000

# random BELOW: a random number.
random() {
    echo $(($(od -An -tu4 -N4 /dev/urandom) % $1))
}

# secrets RANGE...: how often the pattern is in that physical memory.
secrets() {
    physmem count "$@" "${pattern%?}" "${pattern#"${pattern%?}"}"
}

orderly() {
    check 'a vnode with 2 CPUs and 1 GiB' start one --cpus 2-3 --memory 1G
    check 'a vnode with 1 CPU and little memory' start two --cpus 5 --memory "${small}M"
    isnt "$(view)" "$before" 'the root sees that they are lent'
    is "$(online)" 0-1,4 'it has two CPUs and one less'
    first=$(boot_id one)
    check 'one shuts down when it is asked to' vnode stop one
    check 'one starts again' start one --cpus 2-3 --memory 1G
    isnt "$(boot_id one)" "$first" 'with a new boot_id'
    first=$(boot_id one)
    check 'one restarts' vnode restart one
    isnt "$(boot_id one)" "$first" 'with a new boot_id'
    check 'one is stopped' vnode stop one
    check 'two is stopped' vnode stop two
    is "$(view)" "$before" 'after that the root has every CPU and every page'
}

# The pattern is looked for in the memory itself, by the root.
leaves_nothing() {
    check "$1: a vnode at an address of our choice" \
        start one --cpus 2 --memory "${small}M" --memory-base $base
    is "$(field one memory_base)" $((base)) "$1: it is there"
    on one sh -c "yes '$pattern' | head -c 1048576 >/tmp/secret"
    within "$(secrets $base $((small << 20)))" 40000 1000000 "$1: its memory holds what it wrote"
    check "$1: it goes" vnode "$1" one
    is "$(physmem used $base $((small << 20)))" 0 "$1: its memory is all zeros"
}

# A start that fails when the image is in place already.
fails_halfway() {
    vnode fault 9
    refuses . 'a start fails in its sixth step' \
        start one --cpus 2 --memory "${small}M" --memory-base $base
    is "$(physmem used $base $((small << 20)))" 0 'and leaves nothing in the memory'
}

# channels: how often the pattern is in the rings through which vnode 1 and the root have talked
# (docs/control-area.md).
channels() {
    secrets $((control + 0x10000 + 0x80000 + 0x40000)) $((4 << 16))
}

# low_memory: how much is left in the conventional memory that vnode 1 had, but for the page in
# which its CPUs wait.
low_memory() {
    physmem used 0x10000 0x7000
}

# What a vnode has besides its memory is cleared before its number has another life.
leaves_nothing_beside() {
    control=$(sed -n '1s/^used \(0x[0-9a-f]*\)+.*/\1/p' /sys/kernel/debug/adeos/pool)
    is "$(dd if=/dev/mem bs=64K skip=$((control >> 16)) count=1 2>/dev/null | head -c 8)" ADEOSCTL \
        'the control area is found'
    check 'a vnode that talks' start one --cpus 2 --memory "${small}M"
    on one sh -c "yes '$pattern' | head -c 65536" >/dev/null
    within "$(channels)" 100 1000000 'what it said is in the rings'
    within "$(low_memory)" 1000 28672 'its conventional memory is used'
    check 'it is stopped' vnode stop one
    is "$(low_memory)" 0 'its conventional memory is all zeros'
    check 'the number has another life' start two --cpus 2 --memory "${small}M" --no-wait
    is "$(channels)" 0 'and nothing of it is in the rings'
    check 'which ends' vnode kill two
}

# Nor does the vnode that is lent the memory next find it.
next_sees_nothing() {
    check 'a vnode that writes a secret' \
        start one --cpus 2 --memory "${small}M" --memory-base $base
    on one sh -c "yes '$pattern' | head -c 1048576 >/tmp/secret"
    on one sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    vnode wait one --for dead --timeout 10 2>/dev/null
    within "$(secrets $base $((small << 20)))" 40000 1000000 'dead, it keeps its memory for a look'
    check 'it is taken back' vnode kill one
    check 'another one is given the same memory' \
        start two --cpus 3 --memory "${small}M" --memory-base $base
    within "$(on two physmem used $base $((small << 20)))" $((4 << 20)) $((small << 20)) \
        'it can read all of that'
    is "$(on two physmem count $base $((small << 20)) "${pattern%?}" "${pattern#"${pattern%?}"}")" 0 \
        'and does not find the secret there'
    check 'it is taken back' vnode kill two
}

# rounds NAME CPUS COUNT PLACE...: starts a vnode and kills it at a random moment, COUNT times.
# Every tenth start is itself killed on its way.
rounds() {
    name=$1
    cpus=$2
    count=$3
    shift 3
    round=0
    while [ $round -lt "$count" ]; do
        round=$((round + 1))
        if [ $((round % 10)) = 0 ]; then
            timeout -s KILL "0.$(random 3)$(random 10)" \
                vnode start "$name" --cpus "$cpus" --memory "${small}M" --no-wait "$@" \
                >/dev/null 2>&1
        else
            start "$name" --cpus "$cpus" --memory "${small}M" --no-wait "$@" || return
        fi
        usleep $(($(random 900) * 1000))
        # A start that was killed early has made no vnode.
        vnode kill "$name" >/dev/null 2>&1 || [ $((round % 10)) = 0 ] || return
    done
    echo "$round"
}

# Two at a time, so that they get into each other's way.
many_rounds() {
    rounds left 1-2 $((many / 2)) --below-4g >/tmp/left 2>&1 &
    rounds right 3 $((many / 2)) >/tmp/right 2>&1
    wait
    is "$(cat /tmp/left /tmp/right | xargs)" "$((many / 2)) $((many / 2))" \
        "$many starts, each killed at a random moment"
}

rounds_leak_nothing() {
    check 'rounds to warm up' rounds left 1-2 5
    slab=$(kilobytes Slab)
    free=$(kilobytes MemFree)
    lent=$(vnode info --json | grep -E 'pool|cpus')
    many_rounds
    is "$(view)" "$before" 'after them the root has every CPU and every page'
    is "$(vnode info --json | grep -E 'pool|cpus')" "$lent" 'and its modules say so'
    within $(($(kilobytes Slab) - slab)) -100000 $((1024 * slow)) \
        "the root's slabs have not grown by 1 MiB (kB)"
    within $((free - $(kilobytes MemFree))) -100000 $((4096 * slow)) \
        "nor has it lost 4 MiB in all (kB)"
    check 'a last one starts' start left --cpus 1-3 --memory 512M
    check 'and answers' on left true
    check 'and is stopped' vnode stop left
    is "$(view)" "$before" 'and the root has all again'
}

before=$(view)
orderly
leaves_nothing kill
leaves_nothing stop
fails_halfway
leaves_nothing_beside
next_sees_nothing
rounds_leak_nothing
sound
finish
