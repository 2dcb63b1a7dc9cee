#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Consoles: who may use them. In the root that is for owner and group of the devices, and for
# privileges; in other vnodes for what the cluster file says, or `vnode console --allow`, whichever
# number a vnode has. docs/vcons.md is cited as VC-n.
#
# cluster: --cpus 5 --memory 4G --config /dev/null --timeout 240 --qemu "-chardev socket,id=near,path=@RUN@/line,server=on,wait=off -chardev socket,id=far,path=@RUN@/line -device isa-serial,chardev=near,iobase=0x2f8,irq=3 -device virtio-serial-pci,id=far -device virtserialport,bus=far.0,chardev=far,name=far"
# cargo: pty

# shellcheck disable=SC2317 # Functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos
parameter=/sys/module/vcons/parameters/group
events=/tmp/events

# whose: rights, owner and group of all consoles' devices, each once.
whose() {
    stat -c '%a %u %g' /dev/vcons/* | sort -u
}

is_whose() {
    [ "$(whose)" = "$1" ]
}

# are_all_there: each vnode of the file has a console, and the root.
are_all_there() {
    for name in first one root three two; do
        [ -c "/dev/vcons/$name" ] || return
    done
}

# as USER COMMAND: a shell of that user runs it.
as() {
    su "$1" -c "$2"
}

# shows NAME TEXT: the console of a vnode holds that (grep -E).
shows() {
    vnode console "$1" --terminal | grep -qE -- "$2"
}

# number NAME: that of a vnode.
number() {
    vnode list | awk -v name="$1" '$2 == name { print $1 }'
}

# reads VNODE NAME: a vnode reads the console of another one, of a life that has come to its getty.
reads() {
    on "$1" sh -c "vnode console $2 --terminal | grep -q '$2 login:'"
}

# types VNODE NAME: a vnode types into the console of another one, and is heard there.
types() {
    words=$((words + 1))
    # Where there is no device yet, a shell would make a file.
    eventually 10 on "$1" test -c "/dev/vcons/$2" || return
    on "$1" sh -c "printf 'word$words\n' >/dev/vcons/$2" && eventually 10 shows "$2" "word$words"
}
words=0

cluster() {
    cat >/tmp/cluster.toml <<END
[root]
console-group = "$1"

[defaults]
memory = "$((small + 32))M"
restart = "on-failure"

[[vnode]]
name = "first"
cpus = "1"

[[vnode]]
name = "one"
cpus = "2"
console = "two,three:w"

[[vnode]]
name = "two"
cpus = "3"

[[vnode]]
name = "three"
cpus = "4"
console = "one"
END
}

apply() {
    vnode apply /tmp/cluster.toml --timeout $((60 * slow))
}

# The file says whose the devices are, and who else may use which console.
a_file_says_who_may() {
    echo 'operators:x:500:eve' >>/etc/group
    printf '%s\n' 'eve:x:1000:1000::/tmp:/bin/sh' 'adam:x:1001:1001::/tmp:/bin/sh' >>/etc/passwd
    check 'the root loads its consoles' insmod "$modules/vcons.ko"
    is "$(whose)" '600 0 0' 'they are for root only'
    cluster nobody
    refuses "there is no group .nobody." 'a file that names no group starts nothing' apply
    is "$(vnode list | wc -l)" 2 'nothing at all'
    cluster operators
    check 'a good one is applied' apply
    is "$(whose)" '660 0 500' 'the devices are for the group'
    check 'all of them' eventually 5 are_all_there
    check 'who may look at a console does' eventually 10 reads two one
    refuses 'ermission denied' 'but does not type there' on two sh -c 'echo >/dev/vcons/one'
    check 'who may type does' types three one
    check 'each console has its own guests' eventually 10 reads one three
    for name in first two; do
        refuses 'No such' "$name does not have that of three" on $name ls /dev/vcons/three
    done
    refuses 'No such' 'first does not have that of one' on first ls /dev/vcons/one
    check 'somebody says something else' vnode console one --allow none
    check 'which counts' eventually 5 on two test ! -e /dev/vcons/one
    check 'until the file is applied again' apply
    check 'then it is as it says' eventually 5 on two test -c /dev/vcons/one
}

# Owner and group of the devices, which the kernel gives them.
a_group_may() {
    check 'one of the group reads' as eve 'vnode console one --terminal | grep -q "one login:"'
    check 'and types' as eve 'printf "eve\n" >/dev/vcons/one'
    check 'which is heard' eventually 10 shows one eve
    refuses 'ermission denied' 'nobody else reads' as adam 'cat /dev/vcons/one'
    refuses 'ermission denied' 'nor types' as adam 'echo >/dev/vcons/one'
    exec 3</dev/vcons/one
    echo 501 >$parameter
    check 'another group gets all of them' eventually 5 is_whose '660 0 501'
    check 'and none has gone' eventually 5 are_all_there
    isnt "$(head -c 1 <&3)" '' 'what is open stays so'
    exec 3<&-
    refuses 'ermission denied' 'then the first one has them no more' as eve 'cat /dev/vcons/one'
    echo 0 >$parameter
    check 'no group gets none' eventually 5 is_whose '600 0 0'
    check 'the file can be applied at any time' apply
    is "$(whose)" '660 0 500' 'and counts when that is done'
}

# Some things are for CAP_SYS_ADMIN in the root, whoever has a device.
privileges_are_wanted() {
    refuses 'only an administrator of the root' 'one of the group does not say who may' \
        as eve 'vnode console one --allow none'
    refuses 'only an administrator of the root' 'nor does root of a vnode' on three vnode console one --allow none
    check 'and so it stays' on two test -c /dev/vcons/one
    # shellcheck disable=SC2016 # The shell at the terminal expands it.
    check 'a terminal of theirs does not get all consoles' pty --timeout $((15 * slow)) \
        sh -c 'chown eve "$(tty)" && su eve -c "vnode console --on $(tty)"; echo status $?' <<'END'
expect Operation not permitted
expect status 1
wait
END
    # shellcheck disable=SC2016 # The shell at the terminal expands it.
    check "one of root's does" pty --timeout $((15 * slow)) sh -c 'vnode console --on "$(tty)"' <<'END'
expect ~. leaves
send ~.
wait
END
}

# far: the device that is the other end of the machine's second serial line, /dev/ttyS1.
far() {
    for name in /sys/class/virtio-ports/*/name; do
        if [ "$(cat "$name")" = far ]; then
            name=${name%/name}
            echo "/dev/${name##*/}"
        fi
    done
}

# A serial line of the machine has all consoles (paper, 7.3).
a_serial_line_has_all() {
    # Whoever was at the console of one before has ended lines so, and its getty has got used to it.
    check 'somebody at a serial line goes from console to console' \
        pty --at "$(far)" --timeout $((15 * slow)) vnode console --on /dev/ttyS1 <<'END'
expect [root]
expect [one]
expect ~. leaves
expect [root]
send ~n
expect [first]
send ~n
expect [one]
send \n
expect one login:
send root\n
expect /root #
send echo $((70 + 1))\n
expect \n71
send exit\n
expect one login:
send ~.
wait
END
    is "$(cat /sys/class/tty/ttyS1/type /sys/class/tty/ttyS1/port | tr '\n' ' ')" '4 0x2F8 ' 'which is a 16550A'
}

# asks MODE ANSWER: requests to the console of one, as `ask` of selftests/pty has them, from standard input: all get
# that answer.
asks() {
    sed "s|\(.*\)|ask $1 /dev/vcons/one \1 $2|" | pty sleep 1000
}

# What a request has to be, and of which file (docs/vcons.md, 7.1).
requests_are_looked_at() {
    zeros=$(printf '0,%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22)
    check 'good ones are carried out' asks w 0 <<'END'
0xc070ad30 112
0xc008ad31 8
0xc008ad33 8
0xc008ad33 8,1
END
    check 'and one of them for who only reads' asks r 0 <<'END'
0xc070ad30 112
END
    check 'records of another size are refused' asks w 22 <<'END'
0xc070ad30 0
0xc070ad30 111
0xc070ad30 113
0xc008ad31 0
0xc008ad31 9
0xc008ad32 7
0xc008ad33 12
0xc018ad34 23,1
0xc010ad35 20
END
    check 'so is what has to be 0 and is not' asks w 22 <<END
0xc070ad30 112,${zeros}0,1
0xc070ad30 112,${zeros}0,0,0,0,2147483648
0xc018ad34 24,1,0,0,1
0xc018ad34 24,1,0,0,0,1
0xc010ad35 16,0,0,1
END
    check 'and a number that means nothing' asks w 22 <<'END'
0xc008ad31 8,2
0xc008ad33 8,2
0xc018ad34 24,0
0xc018ad34 24,4
0xc010ad35 16,65536
0xc010ad35 16,0,65536
END
    check 'a record that is not there cannot be read' asks w 14 <<'END'
0xc070ad30 nowhere
0xc008ad31 nowhere
0xc008ad32 nowhere
0xc008ad33 nowhere
0xc018ad34 nowhere
0xc010ad35 nowhere
END
    check 'who only reads asks for no more' asks r 9 <<'END'
0xc008ad31 8
0xc008ad32 8
0xc008ad33 8,1
0xc018ad34 24,1
END
    check 'who does not have the keyboard does nothing with it' asks w 37 <<'END'
0xc008ad32 8
0xc018ad34 24,1
0xc018ad34 24,2
0xc018ad34 24,3
END
    check 'other requests are none' asks w 25 <<'END'
0xc008ad36 8
0xc070ad31 112
0xc030ad05 48
END
    check 'a vnode that may type does not say who may' on three pty sleep 1000 <<'END'
ask w /dev/vcons/one 0xc010ad35 16 1
END
    check 'one that may look does no more' on two pty sleep 1000 <<'END'
ask w /dev/vcons/one 0xc070ad30 112 0
ask w /dev/vcons/one 0xc008ad31 8 13
ask w /dev/vcons/one 0xc008ad31 8,1 13
ask w /dev/vcons/one 0xc008ad33 8,1 13
END
    check 'and so all is as it was' reads two one
    is "$(dmesg | complaints)" '' 'to the kernel as well'
}

# may NUMBER RIGHT NAME: whether that vnode is among the readers or writers of a console.
may() {
    vnode bridge show "$(number "$3")/vcons" --json | tr -d ' \n' | sed -n "s/.*\"$2\":\[\([0-9,]*\)\].*/,\1,/p" | grep -q ",$1,"
}

# Rights are somebody's, not some number's.
a_number_goes_to_another() {
    two=$(number two)
    check 'two has rights' may "$two" readers one
    check 'two is taken back' vnode kill two
    check 'five comes' start five --cpus 3 --memory $((small + 32))M
    is "$(number five)" "$two" 'under its number'
    check 'with a console of its own' eventually 10 test -c /dev/vcons/five
    refuses 'No such' 'but not that of one' on five ls /dev/vcons/one
    refuses '' 'to which it has no right' may "$two" readers one
    check 'three has what it had' types three one
    is "$(stat -c '%a %u %g' /dev/vcons/five)" '660 0 500' 'the device of five is for the group'
    check 'five is taken back' vnode kill five
}

# told COUNT EVENT NAME: so many such events of a vnode were told.
told() {
    [ "$(grep -c "\"event\":\"$2\",\"vnode\":\"$3\"" "$events")" -ge "$1" ]
}

panics() {
    on "$1" sh -c 'echo c >/proc/sysrq-trigger' >/tmp/said 2>&1
}

# A supervisor says it all again for what it has started again, whatever its number.
a_supervisor_says_it_again() {
    vnode supervise --json /tmp/cluster.toml >$events 2>/tmp/words &
    pid=$!
    check 'two is started by a supervisor' eventually 60 told 1 ready two
    check 'and may look at one' eventually 10 reads two one
    check 'first is taken back' vnode kill first
    before=$(number two)
    panics two
    check 'two is started again' eventually 60 told 2 ready two
    is "$(number two) $before" '1 3' 'under another number'
    check 'and may look again' eventually 10 reads two one
    refuses 'ermission denied' 'but not type' on two sh -c 'echo >/dev/vcons/one'
    check 'its new number may read' may 1 readers one
    refuses '' 'and its old one no more' may 3 readers one
    check 'two is taken back' vnode kill two
    panics one
    check 'one is started again' eventually 60 told 1 ready one
    is "$(number one)" 1 'under the number that was that of two'
    check 'its console is there' eventually 5 shows one 'one login:'
    check 'without anything of two' has_nothing_of_two
    is "$(dmesg | grep 'gets no device')" '' 'each console has had a device'
    check 'three may type again' eventually 10 types three one
    check 'and one may look at three' eventually 10 reads one three
    kill -TERM $pid
    wait $pid
    is $? 0 'the supervisor ends'
    is "$(cat /tmp/words)" '' 'and had nothing to complain of'
}

# has_nothing_of_two: nothing that two has said is left in the console of one.
has_nothing_of_two() {
    ! shows one 'two login:'
}

a_file_says_who_may
a_group_may
privileges_are_wanted
a_serial_line_has_all
requests_are_looked_at
a_number_goes_to_another
a_supervisor_says_it_again
sound one three
finish
