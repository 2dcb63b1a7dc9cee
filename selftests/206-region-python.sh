#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The library of regions from Python, as tools/libbridge-c/examples/notices.py uses it: texts from programs of a vnode and of the
# root come to one in the root, also when one of them has died with the lock. docs/bridge-shm.md is cited as SH-n.
#
# long
# cluster: --cpus 2 --memory 3G --config /dev/null --timeout 200 --rootfs debian
# examples
# cargo: shmtest

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

module=/lib/modules/$(uname -r)/adeos/bridge_shm.ko

# notices ARGUMENT...: the example, in the root's Debian. It takes the place of this shell.
notices() {
    exec chroot /debian env LD_LIBRARY_PATH=/tmp/examples python3 /tmp/examples/notices.py "$@"
}

# give ARGUMENT...: runs it.
give() {
    (notices "$@")
}

# shown TEXT: who shows has shown it, as the last line.
shown() {
    [ "$(tail -n 1 /tmp/shown)" = "$1" ]
}

# has_region: the one who shows has it open.
has_region() {
    vnode bridge list | grep -q ' shm\.weather '
}

before=$(view)
check 'a vnode' start one --cpus 1 --memory "$((small + 32))M"
check 'the root loads the module' insmod "$module"
check 'and so does the vnode' on one insmod "$module"
check 'the example is in the Debian' cp -r /examples /debian/tmp/
refuses 'Texts from programs' 'it tells how it is used' give
notices weather >/tmp/shown 2>&1 &
showing=$!
check 'one shows texts' eventually $((20 * slow)) has_region
check 'another one gives a text' give weather fine and dry
check 'which is shown' eventually 5 shown 'fine and dry'
check 'and one more' give weather rain
check 'which is shown' eventually 5 shown rain
# The word of the lock is the first, and the text is at 64: a program of the vnode writes there, and dies with the lock.
on one sh -c 'shmtest serve /tmp/shmtest >/dev/null 2>&1 </dev/null & echo $! >/tmp/shmtest.pid'
check 'a program of the vnode has the region' eventually 5 on one sh -c \
    'shmtest ask /tmp/shmtest open 1 weather w && shmtest ask /tmp/shmtest map 1'
on one shmtest ask /tmp/shmtest hold 1 0 600000 >/tmp/dies 2>&1 &
dying=$!
# shellcheck disable=SC2016 # The vnode expands it.
check 'it has the lock, and writes' eventually 5 on one sh -c \
    '[ "$(shmtest ask /tmp/shmtest load 1 0)" != 0 ] && shmtest ask /tmp/shmtest store 1 64 1684104562'
# shellcheck disable=SC2016 # The vnode expands it.
on one sh -c 'kill -9 "$(cat /tmp/shmtest.pid)"'
wait $dying
check 'SH-61: who gives the next text has the lock' give weather snow
check 'and it is shown' eventually 5 shown snow
kill $showing
wait $showing
check 'with the last program it is gone' eventually 10 sh -c '! vnode bridge list | grep -q weather'
check 'the modules go' on one rmmod bridge_shm
check 'in the root as well' rmmod bridge_shm
sound one
check 'the vnode is stopped' vnode stop one
is "$(view)" "$before" 'the root has all again'
finish
