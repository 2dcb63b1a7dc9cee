#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# `vnode supervise` starts the vnodes of a file and restarts those that end as the file says, no
# sooner than the back-off allows. What somebody stopped or killed stays away, a start that fails
# holds nothing up, and the vnodes run on when the supervisor ends.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 400
# alone

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

events=/tmp/events

# tells EVENT NAME: the events of that kind about that vnode, as they were told.
tells() {
    grep "\"event\":\"$1\",\"vnode\":\"$2\"" $events
}

# count EVENT NAME: how many there are.
count() {
    tells "$1" "$2" | wc -l
}

# told COUNT EVENT NAME: so many have been told.
told() {
    [ "$(count "$2" "$3")" -ge "$1" ]
}

# await COUNT EVENT NAME DESC: so many are told in time.
await() {
    check "$4" eventually 60 told "$1" "$2" "$3"
}

# stands NAME EVENT: that is the last event about that vnode.
stands() {
    grep "\"vnode\":\"$1\"" "$events" | tail -n 1 | grep -q "\"event\":\"$2\""
}

# of KEY EVENT NAME: a field of the last such event.
of() {
    tells "$2" "$3" | tail -n 1 | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"
}

# time_of EVENT NAME: when the last such event was told, in ms of the day.
time_of() {
    of time "$1" "$2" | tr 'T:.Z' '    ' |
        awk '{ printf "%d\n", (($2 * 60 + $3) * 60 + $4) * 1000 + $5 }'
}

# since EVENT THEN NAME: ms from the last of the first kind to the last of the second.
since() {
    echo $((($(time_of "$2" "$3") - $(time_of "$1" "$3") + 86400000) % 86400000))
}

# dies NAME COMMAND...: COMMAND ends the vnode, and with it the connection.
dies() {
    name=$1
    shift
    on "$name" "$@" >/tmp/said 2>&1
}

panics() {
    dies "$1" sh -c 'echo c >/proc/sysrq-trigger'
}

# comes_back NAME DELAY CAUSE START: after an end with that cause the vnode is started again, not before
# so many seconds are over. It is the STARTth time that the supervisor starts it.
comes_back() {
    await "$4" started "$1" "$1, $3: it is started again"
    is "$(of cause ended "$1")" "$3" "$1, $3: the supervisor says why it ended"
    is "$(of delay_s waiting "$1")" "$2.0" "$1, $3: the back-off is $2 s"
    within "$(since ended started "$1")" $(($2 * 1000)) 60000 "$1, $3: it is over before the start"
    check "$1, $3: it gets ready" eventually 60 stands "$1" ready
    is "$(count started "$1")" "$4" "$1, $3: it is started once"
}

# left COUNT NAME WHY DESC: the vnode is left alone, for the COUNTth time, and that is why.
left() {
    await "$1" left "$2" "$4"
    is "$(of why left "$2")" "$3" "$4: $3"
}

# supervise OPTION...: begins; `pid` is its process.
supervise() {
    vnode supervise "$@" /tmp/cluster.toml >$events 2>/tmp/words &
    pid=$!
}

# ends SIGNAL: it ends, and this is its status.
ends() {
    kill "-$1" $pid
    wait $pid
}

# switches: how often its threads have been switched to.
switches() {
    cat /proc/$pid/task/*/status | awk '/ctxt_switches:/ { sum += $2 } END { print sum }'
}

settings="memory = \"$((128 + more))M\""

begins() {
    cp "$(echo /boot/vmlinuz-*)" /tmp/kernel
    cat >/tmp/cluster.toml <<EOF
[defaults]
$settings
restart = "on-failure"

[[vnode]]
name = "lazy"
cpus = "1"
restart = "never"

[[vnode]]
name = "db"
cpus = "2"

[[vnode]]
name = "web"
cpus = "3"
kernel = "kernel"
restart = "always"
EOF
    supervise --json
    for name in lazy db web; do
        await 1 ready $name "$name is started, as by vnode apply"
    done
    refuses "another supervisor .*: process $pid" 'a second supervisor is told whose the machine is' \
        vnode supervise /tmp/cluster.toml
    is "$(head -n 1 $events | grep -c "\"event\":\"supervising\",\"pid\":$pid,")" 1 \
        'the first line names the process'
    switches=$(switches)
    sleep 3
    is "$(switches)" "$switches" 'while nothing changes, it sleeps'
}

# Three end side by side, and each is treated as its policy says.
policies() {
    first=$(boot_id db)
    panics db
    dies web poweroff -f
    panics lazy
    comes_back db 1 panic 2
    comes_back web 1 power-off 2
    left 1 lazy never 'lazy panics, and is left alone'
    isnt "$(boot_id db)" "$first" 'db is another kernel now'
    dies db sh -c 'echo HARDLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT'
    check 'web is killed' vnode kill web
    left 1 web asked 'that is not undone'
    comes_back db 2 hang 3
    dies db reboot -f
    comes_back db 4 restart 4
    is "$(vnode list | awk '$2 == "web"')" '' 'seven seconds of back-off later, web is still away'
    dies db poweroff -f
    left 1 db orderly 'db powers off, and is left alone'
    is "$(field lazy state) $(field db state)" 'dead dead' 'what is left alone can be looked at'
}

# A start that fails is one more failure of that vnode, and no other's.
failing_start() {
    check 'web is started by hand' vnode restart web
    await 1 found web 'the supervisor watches it'
    check 'db is started by hand' vnode restart db
    await 1 found db 'and db'
    check 'which gets ready' eventually 60 stands db ready
    rm /tmp/kernel
    panics web
    await 1 start-failed web 'its image is missing: the start fails'
    is "$(of error start-failed web)" '/tmp/kernel: No such file or directory (os error 2)' \
        'the supervisor says why'
    await 3 waiting web 'that is one more failure'
    isnt "$(of delay_s waiting web)" 1.0 'and that it waits longer before the next one'
    panics db
    comes_back db 1 panic 5
    cp "$(echo /boot/vmlinuz-*)" /tmp/kernel
    await 3 started web 'once the image is there again, web starts'
    check 'and gets ready' eventually 60 stands web ready
}

# An end that is asked for while the vnode is dead counts as well.
kill_in_time() {
    waits=$(count waiting web)
    panics web
    await $((waits + 1)) waiting web 'web is to be started again'
    check 'it is killed before that' vnode kill web
    left 2 web asked 'and stays away'
    vnode stop db >/tmp/said 2>&1
    left 2 db asked 'db is stopped, and stays away'
}

reload() {
    cp /tmp/cluster.toml /tmp/good.toml
    echo 'restart = "sometimes"' >>/tmp/cluster.toml
    kill -HUP $pid
    check 'a file with a mistake is not taken' \
        eventually 10 grep -q '"event":"not-reloaded"' $events
    cat >/tmp/cluster.toml <<EOF
[[vnode]]
name = "db"
cpus = "2"
restart = "on-failure"
$settings

[[vnode]]
name = "new"
cpus = "3"
restart = "always"
restart-limit = "1"
$settings
EOF
    kill -HUP $pid
    await 1 ready new 'a good one is: what is new in it is started'
    is "$(count dropped lazy) $(count dropped web) $(count dropped db)" '1 1 0' \
        'what is no longer in it is not watched any more'
    panics new
    comes_back new 1 panic 2
    is "$(of restart waiting new) of $(of limit waiting new)" '1 of 1' 'new has used up its restarts'
    panics new
    left 1 new limit 'new ends again, and is left alone'
    is "$(vnode list | awk '$2 == "db"')" '' 'db, which was stopped before, is still away'
}

# The supervisor goes, and another one takes its place.
leaves() {
    check 'new is started by hand' vnode restart new
    await 1 found new 'the supervisor watches it'
    new=$(boot_id new)
    ends TERM
    is $? 0 'SIGTERM ends the supervisor in good order'
    is "$(tail -n 1 $events | sed 's/.*Z",//')" \
        '"event":"leaving","signal":"SIGTERM","running":["new"]}' 'it says what runs on'
    is "$(boot_id new)" "$new" 'and so it does'

    supervise
    check 'another one can begin, and starts what is not there' \
        eventually 60 grep -q ' db: ready after ' $events
    check 'it finds what is' grep -q ' new: runs already, as vnode ' $events
    is "$(tr -dc '\033' <$events)" '' 'a file gets no colours'
    ends INT
    is $? 0 'SIGINT ends it as well'
    check 'it says so' grep -q 'supervisor: ends on SIGINT; these run on, unwatched: ' $events
}

root=$(boot_id root)
before=$(view)
begins
policies
failing_start
kill_in_time
reload
leaves
for name in lazy db new; do
    check "$name is taken back" vnode kill $name
done
is "$(boot_id root)" "$root" 'the root has not booted again'
is "$(view)" "$before" 'at the end it has all as it was'
is "$(grep -v -e '^\(lazy\|db\|web\|new\): ' /tmp/words)" '' 'the supervisor complained of nothing'
sound
finish
