#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What the tool can do beyond starting and ending what obeys: following a console, applying a file,
# dealing with vnodes that do not come up or do not listen. Portals interrupt a vnode that can do
# nothing else, and its adeos_core can be loaded anew while it runs.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 300

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

# says_in_log NAME TEXT: a line in its kernel's log, and so on its console.
says_in_log() {
    on "$1" sh -c "echo '$2' >/dev/kmsg"
}

# shows FILE TEXT: once, and as it was written.
shows() {
    [ "$(grep -c "$2" "$1")" = 1 ]
}

# gone PID: a program has ended. Our shell waits for it only while it waits for another, and not in
# the shell of a check, so it may be left as a zombie.
gone() {
    case $(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) in
        '' | Z*) return 0 ;;
    esac
    return 1
}

# told KEY...: the values of these keys, in the order in which JSON on standard input has them.
told() {
    keys=$(echo "$*" | tr ' ' '|')
    sed -nE "s/^ *\"($keys)\": \"?([^\",]*)\"?,?\$/\2/p" | xargs
}

follows() {
    is "$(vnode start one --json --cpus 1 --memory "${small}M" 2>/tmp/said | told name progress cpus)" \
        'one ready 1' 'start --json: a vnode, and what it has'
    vnode console one --follow --lines 1 >/tmp/followed 2>/tmp/follower &
    follower=$!
    for words in 'the first words' 'and more words'; do
        says_in_log one "$words"
        check "console --follow: '$words' are there while the vnode lives" \
            eventually 10 shows /tmp/followed "$words"
    done
    check 'console --follow: it goes on' kill -0 $follower
    is "$(grep -c 'Linux version' /tmp/followed)" 0 'console --follow: it began with the last line'
    check 'the vnode is taken back' vnode kill one
    check 'console --follow: it ends then' eventually 10 gone $follower
    wait $follower
    # A vnode is dead for the moment that it takes to be taken back.
    is "$? $(grep -cE '^one: (was taken back|is dead: killed by the root)$' /tmp/follower)" '0 1' \
        'console --follow: and says why'
}

# wants CPUS: a cluster file with `one` on these CPUs and, the same each time, `two`.
wants() {
    for vnode in "one $1" 'two 3'; do
        printf '[[vnode]]\nname = "%s"\ncpus = "%s"\nmemory = "%dM"\n' \
            "${vnode% *}" "${vnode#* }" "$small"
    done >/tmp/cluster.toml
}

applies() {
    wants 1
    is "$(vnode apply --dry-run /tmp/cluster.toml | cut -c -20)" \
        "$(printf 'start    one: CPUs 1\nstart    two: CPUs 3')" 'apply --dry-run: two to start'
    is "$(view)" "$empty" 'apply --dry-run: and nothing has started'
    is "$(vnode apply --dry-run --json /tmp/cluster.toml | told action name)" 'start one start two' \
        'apply --dry-run --json: the same'
    is "$(vnode apply --json /tmp/cluster.toml 2>/tmp/said | told name progress)" \
        'one ready two ready' 'apply --json starts them, and tells of them'
    check 'and of its progress elsewhere' grep -q '^two: ready after' /tmp/said
    is "$(vnode list --json | told id name state)" '0 root running 1 one running 2 two running' \
        'list --json: all that there are'
    one=$(boot_id one)
    two=$(boot_id two)
    with_both=$(view)

    wants 1-2
    refuses '1 conflict with what runs; nothing was started' 'apply: not over one that runs' \
        vnode apply /tmp/cluster.toml
    is "$(vnode apply --dry-run --replace /tmp/cluster.toml)" \
        "$(printf 'replace  one: CPUs 1-2, memory %dM (its CPU list is 1, wanted is 1-2)\n%s' \
            "$small" 'keep     two: it runs as it should')" \
        'apply --dry-run --replace: tells what it would do'
    is "$(boot_id one) $(boot_id two)" "$one $two" 'apply: the same kernels run'
    is "$(view)" "$with_both" 'apply: and nothing else has changed'

    check 'apply --replace' vnode apply --replace /tmp/cluster.toml
    isnt "$(boot_id one)" "$one" 'apply --replace: the one that differs is another one'
    is "$(on one nproc)" 2 'apply --replace: with two CPUs'
    is "$(boot_id two)" "$two" 'apply --replace: the other one lives on'
    check 'one is taken back' vnode kill one
    check 'two is taken back' vnode kill two
    is "$(view)" "$empty" 'and all is as before'
}

# One that dies, and one that lives and never gets ready: without insmod and agent.
fails() {
    refuses 'is dead: panic' 'start --kill-on-failure: a vnode that panics' vnode start one \
        --cpus 1 --memory "${small}M" --append rdinit=/bin/false --kill-on-failure
    is "$(view)" "$empty" 'start --kill-on-failure: it is taken back'
    vnode start one --cpus 1 --memory "${small}M" --append rdinit=/sbin/init --kill-on-failure \
        --timeout $((5 * slow)) >/tmp/said 2>&1
    is "$? $(grep -c 'one is not ready after' /tmp/said)" '5 1' \
        'start --kill-on-failure: one that does not get ready in time'
    is "$(view)" "$empty" 'start --kill-on-failure: so is this, and all is as before'
}

# Its kernel shuts down by a program, which can be any.
disobeys() {
    check 'a vnode that does not obey' start one --cpus 1 --memory "${small}M"
    on one sh -c 'echo /bin/true >/proc/sys/kernel/poweroff_cmd'
    one=$(boot_id one)
    vnode stop one --timeout 1 >/tmp/said 2>&1
    is "$? $(grep -c 'one has not shut down within 1 s' /tmp/said)" '5 1' 'stop: says so'
    check 'stop: it was asked (CA-32)' says one 'the root asks for a shutdown'
    is "$(field one state) $(boot_id one)" "stopping $one" 'stop: it lives on'
    vnode restart one --stop-timeout 1 >/tmp/said 2>&1
    is "$? $(boot_id one)" "5 $one" 'restart: it cannot do it either'
    life=$(field one generation)
    is "$(vnode restart one --force --json 2>/tmp/said | told generation name progress)" \
        "$((life + 1)) one ready" 'restart --force --json: tells of the new life'
    isnt "$(boot_id one)" "$one" 'restart --force: it is another one'
}

# count WHAT: a number of the notice portal, number 0, in the root, by the word before it.
count() {
    sed -n "s/^portal 0 .*\<$1 \([0-9]*\).*/\1/p" /sys/kernel/debug/adeos/portals
}

# asked: how often the root has raised it, and interrupted for it, since that was noted.
asked() {
    echo "$(($(count sent) - sent)) $(($(count interrupting) - interrupting))"
}

# A vnode whose only CPU runs a loop with preemption off has no watch that looks at its inbox by
# itself. Each request finds the inbox empty all the same: its interrupt has emptied it.
interrupts() {
    on one sh -c 'echo SOFTLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT' </dev/null >/tmp/said 2>&1 &
    check 'a vnode whose programs and threads stand still' \
        eventually 10 says one 'direct entry SOFTLOCKUP'
    refuses 'has not shut down' 'it cannot be asked to stop' vnode stop one --timeout 1
    sent=$(count sent)
    interrupting=$(count interrupting)
    for _ in 1 2 3; do
        vnode stop one --timeout 1 >/tmp/said 2>&1
    done
    is "$(asked)" '3 3' 'portals: each one interrupts it, and is taken in the interrupt (CA-60, CA-61)'
    is "$(field one state)" stopping 'it is not thought dead: its timers tick'
    check 'restart --force: it is taken back and started' vnode restart one --force
    wait
    check 'it answers' on one true
}

has_come_back() {
    [ "$(console one | grep -c 'vnode 1, life [0-9]*, has joined')" = 2 ]
}

# adeos_core goes once the agent does not use it, which init starts anew at once. For longer than a
# silence may last, nobody beats.
reloads() {
    one=$(boot_id one)
    on one sleep 1000 >/tmp/said 2>&1 &
    sleeper=$!
    # shellcheck disable=SC2016 # The vnode's shell expands it.
    on one sh -c 'cat >/tmp/reload' <<'END'
until killall -KILL vnode; rmmod adeos_core 2>/dev/null; do
    usleep 10000
done
sleep 3
insmod "/lib/modules/$(uname -r)/adeos/adeos_core.ko"
END
    on one sh -c 'setsid sh /tmp/reload </dev/null >/dev/kmsg 2>&1 &'
    wait $sleeper
    is $? 255 'adeos_core: a command that ran when the agent was killed has ended'
    check 'adeos_core: it is loaded anew in a vnode that runs' eventually 30 has_come_back
    check 'adeos_core: it has left before' says one 'vnode 1 leaves the cluster'
    is "$(timeout 30 on one cat /proc/sys/kernel/random/boot_id)" "$one" \
        'adeos_core: the vnode takes commands again, in the same life (CA-87)'
    for number in 1 2 3 4 5 6 7 8 9; do
        timeout 30 on one true || break
    done
    is "$? $number" '0 9' 'adeos_core: all of its channels are free'
    is "$(field one state)" running 'adeos_core: it was not thought dead meanwhile (CA-51)'
}

empty=$(view)
follows
applies
disobeys
interrupts
reloads
sound one
check 'the vnode shuts down when it is asked to' vnode stop one
is "$(view)" "$empty" 'and all is as before'
# Their panics stay on the console.
fails
finish
