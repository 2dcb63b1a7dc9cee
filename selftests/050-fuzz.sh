#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Whatever a program asks of /dev/kmb and /dev/adeos, no kernel complains, nothing is lost, and a
# vnode that runs meanwhile does not notice.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 200
# cargo: kmb-fuzz

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

# kilobytes KEY: a line of /proc/meminfo, with all that can be given back given back.
kilobytes() {
    echo 3 >/proc/sys/vm/drop_caches
    awk -v key="$1:" '$1 == key { print $2 }' /proc/meminfo
}

seed=$(od -An -tu4 -N4 /dev/urandom | tr -d ' ')
remark "kmb-fuzz 20 4 $seed"

before=$(view)
check 'a vnode to live through it' start one --cpus 1-2 --memory 128M
one=$(boot_id one)
with_one=$(view)
check 'a short run' kmb-fuzz 2 4 1
slab=$(kilobytes Slab)

# Its input is a regular file that looks like a kernel image up to where it matters.
head -c 4096 /boot/vmlinuz-* >/tmp/image
kmb-fuzz 20 4 "$seed" </tmp/image >/tmp/answers 2>&1
is $? 0 'a long run of every request, from four threads'
remark "$(cat /tmp/answers)"
check 'the vnode answers' eventually 10 on one true
is "$(boot_id one)" "$one" 'and has not booted again'
is "$(field one state)" running 'and is not thought otherwise'
is "$(view)" "$with_one" 'CPUs and memory are as before'
within $(($(kilobytes Slab) - slab)) -100000 $((1024 * slow)) \
    "the root's slabs have not grown by 1 MiB (kB)"
sound one
check 'the vnode stops' vnode stop one
is "$(view)" "$before" 'and leaves all as it was'
check 'kmb and adeos_core can be removed: no reference is left' rmmod kmb adeos_core
finish
