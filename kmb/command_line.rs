// SPDX-License-Identifier: GPL-2.0

//! The command line of a vnode's kernel: what every vnode needs, then what the user adds.

use crate::ffi;
use crate::spec::Spec;
use adeos_proto::abi;
use adeos_proto::boot::cmdline::{
    self,
    CmdlineError,
    CommandLine, //
};
use adeos_proto::layout::entry;
use kernel::prelude::*;
use kernel::str::CString;

/// For every vnode: no look at firmware memory, no hypervisor's services, no interrupt that leaves
/// the vnode, no doubt of the TSC, which is the only clock there is for it; and a kernel that has
/// oopsed is not trusted to go on.
const COMMON: &str = "nokaslr no5lvl nopv dis_ucode_ldr no_ipi_broadcast=1 apic_extnmi=none \
    8250.nr_uarts=0 mce=off tsc=reliable swiotlb=noforce panic=-1 oops=panic";

/// For kernels without the patches, whose platform code takes the machine for its own: no ACPI, no
/// PCI, no HPET, and time by the root's word.
const UNPATCHED: &str = "acpi=off pci=off hpet=disable";

/// Composes the command line. E2BIG when it is too long, EINVAL when the user's part holds
/// something that is not printable or not its to decide.
pub(crate) fn compose(
    spec: &Spec,
    boot_block: u64,
    tsc_khz: u32,
) -> Result<KBox<CommandLine<{ abi::MAX_CMDLINE }>>> {
    let mut line = KBox::new(CommandLine::new(), GFP_KERNEL)?;
    line.push(COMMON).map_err(errno)?;
    push(&mut line, fmt!("adeos_vnode={}", spec.name.as_str()))?;
    if spec.entry == entry::SIPI {
        line.push(UNPATCHED).map_err(errno)?;
        push(&mut line, fmt!("adeos_boot={:#x}", boot_block))?;
        push(&mut line, fmt!("tsc_early_khz={}", tsc_khz))?;
        // SAFETY: The function only reads a table that the kernel keeps.
        let port = unsafe { ffi::kmb_pm_timer_port() };
        if port != 0 {
            push(&mut line, fmt!("pmtmr={:#x}", port))?;
        }
    }
    let append = core::str::from_utf8(&spec.append).map_err(|_| EINVAL)?;
    if let Some(word) = cmdline::reserved(append) {
        pr_warn!("{} is not for the caller to say\n", word);
        return Err(EINVAL);
    }
    line.push(append).map_err(errno)?;
    Ok(line)
}

fn push(line: &mut CommandLine<{ abi::MAX_CMDLINE }>, word: kernel::fmt::Arguments<'_>) -> Result {
    let word = CString::try_from_fmt(word)?;
    line.push(word.to_str().map_err(|_| EINVAL)?).map_err(errno)
}

fn errno(error: CmdlineError) -> kernel::error::Error {
    match error {
        CmdlineError::TooLong => E2BIG,
        _ => EINVAL,
    }
}
