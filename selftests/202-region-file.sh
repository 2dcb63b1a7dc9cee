#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Regions as a cluster file names them: made and kept when it is applied, for the vnodes that it names, whatever numbers these
# have. docs/bridge-shm.md is cited as SH-n.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 400
# cargo: shmtest

# shellcheck disable=SC2016,SC2317 # Other shells expand what is quoted; functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh
# shellcheck source=selftests/regions.sh
. /selftests/regions.sh

file=/tmp/cluster.toml

# cluster MODE SIZE: a file with two vnodes, a region of this mode and size for both, and one that `one` writes and `two` reads.
cluster() {
    cat <<END
[defaults]
memory = "$((small + 32))M"
restart = "always"

[[vnode]]
name = "one"
cpus = "1"

[[vnode]]
name = "two"
cpus = "2"

[[region]]
name = "both"
size = "$2"
mode = "$1"
user = "1000"
group = "2000"
vnodes = "one,two"

[[region]]
name = "table"
size = "2M"
mode = "660"
user = "1000"
group = "2000"
readers = "two"
writers = "one"
END
}

# apply: what it says is in /tmp/said as well.
apply() {
    vnode apply "$file" --timeout $((60 * slow)) >/tmp/said 2>&1 || {
        cat /tmp/said
        return 1
    }
}

# actions: what would be done about each vnode and region.
actions() {
    vnode apply --dry-run "$file" 2>/dev/null | cut -d ' ' -f 1 | xargs
}

# planned REGION: what would be done about one.
planned() {
    vnode apply --dry-run "$file" 2>/dev/null | grep " region $1:"
}

# told KEY...: the values of these keys, in the order in which JSON on standard input has them.
told() {
    keys=$(echo "$*" | tr ' ' '|')
    sed -nE "s/^ *\"($keys)\": \"?([^\",]*)\"?,?\$/\2/p" | xargs
}

# regions: those that there are, by name, with size and owner.
regions() {
    vnode bridge list | awk '$2 ~ /^shm\../ { print $2, $4, $5 }' | sort | xargs
}

is_there() {
    vnode bridge list | grep -q " shm\.$1 "
}

is_gone() {
    ! is_there "$1"
}

are_all_gone() {
    [ -z "$(regions)" ]
}

# use NAME REGION MODE MAY: programs of a kernel, of all kinds, can do with a region what its mode lets them, where the vnode
# may do what MAY says: none, r or w.
use() {
    is "$(at "$1" shmtest callers "$2" "$3" "$4" 2>&1)" 5 "SH-24: programs of $1 use $2 as mode $3 and $4 say"
}

# sets: the sets of vnodes that may use the region that the root has open as 1.
sets() {
    s root stat 1 | grep -o 'readers: .*, writers: Vnodes([0-9]*)'
}

# of_both: the sets for those two that have these names now.
of_both() {
    bits=$((1 << $(field one id) | 1 << $(field two id)))
    echo "readers: Vnodes($bits), writers: Vnodes($bits)"
}

mode() {
    s root stat 1 | grep -o 'mode: [0-9]*'
}

it_is_checked() {
    cluster 660 4M >"$file"
    is "$(vnode check "$file")" "$file: 2 vnodes, 2 regions, nothing wrong" 'a file with regions is checked'
    sed 's/one,two/one,three/' "$file" >/tmp/wrong.toml
    refuses 'there is no vnode .three.' 'regions are for vnodes of the file' vnode check /tmp/wrong.toml
    refuses 'insmod bridge_shm.ko' 'SH-23: without the module nothing is started' apply
    is "$(vnode list | wc -l)" 2 'nothing at all'
    is "$(view)" "$before" 'and nothing has changed'
}

it_is_planned() {
    check 'the root loads the module' insmod "$module"
    with_module=$(view)
    is "$(planned both)" 'make     region both: 4M, mode 0660, user 1000, group 2000, vnodes one,two' \
        'apply --dry-run: a region to make'
    is "$(planned table)" 'make     region table: 2M, mode 0660, user 1000, group 2000, readers one,two, writers one' \
        'apply --dry-run: and one for a reader'
    is "$(vnode apply --dry-run --json "$file" | told action name)" 'start one start two make both make table' \
        'apply --dry-run --json: the same, and the vnodes'
    is "$(view)" "$with_module" 'and nothing is there'
    is "$(regions)" '' 'no region either'
}

it_is_applied() {
    is "$(vnode apply --json "$file" --timeout $((60 * slow)) 2>/tmp/said | told action name progress)" \
        'one ready two ready make both make table' 'apply --json starts and makes them, and tells of them'
    check 'and of regions elsewhere' grep -q '^region both: made: 4M, mode 0660' /tmp/said
    is "$(regions)" 'shm.both 4M root shm.table 2M root' 'SH-24: they are there, though nobody uses them'
    for name in one two; do
        check "$name loads the module" on $name insmod "$module"
    done
    for name in root one two; do
        check "a program runs in $name" serve $name
        use $name both 660 w
    done
    use root table 660 w
    use one table 660 w
    use two table 660 r
    check 'one opens what it writes' s one open 1 table w
    check 'maps it' s one map 1
    check 'and writes' s one fill 1 7
    check 'two opens what it reads' s two open 1 table r
    check 'maps it' s two map 1
    check 'and reads what one has written' s two verify 1 7
    refuses 'Permission denied' 'but does not write' s two open 2 table w
}

it_is_applied_again() {
    check 'the root opens one' s root open 1 both r
    is "$(sets)" "$(of_both)" 'it is for the numbers of the vnodes'
    is "$(actions)" 'keep keep keep keep' 'apply --dry-run: then all is as it should be'
    stat=$(s root stat 1)
    all=$(view)
    check 'the file is applied again' apply
    is "$(s root stat 1)" "$stat" 'SH-24: which changes nothing'
    is "$(view)" "$all" 'nothing at all'
    is "$(grep -c '^region [a-z]*: is there already$' /tmp/said)" 2 'and says so'
}

rights_change() {
    cluster 640 4M >"$file"
    is "$(planned both)" \
        'change   region both: 4M, mode 0640, user 1000, group 2000, vnodes one,two (its mode is 0660, wanted is 0640)' \
        'apply --dry-run: another mode'
    is "$(mode)" "mode: $((0660))" 'nothing has changed yet'
    ids="$(boot_id one) $(boot_id two)"
    check 'it is applied' apply
    check 'which is told' grep -q '^region both: who may use it is said anew: mode 0640' /tmp/said
    check 'and that the other region stays' grep -q '^region table: is there already' /tmp/said
    for name in root one two; do
        use $name both 640 w
    done
    is "$(boot_id one) $(boot_id two)" "$ids" 'the same kernels run'
}

sizes_stay() {
    cluster 600 6M >"$file"
    refuses 'the region both is there, .*: its size is 4M, wanted is 6M; .vnode bridge remove both.' \
        'SH-23: another size is refused' apply
    refuses '1 conflict with what runs; nothing was started' 'as a conflict' apply
    is "$(actions)" 'keep keep refuse keep' 'apply --dry-run: that as well'
    is "$(regions) $(mode)" "shm.both 4M root shm.table 2M root mode: $((0640))" 'nothing has changed'
    check 'a vnode has a region for itself' s one create 5 private 2097152 600 0 0
    cluster 640 4M | sed 's/"table"/"private"/' >"$file"
    refuses 'region private .* another vnode has made it, and not for the root' "SH-23: which is not the file's" apply
    check 'it lets go of it' s one close 5
    check 'and it is gone' eventually 5 is_gone private
}

others_stay() {
    cluster 640 4M >"$file"
    check 'a region that the file does not name' vnode bridge create other --size 2M
    check 'the file is applied' apply
    is "$(regions)" 'shm.both 4M root shm.other 2M root shm.table 2M root' 'and leaves it alone'
}

# The next vnode has the lowest number that is free.
numbers_change() {
    number=$(field one id)
    check 'a vnode is taken back' vnode kill one
    check 'another one starts' start three --cpus 3 --memory "$((small + 32))M"
    is "$(field three id)" "$number" 'and has its number'
    is "$(actions)" 'start keep change change' 'apply --dry-run: the region is not for that'
    check 'the file is applied' apply
    isnt "$(field one id)" "$number" 'the vnode of the file has another number'
    is "$(sets)" "$(of_both)" 'SH-24: and the region is for that'
    for name in one three; do
        check "$name loads the module" on $name insmod "$module"
    done
    use one both 640 w
    use one table 660 w
    use two both 640 w
    use three both 640 none
    use three table 660 none
    check 'the root lets go' s root close 1
}

has_another_life() {
    now=$(field two generation) && [ -n "$now" ] && [ "$now" != "$life" ]
}

it_is_supervised() {
    check 'a region goes' vnode bridge remove both
    check 'and is gone' eventually 5 is_gone both
    vnode supervise "$file" --json >/tmp/events 2>&1 &
    job=$!
    check 'a supervisor is there' eventually 10 grep -q supervising /tmp/events
    check 'SH-25: it makes what is missing' is_there both
    is "$(actions)" 'keep keep keep keep' 'as the file says'
    cluster 600 4M >"$file"
    is "$(actions)" 'keep keep change keep' 'the file says something else'
    kill -HUP $job
    check 'it is read anew' eventually 10 grep -q '"reloaded"' /tmp/events
    is "$(actions)" 'keep keep keep keep' 'SH-25: then who may is said anew'
    check 'a region goes' vnode bridge remove both
    check 'and is gone' eventually 5 is_gone both
    life=$(field two generation)
    on two reboot -f >/dev/null 2>&1
    check 'who ends comes again' eventually 60 has_another_life
    check 'and gets ready' vnode wait two --timeout $((60 * slow))
    check 'SH-25: and with it the region' eventually 10 is_there both
    is "$(actions)" 'keep keep keep keep' 'as the file says'
    kill $job
    wait $job
    is $? 0 'the supervisor ends'
}

nothing_stays() {
    for name in both table other; do
        check "$name is removed" vnode bridge remove $name
    done
    check 'the program of the root ends' sh -c 'kill "$(cat /tmp/shmtest.pid)"'
    sound one two three
    for name in one two three; do
        check "$name is stopped" vnode stop $name
    done
    check 'all regions are gone' eventually 10 are_all_gone
    check 'the root unloads the module' rmmod bridge_shm
    is "$(view)" "$before" 'the root has all again'
}

before=$(view)
it_is_checked
it_is_planned
it_is_applied
it_is_applied_again
rights_change
sizes_stay
others_stay
numbers_change
it_is_supervised
nothing_stays
finish
