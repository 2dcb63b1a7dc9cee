#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Litmus tests of memory that programs of several kernels share: in which order they see each other's stores, and that
# atomic operations are so among all. docs/bridge-shm.md is cited as SH-n.
#
# cluster: --cpus 4 --memory 2G --config /dev/null --timeout 2400
# cargo: shmtest
# longer
# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh
# shellcheck source=selftests/regions.sh
. /selftests/regions.sh

# Rounds that at least two kernels play at the same time.
rounds=20000
[ "$is_long" = no ] || rounds=1000000
rounds=$((rounds / slow))
regions=0

# litmus TEST KERNEL...: has these kernels play a test, a role each (selftests/shmtest/src/litmus/catalogue.rs).
litmus() {
    what=$1
    shift
    # Each has a region of its own, which is zeros.
    regions=$((regions + 1))
    region=litmus.$regions
    check "a region for $what" vnode bridge create $region --size 2M --vnodes one,two
    role=0
    players=
    for name; do
        if [ $role != 0 ]; then
            at "$name" shmtest litmus --roles $# "$what" $role $region $rounds >/tmp/player.$role 2>&1 &
            players="$players $!"
        fi
        role=$((role + 1))
    done
    at "$1" shmtest litmus --roles $# "$what" 0 $region $rounds >/tmp/told 2>&1
    status=$?
    remark "$(cat /tmp/told)"
    is $status 0 "SH-36: $what, by $*"
    # shellcheck disable=SC2086 # These are numbers of processes.
    wait $players
    is "$(cat /tmp/player.*)" '' 'all have played'
    rm /tmp/player.*
    # What is played by one after the other tells nothing. The last block is a whole one.
    within "$(sed -n 's/.* rounds, \([0-9]*\) of them met.*/\1/p' /tmp/told)" $((rounds / 100)) $((rounds + 4096)) \
        'at the same time'
    check 'it goes' vnode bridge remove $region
}

before=$(view)
check 'a vnode' start one --cpus 2 --memory "$((small + 32))M"
check 'another one' start two --cpus 3 --memory "$((small + 32))M"
check 'the root loads the module' insmod "$module"
for name in one two; do
    check "and $name" on $name insmod "$module"
done

for test in sb sb-fence sb-swap mp lb 2+2w corr add exchange claim; do
    litmus $test root one
    litmus $test one two
done
for test in wrc add exchange claim; do
    litmus $test root one two
done
# Two CPUs of the root, and two other kernels.
litmus iriw root one two root

for name in one two; do
    check "$name unloads the module" on $name rmmod bridge_shm
done
check 'and the root' rmmod bridge_shm
check 'the board is gone' eventually 5 bridge_is_gone ''
sound one two
for name in one two; do
    check "$name is stopped" vnode stop $name
done
is "$(view)" "$before" 'the root has all again'
finish
