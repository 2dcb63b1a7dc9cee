#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A kernel without the patches runs as a vnode as well, if the root starts its CPU itself; from the
# moment at which adeos_core is loaded in it, its deaths stay its own, and it takes commands though
# no portal interrupts it (CA-63). What the patches buy is seen in comparison with the other files.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 240 --add-kernel plain
# alone

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

plain='--kernel /boot/vmlinuz-plain --initrd /boot/initrd-plain.img --memory 128M'

# inside COMMAND...: runs it in the victim, which may be one whose timer does not tick.
inside() {
    timeout 10 on victim "$@"
}

# begin_with CPUS COUNT: the victim starts, and is what it was asked to be.
begin_with() {
    # shellcheck disable=SC2086 # These are several words.
    check "an unpatched kernel on CPUs $1" start victim --cpus "$1" $plain --entry sipi
    is "$(field victim entry) $(field victim state)" 'sipi running' "$1: it runs, by sipi"
    is "$(inside nproc)" "$2" "$1: it has $2 CPUs"
    is "$(vnode show victim | grep -c 'features.*patched')" 0 "$1: the root sees that it is not patched"
    is "$(inside sh -c 'echo text >&2; cat' </proc/version 2>/dev/null)" "$(cat /proc/version)" \
        "$1: it takes commands"
    isnt "$(inside cat /proc/sys/kernel/random/boot_id)" "$root" "$1: it is a kernel of its own"
    check "$1: its console can be read" says victim 'Linux version'
}

# ends CAUSE WHAT COMMAND...: COMMAND ends the victim for that cause, and nobody else.
ends() {
    cause=$1
    what=$2
    shift 2
    begin=$(now_ms)
    inside "$@" >/dev/null 2>&1 &
    vnode wait victim --for dead --timeout 10 >/dev/null 2>&1
    took=$(($(now_ms) - begin))
    is "$(field victim state) $(field victim cause)" "dead $cause" "$what: the root knows it"
    within $took 0 $((2000 * slow)) "$what: within 2 s"
    is "$(boot_id sibling)" "$sibling" "$what: the sibling lives on"
    is "$(boot_id root)" "$root" "$what: so does the root"
    check "$what: it starts again" vnode restart victim
    wait
}

deaths() {
    ends panic "$1: panic" sh -c 'echo c >/proc/sysrq-trigger'
    ends restart "$1: reboot -f" reboot -f
    ends emergency-restart "$1: sysrq-b" sh -c 'echo b >/proc/sysrq-trigger'
    # Without the patches there is nothing that could switch it off, so Linux halts.
    ends halt "$1: poweroff -f" poweroff -f
    check "$1: the victim shuts down when it is asked to" vnode stop victim
}

before=$(view)
root=$(boot_id root)
check 'a sibling with the patches' start sibling --cpus 3 --memory $((128 + more))M
sibling=$(boot_id sibling)
with_sibling=$(view)

begin_with 1 1
deaths 'one CPU'
begin_with 1-2 2
deaths 'two CPUs'
is "$(view)" "$with_sibling" 'the root has all back'

# shellcheck disable=SC2086 # These are several words.
refuses 'not a kernel image' 'without sipi, it is refused' vnode start victim --cpus 1 $plain
check 'the log says why' sh -c "dmesg | grep 'not patched to start its own CPU: use entry .sipi'"
is "$(view)" "$with_sibling" 'and nothing is left behind'

sound sibling
check 'the sibling stops' vnode stop sibling
is "$(view)" "$before" 'and the root has everything again'
finish
