# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the tests of regions share. Sourced after ktap.sh.

# shellcheck disable=SC2034 # Test files use it.
module=/lib/modules/$(uname -r)/adeos/bridge_shm.ko

# at NAME COMMAND...: runs it in a kernel.
at() {
    if [ "$1" = root ]; then
        shift
        "$@"
    else
        on "$@"
    fi
}

# s NAME COMMAND...: has the program of a kernel do something (selftests/shmtest/src/commands.rs).
s() {
    where=$1
    shift
    at "$where" shmtest ask /tmp/shmtest "$@" 2>&1
}

# serve NAME: starts the program.
serve() {
    # shellcheck disable=SC2016 # The kernel concerned expands it.
    at "$1" sh -c 'shmtest serve /tmp/shmtest >/tmp/shmtest.out 2>&1 </dev/null & echo $! >/tmp/shmtest.pid'
    eventually 5 at "$1" test -S /tmp/shmtest
}

# end_serving NAME: ends it, and all that it has open.
end_serving() {
    # shellcheck disable=SC2016 # As above.
    at "$1" sh -c 'kill "$(cat /tmp/shmtest.pid)" && rm /tmp/shmtest'
}

# bridge_is_gone NAME: no region is called that.
bridge_is_gone() {
    ! vnode bridge list | grep -q " shm\.$1 "
}
