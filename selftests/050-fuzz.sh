#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Whatever programs ask of /dev/kmb and /dev/adeos, they get an answer that docs/kmb-ioctl.md allows;
# no kernel complains, nothing is lost, and a vnode that runs meanwhile does not notice. Vnodes are
# really started by this, stopped and killed, by four threads that get in each other's way, with
# damaged requests and files, and with steps that fail.
#
# cluster: --cpus 6 --memory 3G --config /dev/null --timeout 300
# cargo: kmb-fuzz

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

# fuzz SECONDS SEED: a run of four threads; what it says goes to /tmp/answers.
fuzz() {
    kmb-fuzz $(($1 * slow)) 4 "$2" /boot/vmlinuz-* /boot/initrd.img-* >/tmp/answers 2>&1
}

# reaches WHAT MINIMUM DESC: the run has come to that as often, at least. What is asked for is half of
# what a machine comes to that has six times its CPUs' work to do.
reaches() {
    within "$(sed -n "s/^reached:.* $1=\([0-9]*\).*/\1/p" /tmp/answers)" "$2" 1000000 "$3: $2 times"
}

seed=$(od -An -tu4 -N4 /dev/urandom | tr -d ' ')
remark "seed $seed"

echo 0 >/sys/devices/system/cpu/cpu5/online
before=$(view)
check 'a vnode to live through it' start one --cpus 1 --memory "${small}M" --above-4g
one=$(boot_id one)
with_one=$(view)

# Every CPU is lent once, and what is made on first use is there.
fuzz 8 1
is $? 0 'a short run: every answer is one that is allowed'
remark "$(cat /tmp/answers)"
slab=$(slabs)
free=$(kilobytes MemFree)
files=$(open_files)

fuzz 25 "$seed"
is $? 0 'a long run: every answer is one that is allowed'
remark "$(cat /tmp/answers)"
reaches past_image 40 'starts whose image is good'
reaches started 6 'starts that succeed'
reaches killed 5 'vnodes killed by their life'
reaches stale 5 'lives that have ended, asked for'
reaches fired 6 'faults that come when asked for'
reaches steps 4 'steps that fail'

check 'the vnode answers' eventually 10 on one true
is "$(boot_id one)" "$one" 'and has not booted again'
is "$(field one state)" running 'and is not thought otherwise'
is "$(view)" "$with_one" 'CPUs and memory are as before'
# Seven runs differed by 160 kB in slabs and by 1030 kB in all.
within $(($(slabs) - slab)) -100000 $((512 * slow)) \
    "the root's slabs have not grown (kB)"
within $((free - $(kilobytes MemFree))) -100000 $((2048 * slow)) \
    "the root's free memory has not shrunk (kB)"
within "$(open_files)" 0 "$files" 'no more files are open'
sound one
check 'the vnode stops' vnode stop one
is "$(view)" "$before" 'and leaves all as it was'
check 'kmb and adeos_core can be removed: no reference is left' rmmod kmb adeos_core
finish
