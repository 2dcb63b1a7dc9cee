// SPDX-License-Identifier: GPL-2.0

//! Which vnode this kernel is, and what its kernel lets it do.

use crate::ffi;
use crate::mapping::Mapping;
use adeos_proto::id::{
    Generation,
    PhysRange,
    VnodeId, //
};
use adeos_proto::layout::{
    self,
    feature,
    BootBlock, //
};
use adeos_proto::window::Window;
use kernel::bindings;
use kernel::prelude::*;

/// Whether the patches are in this kernel.
pub(crate) const PATCHED: bool = cfg!(CONFIG_ADEOS);

/// What this kernel is in the cluster.
#[derive(Clone, Copy)]
pub struct Identity {
    /// Number of the vnode; 0 is the root.
    pub vnode: VnodeId,
    /// Which life of the number; the root's is 1.
    pub generation: Generation,
    /// Bits of [`feature`].
    pub features: u32,
    /// Physical address of the control area, for a vnode.
    pub control: Option<u64>,
}

impl Identity {
    /// Finds out. A vnode's boot block is named by its kernel (patched) or by `adeos_boot=` on its
    /// command line; a kernel with neither is the root.
    ///
    /// EOPNOTSUPP, with a reason in the log: a root without the patches, or a kernel that
    /// broadcasts interrupts to CPUs of other kernels.
    pub(crate) fn find() -> Result<Self> {
        let command_line = KernelCommandLine::read().inspect_err(|_| {
            pr_err!("/proc/cmdline cannot be read: mount /proc before this is loaded\n");
        })?;
        if broadcasts(&command_line) {
            pr_err!("interrupts are broadcast to all CPUs of the machine: boot with no_ipi_broadcast=1\n");
            return Err(EOPNOTSUPP);
        }

        match boot_address(&command_line)? {
            Some(address) => Self::of_vnode(address),
            None if PATCHED => Ok(Self {
                vnode: VnodeId::ROOT,
                generation: Generation(1),
                features: feature::PATCHED | feature::PORTAL_INTERRUPT,
                control: None,
            }),
            None => {
                pr_err!(
                    "this kernel is not a vnode, and a root needs the patches (CONFIG_ADEOS)\n"
                );
                Err(EOPNOTSUPP)
            }
        }
    }

    fn of_vnode(address: u64) -> Result<Self> {
        let page = PhysRange::new(address, kernel::page::PAGE_SIZE as u64).ok_or(EINVAL)?;
        // SAFETY: The root has told where the boot block is, which is memory of no kernel.
        let mapping = unsafe { Mapping::new(page) }?;
        let mut bytes = [0; BootBlock::SIZE];
        mapping.part(0, BootBlock::SIZE).read(0, &mut bytes);
        let block = BootBlock::from_bytes(&bytes);

        if block.magic != layout::BOOT_MAGIC {
            pr_err!("there is no boot block at {:#x}\n", address);
            return Err(EINVAL);
        }
        if block.version != layout::PLATFORM_VERSION {
            pr_err!(
                "the root speaks version {}, this module {}: load the same modules in both\n",
                block.version,
                layout::PLATFORM_VERSION
            );
            return Err(EPROTO);
        }
        let Some(vnode) = VnodeId::new(block.vnode).filter(|vnode| !vnode.is_root()) else {
            pr_err!("the boot block at {:#x} names no vnode\n", address);
            return Err(EINVAL);
        };

        Ok(Self {
            vnode,
            generation: Generation(block.generation),
            features: features_of_vnode(),
            control: Some(block.control),
        })
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.vnode.is_root()
    }
}

fn features_of_vnode() -> u32 {
    if PATCHED {
        feature::PATCHED | feature::PORTAL_INTERRUPT | feature::EARLY_DEATH
    } else {
        0
    }
}

/// `/proc/cmdline`, which modules cannot reach otherwise: `saved_command_line` is not exported.
struct KernelCommandLine(KVVec<u8>);

impl KernelCommandLine {
    fn read() -> Result<Self> {
        const MAX: usize = 4096;
        let mut bytes: KVVec<u8> = KVVec::with_capacity(MAX, GFP_KERNEL)?;
        // SAFETY: The path is a C string, and NULL for credentials is not asked for here; errors
        // come back as error pointers, which `from_err_ptr` tells.
        let file = kernel::error::from_err_ptr(unsafe {
            bindings::filp_open(c"/proc/cmdline".as_char_ptr(), bindings::O_RDONLY as i32, 0)
        })?;
        let mut position = 0;
        // SAFETY: `file` is open, and `bytes` has room for `MAX` bytes.
        let read =
            unsafe { bindings::kernel_read(file, bytes.as_mut_ptr().cast(), MAX, &mut position) };
        // SAFETY: `filp_open` has given us the reference that this drops.
        unsafe { bindings::filp_close(file, core::ptr::null_mut()) };

        let read = kernel::error::to_result(read as i32).map(|()| read as usize)?;
        // SAFETY: `kernel_read` has filled `read` bytes, which is at most the capacity.
        unsafe { bytes.inc_len(read.min(MAX)) };
        Ok(Self(bytes))
    }

    /// Value of the last `key=value` word.
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.0
            .split(|byte| byte.is_ascii_whitespace())
            .rev()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix(b"="))
    }
}

fn hexadecimal(text: &[u8]) -> Option<u64> {
    let digits = core::str::from_utf8(text.strip_prefix(b"0x")?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

fn boot_address(command_line: &KernelCommandLine) -> Result<Option<u64>> {
    #[cfg(CONFIG_ADEOS)]
    {
        // SAFETY: The function only reads what the kernel was booted with.
        let address = unsafe { ffi::adeos_boot_address() };
        if address != 0 {
            return Ok(Some(address));
        }
    }
    match command_line.value(b"adeos_boot") {
        None => Ok(None),
        Some(text) => match hexadecimal(text) {
            Some(address) => Ok(Some(address)),
            None => {
                pr_err!("adeos_boot= on the command line is no address\n");
                Err(EINVAL)
            }
        },
    }
}

fn broadcasts(command_line: &KernelCommandLine) -> bool {
    #[cfg(CONFIG_ADEOS)]
    {
        let _ = command_line;
        // SAFETY: The function only reads a static key.
        unsafe { ffi::adeos_shorthand_enabled() }
    }
    // Without the patches nobody tells whether the key is on; the parameter keeps it off.
    #[cfg(not(CONFIG_ADEOS))]
    {
        command_line.value(b"no_ipi_broadcast") != Some(b"1")
    }
}

/// Ranges that the root's kernel keeps for vnodes (`adeos_pool=`); none on other kernels.
pub(crate) fn pool_ranges() -> impl Iterator<Item = PhysRange> {
    (0..).map_while(pool_range)
}

#[cfg(CONFIG_ADEOS)]
fn pool_range(n: u32) -> Option<PhysRange> {
    let (mut base, mut size) = (0, 0);
    // SAFETY: Both pointers are to writable numbers.
    if unsafe { ffi::adeos_pool_range(n, &mut base, &mut size) } {
        PhysRange::new(base, size)
    } else {
        None
    }
}

#[cfg(not(CONFIG_ADEOS))]
fn pool_range(_n: u32) -> Option<PhysRange> {
    None
}

/// Frequency of the local APICs' timers in kHz; 0 where the kernel uses the TSC deadline instead.
pub(crate) fn lapic_khz() -> u32 {
    #[cfg(CONFIG_ADEOS)]
    {
        // SAFETY: The function only reads a number.
        unsafe { ffi::adeos_lapic_khz() }
    }
    #[cfg(not(CONFIG_ADEOS))]
    {
        0
    }
}

/// Frequency of the time-stamp counters in kHz.
pub(crate) fn tsc_khz() -> u32 {
    // SAFETY: The kernel writes it during boot only.
    unsafe { bindings::tsc_khz }
}

/// This CPU's time-stamp counter, read after all accesses before it and before all that follow
/// (CK-24). Any context.
pub(crate) fn tsc() -> u64 {
    // SAFETY: The function only reads the counter.
    unsafe { ffi::adeos_rdtsc_fenced() }
}

/// Whether the kernel takes the counters of its CPUs for synchronous and steady.
pub(crate) fn has_sound_tsc() -> bool {
    // SAFETY: The function only reads a flag.
    unsafe { ffi::adeos_tsc_is_sound() }
}

/// The time-stamp counter and, read at the same moment, nanoseconds since 1970.
pub(crate) fn clocks() -> (u64, u64) {
    // SAFETY: Both only read clocks.
    unsafe { (ffi::adeos_rdtsc(), ffi::adeos_wall_ns()) }
}

/// Nanoseconds of CLOCK_MONOTONIC. Any context.
pub fn now_ns() -> u64 {
    // SAFETY: The function only reads the clock, from any context.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// The same in microseconds. Any context.
pub(crate) fn now_us() -> u64 {
    now_ns() / 1000
}

/// Whether this is a hard interrupt, as Linux counts them. Any context.
pub(crate) fn in_hard_interrupt() -> bool {
    // SAFETY: It only reads a count of this CPU's.
    unsafe { ffi::adeos_in_hard_interrupt() }
}

/// Runs something in the way of an interrupt: what it has Linux do as a soft interrupt comes after it. Any context
/// but threads with interrupts off.
pub(crate) fn without_soft_interrupts(run: impl FnOnce()) {
    if in_hard_interrupt() {
        return run();
    }
    // SAFETY: Soft interrupts are let in again below, in the same thread.
    unsafe { ffi::adeos_hold_soft_interrupts() };
    run();
    // SAFETY: They are held off since the call above; interrupts are on.
    unsafe { ffi::adeos_let_soft_interrupts() };
}

/// What `uname -r` prints.
pub(crate) fn release() -> &'static str {
    // SAFETY: The kernel's own release is a static C string.
    let text = unsafe { CStr::from_char_ptr(ffi::adeos_release()) };
    text.to_str().unwrap_or("")
}
