#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What must not be, is refused with a reason, and leaves everything as it was: a CPU or memory for
# two, hostile images, failures in the middle of a start, the removal of a module in use.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 300

# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
kernel=$(echo /boot/vmlinuz-*)
image=/tmp/image

lives() {
    is "$(boot_id one)" "$one" "$1: the vnode lives on"
}

# A lent CPU is out of the root's reach, and the root keeps its own.
cpus() {
    refuses 'busy' 'the root cannot bring a lent CPU online' \
        sh -c 'echo 1 >/sys/devices/system/cpu/cpu1/online'
    lives 'after that'
    is "$(online)" 0,2-3 'the root does not have that CPU'
    refuses 'CPU 1 belongs to one' 'a CPU of one vnode is not for another' \
        vnode start two --cpus 1 --memory 64M
    refuses 'CPU 1 belongs to one' 'nor among others' vnode start two --cpus 1-2 --memory 64M
    refuses "CPU 0 is the root's" 'CPU 0 is not to be had' vnode start two --cpus 0 --memory 64M
    refuses "CPU 0 is the root's" 'nor among others' vnode start two --cpus 0,2 --memory 64M
    refuses 'CPU 9 is not there' 'a CPU that does not exist' vnode start two --cpus 9 --memory 64M
    echo 0 >/sys/devices/system/cpu/cpu3/online
    refuses 'CPU 3 is offline' 'a CPU that is offline' vnode start two --cpus 3 --memory 64M
    echo 1 >/sys/devices/system/cpu/cpu3/online
    lives 'after all this'
    is "$(view)" "$with_one" 'and all is as before'
}

memory() {
    base=$(field one memory_base)
    for offset in 0 2 -2 62; do
        refuses 'overlaps that of one' "memory at $offset MiB of another vnode's" vnode start two \
            --cpus 2 --memory 64M --memory-base $((base + (offset << 20)))
    done
    pool=$(sed -n 's/used \(0x[0-9a-f]*\)+.*/\1/p' /sys/kernel/debug/adeos/pool | head -n 1)
    refuses 'in use' 'the memory of the control area' \
        vnode start two --cpus 2 --memory 64M --memory-base "$pool"
    refuses 'does not hold' "the root's own memory" \
        vnode start two --cpus 2 --memory 64M --memory-base 16M
    refuses 'does not hold' 'memory that is not there' \
        vnode start two --cpus 2 --memory 64M --memory-base 64G
    refuses 'largest piece' 'more than there is' vnode start two --cpus 2 --memory 64G
    refuses '64M|at least' 'less than a vnode needs' vnode start two --cpus 2 --memory 32M
    refuses '2M|multiple' 'a size between' vnode start two --cpus 2 --memory 65M
    refuses 'one cannot start: a vnode of that name' 'a name that is taken' \
        vnode start one --cpus 2 --memory 64M
    lives 'after all this'
    is "$(view)" "$with_one" 'and all is as before'
}

# modules_stay: neither module can be removed.
modules_stay() {
    for module in kmb adeos_core; do
        refuses '[Rr]esource|in use|unavailable' "$module cannot be removed while a vnode $1" \
            rmmod $module
    done
}

unload() {
    modules_stay 'runs'
    on one sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    vnode wait one --for dead --timeout 10 2>/dev/null
    modules_stay 'is dead'
    check 'the dead vnode is taken back' vnode kill one
    for round in 1 2 3; do
        check "round $round: kmb is removed" rmmod kmb
        exec 3</sys/kernel/debug/adeos/pool
        refuses '.' "round $round: adeos_core stays while somebody looks at it" rmmod adeos_core
        exec 3<&-
        check "round $round: adeos_core is removed" rmmod adeos_core
        is "$(echo /dev/kmb* /dev/adeos* /sys/kernel/debug/adeos*)" \
            '/dev/kmb* /dev/adeos* /sys/kernel/debug/adeos*' "round $round: nothing of them is left"
        refuses 'nknown symbol|No such|not found|invalid|cannot insert' \
            "round $round: kmb does without adeos_core" insmod "$modules/kmb.ko"
        check "round $round: adeos_core comes back" insmod "$modules/adeos_core.ko"
        check "round $round: kmb comes back" insmod "$modules/kmb.ko"
        check "round $round: a vnode starts" start one --cpus 1-2 --memory "${small}M"
        check "round $round: it answers" on one true
        check "round $round: it is taken back" vnode kill one
    done
    is "$(view)" "$empty" 'and all is as before'
}

# A kernel that says nothing more, before its adeos_core is there to beat, is called dead
# (docs/control-area.md, CA-53).
silence() {
    rmmod kmb adeos_core
    check 'adeos_core is less patient' insmod "$modules/adeos_core.ko" start_timeout_ms=$((3000 * slow))
    check 'and kmb comes back' insmod "$modules/kmb.ko"
    begun=$(now_ms)
    refuses 'is dead: hang' 'a kernel that says nothing after its boot is dead' \
        vnode start quiet --cpus 1 --memory "${small}M" --timeout $((20 * slow)) \
        --append 'rdinit=/bin/sleep -- 1000'
    within $(($(now_ms) - begun)) $((3000 * slow)) $((12000 * slow)) 'after that time'
    is "$(field quiet cause)" hang 'the root says why'
    check 'it had come as far as its init' says quiet 'Run /bin/sleep as init'
    check 'it is taken back' vnode kill quiet
    check 'one that goes on is not taken for one' start one --cpus 1 --memory "${small}M"
    sleep $((4 * slow))
    check 'whatever it says' on one true
    check 'it is taken back as well' vnode kill one
    rmmod kmb adeos_core
    insmod "$modules/adeos_core.ko"
    check 'and all is patient again' insmod "$modules/kmb.ko"
}

# smash OFFSET BYTES: the kernel image with other bytes there, as printf writes them.
smash() {
    cp "$kernel" $image
    # shellcheck disable=SC2059 # The bytes are escapes of printf's format.
    printf "$2" | dd of=$image bs=1 seek=$(($1)) conv=notrunc 2>/dev/null
}

# is_refused WHAT REASON: the image that was made is refused, with the reason in the kernel's log.
is_refused() {
    echo "asked for: $1" >/dev/kmsg
    refuses "not a kernel image that can be started: .*($2)" "$1: refused, with the reason" \
        vnode start bad --cpus 1-2 --memory $((128 + more))M --kernel $image
    check "$1: the log says why" sh -c "dmesg | awk -v mark='asked for: $1' 'index(\$0, mark) { seen = 1 } seen' |
        grep -E 'is refused: .*($2)'"
    is "$(view)" "$empty" "$1: nothing is left behind"
}

# The fields are those of Documentation/arch/x86/boot.rst.
images() {
    size=$(stat -c %s "$kernel")
    for length in 0 1 511 600 4095 65536 $((size / 2)) $((size - 4096)); do
        head -c "$length" "$kernel" >$image
        is_refused "an image cut to $length bytes" 'too short|truncated'
    done
    head -c 100000 /dev/urandom >$image
    is_refused 'noise' 'not a bzImage'
    smash 0x1fe '\0\0' && is_refused 'no boot signature' 'no boot sector signature'
    smash 0x202 'HdrX' && is_refused 'no magic' 'no HdrS'
    smash 0x206 '\0\2' && is_refused 'protocol 2.00' 'older than 2.12'
    smash 0x201 '\0' && is_refused 'a header of no size' 'impossible size'
    smash 0x201 '\377' && is_refused 'a header of great size' 'impossible size'
    smash 0x211 '\0' && is_refused 'a zImage' 'zImage'
    smash 0x230 '\3\0\0\0' && is_refused 'an odd alignment' 'impossible alignment'
    smash 0x230 '\0\0\0\200' && is_refused 'a great alignment' 'impossible alignment'
    smash 0x234 '\0' && is_refused 'not relocatable' 'not relocatable'
    smash 0x236 '\0\0' && is_refused 'no 64-bit entry' 'no 64-bit entry'
    smash 0x1f4 '\0\0\0\0' && is_refused 'no code' 'no code'
    smash 0x1f4 '\377\377\377\377' && is_refused 'more code than file' 'truncated'
    smash 0x1f1 '\377' && is_refused 'code that begins late' 'truncated'
    smash 0x248 '\377\377\377\377' && is_refused 'a payload elsewhere' 'outside of the image'
    smash 0x24c '\0\0\0\0' && is_refused 'no payload' 'outside of the image'
    smash 0x260 '\0\0\0\0' && is_refused 'an init_size of 0' 'less memory than its own size'
    smash 0x260 '\377\377\377\377' && is_refused 'a huge init_size' 'more than 1 GiB'
    smash 0x260 '\2' && is_refused 'an odd init_size' 'does not end at a page'
    smash 0x262 '\340\0' && is_refused 'an init_size without room' 'than it takes when unpacked'
    smash 0x260 '\0\0\0\030'
    refuses 'do not fit' 'an init_size that the memory does not have' \
        vnode start bad --cpus 1-2 --memory $((128 + more))M --kernel $image
    # The entry of a kernel without the patches is not to be called.
    start=$((($(od -An -tu1 -j 497 -N 1 "$kernel") + 1) * 512 + 512))
    smash $start '\220\220\220\220'
    refuses 'not a kernel image' 'an entry that starts nobody is not called' \
        vnode start bad --cpus 1-2 --memory $((128 + more))M --kernel $image
    check 'and the log names the entry to use' sh -c 'dmesg | grep sipi'
    is "$(view)" "$empty" 'nothing is left behind'
}

files() {
    for file in /dev/zero /dev/null /tmp /proc/version /sys/kernel/notes; do
        refuses 'not a kernel image|refuses one of|is not a regular file|Is a directory' \
            "$file is no kernel" vnode start bad --cpus 1 --memory "${small}M" --kernel $file
    done
    for file in /dev/zero /tmp; do
        refuses 'refuses one of|is not a regular file|Is a directory' \
            "$file is no initrd" vnode start bad --cpus 1 --memory "${small}M" --initrd $file
    done
    refuses 'No such file' 'a kernel that is not there' \
        vnode start bad --cpus 1 --memory 64M --kernel /nope
    truncate -s 100M /tmp/large
    refuses 'do not fit into 64M' 'an initrd larger than the memory' \
        vnode start bad --cpus 1 --memory 64M --initrd /tmp/large
    check 'the log says how much they need' sh -c "dmesg | grep -E 'need 1[0-9]{2} MiB of memory'"
    truncate -s 1000G /tmp/large
    refuses 'do not fit' 'an initrd larger than the machine' \
        vnode start bad --cpus 1 --memory 64M --initrd /tmp/large
    rm /tmp/large
    for word in no_ipi_broadcast=0 no-ipi-broadcast=0 '"no_ipi-broadcast=0"' acpi=force pci=conf1 \
        8250.nr_uarts=4 earlyprintk=serial console=uart8250,io,0x3f8 memmap=1G@0; do
        refuses 'is not yours to say' "$word is not for the user to say" \
            vnode start bad --cpus 1 --memory 64M --append "$word"
    done
    is "$(view)" "$empty" 'nothing is left behind'
}

# Every step of a start fails once, by request.
faults() {
    for step in 1 2 3 4 5 6 7 8 9 10; do
        vnode fault $step
        refuses . "a start fails in step $step" start one --cpus 1-2 --memory "${small}M"
        is "$(view)" "$empty" "step $step: nothing is left behind"
    done
    is "$(dmesg | grep -c 'fails on request')" 10 'each step has failed once'
    check 'a start without a fault' start one --cpus 1-2 --memory "${small}M"
    check 'the vnode answers' on one true
    check 'it is taken back' vnode kill one
    refuses . 'there is no step 11' vnode fault 11
}

# Steps that fail in their middle: the second of two CPUs does not go offline, and a file turns out
# shorter than the kernel said it is.
halfway() {
    state=$(sed -n 's/ *\([0-9]*\): mm\/vmstat:online/\1/p' /sys/devices/system/cpu/hotplug/states)
    echo "$state" >/sys/devices/system/cpu/cpu2/hotplug/fail
    refuses 'CPU' 'a start whose second CPU does not go offline' \
        vnode start one --cpus 1-2 --memory "${small}M"
    check 'the log says which' sh -c 'dmesg | grep "CPU 2 does not go offline"'
    is "$(view)" "$empty" 'the first one is back'
    : >/tmp/empty
    check 'an empty initrd is none' start one --cpus 1-2 --memory "${small}M" --no-wait \
        --initrd /tmp/empty
    check 'it is taken back' vnode kill one
    # The kernel says that it has 4096 bytes, and hands out a few.
    refuses 'ends before' 'a start whose initrd is shorter than it says' \
        vnode start one --cpus 1-2 --memory "${small}M" --initrd /sys/kernel/uevent_seqnum
    is "$(view)" "$empty" 'nothing is left behind'
    check 'after all that a vnode starts' start one --cpus 1-2 --memory "${small}M"
    check 'it is taken back' vnode kill one
}

# Two that kill the same vnode at once both succeed, or one comes when there is none any more (status
# 3); and what it held is free when both are done.
at_once() {
    for round in 1 2 3; do
        check "round $round: a vnode with 2 CPUs" start one --cpus 1-2 --memory "${small}M" --no-wait
        vnode kill one >/dev/null 2>&1 &
        other=$!
        vnode kill one >/dev/null 2>&1
        status=$?
        wait $other
        check "round $round: two kill it" \
            sh -c "echo '$status $?' | grep -Ex '0 0|0 3|3 0'"
        is "$(view)" "$empty" "round $round: nothing is left behind"
    done
}

# One vnode's start holds up no other's: not its kill, not its start. The slow one shares a CPU with
# programs that never sleep.
side_by_side() {
    truncate -s 600M /tmp/large
    busy=
    for _ in 1 2 3 4; do
        taskset 8 sh -c 'while :; do :; done' &
        busy="$busy $!"
    done
    taskset 8 vnode start slow --cpus 1 --memory 1G --initrd /tmp/large --no-wait \
        >/tmp/slow.said 2>&1 &
    slow_start=$!
    check 'a start that loads a lot is on its way' eventually 30 is_starting slow
    refuses 'being started' 'it cannot be killed now' vnode kill slow
    check 'another vnode starts meanwhile' start one --cpus 2 --memory "${small}M" --no-wait
    check 'and is killed' vnode kill one
    check 'and all that was done while it loaded' is_starting slow
    refuses '[Rr]esource|in use|unavailable' 'meanwhile kmb cannot be removed' rmmod kmb
    # shellcheck disable=SC2086 # These are several words.
    kill $slow_start $busy
    # shellcheck disable=SC2086
    wait $slow_start $busy
    is "$(view)" "$empty" 'interrupted, it has given everything back'
    rm /tmp/large
}

# shellcheck disable=SC2317 # It is called by eventually and by check.
is_starting() {
    kill -0 "$slow_start" && [ "$(field "$1" state)" = ready ]
}

# A kernel whose compressed part is noise passes all checks of the header and never comes up.
noise() {
    cp "$kernel" $image
    dd if=/dev/urandom of=$image bs=4096 seek=500 count=200 conv=notrunc 2>/dev/null
    refuses 'never showed a sign|no-start|did not start|is failed|is dead' \
        'a kernel with a corrupt payload does not come up' \
        vnode start bad --cpus 1-2 --memory $((128 + more))M --kernel $image --timeout $((40 * slow))
    is "$(field bad state) $(field bad cause)" 'failed no-start' 'the root says so'
    check 'the others start meanwhile' start one --cpus 3 --memory "${small}M"
    check 'and answer' on one true
    check 'the failed one is taken back' vnode kill bad
    check 'the other one too' vnode kill one
    is "$(view)" "$empty" 'and all is as before'
}

empty=$(view)
check 'a vnode' start one --cpus 1 --memory "${small}M" --above-4g
one=$(boot_id one)
with_one=$(view)
cpus
memory
unload
silence
images
files
faults
halfway
at_once
side_by_side
noise
sound
finish
