#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# adeos_core does not load on a root that would endanger vnodes, or that has no memory for them,
# and says why.
#
# host: boots a machine for each reason

set -u
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=selftests/ktap.sh
. "$top/selftests/ktap.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/script" <<'END'
#!/bin/sh
insmod "/lib/modules/$(uname -r)/adeos/adeos_core.ko" 2>&1
echo "status $?"
dmesg | grep adeos_core:
ls /dev/adeos /sys/kernel/debug/adeos /sys/module/adeos_core 2>/dev/null
exit 0
END

# The harness always gives the root a pool; this QEMU takes the word off the command line again.
cat >"$work/qemu-system-x86_64" <<END
#!/usr/bin/env bash
exec "$(command -v qemu-system-x86_64)" "\${@/adeos_pool=* adeos_up/adeos_up}"
END
chmod 755 "$work/qemu-system-x86_64"

# loads OPTION...: what the script says of a machine with these options.
loads() {
    "$top/scripts/cluster" run --no-vnodes --timeout $((100 * slow)) "$@" "$work/script" 2>&1
}

# refused REASON DESC SAID: the module was refused for that reason and left nothing.
refused() {
    is "$(grep -c '^status [1-9]' <<<"$3")" 1 "$2: it does not load"
    check "$2: it says why" grep -E "adeos_core: $1" <<<"$3"
    is "$(grep -cE '^/(dev|sys)' <<<"$3")" 0 "$2: and leaves nothing"
}

said=$(loads)
is "$(grep '^status' <<<"$said")" 'status 0' 'with all that it needs, it loads'
said=$(loads --append no_ipi_broadcast=0)
refused 'interrupts are broadcast.*no_ipi_broadcast=1' 'with broadcasts of interrupts' "$said"
said=$(PATH=$work:$PATH loads)
refused 'there is no memory.*adeos_pool=SIZE@ADDRESS' 'without a pool' "$said"
export ADEOS_VARIANT=plain
said=$(loads --append no_ipi_broadcast=1)
refused '.*a root needs the patches' 'on a kernel without the patches' "$said"
finish
