#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A Debian's programs over vnet, as they are: a vnode boots it from an NFS server of the root's, which is let in by
# ssh, and looked at by tcpdump, ethtool and iproute2. docs/vnet.md is cited as VN-n.
#
# long
# cluster: --cpus 4 --memory 3G --config /dev/null --timeout 300 --rootfs debian

# shellcheck disable=SC2016,SC2317 # The kernel concerned expands it; functions are called by check as well.
# shellcheck source=selftests/ktap.sh
. /selftests/ktap.sh

modules=/lib/modules/$(uname -r)/adeos

# debian COMMAND...: in the root's kernel, one of Debian's programs.
debian() {
    chroot /debian "$@"
}

hash_of() {
    sha256sum | cut -d ' ' -f 1
}

# serve: the root's Debian as the root of an NFS server, for version 4. Nobody has opens of an earlier life to claim.
serve() {
    mount -t nfsd nfsd /debian/proc/fs/nfsd &&
        echo '/ 10.7.0.0/24(rw,no_root_squash,fsid=0,no_subtree_check,insecure)' >/debian/etc/exports &&
        echo 10 >/debian/proc/fs/nfsd/nfsv4gracetime && echo 10 >/debian/proc/fs/nfsd/nfsv4leasetime &&
        debian rpc.mountd --no-nfs-version 3 && debian exportfs -ra && debian rpc.nfsd --no-nfs-version 3 4
}

server() {
    check 'the root has a Debian' debian test -x /usr/sbin/rpc.nfsd
    check 'consoles' insmod "$modules/vcons.ko"
    check 'and the network' insmod "$modules/vnet.ko"
    ip addr add 10.7.0.1/24 dev vnet0
    ip link set vnet0 up
    check 'and serves it by NFS' serve
}

boot() {
    check 'a vnode boots it' start deb --cpus 1 --memory $((small + 192))M \
        --append 'ip=10.7.0.2:10.7.0.1::255.255.255.0:deb:vnet0:off nfsroot=/'
    is "$(on deb awk '$2 == "/" { print $1, $3 }' /proc/mounts | tail -n 1)" '10.7.0.1:/ nfs4' 'its root is there'
    is "$(on deb cat /etc/debian_version)" "$(cat /debian/etc/debian_version)" 'it is a Debian'
    check "with Debian's init" eventually 20 sh -c '[ "$(vnode exec deb cat /proc/1/comm)" = init ]'
    is "$(on deb hostname)" deb 'under its own name'
    check 'which comes to its runlevel' eventually 180 sh -c "vnode exec deb runlevel | grep -q 2"
    check 'another vnode has an address only' start two --cpus 2 --memory $((small + 64))M --append 'ip=10.7.0.3'
    check 'and is reached' ping -c 1 -W 3 10.7.0.3
    check 'a third one asks for one' dhcp
    check 'and is reached' ping -c 1 -W 3 10.7.0.77
    is "$(on three ip route | sed -n 's/ dev.*//; /^default/p')" 'default via 10.7.0.1' 'with a way out'
}

# dhcp: a server of the root's has one address to give.
dhcp() {
    printf 'start 10.7.0.77\nend 10.7.0.77\ninterface vnet0\nlease_file /tmp/leases\noption subnet 255.255.255.0\noption router 10.7.0.1\n' \
        >/tmp/udhcpd.conf
    : >/tmp/leases
    udhcpd -f /tmp/udhcpd.conf >/tmp/udhcpd 2>&1 &
    start three --cpus 3 --memory $((small + 64))M --append ip=dhcp
}

files() {
    size=$(((16 << 20) / slow))
    check 'it writes a file' on deb sh -c "head -c $size /dev/urandom >/var/tmp/written && sync"
    is "$(hash_of </debian/var/tmp/written)" "$(on deb sha256sum /var/tmp/written | cut -d ' ' -f 1)" \
        'which the server has as it was written'
    head -c $size /dev/urandom >/debian/var/tmp/served
    check 'another vnode mounts it' on two sh -c 'mkdir /mnt; mount -t nfs -o vers=4.2,addr=10.7.0.1 10.7.0.1:/ /mnt'
    is "$(on two sha256sum /mnt/var/tmp/served | cut -d ' ' -f 1)" "$(hash_of </debian/var/tmp/served)" \
        'and reads a file as the server has it'
    check 'it makes a thousand names' on two sh -c 'mkdir /mnt/var/tmp/many; cd /mnt/var/tmp/many; i=0
        while [ $i -lt 1000 ]; do : >$i || exit; i=$((i + 1)); done'
    is "$(on deb sh -c 'ls /var/tmp/many | wc -l')" 1000 'that the first one sees'
    check 'and lets go' on two umount /mnt
}

# let_in COMMAND...: by ssh, from the root to the vnode. An emulated processor takes long for some ways to agree on a key.
let_in() {
    debian ssh -o KexAlgorithms=curve25519-sha256 root@10.7.0.2 "$@"
}

logins() {
    # Its host key comes from Debian, the server from its init.
    check 'ssh lets in' eventually 60 let_in true
    is "$(let_in hostname)" deb 'to the vnode'
    let_in 'exit 3'
    is $? 3 'with the status of what it runs'
    size=$(((8 << 20) / slow))
    head -c $size /dev/urandom >/tmp/sent
    is "$(let_in sha256sum </tmp/sent | cut -d ' ' -f 1)" "$(hash_of </tmp/sent)" 'what is sent that way arrives as it was'
    is "$(let_in cat /var/tmp/written | hash_of)" "$(hash_of </debian/var/tmp/written)" 'also the other way'
    is "$(on deb ssh root@10.7.0.2 'ssh root@10.7.0.2 hostname')" deb 'also from there'
    # A terminal.
    is "$(let_in -tt tty </dev/null | tr -d '\r' | cut -d / -f 1-3)" /dev/pts 'with a terminal'
}

# capture FILTER NUMBER FILE: what tcpdump sees in the vnode, of the next frames.
capture() {
    on deb sh -c "tcpdump -i vnet0 -nn -x -c $2 '$1' >$3 2>$3.said &" &&
        eventually 20 on deb grep -q 'listening on' "$3.said"
}

captures() {
    check 'tcpdump listens' capture 'icmp and greater 500' 2 /tmp/captured
    ping -c 1 -W 3 -p a7 -s 600 10.7.0.2 >/dev/null
    check 'it sees what was sent and what is answered' \
        eventually 10 on deb sh -c '[ "$(grep -c "ICMP echo re" /tmp/captured)" = 2 ]'
    check 'from whom to whom' on deb grep -q 'IP 10.7.0.1 > 10.7.0.2: ICMP echo request' /tmp/captured
    within "$(on deb grep -o 'a7a7' /tmp/captured | wc -l)" 580 600 'byte for byte'
    debian tcpdump -i vnet0 -w /tmp/frames -c 1 udp port 4444 >/dev/null 2>/tmp/said &
    check 'it listens in the root' eventually 20 grep -q 'listening on' /tmp/said
    on deb bash -c 'printf "a frame of ours" >/dev/udp/10.7.0.1/4444'
    check 'it writes what comes into a file' eventually 10 grep -qa 'a frame of ours' /debian/tmp/frames
    check 'one that is for others is not seen' others_unseen
    check 'who listens to all sees it' others_seen
}

# The root and two talk; deb looks at what comes to it, and later at all that is on the segment.
others_unseen() {
    on deb sh -c "timeout $((60 * slow)) tcpdump -l -p -i vnet0 -nn icmp >/tmp/others 2>/tmp/others.said &" &&
        eventually 20 on deb grep -q 'listening on' /tmp/others.said &&
        ping -c 2 -W 3 10.7.0.3 >/dev/null && ping -c 1 -W 3 10.7.0.2 >/dev/null || return
    # What is for it has come, and before that nothing that is for two.
    eventually 10 on deb grep -q '> 10.7.0.2: ICMP echo request' /tmp/others && ! on deb grep 10.7.0.3 /tmp/others
}

others_seen() {
    capture 'icmp and host 10.7.0.3' 4 /tmp/others && ping -c 2 -W 3 10.7.0.3 >/dev/null &&
        eventually 10 on deb sh -c '[ "$(grep -c ICMP /tmp/others)" = 4 ]'
}

tools() {
    said=$(on deb ethtool -i vnet0)
    is "$(echo "$said" | sed -n 's/^driver: //p')" vnet 'ethtool -i names the driver'
    check 'ethtool -S counts words on wires' on deb sh -c "ethtool -S vnet0 | awk '\$1 == \"words:\" { found = \$2 > 0 } END { exit !found }'"
    check 'ethtool -g knows the rings' on deb sh -c 'ethtool -g vnet0 | grep -qE "^TX:[[:space:]]+[1-9]"'
    check 'ethtool -l the queues' on deb sh -c 'ethtool -l vnet0 | grep -qE "^(TX|Combined):[[:space:]]+[1-9]"'
    check 'ethtool -k what is left to do by others' on deb sh -c 'ethtool -k vnet0 | grep -q "^tcp-segmentation-offload: on"'
    check 'ethtool that there is a link' on deb sh -c 'ethtool vnet0 | grep -q "Link detected: yes"'
    check 'iproute2 counts' on deb sh -c 'ip -s link show vnet0 | grep -A 1 "RX:" | tail -n 1 | grep -qE "^ +[1-9]"'
    is "$(on deb sh -c 'ip -d link show vnet0 | grep -cw vnet')" 1 'and knows the kind of the device'
    check 'it makes another one' on deb ip link add vnet7 type vnet
    check 'and drops it' on deb ip link del vnet7
    check 'it makes a bond' on deb sh -c 'ip link add bond7 type bond mode active-backup && ip link del bond7'
}

# Debian ends its services, and has no file system to wait for that is gone before it is unmounted.
ends() {
    check 'Debian is shut down' vnode stop deb --timeout $((60 * slow))
    refuses 'no vnode' 'and given back' vnode show deb
    check 'the server ends' debian rpc.nfsd 0
    for name in two three; do
        check "$name leaves" on $name rmmod vnet
    done
}

server
[ "$ktap_failed" = 0 ] || finish
boot
[ "$ktap_failed" = 0 ] || finish
files
logins
captures
tools
sound deb two three
ends
finish
