#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Consoles: each vnode's is a terminal to its own programs, and whoever may, in whatever vnode, reads
# it and types into it. docs/vcons.md is cited as VC-n.
#
# cluster: --cpus 5 --memory 2G --config /dev/null --timeout 500
# cargo: pty

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
flood=$((8 << 20))
# What readers stall by.
seed=$(od -An -tu4 -N4 /dev/urandom | tr -d ' ')

# said NAME: all that the console of a vnode holds, as a file has it.
said() {
    vnode console "$1" --terminal | tr -d '\r'
}

# shows NAME TEXT: the console of a vnode holds a line with that (grep -E).
shows() {
    said "$1" | grep -qE -- "$2"
}

# keeps WORD VNODE: what the root's debugfs says of the console of a vnode under that word.
keeps() {
    awk -v number="$2" -v word="$1" '$1 == "console" && $3 == number {
        for (i = 1; i < NF; i++) if ($i == word) print $(i + 1) }' /sys/kernel/debug/vcons/consoles
}

# types NAME [OPTION...]: at a terminal of its own, `vnode console` and a script for it.
types() {
    name=$1
    shift
    pty --timeout $((15 * slow)) "$@" vnode console "$name"
}

begin() {
    refuses 'not supported' 'a vnode gets no console where the root has none' begin_without
    check 'the root loads it' insmod "$modules/vcons.ko"
    check "the root's own console is there" test -c /dev/vcons/root
    check 'and its terminal' test -c /dev/vcons0
    check 'a vnode starts' start one --cpus 1 --memory $((small + 32))M
    check 'its console appears' eventually 10 test -c /dev/vcons/one
    is "$(stat -c '%a %u' /dev/vcons/one /dev/vcons/root | sort -u)" '600 0' 'for root only'
    check 'its programs have a terminal' on one test -c /dev/vcons0
    check 'somebody can log in there' eventually 10 shows one '^one login:'
}

begin_without() {
    start zero --cpus 1 --memory "${small}M" || return 0
    on zero insmod "$modules/vcons.ko" && return
    vnode kill zero
    return 1
}

# The kernel's messages go to both, all of them, once, in the same order.
nothing_is_lost_or_said_twice() {
    console one | grep '^\[' >/tmp/early
    said one | grep '^\[' >/tmp/late
    is "$(grep -c 'Linux version' /tmp/late)" 1 'the console begins with the first message'
    is "$(cmp /tmp/early /tmp/late 2>&1)" '' "what the kernel has said is what the slot's ring has"
    on one sh -c 'echo "<1>vcons: one more" >/dev/kmsg'
    check 'and goes on with what it says' eventually 5 shows one '\] vcons: one more$'
}

# Somebody sits down at a terminal and logs in.
somebody_logs_in() {
    check 'somebody logs in, and works' types one <<'END'
expect one login:
expect ~. leaves
send root\r
expect #
send hostname; tty\r
expect one
expect /dev/vcons0
expect #
send ~?
expect ~. leaves
send ~~\x15echo a~b\r
expect a~b\r\na~b\r\n
send ~.
wait
END
    check 'who comes later, and calls it by its number, finds what was left' types 1 <<'END'
expect ~. leaves
send \r
expect #
send sh -c 'echo =go; exec sleep 1000'\r
expect \n=go\r\n
pause 500
send \x03
expect #
send sh -c 'echo =go; exec sleep 1001'\r
expect \n=go\r\n
pause 500
send \x1a
expect Stopped
expect #
send kill %1\r
expect #
send sh -c 'echo =go; exec sleep 1002'\r
expect \n=go\r\n
pause 500
send \x1c
expect #
send echo a\x13\r
send ~.
wait
END
}

# Who only looks, or keeps a log, sees the same.
others_look() {
    check 'somebody looks, and keeps a log' pty --timeout $((15 * slow)) vnode console one --no-input --log /tmp/log <<'END'
expect /root #
END
    check 'the log has what was shown' grep -q '/root #' /tmp/log
    is "$(vnode console 1 --terminal --lines 3)" "$(vnode console one --terminal --lines 3)" 'a number does for a name'
    is "$(vnode console 0 --terminal)" "$(vnode console root --terminal)" "for the root's as well"
    refuses 'no console here' 'but none that no vnode has' vnode console 9 --terminal
    echo 'a word of the root' >/dev/vcons0
    vnode console --all >/tmp/all
    for line in 'one| .*Linux version' 'root| a word of the root'; do
        check "all consoles are printed side by side: $line" grep -q "^$line" /tmp/all
    done
    is "$(grep -cvE '^(one|root)\| ' /tmp/all)" 0 'each line with its name'
    vnode console --all --follow >/tmp/all &
    following=$!
    check 'and so they are from then on' eventually 5 grep -q '^root| a word of the root' /tmp/all
    echo 'one more' >/dev/vcons0
    on one sh -c 'echo "and one" >/dev/vcons0'
    for line in 'root| one more' 'one| .*and one'; do
        check "as they go on: $line" eventually 5 grep -q "^$line" /tmp/all
    done
    kill $following
    # Whose terminal goes away hangs up, whatever is being shown there.
    check 'a terminal goes away' types one <<'END'
expect ~. leaves
send \r
expect /root #
send while :; do echo much; done\r
expect much
close
wait
END
    check 'and the vnode asks who comes' eventually 10 shows_late one 'one login: $'
    check 'somebody logs in again' types one <<'END'
expect ~. leaves
send root\r
expect /root #
send ~.
wait
END
}

# The window's size goes along, whenever it changes.
windows_have_sizes() {
    check 'what was stopped by XOFF goes on by XON, and knows the size of its window' types one --size 30x90 <<'END'
expect ~. leaves
send stty size\r
quiet 500 30 90
send \x11
expect 30 90
size 41 121
expect #
send sleep 1; stty size\r
expect 41 121
send ~.
wait
END
}

# A program that has the terminal raw: an editor.
an_editor_works() {
    check 'an editor works' types one <<'END'
expect ~. leaves
send \r
expect #
send vi /tmp/text\r
expect /tmp/text
send ifirst\rsecond
expect second
send \e
pause 500
send 0iA
expect Asecond
send \e
pause 500
send :wq\r
expect /root #
send ~.
wait
END
    is "$(on one cat /tmp/text)" "first
Asecond" 'and writes what was typed'
}

# stalls COUNT MOST: by the seed, so often: how many blocks are read, MOST at most, and how long nothing is then.
stalls() {
    awk -v seed="$seed" -v count="$1" -v most="$2" 'BEGIN {
        srand(seed)
        while (count-- > 0) printf "%d 0.%03d\n", 1 + rand() * most, rand() * 400
    }'
}

# stalling PLAN: copies standard input to standard output, and stalls as that says.
stalling() {
    while read -r blocks pause <&4; do
        dd bs=4k count="$blocks" 2>/tmp/dd
        sleep "$pause"
    done 4<"$1"
    exec cat
}

# has_come FILE: it has what is said last.
has_come() {
    [ "$(tail -c ${#end} "$1")" = "$end" ]
}
end='the end'

# flooded FILE: the hash of what was said before that.
flooded() {
    tail -c $((flood + ${#end})) "$1" | head -c $flood | hash
}

# hash [FILE]: of its bytes.
hash() {
    sha256sum "$@" | cut -d ' ' -f 1
}

# no_getty NAME: nobody but the test uses the vnode's terminal, and the kernel is quiet.
no_getty() {
    # shellcheck disable=SC2016 # The vnode expands it.
    on "$1" sh -c 'sed -i /vcons0/d /etc/inittab; kill -HUP 1; dmesg -n 1
        for way in /proc/[0-9]*/fd/0; do
            pid=${way#/proc/}
            [ "$(readlink "$way")" = /dev/vcons0 ] && kill -KILL "${pid%%/*}"
        done
        exit 0'
}

# Whatever the reader does, nothing of what programs write gets lost (VC-10, VC-13, VC-14).
a_flood_comes_out_whole() {
    remark "seed $seed"
    check 'the terminal is free' no_getty one
    on one sh -c "head -c $flood /dev/urandom >/tmp/flood; stty -F /dev/vcons0 raw -echo"
    # Both hold the console from here on, and begin with what was there before.
    exec 3<>/dev/vcons/one 5<>/dev/vcons/one
    on one sh -c "cat /tmp/flood >/dev/vcons0; printf '$end' >/dev/vcons0" &
    writing=$!
    stalls 8 150 >/tmp/plan
    stalls 12 100 >/tmp/other_plan
    stalling /tmp/plan <&3 >/tmp/out &
    reading=$!
    stalling /tmp/other_plan <&5 >/tmp/other_out &
    other=$!
    wait $writing
    is $? 0 'VC-10: a program writes 8 MiB'
    written=$(on one sha256sum /tmp/flood | cut -d ' ' -f 1)
    for out in out other_out; do
        check 'whoever reads comes to the end of them' eventually 20 has_come /tmp/$out
        is "$(flooded /tmp/$out)" "$written" 'and has all, as they were written'
    done
    kill $reading $other
    exec 3<&- 5<&-
    is "$(keeps dropped 1)" 0 'none was dropped'
}

# And nothing of what is typed (VC-32).
a_flood_goes_in_whole() {
    head -c $flood /dev/urandom >/tmp/in
    stalls 8 200 >/tmp/plan
    stalled=$(awk '{ sum += $1 } END { print sum * 1024 }' /tmp/plan)
    on one sh -c "exec 3</dev/vcons0; stty -F /dev/vcons0 raw -echo
        { while read -r blocks pause; do
              dd bs=1k count=\$blocks iflag=fullblock <&3
              sleep \$pause
          done
          head -c $((flood - stalled)) <&3; } 2>/tmp/dd | sha256sum" </tmp/plan >/tmp/hash &
    reading=$!
    check 'somebody listens' eventually 10 listens one
    check 'VC-32: 8 MiB are typed' timeout $((60 * slow)) cp /tmp/in /dev/vcons/one
    wait $reading
    is $? 0 'and all taken'
    is "$(cut -d ' ' -f 1 /tmp/hash)" "$(hash /tmp/in)" 'as they were typed'
}

# listens NAME: a program has the vnode's terminal open.
listens() {
    # shellcheck disable=SC2016 # The vnode expands it.
    on "$1" sh -c 'for way in /proc/[0-9]*/fd/3; do readlink "$way"; done | grep -qx /dev/vcons0'
}

# A vnode whose console nobody reads says what it has to say, and the oldest gives way (VC-11).
nobody_has_to_read() {
    exec 3<>/dev/vcons/one
    # shellcheck disable=SC2016 # The vnode expands it.
    on one sh -c 'dmesg -n 8; i=0; while [ $i -lt 20000 ]; do
        echo "<4>line $i: the quick brown fox jumps over the lazy dog, and again, and again"; i=$((i + 1))
        done >/dev/kmsg'
    is $? 0 'VC-11: the kernel says more than the console holds, though somebody holds it'
    check 'all of it' eventually 20 shows one 'line 19999: '
    exec 3<&-
    isnt "$(keeps dropped 1)" 0 'what was dropped is counted'
    said one >/tmp/said
    within "$(stat -c %s /tmp/said)" 65536 1048576 'the console holds at least 64 KiB of it'
    is "$(grep -c 'line 0: ' /tmp/said)" 0 'and not the oldest'
    is "$(sed -n 's/.*\] line \([0-9]*\): .*/\1/p' /tmp/said | awk 'NR > 1 && $1 != last + 1 { print } { last = $1 }')" '' \
        'the lines are in their order, without gaps'
    on one dmesg -n 1
}

# Several look, one types (VC-30 to 36).
one_types_at_a_time() {
    on one sh -c 'stty -F /dev/vcons0 sane; echo "vcons0::respawn:/sbin/getty -L 115200 vcons0 linux" >>/etc/inittab
        kill -HUP 1'
    check 'a getty comes back' eventually 10 shows_late one 'one login: $'
    sleep 100 >/dev/vcons/one &
    idle=$!
    exec 3<>/dev/vcons/one
    echo root >&3
    check 'one types' eventually 10 shows_late one '/root # '
    refuses 'busy' 'VC-30: another one does not, meanwhile' sh -c 'echo no >/dev/vcons/one'
    is "$(keeps keyboard 1)" 0 'the root has the keyboard'
    types one <<'END' >/tmp/typed 2>&1 &
expect the root types here; ~t takes the keyboard
send nothing\r
send ~t
expect ~. leaves
send echo mine\r
expect \nmine
expect go on
send echo still\r
expect \nstill
send ~.
wait
END
    typing=$!
    check 'who takes it by force gets it' eventually 10 shows one '^mine$'
    refuses 'busy' 'and who had it has lost it' sh -c 'echo no >&3'
    on one sh -c 'echo go on >/dev/vcons0'
    wait $typing
    is "$? $(cat /tmp/typed)" '0 ' 'and was told how to take it'
    exec 3<&-
    check 'then anybody can type again, and hang up' pty --timeout $((15 * slow)) vnode console one --hang-up <<'END'
expect ~. leaves
send echo at last\r
expect \nat last
send ~.
wait
END
    check 'as the vnode hears' eventually 10 shows_late one 'one login: $'
    check 'and whoever goes on to the next one as well' pty --timeout $((15 * slow)) vnode console one --hang-up <<'END'
expect ~. leaves
send root\r
expect /root #
send ~n
expect ~. leaves
send ~.
wait
END
    check 'hangs up' eventually 10 shows_late one 'one login: $'
    is "$(keeps keyboard 1)" -1 'at last nobody has it'
    kill $idle
}

# shows_late NAME TEXT: the end of the console of a vnode matches that (grep -E).
shows_late() {
    said "$1" | tail -n 1 | grep -qE -- "$2"
}

# A vnode that dies hangs up those who read; what it has said last stays (VC-2, VC-34).
a_death_hangs_up() {
    cat /dev/vcons/one >/tmp/read &
    reading=$!
    sleep 100 3<>/dev/vcons/one &
    idle=$!
    on one sh -c 'echo "<0>vcons: these are the last words" >/dev/kmsg; echo c >/proc/sysrq-trigger' >/tmp/died 2>&1 &
    check 'a reader comes to its end when the vnode dies' eventually 15 has_ended $reading
    check 'and has read the last words' grep -q 'vcons: these are the last words' /tmp/read
    check 'and the panic' grep -q 'Kernel panic - not syncing: sysrq' /tmp/read
    check 'who reads afterwards does so as well' shows one 'Kernel panic - not syncing: sysrq'
    refuses 'not connected|Transport endpoint' 'nobody types any more' sh -c 'echo >/dev/vcons/one'
    kill $idle
    check 'it starts again' vnode restart one --timeout $((60 * slow))
    check 'and speaks' eventually 10 shows_late one 'one login: $'
    check 'its last words before can still be read' shows one 'vcons: these are the last words'
    is "$(said one | sed -n '/last words/,$p' | grep -c 'Linux version')" 1 'and its first words of this life come after them'
}

has_ended() {
    # One that nobody has waited for is there still, as a zombie.
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

# Nobody sees a console who is not allowed to, and types into it (BR-30, VC-4).
others_need_leave() {
    check 'another vnode starts' start two --cpus 2-3 --memory $((small + 32))M
    check 'and has its own console' on two test -c /dev/vcons/two
    refuses 'No such' 'but not that of others' on two ls /dev/vcons/one
    check 'it may look' vnode console one --allow two
    check 'then it has it' eventually 5 on two test -c /dev/vcons/one
    check 'and reads it' on two sh -c 'vnode console one --terminal | grep -q "one login:"'
    on two vnode console one --terminal --follow >/tmp/followed &
    following=$!
    check 'it follows it' eventually 10 grep -q 'one login:' /tmp/followed
    on one sh -c 'echo "nobody calls who only looks" >/dev/vcons0'
    check 'VC-22: and sees by itself what is new' eventually 5 grep -q 'nobody calls' /tmp/followed
    kill $following
    refuses 'ermission denied' 'but does not type' on two sh -c 'echo >/dev/vcons/one'
    check 'it may type' vnode console one --allow two:w
    check 'then it does' eventually 5 on two sh -c 'printf "root\n" >/dev/vcons/one'
    check 'VC-37: and is heard' eventually 10 shows_late one '/root # '
    check 'somebody sits down there, by number' on two pty --timeout $((15 * slow)) vnode console 1 <<'END'
expect ~. leaves
send echo $((50 + 1))\r
expect \n51
send ~.
wait
END
    exec 3<>/dev/vcons/one
    echo >&3
    on two pty --timeout $((15 * slow)) vnode console one <<'END' >/tmp/typed 2>&1 &
expect the root types here; ~t takes the keyboard
send ~t
expect ~. leaves
send echo of two\r
expect \nof two
expect go on
send ~.
wait
END
    typing=$!
    check 'and takes the keyboard by force' eventually 10 shows one '^of two$'
    is "$(keeps keyboard 1)" "$(field two id)" 'from then on it has it'
    refuses 'busy' 'and the root has lost it' sh -c 'echo no >&3'
    on one sh -c 'echo go on >/dev/vcons0'
    wait $typing
    is "$? $(cat /tmp/typed)" '0 ' 'until it leaves'
    exec 3<&-
    check "the root's console can be shown as well" vnode console root --allow one:w
    check 'where it is allowed' eventually 5 on one test -c /dev/vcons/root
    cat /dev/vcons0 >/tmp/heard &
    hearing=$!
    check 'and typed into' on one sh -c 'echo from one >/dev/vcons/root'
    check 'which the root hears' eventually 5 grep -q 'from one' /tmp/heard
    kill $hearing
    # Its end is a signal, which would keep the shell from opening a terminal that is being closed.
    wait $hearing
    echo 'to all who look' >/dev/vcons0
    check 'and what it says is seen' eventually 5 on one sh -c 'vnode console root --terminal | grep -q "to all who look"'
    check 'nobody may any more' vnode console one --allow none
    check 'then it has gone' eventually 5 on two test ! -e /dev/vcons/one
    # A program of one of its CPUs writes while the other one panics.
    on two sh -c 'dmesg -n 8; yes >/dev/vcons0' >/dev/null 2>&1 &
    check 'it says very much' eventually 5 shows two '^y$'
    on two sh -c 'echo c >/proc/sysrq-trigger' >/tmp/died 2>&1 &
    check 'and its panic can be read' eventually 15 shows two 'Kernel panic - not syncing: sysrq'
    check 'what is open while its vnode goes harms nobody' vnode kill two
}

# A break makes the next key a magic one, if the vnode is told so; and else is one.
breaks_are_keys() {
    check 'a vnode that takes magic keys starts' start keys --cpus 4 --memory $((small + 32))M --append 'vcons.sysrq=1 console=vcons0'
    check 'its console is the one that /dev/console is' on keys grep -q '^vcons0 .*(E*C' /proc/consoles
    check 'and speaks' eventually 10 shows_late keys 'keys login: $'
    check 'a key after a break' types keys <<'END'
expect ~. leaves
send ~b
send h\r
expect sysrq: HELP
send ~.
wait
END
    check 'it goes' vnode kill keys
    check 'and so does its console, after a while' eventually 20 test ! -e /dev/vcons/keys
}

# A terminal of the root, given to all consoles by the line discipline.
a_line_has_all() {
    # shellcheck disable=SC2016 # The shell at the terminal expands it.
    check 'a terminal goes from console to console' pty --timeout $((15 * slow)) sh -c 'vnode console --on "$(tty)"' <<'END'
expect [root]
expect [one]
expect ~. leaves
expect [root]
send ~n
expect [one]
send \r
expect /root #
send echo $((20 + 1))\r
expect \n21
send ~n
expect [root]
send ~n
expect [one]
send ~l
expect ~n goes on
send echo $((30 + 1))\r
expect \n31
send ~.
wait
END
    refuses 'is a console itself' 'but no console' vnode console --on /dev/vcons0
    # shellcheck disable=SC2016 # The shell at the terminal expands it.
    check 'a terminal that goes away does no harm' pty --timeout $((15 * slow)) sh -c 'vnode console --on "$(tty)"' <<'END'
expect ~. leaves
send ~n
expect [one]
send \r
expect /root #
close
pause 500
END
    check 'and ends its line' eventually 10 no_line
    check 'and the vnode asks who comes' eventually 10 shows_late one 'one login: $'
    is "$(keeps keyboard 1)" -1 'nobody has the keyboard then'
}

no_line() {
    ! grep -qx vcons_line /proc/[0-9]*/comm
}

# Whoever may write to a console can write nonsense all over it: that costs its vnode the console, and
# nobody anything else (VC-4). A new life of the vnode makes it a console again (VC-2).
hostile_viewers_harm_nobody() {
    check 'what writes nonsense is loaded' insmod "$modules/bridge_test.ko"
    control=/sys/kernel/debug/bridge_test/control
    check 'and opens the console' sh -c "echo 'open 0 1/vcons w stays' >$control && echo 'map 0' >$control"
    # It is hung up now and then, and says so to nobody.
    on one sh -c 'while :; do echo "some words of a program that goes on and on" >/dev/vcons0; done' >/dev/null 2>&1 &
    saying=$!
    # shellcheck disable=SC2016 # The vnode expands it.
    on one sh -c 'i=0; while [ $i -lt 100000 ]; do echo "<4>and of the kernel $i"; i=$((i + 1)); done >/dev/kmsg' >/dev/null 2>&1 &
    more=$!
    { while :; do echo nothing; done >/dev/vcons/one; } 2>/dev/null &
    typing=$!
    cat /dev/vcons/one >/dev/null 2>&1 &
    looking=$!
    rounds=0
    end=$(($(now_ms) + 10000))
    while [ "$(now_ms)" -lt $end ]; do
        for offset in 0 8 16 0x1000 0x1008 0x1010 0x1018 0x1020 0x1040 0x1048 0x1050 0x1058 0x2000 0x2008 \
            0x2010 0x2018 0x2080 0x2088 0x2090 0x2098 0x20a0 0x2800; do
            for number in 0 1 0xffffffffffffffff 0x7fffffffffffffff "$(od -An -N8 -tu8 /dev/urandom)"; do
                # shellcheck disable=SC2086 # The number has blanks around it.
                echo poke 0 $offset $number >$control
            done
        done
        rounds=$((rounds + 1))
    done
    remark "$rounds rounds of nonsense"
    isnt $rounds 0 'nonsense is written over all that is read'
    check 'the vnode still does what it is told' on one true
    kill $saying $more $typing $looking
    check 'the bridge is left' sh -c "echo 'close 0' >$control"
    check 'and what wrote it' rmmod bridge_test
    is "$(console one | complaints)" '' 'its kernel complains of nothing'
    check 'it starts again' vnode restart one --timeout $((60 * slow))
    check 'and has a console' eventually 10 shows_late one 'one login: $'
    check 'to work at' types one <<'END'
expect ~. leaves
send root\r
expect /root #
send ~.
wait
END
}

# Coming and going costs nothing.
many_come_and_go() {
    before=$(kilobytes Slab)
    round=0
    opened=0
    while [ $round -lt 1000 ]; do
        true <>/dev/vcons/one && opened=$((opened + 1))
        round=$((round + 1))
    done
    is $opened 1000 'a thousand files are opened and closed'
    within "$(($(kilobytes Slab) - before))" -4096 $slack 'and no memory is lost (KiB)'
    refuses 'temporarily unavailable|busy|Resource' 'nobody unloads it in the root' rmmod vcons
    refuses 'temporarily unavailable|busy|Resource' 'nor in a vnode while its terminal is open' on one rmmod vcons
    check 'its terminal is left' no_getty one
    check 'then it can be' on one rmmod vcons
    check 'and comes back' on one insmod "$modules/vcons.ko"
    is "$(said one | grep -c 'Linux version')" 1 'without saying everything again'
    check 'it says what is new' sh -c 'on one sh -c "echo \"<0>vcons: back\" >/dev/kmsg"'
    check 'as before' eventually 5 shows one 'vcons: back$'
}

begin
nothing_is_lost_or_said_twice
somebody_logs_in
windows_have_sizes
an_editor_works
others_look
a_flood_comes_out_whole
a_flood_goes_in_whole
nobody_has_to_read
one_types_at_a_time
a_death_hangs_up
others_need_leave
breaks_are_keys
a_line_has_all
hostile_viewers_harm_nobody
many_come_and_go
sound
is "$(console one | complaints)" '' 'nor does the kernel of the vnode'
finish
