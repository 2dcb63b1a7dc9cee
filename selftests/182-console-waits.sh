#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Consoles: who waits goes on though nobody calls, many come and go, and a panic is told though the
# console is in the middle of something. docs/vcons.md is cited as VC-n.
#
# cluster: --cpus 5 --memory 2G --config /dev/null --timeout 300
# cargo: pty

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
control=/sys/kernel/debug/bridge_test/control

# keeps WORD VNODE: what the root's debugfs says of the console of a vnode under that word.
keeps() {
    awk -v number="$2" -v word="$1" '$1 == "console" && $3 == number {
        for (i = 1; i < NF; i++) if ($i == word) print $(i + 1) }' /sys/kernel/debug/vcons/consoles
}

# quiet NAME: nobody uses the vnode's terminal, and the kernel says nothing.
quiet() {
    # shellcheck disable=SC2016 # The vnode expands it.
    on "$1" sh -c 'sed -i /vcons0/d /etc/inittab; kill -HUP 1; dmesg -n 1
        for way in /proc/[0-9]*/fd/0; do
            pid=${way#/proc/}
            [ "$(readlink "$way")" = /dev/vcons0 ] && kill -KILL "${pid%%/*}"
        done
        stty -F /dev/vcons0 raw -echo'
}

# listens NAME: a program has the vnode's terminal open as its input.
listens() {
    # shellcheck disable=SC2016 # The vnode expands it.
    on "$1" sh -c 'for way in /proc/[0-9]*/fd/0; do readlink "$way"; done | grep -qx /dev/vcons0'
}

has_ended() {
    # One that nobody has waited for is there still, as a zombie.
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

begin() {
    check 'the root loads its consoles' insmod "$modules/vcons.ko"
    check 'and what writes over them' insmod "$modules/bridge_test.ko"
    check 'a vnode starts' start one --cpus 1 --memory $((small + 32))M
    check 'and another one' start two --cpus 2 --memory $((small + 32))M
    for name in one two; do
        check "the console of $name is there" eventually 10 test -c /dev/vcons/$name
        check 'and quiet' quiet $name
    done
    check 'two may type at one' vnode console one --allow two:w
    check 'and finds it' eventually 5 on two test -c /dev/vcons/one
    check 'the bridge of the console of one is open' \
        sh -c "echo 'open 0 1/vcons w stays' >$control && echo 'map 0' >$control"
}

# peek OFFSET [SLOT]: the number that stands in the console of one, or in the one that is open there.
peek() {
    echo "peek ${2:-0} $1" >$control
    awk -v slot="${2:-0}" '$2 == slot { for (i = 3; i < NF; i++) if ($i == "peeked") print $(i + 1) }' $control
}

# forgotten BIT: nobody is known to wait any more at the console of one, as if who took the bits had died
# before it could raise the portals; once who waits as that bit says does so.
forgotten() {
    eventually 5 is_known "$1" && echo 'poke 0 0x2800 0' >"$control"
}

is_known() {
    [ $(($(peek 0x2800) >> $1 & 1)) = 1 ]
}

# is_full: the console of one holds all that it can while the root has not seen more.
is_full() {
    [ $(($(peek 0x1010) - $(peek 0x2000))) -ge 1048576 ]
}

# cannot_type NUMBER: what that vnode has typed at one fills its ring.
cannot_type() {
    head=$(peek $((0x2010 + $1 * 128)))
    tail=$(peek $((0x1050 + $1 * 4)))
    [ $(((head - tail) & 0xffffffff)) = 4096 ]
}

# All four kinds of waits (VC-20) end without a call (VC-23).
waits_end_by_themselves() {
    cat /dev/vcons/one >/tmp/heard &
    reading=$!
    on one sh -c 'echo first >/dev/vcons0'
    check 'somebody looks' eventually 5 grep -q first /tmp/heard
    check 'and is forgotten' forgotten 0
    on one sh -c 'echo second >/dev/vcons0'
    check 'VC-23: who waits for output sees it in time' eventually 3 grep -q second /tmp/heard
    kill $reading

    on one sh -c 'exec head -c 5 </dev/vcons0' >/tmp/typed &
    hearing=$!
    check 'somebody listens' eventually 5 listens one
    check 'and is forgotten' forgotten 32
    printf 01234 >/dev/vcons/one
    check 'VC-23: who waits for somebody to type hears it in time' eventually 3 has_ended $hearing
    is "$(cat /tmp/typed)" 01234 'all of it'

    head -c 20000 /dev/zero >/dev/vcons/one &
    typing=$!
    check 'who types more than anybody hears waits' eventually 5 cannot_type 0
    check 'and is forgotten' forgotten 16
    on one sh -c 'exec head -c 20000 </dev/vcons0' >/tmp/typed &
    hearing=$!
    check 'VC-23: who waits for room to type goes on in time' eventually 3 has_ended $typing
    check 'and all is heard' eventually 3 has_ended $hearing
    is "$(stat -c %s /tmp/typed)" 20000 'all of it'

    exec 3<>/dev/vcons/one
    on one sh -c 'exec head -c 2000000 /dev/zero >/dev/vcons0' &
    writing=$!
    check 'who says more than anybody sees waits' eventually 10 is_full
    check 'and is forgotten' forgotten 33
    cat <&3 >/dev/null &
    reading=$!
    check 'VC-23: whose programs wait for viewers go on in time' eventually 3 has_ended $writing
    kill $reading
    exec 3<&-
}

# has_come NAME FILE: that of the root, or of a vnode, has what is said last.
has_come() {
    case $1 in
    root) tail -c 7 "$2" ;;
    *) on "$1" tail -c 7 "$2" ;;
    esac | grep -q 'the end'
}

# What copies standard input to standard output, the first part of it a little at a time.
slowly='for _ in 1 2 3 4 5 6 7 8; do dd bs=64k count=1; sleep 0.5; done; exec cat'

# Viewers in two kernels hold the output: each gets all of it, though one of them is slow (VC-10, VC-13).
all_viewers_get_all() {
    count=3000000
    on one sh -c "head -c $count /dev/urandom >/tmp/flood"
    # They hold it from the moment that they open it.
    cat <>/dev/vcons/one >/tmp/out &
    reading=$!
    on two sh -c "echo \$\$ >/tmp/pid; { $slowly; } <>/dev/vcons/one >/tmp/out 2>/tmp/dd" &
    check 'both see' eventually 5 hold 0 "$two"
    on one sh -c '{ cat /tmp/flood; printf "the end"; } >/dev/vcons0'
    is $? 0 'VC-10: a program says 3 MB'
    said=$(on one sha256sum /tmp/flood)
    check 'the root sees the end of it' eventually 20 has_come root /tmp/out
    is "$(tail -c $((count + 7)) /tmp/out | head -c $count | sha256sum)" "${said%% *}  -" 'and has seen all of it'
    check 'two as well' eventually 20 has_come two /tmp/out
    is "$(on two sh -c "tail -c $((count + 7)) /tmp/out | head -c $count | sha256sum")" "${said%% *}  -" 'and has, too'
    kill $reading
    # shellcheck disable=SC2016 # The vnode expands it.
    check 'both leave' on two sh -c 'kill "$(cat /tmp/pid)"'
    check 'and hold nothing' eventually 5 hold_not 0 "$two"
    is "$(keeps dropped 1)" 0 'none was dropped'
}

# One file says and hears much at once.
floods_pass_each_other() {
    count=2000000
    head -c $count /dev/urandom >/tmp/in
    on one sh -c "exec </dev/vcons0
        dd bs=1 count=1 2>/tmp/dd
        { head -c $count /tmp/flood; printf 'the end'; } >/dev/vcons0 &
        head -c $count | sha256sum >/tmp/hash
        wait" >/tmp/began &
    working=$!
    check 'somebody listens' eventually 10 listens one
    exec 3<>/dev/vcons/one
    sh -c "$slowly" <&3 >/tmp/out 2>/tmp/dd &
    reading=$!
    check 'as much is typed as is said, at once' timeout $((60 * slow)) sh -c '{ printf b; cat /tmp/in; } >&3'
    wait $working
    is "$? $(cat /tmp/began)" '0 b' 'and all taken'
    check 'and shown' eventually 20 has_come root /tmp/out
    kill $reading
    exec 3<&-
    is "$(on one cat /tmp/hash)" "$(sha256sum </tmp/in)" 'as it was typed'
    is "$(tail -c $((count + 7)) /tmp/out | head -c $count | sha256sum)" \
        "$(on one sh -c "head -c $count /tmp/flood | sha256sum")" 'and said'
}

# hold NUMBER...: all these vnodes hold the output of one.
hold() {
    for viewer; do
        [ "$(peek $((0x2000 + viewer * 128)))" != 18446744073709551615 ] || return
    done
}

# hold_not NUMBER...: none of them does.
hold_not() {
    for viewer; do
        [ "$(peek $((0x2000 + viewer * 128)))" = 18446744073709551615 ] || return
    done
}

# arrived NAME: how often the portal of consoles was raised there.
arrived() {
    on "$1" sed -n 's/^portal 4 owner vcons .* arrived \([0-9]*\).*/\1/p' /sys/kernel/debug/adeos/portals
}

# Who loses the keyboard while it waits for room is told (VC-36).
a_loser_is_told() {
    on two sh -c 'exec cat /dev/zero >/dev/vcons/one' >/tmp/lost 2>&1 &
    typing=$!
    check 'two types more than anybody hears' eventually 5 cannot_type "$two"
    before=$(arrived two)
    sleep 2
    is "$(arrived two)" "$before" 'and nobody calls it'
    check 'the root takes the keyboard by force' pty --timeout $((15 * slow)) vnode console one --steal <<'END'
expect ~. leaves
send ~.
wait
END
    within $(($(arrived two) - before)) 1 10 'VC-36: two is called'
    wait $typing
    isnt $? 0 'types no more'
    check 'and knows why' grep -q 'busy' /tmp/lost
}

# What coming and going leaves behind in the root.
left_behind() {
    echo "users of the module: $(cat /sys/module/vcons/refcnt)"
    echo "has the keyboard: $(keeps keyboard "$two")"
    echo "floor: $(peek 0x2000 1)"
    vnode bridge show "$two/vcons" --json | grep openers
}

# A thousand times somebody comes, types, sees it, and goes.
many_come_and_go() {
    on two sh -c 'exec cat </dev/vcons0 >/dev/vcons0' &
    echoing=$!
    check 'the console of two is open' \
        sh -c "echo 'open 1 $two/vcons r stays' >$control && echo 'map 1' >$control"
    check 'somebody comes once' pty --timeout $((15 * slow)) sleep 1000 <<END
attach 10 /dev/vcons/two
END
    left=$(left_behind)
    tickets=$(keeps ticket "$two")
    before=$(kilobytes Slab)
    began=$(now_ms)
    check 'and a thousand times' pty --timeout $((15 * slow)) sleep 1000 <<END
attach 1000 /dev/vcons/two
END
    remark "they took $(($(now_ms) - began)) ms"
    within "$(($(kilobytes Slab) - before))" -4096 $slack 'no memory is lost (KiB)'
    is "$(left_behind)" "$left" 'and nothing else'
    within $(($(keeps ticket "$two") - tickets)) 1000 2000 'each time the root gave the keyboard'
    is "$(peek 0x2000 1)" 18446744073709551615 'nobody holds the output'
    kill $echoing
}

# A kernel that panics while it has something else half said does not wait for that (VC-15): whoever was
# at it will not go on.
a_panic_breaks_in() {
    for who in program kernel; do
        # The addresses of its mappings are to be told.
        check "a vnode starts, of which a $who is to be disturbed" \
            start three --cpus 3 --memory $((small + 32))M --append no_hash_pointers
        number=$(vnode list | awk '$2 == "three" { print $1 }')
        check 'it has a console' eventually 10 test -c /dev/vcons/three
        check 'which is quiet' quiet three
        base=$(vnode bridge show "$number/vcons" --json | sed -n 's/^ *"base": \([0-9]*\).*/\1/p')
        mapped=$(on three cat /proc/vmallocinfo | grep "phys=$(printf '0x%016x' "$base") " | cut -d - -f 1)
        isnt "$mapped" '' "its kernel has it mapped, at $mapped"
        # There it says how far it is going to write, and has the console to itself (CA-70).
        check 'it is to panic there' on three insmod "$modules/trap_test.ko" address="$(printf 0x%x $((mapped + 0x1018)))"
        case $who in
        program) on three sh -c 'echo a word >/dev/vcons0' >/tmp/died 2>&1 ;;
        kernel) on three sh -c 'echo "<0>a word" >/dev/kmsg' >/tmp/died 2>&1 ;;
        esac
        check 'it does' eventually 10 has_died three
        check 'VC-15: and what it says can be read' eventually 5 shows_panic three
        check 'it is taken back' vnode kill three
    done
}

has_died() {
    [ "$(field "$1" state)" = dead ]
}

shows_panic() {
    vnode console "$1" --terminal | grep -q 'Kernel panic - not syncing: trap_test: in the middle of a store'
}

begin
two=2
waits_end_by_themselves
all_viewers_get_all
floods_pass_each_other
a_loser_is_told
many_come_and_go
a_panic_breaks_in
check 'the bridges are left' sh -c "echo 'close 0' >$control && echo 'close 1' >$control"
check 'and what wrote over them' rmmod bridge_test
sound one two
finish
