#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Bridges between the kernels of a machine: rights, names, quotas, coherence, what deaths do to them,
# what users see of them, and that all memory comes back, zeroed, however often they come and go.
# docs/bridges-and-portals.md is cited as BR-n.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 300

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

control=/sys/kernel/debug/bridge_test/control
module=/lib/modules/$(uname -r)/adeos/bridge_test.ko
all='15 0xffff 0xffff'

# at NAME COMMAND...: in a vnode, or here.
at() {
    where=$1
    shift
    if [ "$where" = root ]; then
        sh -c "$*"
    else
        on "$where" sh -c "$*"
    fi
}

# b NAME COMMAND...: a command of bridge_test in a kernel.
b() {
    where=$1
    shift
    at "$where" "echo '$*' >$control"
}

# value NAME SLOT WORD: what bridge_test tells of a slot.
value() {
    at "$1" "cat $control" | awk -v slot="$2" -v word="$3" \
        '$2 == slot { for (i = 3; i < NF; i++) if ($i == word) print $(i + 1) }'
}

# told NAME SLOT WORD COUNT: a watcher has been called so often.
told() {
    [ "$(value "$1" "$2" "$3")" = "$4" ]
}

# line BRIDGE: what debugfs tells of a bridge.
line() {
    awk -v name="$1" '$2 == name' /sys/kernel/debug/adeos/bridges
}

# bridge BRIDGE WORD: the word that follows another one there.
bridge() {
    line "$1" | awk -v word="$2" '{ for (i = 1; i < NF; i++) if ($i == word) print $(i + 1) }'
}

gone() {
    [ -z "$(line "$1")" ]
}

# whole: the pool is as it was, and so are the mappings of this kernel.
whole() {
    [ "$(cat /sys/kernel/debug/adeos/pool)" = "$before" ]
}

# memory_of BRIDGE: what lies there, by its physical address.
memory_of() {
    range=$(bridge "$1" memory)
    dd if=/dev/mem bs=2M skip=$((${range%+*} >> 21)) count=$((${range#*+} >> 21)) 2>/dev/null
}

# caching NAME: how a kernel has the bridge `wire` mapped, by the processors' page attributes.
caching() {
    base=$(bridge wire memory)
    base=${base%+*}
    at "$1" cat /sys/kernel/debug/x86/pat_memtype_list |
        sed -n "s/.*\[mem 0x0*${base#0x}-[^]]*\] //p"
}

begin() {
    for name in one two three; do
        check "vnode $name" start $name --cpus $((cpu = cpu + 1)) --memory "${small}M"
        check 'loads the driver of bridges' on $name insmod "$module"
    done
    check 'and so does the root' insmod "$module"
    before=$(cat /sys/kernel/debug/adeos/pool)
}

# BR-11, BR-13, BR-41, BR-42: one memory for all.
shared_memory() {
    check 'a vnode creates a bridge' b one create 0 wire 2 "$all" moves
    check 'and maps it' b one map 0
    check 'BR-11: it holds zeros' b one zeros 0
    check 'it fills it' b one fill 0 77
    for name in root two three; do
        check "$name opens it" b $name open 0 wire w moves
        check 'and maps it' b $name map 0
        check 'and finds what was written' b $name check 0 77
    done
    offset=8
    for writer in root one two three; do
        check "$writer writes a word" b $writer poke 0 $offset $((offset * 1000003))
        for reader in root one two three; do
            b $reader peek 0 $offset
            is "$(value $reader 0 peeked)" $((offset * 1000003)) "$reader finds it"
        done
        offset=$((offset + 4088))
    done
    is "$(bridge wire mapped)" 0xf 'the root knows who has it mapped'
    is_cached
    is "$(bridge wire users)" 0.1 'and who uses it'
    check 'a second opener in a kernel' b two open 1 wire r moves
    check 'shares the mapping' b two map 1
    is "$(value two 1 mapped)" "$(value two 0 mapped)" 'at the same place'
    check 'the first one closes' b two close 0
    check 'BR-41: and the kernel stays a user' b two peek 1 0
    is "$(bridge wire mapped)" 0xf 'which has it mapped'
}

# BR-13. A kernel takes nothing for write-back on a processor whose MTRRs are off. They stay as they are
# when it is reset to start a vnode (SDM 3A, table 11-1); where it is emulated they are off then.
is_cached() {
    is "$(caching root)" write-back 'BR-13: the root has it mapped write-back'
    for name in one two three; do
        if vnode console $name | grep -q 'MTRRs disabled'; then
            remark "the processor of $name has its MTRRs off"
        else
            is "$(caching $name)" write-back "BR-13: $name as well"
        fi
    done
}

# BR-44, BR-45: the last user's close is the end.
ends_with_the_last_user() {
    isnt "$(memory_of wire | tr -d '\0' | wc -c)" 0 'the memory of the bridge holds what was written'
    range=$(bridge wire memory)
    for name in one three root; do
        check "$name closes it" b $name close 0
        check 'the bridge is still there' [ -n "$(line wire)" ]
    done
    check 'the last user closes it' b two close 1
    check 'and it is gone' eventually 5 gone wire
    check 'BR-45: its memory is back in the pool' eventually 5 whole
    is "$(dd if=/dev/mem bs=2M skip=$((${range%+*} >> 21)) count=2 2>/dev/null | tr -d '\0' | wc -c)" 0 \
        'and holds zeros'
    refuses 'No such file' 'and nobody opens it' b two open 0 wire r moves
    refuses 'Bad file descriptor' 'nor closes it twice' b two close 1
}

# allows VNODE ACCESS: a vnode opens and maps the bridge of the matrix.
allows() {
    b "$1" open 3 matrix "$2" moves && b "$1" map 3 && b "$1" close 3
}

# matrix RIGHTS ONE THREE: what two vnodes may do with a bridge of another one: -, r or rw.
matrix() {
    check "rights $1" b two create 3 matrix 1 "$1" moves
    for pair in "one $2" "three $3"; do
        name=${pair% *}
        may=${pair#* }
        case $may in
        -) refuses 'Permission denied' "BR-30: $name may not read" allows "$name" r ;;
        *) check "BR-30: $name may read" allows "$name" r ;;
        esac
        case $may in
        rw) check 'and write' allows "$name" w ;;
        *) refuses 'Permission denied' 'nor write' allows "$name" w ;;
        esac
    done
    check 'the owner closes it' b two close 3
}

# BR-30 to BR-33. Vnode 1 is one, 3 is three: bits 2 and 8.
rights() {
    matrix '3 0xffff 0xffff' - -
    matrix '7 2 0xffff' r -
    matrix '15 0xa 2' rw r
    matrix '15 2 8' r -
    matrix '11 0xffff 0xffff' - -
    refuses 'Invalid argument' 'BR-31: an owner who may not read' b two create 3 matrix 1 14 0 0 moves
    refuses 'Invalid argument' 'BR-31: a bit without meaning' b two create 3 matrix 1 0x1f 0 0 moves

    check 'an owner that may only read' b two create 3 matrix 1 5 0xffff 0xffff moves
    check 'maps it' b two map 3
    b two poke 3 0 1
    check 'and writes nothing' b two zeros 3
    check 'another one opens it' b one open 3 matrix r moves
    refuses 'Permission denied' 'BR-33: and may not change the rights' b one protect matrix 15 0xffff 0xffff
    check 'the owner may' b two protect matrix 3 0 0
    refuses 'Permission denied' 'BR-32: then the other one does not map it' b one map 3
    check 'the root may as well' b root protect matrix "$all"
    check 'and then it does' b one map 3
    check 'one closes it' b one close 3
    check 'two closes it' b two close 3
}

# BR-20 to BR-22, and what makes no sense.
names() {
    check 'a local bridge' b one create 4 1/tap 1 "$all" stays
    check 'BR-20: another vnode has one of that name' b two create 4 2/tap 1 "$all" stays
    check 'and so has the cluster' b three create 4 tap 1 "$all" stays
    is "$(awk '$2 ~ /tap$/ { print $2 }' /sys/kernel/debug/adeos/bridges | xargs)" '1/tap 2/tap tap' \
        'all three are there'
    check 'the vnode and the name find the first' b three open 5 1/tap r stays
    is "$(value three 5 bridge)" "$(value one 4 bridge)" 'which it is'
    refuses 'File exists' 'BR-20: a name is given once' b two create 5 tap 1 "$all" stays
    refuses 'File exists' 'also a local one' b one create 5 1/tap 1 "$all" stays
    refuses 'Permission denied' 'BR-21: nobody names for another' b one create 5 2/x 1 "$all" stays
    check 'but the root' b root create 5 2/x 1 "$all" stays
    refuses 'No such file' 'a local name is no global one' b one open 5 x r stays
    refuses 'Invalid argument' 'no bridge is empty' b one create 6 none 0 "$all" stays
    refuses 'Invalid argument' 'BR-20: root is no name' b one create 6 root 1 "$all" stays
    for place in 'one 4' 'two 4' 'three 4' 'three 5' 'root 5'; do
        check "close of $place" b "${place% *}" close "${place#* }"
    done
}

# BR-40.
quota() {
    refuses 'Disk quota exceeded|Quota exceeded' 'BR-40: a vnode has 256 MiB, and no more' \
        b three create 0 much 129 "$all" moves
    check 'the root has no such bound' b root create 0 much 129 "$all" moves
    check 'and closes it' b root close 0
    refuses 'Cannot allocate memory|Out of memory' 'but that of the pool' \
        b root create 0 huge $((2 << 20)) "$all" moves
    count=0
    while [ $count -lt 32 ]; do
        b three create $count "many.$count" 1 "$all" moves || break
        count=$((count + 1))
    done
    is $count 32 'a vnode has 32 bridges'
    refuses 'Disk quota exceeded|Quota exceeded' 'BR-40: and not 33' b three create 32 more 1 "$all" moves
    is "$(vnode bridge stat --json | tr -d ' \n' | grep -o '"vnode":3,"bridges":[0-9]*,"bytes":[0-9]*')" \
        '"vnode":3,"bridges":32,"bytes":67108864' 'which the root counts for it'
    check 'the driver goes, and with it its 32 bridges' on three rmmod bridge_test
    check 'the pool has all again' eventually 10 whole
    check 'the driver comes again' on three insmod "$module"
}

mapped_by_the_root() {
    [ "$(bridge legacy mapped)" = 0x1 ]
}

# BR-60 to BR-64: the owner dies, and the bridge goes on.
deaths() {
    check 'a bridge of one' b one create 0 legacy 2 "$all" moves
    check 'it maps it' b one map 0
    check 'it fills it' b one fill 0 5
    for name in root two; do
        check "$name opens it" b $name open 0 legacy w moves
        check 'and maps it' b $name map 0
    done
    on one sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    check 'BR-62: when the owner crashes, a user is told' eventually 10 told two 0 mourned 1
    check 'the root too' eventually 10 told root 0 mourned 1
    check 'the registry says so' [ -n "$(line legacy | grep ' dead ')" ]
    check 'the bridge holds what the owner has left' b two check 0 5
    check 'and can be written' b two poke 0 0 1
    refuses 'Permission denied' 'BR-63: a stranger does not adopt it' b two adopt legacy
    refuses 'Permission denied' 'BR-62: nobody has the rights of the owner' b two protect legacy "$all"
    check 'the dead one is taken back' vnode kill one
    check 'and starts again' start one --cpus 1 --memory "${small}M"
    check 'with its driver' on one insmod "$module"
    check 'BR-63: its next life adopts the bridge' b one adopt legacy
    is "$(line legacy | grep -c ' dead ')" 0 'which is no orphan any more'
    check 'it may protect it' b one protect legacy 3 0 0
    refuses 'Permission denied' 'and nobody else opens it' b three open 0 legacy r moves

    check 'the owner is killed, who was no user' vnode kill one
    check 'BR-62: a user is told again' eventually 10 told two 0 mourned 2
    check 'the root adopts the bridge' b root adopt legacy
    is "$(bridge legacy owner)" 0.1 'and owns it'
    on two sh -c 'echo c >/proc/sysrq-trigger' 2>/dev/null
    check 'BR-61: a user that crashes is one no more' eventually 10 mapped_by_the_root
    check 'only the root is left' grep -q 'legacy .* users 0.1 mapped' /sys/kernel/debug/adeos/bridges
    check 'the other one has all of it' b root peek 0 0
    is "$(value root 0 peeked)" 1 'as it was'
    check 'the last one closes it' b root close 0
    check 'the crashed one is taken back' vnode kill two

    check 'a bridge of three alone' b three create 1 lonely 4 "$all" moves
    check 'is mapped' b three map 1
    check 'and filled' b three fill 1 6
    check 'its only user is killed' vnode kill three
    check 'BR-61: the bridge is gone' eventually 10 gone lonely
}

# What users see.
tool() {
    check 'a bridge of the root' b root create 0 shown 3 7 6 0 moves
    check 'which it maps' b root map 0
    check 'the tool lists it' sh -c 'vnode bridge list | grep -E "shown +settled +6M +root"'
    is "$(vnode bridge list --json | grep -c '"name": "shown"')" 1 'as JSON too'
    check 'it tells all about it' sh -c 'vnode bridge show shown | grep -E "^owner +root \(life 1\)"'
    json=$(vnode bridge show shown --json)
    for fact in '"name": "shown"' '"vnode": null' '"size_bytes": 6291456' '"movable": true' \
        '"owner_may": "read and write"' '"mapped": true' '"openers": 1'; do
        check "as JSON: $fact" sh -c "echo '$json' | grep -F '$fact'"
    done
    check 'by number' vnode bridge show "#$(value root 0 bridge | cut -d . -f 1)"
    vnode bridge show nothing 2>/tmp/said
    is $? 3 'one that is not there has a status of its own'
    check 'and a sentence' grep 'there is no bridge .nothing.' /tmp/said
    check 'a vnode sees it as well' sh -c 'on two vnode bridge list | grep -E "shown +settled +6M +root"'
    refuses 'only the root knows' 'but not what all have come to' on two vnode bridge stat
    check 'which the root tells' sh -c 'vnode bridge stat | grep "bridges *1 of 256"'
    is "$(total bridges)" 1 'as JSON too'
    check 'the bridge goes' b root close 0
}

# total KEY: one of the numbers of `vnode bridge stat`.
total() {
    vnode bridge stat --json | sed -n "s/^  \"$1\": \([0-9]*\),*\$/\1/p"
}

# mappings NAME: how many a kernel has of memory that is not its own.
mappings() {
    at "$1" 'grep -c memremap /proc/vmallocinfo'
}

maps_as_before() {
    [ "$(for name in root one two three; do mappings "$name"; done | xargs)" = "$mapped" ]
}

# One bridge comes and goes a thousand times, and four kernels at once create or open it, write to it
# and close it. Nothing may stay: neither memory of the pool, nor a mapping, nor a place in a table.
thousand_rounds() {
    mapped=$(for name in root one two three; do mappings $name; done | xargs)
    created=$(total created)
    begun=$(now_ms)
    for name in one two three; do
        b $name rounds busy 250 2>/tmp/rounds.$name &
        eval "rounds_$name=\$!"
    done
    check '250 rounds of the root' b root rounds busy 250
    for name in one two three; do
        eval "wait \$rounds_$name"
        is $? 0 "250 rounds of $name: $(cat /tmp/rounds.$name)"
    done
    remark "1000 rounds took $(($(now_ms) - begun)) ms"
    rounds=0
    creations=0
    for name in root one two three; do
        rounds=$((rounds + $(value $name all rounds)))
        creations=$((creations + $(value $name all created)))
    done
    is $rounds 1000 'there were a thousand rounds'
    remark "$creations of them created the bridge"
    check 'then it is gone' eventually 5 gone busy
    is $(($(total created) - created)) $creations 'the root has counted those that created it'
    check 'BR-45: and taken the memory back each time' eventually 5 as_many_gone
    check 'the pool has all again' eventually 5 whole
    check 'no kernel has a mapping more than before' eventually 5 maps_as_before
    is "$(total unanswered_requests) $(total strange_messages)" '0 0' 'and every request was answered'
}

as_many_gone() {
    [ "$(total created)" = "$(total destroyed)" ]
}

all_is_free() {
    [ "$(grep -c used /sys/kernel/debug/adeos/pool)" = 1 ]
}

cpu=0
begin
shared_memory
ends_with_the_last_user
rights
names
quota
tool
thousand_rounds
deaths
# What stays of the vnodes is nothing: the pool is as it was before the first one.
check 'the driver of the root goes' rmmod bridge_test
check 'nothing but the control area is in use' eventually 10 all_is_free
is "$(awk '/^created/ { print $2 - $4 }' /sys/kernel/debug/adeos/bridges)" 0 \
    'as many bridges have gone as have come'
sound
finish
