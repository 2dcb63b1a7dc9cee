#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Whatever programs do with regions, in the root and two vnodes at once, as root and as a user without privileges: each answer is one
# that docs/bridge-shm.md allows, what one program writes shows where it is to and nowhere else, no kernel complains, and nothing is
# lost. One of the vnodes dies in the middle and comes again, and regions are moved meanwhile. Then one that means harm writes over the
# board: who waits is back in its time, and what is in regions is as it was. SH-n is docs/bridge-shm.md's.
#
# cluster: --cpus 4 --memory 2G --config /dev/null --timeout 500
# cargo: shmtest
# long
# shellcheck disable=SC2016,SC2317 # Other shells expand what is quoted; functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh
# shellcheck source=selftests/regions.sh
. /selftests/regions.sh

granule=2097152
all=65535
seconds=$((25 * slow))
hostile=$((12 * slow))
if [ "$is_long" = long ]; then
    seconds=$((100 * slow))
    hostile=$((60 * slow))
fi

# join NAME CPU: a vnode whose programs share memory, with a user who has no privileges.
join() {
    start "$1" --cpus "$2" --memory $((small + 32))M && on "$1" insmod "$module" && has_poor "$1"
}

has_poor() {
    at "$1" sh -c 'echo "poor:x:1000:1000:poor:/:/bin/sh" >>/etc/passwd'
}

# fuzz NAME SECONDS: two programs of two threads each in a kernel, with seeds of their own. They go on in the background;
# `programs` has the numbers of their processes, and /tmp/fuzz.NAME.USER what they say.
fuzz() {
    seed=$((seed + 2))
    at "$1" shmtest fuzz "$2" 2 "$seed" >"/tmp/fuzz.$1.root" 2>&1 &
    programs="$programs $!"
    at "$1" su poor -c "shmtest fuzz $2 2 $((seed + 1))" >"/tmp/fuzz.$1.poor" 2>&1 &
    programs="$programs $!"
}

# await NAME...: programs of these kernels end, and nothing was wrong.
await() {
    for program in $programs; do
        # How it ends is in what it says.
        wait "$program"
    done
    programs=
    for name; do
        for user in root poor; do
            remark "$name, $user: $(tail -n 1 "/tmp/fuzz.$name.$user")"
            is "$(sed -E '/^[A-Za-z_ ]+:( [0-9]+x[0-9]+)+$/d; /^seed [0-9]+: [0-9]+ steps$/d; s/^reached: .*/whole/' \
                "/tmp/fuzz.$name.$user")" whole "$name: every answer to $user is one that is allowed"
        done
    done
}

# reached WHAT: how often all programs together have come to that.
reached() {
    sed -n "s/^reached:.* $1=\([0-9]*\).*/\1/p" /tmp/fuzz.*.* | awk '{ sum += $1 } END { print sum + 0 }'
}

# reaches WHAT MINIMUM DESC
reaches() {
    within "$(reached "$1")" "$2" 1000000000 "$3: $2 times"
}

# only_the_board: no other bridge is there.
only_the_board() {
    [ "$(vnode bridge list --json | sed -n 's/^ *"name": "\(shm\..*\)",*$/\1/p')" = shm. ]
}

no_bridges() {
    ! vnode bridge list | grep -q 'shm\.'
}

# pool KEY: MiB of the pool, free or in the largest piece.
pool() {
    echo $(($(vnode info --json | sed -n "s/^  \"pool_$1_bytes\": \([0-9]*\),*\$/\1/p") >> 20))
}

has_free() {
    [ "$(pool free)" = "$1" ]
}

moves() {
    vnode bridge stat --json | sed -n 's/^  "moved": \([0-9]*\),*$/\1/p'
}

# stir: regions come that have room only where others give way, until all is over. There need not be so much memory.
stir() {
    while [ -e /tmp/stir ]; do
        if vnode bridge create stirring --size 40M 2>/tmp/stirred; then
            vnode bridge remove stirring
        fi
        sleep 0.5
    done
}

begin_stirring() {
    touch /tmp/stir
    stir &
    stirring=$!
}

end_stirring() {
    rm /tmp/stir
    wait "$stirring"
}

# all_sound: no kernel complains. Of two, what it has said before it died is left out.
all_sound() {
    sound one
    is "$(console two | complaints)" '' 'nor does that of two in this life'
    is "$(($(on two cat /proc/sys/kernel/tainted) & (128 + 512)))" 0 'and never has'
    is "$(on two sh -c "$leaks")" "done" 'and loses no memory'
}

begins() {
    check 'a vnode' join one 2
    refuses 'not connected|endpoint' 'without the root there are no regions' on one shmtest rounds early 1
    check 'the root has the module' insmod "$module"
    check 'and a user without privileges' has_poor root
    check 'another vnode' join two 3
}

# What is made on first use is there after this.
warms_up() {
    for name in root one two; do
        fuzz $name $((4 * slow))
    done
    await root one two
    check 'all regions go with them' eventually 20 only_the_board
}

attacks() {
    # What is left has room for all regions, also when two comes again.
    check 'a region takes most of the pool' vnode bridge create filler --size $(($(pool largest) / 2 * 2 - 160))M
    moved=$(moves)
    slab=$(slabs)
    free=$(pool free)
    files=$(open_files)
    begin_stirring
    rm /tmp/fuzz.*
    for name in root one two; do
        fuzz $name "$seconds"
    done
    sleep $((seconds / 3))
    end_stirring
    on two sh -c 'echo c >/proc/sysrq-trigger' >/dev/null 2>&1
    check 'two dies in the middle' vnode wait two --for dead --timeout $((10 * slow))
    # Its programs have died with it.
    rm /tmp/fuzz.two.*
    check 'it is taken back' vnode kill two
    check 'and comes again, where others have regions now' eventually 30 join two 3
    begin_stirring
    fuzz two $((seconds / 3))
    await root one two
    end_stirring
    reaches made 50 'regions are made'
    reaches opened 100 'and opened'
    reaches mapped 50 'and mapped'
    reaches kept 30 'a thread finds what it wrote'
    reaches zeros 50 'SH-21: and zeros where it did not'
    reaches shared 5 'others find marks of theirs'
    reaches faults 50 'SH-30: what may not be touched cannot'
    reaches slept 20 'SH-45: waits end in their time'
    reaches deaths 1 'SH-50: a death is told'
    reaches killed 10 'children are killed'
    remark "$(reached freed) locks were freed for those that had them; $(($(moves) - moved)) moves"
}

is_sound() {
    check 'SH-4: all regions go with the programs' eventually 20 sh -c \
        '[ "$(vnode bridge list | grep -c "shm\.")" = 2 ]'
    check 'their memory is back' eventually 10 has_free "$free"
    within $(($(slabs) - slab)) -1000000 $((slack * 2)) "the root's slabs have not grown (kB)"
    within "$(open_files)" 0 "$files" 'no more files are open'
    check 'what filled the pool goes' vnode bridge remove filler
    check 'and then there is the board alone' eventually 10 only_the_board
    all_sound
}

# The one that means harm is two.
harms() {
    check 'a program runs in the root' serve root
    check 'and in one' serve one
    check 'a region' s root create 1 calm $((2 * granule)) 600 $all $all
    check 'is mapped' s root map 1
    check 'and filled' s root fill 1 7
    check 'one has it' s one open 1 calm w
    check 'mapped' s one map 1
    check 'another region' s root create 2 storm $granule 600 $all $all
    board=$(vnode bridge show root/shm. --json | sed -n 's/^  "base": \([0-9]*\),*$/\1/p')
    on two shmtest scribble "$board" "$hostile" "$seed" >/tmp/scribbled 2>&1 &
    scribbling=$!
    shmtest endure storm 0 $((hostile - hostile / 4)) >/tmp/endured.root 2>&1 &
    enduring=$!
    on one shmtest endure storm 1 $((hostile - hostile / 4)) >/tmp/endured.one 2>&1
    is $? 0 'one goes on while two writes over the board'
    wait $enduring
    is $? 0 'and so does the root'
    wait $scribbling
    is $? 0 'two has done so all the time'
    within "$(cat /tmp/scribbled)" 100000 1000000000000000 'with many words'
    for name in root one; do
        remark "$name: $(cat /tmp/endured.$name)"
        within "$(sed -n 's/.* longest=\([0-9]*\)$/\1/p' /tmp/endured.$name)" 0 $((5000 * slow)) \
            "SH-42: who waits in $name is back in its time (ms)"
        within "$(sed -n 's/^turns=\([0-9]*\) .*/\1/p' /tmp/endured.$name)" $((hostile / slow / 6)) 1000000000 \
            'and has its turns'
        within "$(sed -n 's/.* locks=\([0-9]*\) .*/\1/p' /tmp/endured.$name)" $((hostile / slow / 6)) 1000000000 \
            'and the lock'
        check "what is in regions is as it was, in $name" s $name verify 1 7
    done
    check 'the program of one ends' end_serving one
    check 'and that of the root' end_serving root
    check 'and all that they had' eventually 20 only_the_board
    all_sound
}

ends() {
    for name in one two; do
        check "$name unloads the module" on $name rmmod bridge_shm
    done
    check 'and the root' rmmod bridge_shm
    check 'the board is gone' eventually 5 no_bridges
    check 'it is made anew' insmod "$module"
    check 'and is whole' shmtest rounds again 3
    check 'and goes' rmmod bridge_shm
    check 'one stops' vnode stop one
    check 'and two' vnode stop two
    is "$(view)" "$before" 'the root has all again'
}

programs=
seed=$(od -An -tu4 -N4 /dev/urandom | tr -d ' ')
remark "seed $seed"
before=$(view)
begins
warms_up
attacks
is_sound
harms
ends
finish
