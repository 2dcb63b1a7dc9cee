#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Vnodes boot with one, two and three CPUs, all at once, below and above 4 GiB, and have what they
# were given, seen from inside. Commands run in them as they would here.
#
# The sockets have three CPUs each, so that APIC ids are not the numbers of CPUs.
# cluster: --cpus 9 --memory 6G --config /dev/null --timeout 240 --qemu "-smp 9,sockets=3,cores=3"

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

vnodes='one two three'

# apic_ids: of all CPUs in a /proc/cpuinfo on standard input, in their order, on one line.
apic_ids() {
    sed -n 's/^apicid.*: //p' | xargs
}

# of_root NUMBER...: APIC ids of CPUs of the root, noted before any were lent.
of_root() {
    for number; do
        echo "$root_ids" | cut -d ' ' -f $((number + 1))
    done | xargs
}

# ram NAME: what a vnode shows as RAM beyond the first MiB, as BASE+SIZE in the root's form.
ram() {
    on "$1" cat /proc/iomem | sed -n 's/^\([0-9a-f]\{8,\}\)-\([0-9a-f]*\) : System RAM/\1 \2/p' |
        while read -r first last; do
            [ $((0x$first)) -lt $((1 << 20)) ] ||
                echo "$((0x$first))+$((0x$last - 0x$first + 1))"
        done | xargs
}

same_time() {
    here=$(date +%s)
    there=$(on "$1" date +%s)
    within $((there - here)) -2 2 "$1: its clock shows the root's time"
}

uptime_ms() {
    on "$1" cat /proc/uptime | awk '{ printf "%d\n", $1 * 1000 }'
}

# has NAME CPUS MIB APIC_IDS: the vnode is what was asked for.
has() {
    is "$(field "$1" state)" running "$1 runs"
    is "$(on "$1" grep -c ^processor /proc/cpuinfo)" "$2" "$1: has $2 CPUs in /proc/cpuinfo"
    is "$(on "$1" nproc)" "$2" "$1: can use all of them"
    is "$(on "$1" cat /proc/cpuinfo | apic_ids)" "$4" "$1: they are the ones it was given"
    is "$(ram "$1")" "$(field "$1" memory_base)+$(($3 << 20))" \
        "$1: its RAM is the $3 MiB it was given, to the byte"
    # The kernel counts neither its own image nor its page structures.
    within "$(on "$1" cat /proc/meminfo | awk '/^MemTotal/ { print int($2 / 1024) }')" \
        $(($3 * 7 / 8 - 24 - more / 2)) "$3" "$1: MemTotal is a little less than $3 MiB"
}

# speaks NAME: its console has all from the first line on.
speaks() {
    is "$(vnode console "$1" | head -n 1 | grep -c 'Linux version')" 1 \
        "$1: its console begins with the kernel's first line"
    check "$1: its console has the first line of its init" \
        sh -c "vnode console $1 | grep 'adeos: init started'"
    check "$1: its kernel broadcasts no interrupts" \
        sh -c "vnode console $1 | grep 'IPI shorthand broadcast: disabled'"
}

boots() {
    root_ids=$(apic_ids </proc/cpuinfo)
    started=$(now_ms)
    check 'a vnode with 1 CPU, below 4 GiB' start one --cpus 4 --memory $((128 + more))M --below-4g
    check 'one with 2 CPUs that are no neighbours, above 4 GiB' \
        start two --cpus 2,6 --memory 512M --above-4g
    check 'one with 3 CPUs and more than 1 GiB' start three --cpus 3,7-8 --memory 1026M
    is "$(online)" 0-1,5 'the root has the other CPUs'
    isnt "$(of_root 8)" 8 'APIC ids of this machine are not the numbers of its CPUs'

    has one 1 $((128 + more)) "$(of_root 4)"
    has two 2 512 "$(of_root 2 6)"
    has three 3 1026 "$(of_root 3 7 8)"
    within "$(($(field one memory_base) >> 30))" 0 3 'one lies below 4 GiB'
    within "$(($(field two memory_base) >> 32))" 1 64 'two lies above 4 GiB'

    ids=$(for name in root $vnodes; do boot_id "$name"; done | sort -u | wc -l)
    is "$ids" 4 'four kernels have four boot_ids'
    for name in $vnodes; do
        same_time "$name"
        speaks "$name"
        up=$(uptime_ms "$name")
        within "$up" 1 $(($(now_ms) - started)) "$name: its uptime began when it was started"
    done
}

commands() {
    is "$(on one sh -c 'echo out; echo err >&2' 2>/dev/null)" out 'exec: standard output'
    is "$(on one sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err 'exec: standard error'
    is "$(echo 'some input' | on one tr a-z A-Z)" 'SOME INPUT' 'exec: standard input'
    is "$(printf '' | on one wc -c)" 0 'exec: the end of standard input'
    is "$(on one printf '%s|' 'a b' '' "c'd" '*')" "a b||c'd|*|" 'exec: arguments as they were'
    is "$(on one hostname)" one 'exec: it runs in the vnode'
    is "$(vnode exec -e X=7 -C /proc one sh -c 'env | grep ^X=; pwd' | xargs)" 'X=7 /proc' 'exec: variable, folder'
    for status in 0 1 42 255; do
        on one sh -c "exit $status"
        is $? $status "exec: status $status"
    done
    on one timeout -s KILL 0.1 sleep 9
    is $? 137 'exec: a signal is 128 + its number'
    on one no-such-program 2>/dev/null
    is $? 127 'exec: a command that is not there'
    on one /proc/version 2>/dev/null
    is $? 126 'exec: a file that cannot be run'
    said=$(on nobody true 2>&1)
    is $? 255 'exec: a vnode that is not there'
    is "$(echo "$said" | grep -c 'no vnode is called .nobody')" 1 'exec: and its message'
}

data() {
    head -c 3000001 /dev/urandom >/tmp/data
    sum=$(md5sum </tmp/data)
    is "$(on two md5sum </tmp/data)" "$sum" '3 MB of random bytes go in as they are'
    on two sh -c 'cat >/tmp/data' </tmp/data
    is "$(on two cat /tmp/data | md5sum)" "$sum" 'and come out as they are'
    is "$(on two cat </tmp/data | md5sum)" "$sum" 'and go both ways at a time'
    is "$(on two cat /tmp/data | head -c 10 | wc -c)" 10 'a reader that goes away ends the command'
    check 'which frees its channel' on two true
}

all_are_here() {
    [ "$(cat /tmp/out.* | grep -c here)" = 8 ]
}

# Eight channels: as many commands at a time, each with its own streams. They wait for the end of
# their input, which comes when the pipe's last writer closes it.
at_once() {
    mkfifo /tmp/gate
    exec 3<>/tmp/gate
    for number in 1 2 3 4 5 6 7 8; do
        on three sh -c "echo here; cat; echo out $number; echo err $number >&2; exit $number" \
            </tmp/gate >"/tmp/out.$number" 2>&1 3>&- &
        eval "pid_$number=$!"
    done
    check 'eight commands run at once' eventually 10 all_are_here
    on three true 2>/tmp/ninth
    is "$(grep -c 'has all of its channels in use' /tmp/ninth)" 1 'a ninth command is refused'
    exec 3>&-
    for number in 1 2 3 4 5 6 7 8; do
        eval "wait \$pid_$number"
        is "$? $(sort "/tmp/out.$number" | xargs)" "$number err $number here out $number" \
            "command $number of 8 at once"
    done
    check 'and then there is room again' on three true
}

# portals NAME: how many interrupts for portals a kernel has sent, and how many raises of the
# channels' portal, number 1, it has taken.
portals() {
    show='cat /sys/kernel/debug/adeos/portals'
    [ "$1" = root ] || show="on $1 $show"
    $show | awk '
        $1 == "portal" {
            for (at = 6; at < NF; at += 2) {
                if ($at == "interrupting") sent += $(at + 1)
                if ($2 == 1 && $at == "delivered") taken = $(at + 1)
            }
        }
        END { print sent + 0, taken + 0 }'
}

# CA-60. Both sides have to interrupt each other in every command: the vnode's one CPU runs programs between
# being called and answering, and so does the root's first one, where the commands are run here.
interrupted() {
    before="$(portals root) $(portals one)"
    many=20
    count=0
    while [ $count -lt $many ] && taskset 1 vnode exec one true; do
        count=$((count + 1))
    done
    is $count $many "$many commands, one after the other"
    # shellcheck disable=SC2046,SC2086 # These are several words.
    set -- $before $(portals root) $(portals one)
    within $(($5 - $1)) $many 1000000 'the root has interrupted the vnode for each of them'
    within $(($8 - $4)) $many 1000000 'the vnode has taken a raise for each'
    within $(($7 - $3)) $many 1000000 'it has interrupted the root for each'
    within $(($6 - $2)) $many 1000000 'and the root has taken a raise for each'
}

# answered: a program in the vnode answers 20 questions, each asked after the last answer, in 50 ms
# each. Were an inbox only looked at, a question would wait for the next round, in 100 ms. A kernel
# with all checks takes as long as that by itself, and answers some time.
answered() {
    begin=$(now_ms)
    number=0
    while [ "$number" -lt 20 ]; do
        number=$((number + 1))
        echo "$number" >&3
        read -r answer <&4 && [ "$answer" = "$number" ] || return
    done
    [ "$slow" -gt 1 ] || [ $(($(now_ms) - begin)) -lt 1000 ]
}

how_quickly() {
    if [ "$slow" -gt 1 ]; then
        echo 'answers come'
    else
        echo 'answers come at once, and not at the next round of the watch'
    fi
}

# A machine that is busy with other things may need some tries; one without interrupts has none.
answers_at_once() {
    mkfifo /tmp/questions /tmp/answers
    on one cat </tmp/questions >/tmp/answers &
    exec 3>/tmp/questions 4</tmp/answers
    check "$(how_quickly)" eventually 30 answered
    exec 3>&- 4<&-
    wait $!
    is $? 0 'and their program ends with its input'
}

boots
commands
data
at_once
interrupted
answers_at_once
# shellcheck disable=SC2086 # These are several words.
sound $vnodes
finish
