# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the test files share: KTAP version 1 on standard output, and questions to the cluster.
# Sourced, by any POSIX shell. The plan comes last, when it is known: a file that ends without
# `finish` has not run to its end, and selftests/run counts that as a failure.

ktap_number=0
ktap_failed=0

# A kernel with all checks takes that much longer, and so do the vnodes that run it; and its image
# and what the checks note take that many MiB more. A test that runs here and not in a cluster has no
# such kernel to ask, but the name of its variant.
slow=1
more=0
if [ -e /sys/kernel/debug/kmemleak ] || [ "${ADEOS_VARIANT:-}" = debug ]; then
    slow=8
    more=192
fi

# shellcheck disable=SC2034 # Test files use it.
# What slabs may grow by when nothing is lost, in KiB. KASAN keeps what was freed for a while; what is lost
# there kmemleak finds.
slack=512
[ "$slow" = 1 ] || slack=16384

# shellcheck disable=SC2034 # Test files use it.
# The smallest vnode: one that can just boot and run a few commands.
small=$((64 + more))

# shellcheck disable=SC2034 # Test files use it.
# Whether there is time: selftests/run says so in the second argument.
is_long=${2:-no}

echo 'KTAP version 1'

# ok DESC, not_ok DESC: one result.
ok() {
    ktap_number=$((ktap_number + 1))
    echo "ok $ktap_number - $1"
}

not_ok() {
    ktap_number=$((ktap_number + 1))
    ktap_failed=$((ktap_failed + 1))
    echo "not ok $ktap_number - $1"
}

# remark TEXT: lines that explain a result; they go before it.
remark() {
    printf '%s\n' "$1" | sed 's/^/# /'
}

# check DESC COMMAND...: COMMAND succeeds. What it says is shown when it does not.
check() {
    ktap_desc=$1
    shift
    if ktap_said=$("$@" 2>&1); then
        ok "$ktap_desc"
    else
        remark "status $? of: $*"
        remark "$ktap_said"
        not_ok "$ktap_desc"
    fi
}

# is ACTUAL EXPECTED DESC: two texts are the same.
is() {
    if [ "$1" = "$2" ]; then
        ok "$3"
    else
        remark "have: $1"
        remark "want: $2"
        not_ok "$3"
    fi
}

# isnt ACTUAL OTHER DESC: there is a text, and it is not OTHER.
isnt() {
    if [ -n "$1" ] && [ "$1" != "$2" ]; then
        ok "$3"
    else
        remark "have: '$1', which should be there and not be '$2'"
        not_ok "$3"
    fi
}

# within ACTUAL LOW HIGH DESC: a whole number lies between two, both allowed.
within() {
    if [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; then
        ok "$4"
    else
        remark "have: $1, want: $2 to $3"
        not_ok "$4"
    fi
}

# refuses PATTERN DESC COMMAND...: COMMAND fails, and what it says matches PATTERN (grep -E).
refuses() {
    ktap_pattern=$1
    ktap_desc=$2
    shift 2
    if ktap_said=$("$@" 2>&1); then
        remark "succeeds: $*"
    elif printf '%s\n' "$ktap_said" | grep -qE -- "$ktap_pattern"; then
        ok "$ktap_desc"
        return
    fi
    remark "wants $ktap_pattern, not:"
    remark "$ktap_said"
    not_ok "$ktap_desc"
}

# finish: the plan, and the script's status.
finish() {
    echo "1..$ktap_number"
    [ "$ktap_failed" = 0 ]
    exit
}

# now_ms: the root's uptime in ms.
now_ms() {
    read -r ktap_up _ </proc/uptime
    # Two digits follow the point; a number may not begin with 0, which would make it octal.
    echo "$((${ktap_up%.*} * 1000 + 1${ktap_up#*.} * 10 - 1000))"
}

# eventually SECONDS COMMAND...: COMMAND succeeds before that time is over.
eventually() {
    ktap_end=$(($(now_ms) + $1 * 1000 * slow))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt $ktap_end ] || return
        sleep 0.05
    done
}

# field NAME KEY: what `vnode show --json` says of a vnode under that key.
field() {
    vnode show --json "$1" | sed -n "s/^  \"$2\": \"\{0,1\}\(.*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p"
}

boot_id() {
    if [ "$1" = root ]; then
        cat /proc/sys/kernel/random/boot_id
    else
        on "$1" cat /proc/sys/kernel/random/boot_id
    fi
}

# online: the root's CPUs, as the kernel lists them.
online() {
    cat /sys/devices/system/cpu/online
}

# view: all that the root sees of the machine and that a vnode which is gone must leave as it was.
view() {
    echo "online $(online)"
    cat /sys/kernel/debug/adeos/pool
    sed 's/ progress .*//' /sys/kernel/debug/adeos/vnodes
    grep -E '^(MemTotal|HardwareCorrupted)' /proc/meminfo
    cat /proc/iomem
    # Mappings of the pool: one that stays is a leak, whatever the allocator says.
    grep -c memremap /proc/vmallocinfo
}

# kilobytes KEY: a line of /proc/meminfo, with all that can be given back given back. Free pages that
# CPUs keep for themselves are up to 30 MB, and would hide what is lost.
kilobytes() {
    echo 100000 >/proc/sys/vm/percpu_pagelist_high_fraction
    echo 3 >/proc/sys/vm/drop_caches
    echo 1 >/proc/sys/vm/stat_refresh
    awk -v key="$1:" '$1 == key { print $2 }' /proc/meminfo
}

# open_files: how many files are open in this kernel.
open_files() {
    cut -f 1 /proc/sys/fs/file-nr
}

# slabs: kB that the kernel's objects take. A cache keeps what was freed until it is shrunk; under KASAN that is megabytes.
slabs() {
    for cache in /sys/kernel/slab/*/shrink; do
        echo 1 >"$cache"
    done
    kilobytes Slab
}

# console NAME: what a vnode has said in its present life.
console() {
    vnode console "$1" >/tmp/ktap_console || return
    awk 'NR == FNR { if (/Linux version/) begin = FNR; next } FNR >= begin' \
        /tmp/ktap_console /tmp/ktap_console
    rm /tmp/ktap_console
}

# complaints: what of a kernel's log on standard input tells of a bug.
complaints() {
    grep -E -e 'WARNING:|BUG:|Oops|Call Trace|general protection|refcount_t:|KASAN: |Bad page' \
        -e 'possible .* detected|inconsistent lock state|rcu_.*(stall|self-detected)' \
        -e 'soft lockup|hung task|kmemleak: [0-9]+ new|unchecked MSR'
}

# leaks: a program that shows memory of its kernel that nothing points to any more, if it has kmemleak,
# and says that it has looked. What is reported is older than five seconds, and two looks have found
# it (Documentation/dev-tools/kmemleak.rst).
# shellcheck disable=SC2016 # The kernel concerned expands it.
leaks='
file=/sys/kernel/debug/kmemleak
if [ -e $file ]; then
    echo scan >$file || echo kmemleak is off
    sleep 6
    echo scan >$file || echo kmemleak is off
    cat $file
fi
echo done'

# sound NAME...: the kernels of the root and of these vnodes complain of nothing. Their logs forget,
# but a warning and an oops mark a kernel for ever (Documentation/admin-guide/tainted-kernels.rst).
sound() {
    is "$(dmesg | complaints)" '' "the root's kernel complains of nothing"
    is "$(($(cat /proc/sys/kernel/tainted) & (128 + 512)))" 0 'and never has'
    is "$(sh -c "$leaks")" "done" 'and loses no memory'
    for ktap_name; do
        is "$(vnode console "$ktap_name" | complaints)" '' "nor does that of $ktap_name"
        is "$(($(on "$ktap_name" cat /proc/sys/kernel/tainted) & (128 + 512)))" 0 'and never has'
        is "$(on "$ktap_name" sh -c "$leaks")" "done" 'and loses no memory'
    done
}

# says NAME PATTERN: the vnode has said so in its present life (grep -E).
says() {
    console "$1" | grep -E -- "$2"
}

# start NAME OPTION...: `vnode start`, silent unless it fails.
start() {
    case " $* " in
    *' --no-wait '*) ;;
    *) set -- "$@" --timeout $((60 * slow)) ;;
    esac
    ktap_said=$(vnode start "$@" 2>&1) && return
    echo "$ktap_said" >&2
    return 1
}
