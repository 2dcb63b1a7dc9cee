#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# scripts/cluster can be relied on: status and output are the script's own, its time is bounded, and
# what went wrong is told with what every kernel said last, also when the root is past telling.
#
# host: boots a machine for each way in which a script can end
# alone

# shellcheck disable=SC2317 # Functions are called by check as well.

set -u
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=selftests/ktap.sh
. "$top/selftests/ktap.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=$((40 * slow))
grace=$((10 * slow))

cat >"$work/one.toml" <<END
[[vnode]]
name = "east"
cpus = "1"
memory = "$((128 + more))M"
END
sed '$a append = "rdinit=/nowhere root=/dev/none"' "$work/one.toml" >"$work/stillborn.toml"

# script NAME: what the script NAME does is on standard input; before that it lets both kernels say
# something, and itself.
script() {
    {
        echo '#!/bin/sh'
        echo 'echo "the script begins"'
        echo 'on east sh -c "echo words of the vnode >/dev/kmsg"'
        echo 'echo words of the root >/dev/kmsg'
        cat
    } >"$work/$1"
}

# run NAME [ARG...]: the script in a machine with a vnode; leaves status, output and errors.
run() {
    local begin=$SECONDS
    "$top/scripts/cluster" run ${options:+"$options"} --cpus 2 --memory 2G --config "${config:-$work/one.toml}" \
        --timeout $limit "$work/$1" "${@:2}" >"$work/$1.out" 2>"$work/$1.err" </dev/null
    echo $? >"$work/$1.status"
    echo $((SECONDS - begin)) >"$work/$1.seconds"
}

# part NAME HEAD: the lines of the evidence that follow a heading, up to the next one.
part() {
    awk -v head="$2" '/^---/ { inside = 0 } inside { print } index($0, head) { inside = 1 }' \
        "$work/$1.err"
}

# ended NAME STATUS COMPLAINT: the script ended so, that was told so, and the logs were kept. They
# stay if that was not so.
ended() {
    local logs
    is "$(<"$work/$1.status")" "$2" "$1: status $2"
    check "$1: it says so" grep -E "^cluster: .*$3" "$work/$1.err"
    logs=$(sed -n 's/^cluster: .*; logs are in //p' "$work/$1.err")
    check "$1: the root's whole log is kept" grep -q 'Linux version' "$logs/console"
    check "$1: so is the vnode's" grep -q 'Linux version' "$logs/vnodes"
    is "$(find "$logs" -size +1M)" '' "$1: and nothing big"
    if [ "$(<"$work/$1.status")" != "$2" ]; then
        remark "$(<"$work/$1.err")"
    elif [[ $logs == "$top"/build/run.* ]]; then
        rm -r "$logs"
    fi
}

# told NAME: the evidence has what the vnode said, under its name; what the script wrote came out.
told() {
    check "$1: the vnode's words are told" grep 'words of the vnode' \
        <<<"$(part "$1" '--- console of vnode 1 "east", life 1: ')"
    is "$(head -n 1 "$work/$1.out")" 'the script begins' "$1: the script's words came out"
}

# root_told NAME: the evidence has what the root said. A kernel prints after the event, so one that
# hangs may not come to it.
root_told() {
    check "$1: the root's words are told" grep 'words of the root' \
        <<<"$(part "$1" '/console (its end)')"
}

# typed LINE PATTERN: what is typed in the shell is answered by a line that matches (grep -E).
typed() {
    echo "$1" >&8
    eventually 30 grep -qE "^$2"$'\r?$' "$work/shell.out"
}

# in_shell: a person at the console of a machine with a vnode, who leaves by poweroff.
in_shell() {
    local shell
    mkfifo "$work/keys"
    # Held open here as well, so that the input does not end.
    exec 8<>"$work/keys"
    timeout --kill-after=5 $((limit * 3)) "$top/scripts/cluster" shell --cpus 2 --memory 2G \
        --config "$work/one.toml" <"$work/keys" >"$work/shell.out" 2>"$work/shell.err" 8>&- &
    shell=$!
    check 'shell: it greets when the vnode is up' \
        eventually $((limit * 2 / slow)) grep -q 'This is the root vnode' "$work/shell.out"
    check 'shell: it takes a command' typed 'expr 40 + 2' 42
    # Without an input of its own it would take what is typed next.
    check 'shell: and one for the vnode' typed 'on east hostname </dev/null' east
    echo poweroff >&8
    exec 8>&-
    wait $shell
    is "$? $(<"$work/shell.err")" '0 ' 'shell: it ends with the machine'
}

# refuses_option SENTENCE [OPTION...]: a mistake, told in a sentence before anything boots.
refuses_option() {
    local said
    said=$("$top/scripts/cluster" "${@:2}" 2>&1 </dev/null)
    is "$? $said" "125 cluster: $1" "refused: ${*:2}"
}

script hang <<'END'
echo HARDLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT
END
script late <<'END'
sleep 1000
END
script panic <<'END'
echo c >/proc/sysrq-trigger
END
script restart <<'END'
reboot -f
END
script fail <<'END'
exit 42
END
script victim <<'END'
on east sh -c 'echo c >/proc/sysrq-trigger'
vnode wait east --for dead --timeout 10
exit 0
END
script stillborn <<'END'
echo 'this is not reached'
END
script whole <<'END'
printf '%s|' "$@"
seq 1 200000
echo 'to standard error' >&2
printf 'and no end of line'
END

# These two wait most of the time.
run hang &
run late &

run whole 'a b' '' "c'd" '*'
{
    echo 'the script begins'
    printf '%s|' 'a b' '' "c'd" '*'
    seq 1 200000
    echo 'to standard error'
    printf 'and no end of line'
} >"$work/wanted"
is "$(<"$work/whole.status")" 0 'a script that succeeds: status 0'
check 'its output arrives whole and in order' cmp "$work/wanted" "$work/whole.out"
is "$(<"$work/whole.err")" '' 'and nothing besides'

run fail
ended fail 42 'fail ended with status 42$'
told fail
root_told fail
within "$(wc -l <"$work/fail.err")" 5 40 'fail: briefly'

run panic
ended panic 125 "the root's last words: .*Kernel panic - not syncing: sysrq triggered crash"
told panic
root_told panic

run restart
ended restart 125 'the machine was reset before restart had ended'
told restart
root_told restart

run victim
ended victim 125 'victim has succeeded, but vnode 1 "east", life 1, has ended: panic'
told victim
options=--deaths run victim
is "$(<"$work/victim.status")" 0 'victim: status 0 where vnodes may die'
is "$(<"$work/victim.err")" '' 'and nothing besides'

config=$work/stillborn.toml run stillborn
ended stillborn 125 'the vnodes did not come up'
check "stillborn: the vnode's words are told" grep 'Kernel panic - not syncing: VFS' \
    <<<"$(part stillborn '--- console of vnode 1 "east", life 1: dead: panic')"
is "$(<"$work/stillborn.out")" '' 'stillborn: the script was not begun'

wait
ended late 124 "late was not done after $limit s"
told late
root_told late
check 'late: what the CPUs were doing is told' grep 'sysrq: Show backtrace' \
    <<<"$(part late '/console (its end)')"
within "$(<"$work/late.seconds")" $((limit - 1)) $((limit + grace + 15)) 'late: it ended in time'

ended hang 124 "the machine did not answer for $((limit + grace)) s"
told hang
is "$(part hang '/registers' | grep -cE '^RIP=')" 2 'hang: registers of both CPUs are told'
check 'hang: interrupts were off in the root' \
    grep -E '^RIP=.* RFL=00000[014589cd][0-9a-f]{2} ' <<<"$(part hang '/registers' | head -n 2)"
within "$(<"$work/hang.seconds")" $((limit + grace - 1)) $((limit + grace + 15)) 'hang: it ended in time'

"$top/scripts/cluster" run --qemu -nonsense "$work/fail" >"$work/gone.out" 2>"$work/gone.err"
is $? 125 'a QEMU that does not start: status 125'
check 'and its words' grep 'nonsense: invalid option' "$work/gone.err"
gone=$(sed -n 's/^cluster: .*; logs are in //p' "$work/gone.err")
[[ $gone != "$top"/build/run.* ]] || rm -r "$gone"

in_shell

refuses_option "there are 'shell' and 'run', not 'start'; see --help" start
refuses_option 'run what? see --help' run
refuses_option '/nowhere: no such file' run /nowhere
refuses_option 'there is no option --cpu; see --help' run --cpu 2 /dev/null
refuses_option "--cpus wants a number, not 'all'" run --cpus all /dev/null
refuses_option "--timeout wants seconds, not '1m'" run --timeout 1m /dev/null
refuses_option "'big' is not a size; write it like 512M or 4G" run --memory big /dev/null
refuses_option '--memory 64M: a machine of this kind needs at least 512M' run --memory 64M /dev/null
refuses_option '--config /nowhere: no such file' run --config /nowhere /dev/null
refuses_option '--add /nowhere: no such file' run --add /nowhere /dev/null
refuses_option "no kernel variant is called 'new'; there are adeos, plain and debug" \
    run --add-kernel new /dev/null
finish
