#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Whatever way a vnode ends, the root and its sibling live on, and the root says within two seconds
# which vnode ended and why (CA-41, CA-50). What the dead one has said can be read; started again, it
# runs.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 300
# alone

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
lkdtm=/sys/kernel/debug/provoke-crash/DIRECT

# ends CAUSE TEXT WHAT COMMAND...: COMMAND, run in the victim, ends it for that cause, and its
# console then holds TEXT (not looked for if empty). WHAT names the way of death.
ends() {
    cause=$1
    text=$2
    what=$3
    shift 3
    life=$(field victim generation)
    begin=$(now_ms)
    on victim "$@" >/tmp/said 2>&1 &
    vnode wait victim --for dead --timeout 10 >/tmp/waited 2>&1
    took=$(($(now_ms) - begin))
    is "$(field victim state) $(field victim cause)" "dead $cause" "$what: the root says that it is dead, and why"
    within $took 0 $((2000 * slow)) "$what: it says so within 2 s"
    check "$what: the root and the sibling have the view without it" eventually 5 has_gone "$life"
    after_death "$what" "$text"
    wait
    isnt "$(field victim generation)" "$life" "$what: the vnode that was started again is another one"
}

# has_gone LIFE: the last view that the root and the sibling have taken is the one without that life of
# the victim, which has left or died.
has_gone() {
    case $cause in
    restart | power-off | halt) how=left ;;
    *) how=died ;;
    esac
    for where in env 'on sibling'; do
        $where head -n 1 /sys/kernel/debug/adeos/members |
            grep -qx "view [0-9]* vnode $(field victim id) life $1 $how" || return
    done
}

# after_death WHAT TEXT: the others live; the dead one's console is there; it can be started again.
after_death() {
    is "$(vnode list | awk '$2 == "victim" { print $3 }')" dead "$1: the list shows it as dead"
    is "$(field sibling state)" running "$1: the sibling is not thought dead"
    is "$(boot_id sibling)" "$sibling" "$1: the sibling answers, and has not booted again"
    is "$(boot_id root)" "$root" "$1: nor has the root"
    if [ -n "$2" ]; then
        check "$1: the console tells of it" says victim "$2"
    fi
    check "$1: it starts again" restart
    isnt "$(boot_id victim)" "$victim" "$1: with a new boot_id"
    victim=$(boot_id victim)
}

restart() {
    vnode restart victim --timeout $((60 * slow))
}

begin_with() {
    check "a victim on CPUs $1" start victim --cpus "$1" --memory $((128 + more))M --append "$2"
    victim=$(boot_id victim)
}

# Most deaths are a matter of the kernel, not of the number of its CPUs.
two_cpus() {
    begin_with 1-2 ''
    ends panic 'Kernel panic - not syncing: sysrq triggered crash' 'sysrq-c' \
        sh -c 'echo c >/proc/sysrq-trigger'
    ends panic 'Kernel panic - not syncing: Fatal exception' 'oops' sh -c "echo EXCEPTION >$lkdtm"
    ends panic 'kernel BUG at' 'BUG' sh -c "echo BUG >$lkdtm"
    ends panic 'in interrupt' 'BUG in an interrupt' sh -c "echo BUG_IN_HARDIRQ >$lkdtm"
    ends panic 'dumptest' 'panic' sh -c "echo PANIC >$lkdtm"
    ends restart 'reboot: ' 'reboot -f' reboot -f
    ends power-off 'reboot: ' 'poweroff -f' poweroff -f
    ends halt 'reboot: ' 'halt -f' halt -f
    ends emergency-restart '' 'sysrq-b' sh -c 'echo b >/proc/sysrq-trigger'
    ends power-off '' 'sysrq-o' sh -c 'echo o >/proc/sysrq-trigger'
    ends hang '' 'second CPU hangs with interrupts off' taskset 2 sh -c "echo HARDLOCKUP >$lkdtm"
    ends hang '' 'first CPU hangs with interrupts off' taskset 1 sh -c "echo HARDLOCKUP >$lkdtm"
    check 'the victim is taken back' vnode kill victim
}

one_cpu() {
    begin_with 1 'panic=0'
    ends panic 'sysrq triggered crash' 'panic with panic=0, one CPU' \
        sh -c 'echo c >/proc/sysrq-trigger'
    ends hang '' 'the only CPU hangs with interrupts off' sh -c "echo HARDLOCKUP >$lkdtm"
    check 'the victim is taken back' vnode kill victim
    # Ways of restarting that on a machine of its own would reset that machine.
    for way in t k a; do
        begin_with 1 "reboot=$way panic=3"
        ends restart '' "reboot=$way" reboot -f
        check 'the victim is taken back' vnode kill victim
    done
}

# fails_early TEXT WHAT OPTION...: the kernel ends before its init, and `vnode start` says so.
fails_early() {
    text=$1
    what=$2
    shift 2
    refuses 'is dead: panic' "$what: vnode start says that it panicked" \
        vnode start victim --cpus 1-2 --memory $((128 + more))M --timeout $((8 * slow)) "$@"
    is "$(field victim state) $(field victim cause)" 'dead panic' "$what: the root knows it"
    check "$what: the console tells of it" says victim "$text"
    is "$(boot_id sibling)" "$sibling" "$what: the sibling lives on"
    check "$what: the victim is taken back" vnode kill victim
}

early() {
    head -c 100000 "$(echo /boot/initrd.img-*)" >/tmp/cut.img
    fails_early 'Unable to mount root' 'no initrd' --initrd none
    fails_early 'Kernel panic - not syncing' 'a cut initrd' --initrd /tmp/cut.img --append root=/dev/nope
    fails_early 'Attempted to kill init' 'an init that ends' --append rdinit=/bin/false
    fails_early 'can not alloc memory' 'a panic before there is memory' --append mem=40M
}

# A CPU that is started again in the middle of its way into the kernel, where the image has
# overwritten itself, halts; the machine lives (docs/control-area.md, CA-36). No vnode has written
# to the victim's console yet.
started_twice() {
    for round in 1 2 3; do
        vnode start victim --cpus 1 --memory $((128 + more))M --no-wait >/tmp/said 2>&1
        check "start $round: the CPU is started twice" insmod "$modules/start_test.ko" vnode=2
        rmmod start_test
        is "$(console victim | wc -l)" 0 "start $round: its kernel says nothing"
        check "start $round: it is taken back" vnode kill victim
    done
}

check 'a sibling' start sibling --cpus 3 --memory $((128 + more))M
root=$(boot_id root)
sibling=$(boot_id sibling)
before=$(view)
started_twice
two_cpus
one_cpu
early
is "$(view)" "$before" 'at the end the root has all as it was'
sound sibling
finish
