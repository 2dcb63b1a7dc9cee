#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# A vnode touches no device of the machine: from its first instruction to its end, its CPUs reach
# nothing outside of memory but their own local APICs, and by those nobody but each other and, with
# the portals' vector, the root. QEMU tells of every access to a device, by any CPU; the same lists
# for the root and for an unpatched vnode show that it does. What it does not tell of is memory that is
# read as memory: the BIOS's RAM and ROM below 1 MiB. That a vnode does not look for tables there is for
# the hooks that patch 0003 replaces.
#
# host: boots a machine that tells of all accesses

set -u
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=selftests/ktap.sh
. "$top/selftests/ktap.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A vnode with all that a life can hold, and the root doing meanwhile what a vnode must not: PCI
# configuration, UART.
cat >"$work/patched" <<'END'
#!/bin/sh
set -e
vnode start audited --memory 320M --cpus 2-3
on audited sh -c 'uptime; cat /proc/interrupts /proc/iomem /proc/ioports; date; dmesg | wc -l'
cat /sys/bus/pci/devices/*/config | wc -c
echo 'the root writes to its UART' >/dev/console
on audited sh -c 'echo c >/proc/sysrq-trigger' || vnode wait audited --for dead --timeout 60
vnode restart audited
vnode stop audited
for way in 'reboot -f' 'poweroff -f' 'halt -f' 'echo b >/proc/sysrq-trigger'; do
    vnode start audited --memory 320M --cpus 2-3
    on audited sh -c "$way" || vnode wait audited --for dead --timeout 60
    vnode kill audited
done
END

# The control: a kernel without the patches takes the machine for its own.
cat >"$work/plain" <<'END'
#!/bin/sh
set -e
vnode start audited --memory 128M --cpus 2-3 --entry sipi --no-wait \
    --kernel /boot/vmlinuz-plain --initrd /boot/initrd-plain.img
sleep 3
vnode kill audited
END

# One line per access, like:
#   memory_region_ops_write cpu 2 mr 0x55 addr 0xfee00300 value 0x610 size 4 name 'apic-msi'
# The audited CPUs, 2 and 3, are the vnode's from the STARTUP in its low memory on (page 0x10:
# command 0x610) until the root resets them (INIT: command 0xc500) to stop them or to have them
# back. A reset that the vnode's first CPU sends is for its second one: there is one in each life.
#
# Writes to 0xfee00310 and 0xfee00300 are an interrupt to the APIC id in the highest byte of the
# former (SDM volume 3, section 12.6.1); here APIC ids are the numbers of CPUs. Each side's commands
# are judged by the same rule: all that goes to one's own CPUs, and portals, vector 0xf7, to others.
cat >"$work/count.awk" <<'AWK'
# digit HEX PLACE: a digit of a number as QEMU prints it; the last one is at place 0.
function digit(hex, place, at) {
    at = length(hex) - place
    return at > 2 ? index("0123456789abcdef", substr(hex, at, 1)) - 1 : 0
}
# verdict WHO COMMAND TO: of an interrupt that one of these CPUs sends.
function verdict(who, command, to, mode, shorthand) {
    mode = digit(command, 2)
    shorthand = digit(command, 4) / 4 % 4
    if (shorthand >= 2 || mode >= 8) return "stray " command
    if (int(shorthand) == 1 || (to == 2 || to == 3) == (who == "vnode"))
        return "own " (mode == 5 ? "INIT" : mode == 6 ? "STARTUP" : "interrupt")
    return mode == 0 && command ~ /f7$/ ? "portal" : "stray " command " to " to
}
/^memory_region_ops_/ {
    for (field = 3; field <= NF; field++) {
        if ($field == "addr") addr = $(field + 1)
        if ($field == "value") value = $(field + 1)
    }
    who = $3 == 2 || $3 == 3 ? "vnode" : "root"
    was_alive = alive
    if ($1 ~ /write$/ && addr == "0xfee00310") to[$3] = digit(value, 7) * 16 + digit(value, 6)
    if ($1 ~ /write$/ && addr == "0xfee00300") {
        if (value == "0x610") alive = 1
        if (value == "0xc500" && who == "vnode") lives += alive
        if (value == "0xc500" && who == "root") alive = 0
        if (was_alive) count[who " sends " verdict(who, value, to[$3])]++
    }
    if (!alive) next
    if (addr ~ /^0xfee00...$/) addr = "lapic"
    count[who " " addr " " $NF]++
}
END {
    print "lives " lives + 0
    for (key in count) print key, count[key]
}
AWK

# audit WHAT: runs the script of that name; what was touched is in $work/WHAT.touched, sorted.
audit() {
    # Held open here as well, the pipe ends for awk when all is over, and not before QEMU writes.
    mkfifo "$work/$1.trace"
    exec 9<>"$work/$1.trace"
    awk -f "$work/count.awk" "$work/$1.trace" >"$work/$1.counts" 9>&- &
    counter=$!
    "$top/scripts/cluster" run --deaths --config /dev/null --timeout $((200 * slow)) \
        --add-kernel plain --append pci=nommconf --qemu \
        "-trace memory_region_ops_read -trace memory_region_ops_write -D $work/$1.trace" \
        "$work/$1" >"$work/said" 2>&1 9>&-
    status=$?
    exec 9>&-
    wait $counter
    [ $status = 0 ] || remark "$(tail -n 40 "$work/said")"
    sort "$work/$1.counts" >"$work/$1.touched"
    return $status
}

# devices WHO WHAT: what they have touched besides local APICs, and how often.
devices() {
    grep "^$1 " "$work/$2.touched" | grep -vE '^[a-z]+ (lapic|sends) '
}

# sends WHO WHAT KIND: what interrupts of a kind they have sent, and how often.
sends() {
    grep "^$1 sends $3" "$work/$2.touched"
}

audit patched
is $? 0 'vnodes boot, panic, restart, shut down and end in other ways, under audit'
audit plain
is $? 0 'so does one without the patches, as the control'
remark 'the vnode has touched:'
remark "$(grep '^vnode ' "$work/patched.touched")"
remark 'the root meanwhile:'
remark "$(devices root patched)"
remark 'a vnode without the patches:'
remark "$(devices vnode plain)"

is "$(grep '^lives' "$work/patched.touched")" 'lives 6' 'the trace shows all lives of the vnode'
check 'it shows that the vnode uses its local APICs' grep -q '^vnode lapic' "$work/patched.touched"
for port in 0x3f8 0xcf8 0xcfc; do
    check "it shows that the root uses port $port" grep -q "^root $port " "$work/patched.touched"
done
for port in 0x21 0xa1 0x43 0x70; do
    check "it shows that a vnode without the patches uses port $port" \
        grep -q "^vnode $port " "$work/plain.touched"
done
is "$(devices vnode patched)" '' 'and that the vnode touches nothing else'

for kind in 'own INIT' 'own STARTUP' 'own interrupt' portal; do
    check "it shows what the vnode sends: $kind" sends vnode patched "$kind"
done
# The vnode's CPUs are not the root's own: what starts and stops them are strays of the root.
for command in 0x610 0xc500; do
    check "it shows that the root sends $command to a CPU that is not its own" \
        sends root patched "stray $command to 2"
done
is "$(sends vnode patched stray)" '' 'and that the vnode sends others nothing but portals (CA-33)'
finish
