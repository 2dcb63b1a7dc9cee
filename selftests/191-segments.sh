#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Segments as a cluster file names them: who may be on which the root says, by life, and the tool has the devices made.
# docs/vnet.md is cited as VN-n.
#
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 300

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
parameter=/sys/module/vnet/parameters/segments

# cluster DB WEB OTHER: a file with three vnodes and the segments that each is on, `-` for no word of them.
cluster() {
    cat <<END
[defaults]
memory = "$((small + 32))M"
restart = "always"
END
    cpu=1
    for name in db web other; do
        printf '[[vnode]]\nname = "%s"\ncpus = "%s"\n' $name $cpu
        # Who is on segments loads the module without being told.
        if [ "$1" = - ]; then
            echo 'append = "vnet.devices=0"'
        else
            echo "segments = \"$1\""
        fi
        cpu=$((cpu + 1))
        shift
    done
}

apply() {
    vnode apply /tmp/cluster.toml --timeout $((60 * slow))
}

# devices NAME: those of a vnode that are on segments, and what Linux says of each.
devices() {
    on "$1" vnode network list | awk '$4 != "-" && NR > 1 { print $1, $4, $5 }' | xargs
}

# stands NAME WORD: what stands in the list of devices.
stands() {
    devices "$1" | grep -qw -- "$2"
}

# up NAME ADDRESS: the device on the segment storage, with an address; it has joined.
up() {
    on "$1" sh -c "ip addr add $2/24 dev storage && ip link set storage up" && eventually 10 stands "$1" joined
}

life() {
    echo "$(field "$1" id).$(field "$1" generation)"
}

a_file_says_who_is_where() {
    cluster storage storage,front - >/tmp/cluster.toml
    check 'it is checked' vnode check /tmp/cluster.toml
    refuses 'vnet.ko is not loaded' 'VN-70: without the module nothing is started' apply
    is "$(vnode list | wc -l)" 2 'nothing at all'
    check 'the root has the module' insmod "$modules/vnet.ko" devices=0
    check 'it is applied' apply
    is "$(cat $parameter)" "front=$(life web) storage=$(life db),$(life web)" 'VN-71: the module knows who may be where'
    is "$(devices db)" 'storage storage down' 'VN-73: a device is there'
    is "$(devices web)" 'front front down storage storage down' 'VN-73: as many as segments'
    is "$(devices other)" '' 'and nothing where none was asked for'
    check 'one goes up' up db 10.1.0.1
    check 'and the other' up web 10.1.0.2
    check 'they reach each other' on db ping -c 1 -W 5 10.1.0.2
    is "$(vnode network list | awk '$1 == "storage" { print $2, $3 }')" 'root,db,web root,db,web' 'which is listed'
}

others_stay_away() {
    refuses 'may not be on the segment .storage.' 'VN-70: others get no device' on other vnode network add storage
    check 'whatever their kernels believe' on other insmod "$modules/bridge_test.ko"
    for name in storage front; do
        refuses 'denied' "VN-70: the root keeps $name from them" \
            on other sh -c "echo 'open 0 vnet.$name w stays' >/sys/kernel/debug/bridge_test/control"
    done
    refuses 'denied' 'db as well, where it is not named' on db sh -c "vnode network add front 2>/dev/null ||
        { insmod $modules/bridge_test.ko; echo 'open 0 vnet.front w stays' >/sys/kernel/debug/bridge_test/control; }"
    check 'other segments are for all' on other vnode network add free0 --segment free
    check 'as before' on other vnode network remove free0
    refuses 'Operation not permitted' 'only the root says who may' on other sh -c "echo free= >$parameter"
    for line in 'storage' 'storage=1' 'storage=x.1' 'storage=16.1' 'storage= storage=' '=1.1'; do
        refuses 'Invalid argument' "nonsense is refused: $line" sh -c "echo '$line' >$parameter"
    done
    is "$(cat $parameter)" "front=$(life web) storage=$(life db),$(life web)" 'and changes nothing'
}

# VN-71: what is no segment is not kept as one, and a line that says so changes nothing.
what_is_none() {
    before=$(cat $parameter)
    check 'something that is no segment has the name of one' insmod "$modules/bridge_test.ko"
    check 'a bridge' sh -c 'echo "create 0 vnet.odd 5 15 0xffff 0xffff stays" >/sys/kernel/debug/bridge_test/control'
    refuses 'Protocol error' 'VN-71: it is refused' sh -c "echo 'extra= odd=' >$parameter"
    is "$(cat $parameter)" "$before" 'with all that was said beside it'
    is "$(vnode bridge list | grep -c 'vnet\.extra')" 0 'and nothing is kept for it'
    check 'it goes' rmmod bridge_test
}

# VN-72: what was said of a life is over with it.
a_life_ends() {
    check 'a vnode begins another life' vnode restart db --force --timeout $((60 * slow))
    is "$(vnode network list | awk '$1 == "storage" { print $2, $3 }')" 'root,web root,web' 'VN-72: a right ends with the life'
    refuses 'may not be on the segment .storage.' 'VN-72: the next one has none' on db vnode network add storage
    check 'until the file is applied' apply
    is "$(devices db)" 'storage storage down' 'then it has its device'
    check 'which goes up' up db 10.1.0.1
    check 'and is reached' on web ping -c 1 -W 5 10.1.0.1
}

# VN-62: and what the file does not say any more.
a_file_changes() {
    cluster storage front storage >/tmp/cluster.toml
    check 'another file is applied' apply
    check 'VN-62: who is not named any more leaves' eventually 10 stands web no-carrier
    check 'the others stay' stands db joined
    check 'who is named comes' up other 10.1.0.3
    check 'and is reached' on db ping -c 1 -W 5 10.1.0.3
    refuses . 'who has left is not' on db ping -c 1 -W 1 10.1.0.2
}

it_is_supervised() {
    vnode supervise /tmp/cluster.toml --json >/tmp/events 2>&1 &
    job=$!
    check 'a supervisor is there' eventually 10 grep -q supervising /tmp/events
    before=$(life db)
    on db reboot -f >/dev/null 2>&1
    check 'who ends comes again' eventually 60 sh -c "grep '\"ready\"' /tmp/events | grep -q '\"db\"'"
    isnt "$(life db)" "$before" 'in another life'
    check 'VN-73: with its device' eventually 10 stands db down
    check 'and its right' up db 10.1.0.1
    check 'it is reached' on other ping -c 1 -W 5 10.1.0.1
    kill $job
    wait $job
}

nothing_stays() {
    check 'all segments are for all again' sh -c "echo >$parameter"
    is "$(cat $parameter)" '' 'nobody is named'
    check 'who had to leave comes back' eventually 10 stands web joined
    for name in db web other; do
        check "$name goes" on $name rmmod vnet
    done
    is "$(vnode bridge list | grep -c 'vnet\.')" 0 'the root keeps no segment'
    check 'the root goes' rmmod vnet
}

a_file_says_who_is_where
others_stay_away
what_is_none
a_life_ends
a_file_changes
it_is_supervised
nothing_stays
sound db web other
finish
