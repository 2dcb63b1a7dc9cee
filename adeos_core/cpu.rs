// SPDX-License-Identifier: GPL-2.0

//! CPUs: their local APICs, and lending them to vnodes (paper section 5).
//!
//! A CPU that is lent is offline in the root and kept so: a hotplug callback that comes before
//! the INIT refuses to bring it back. Lock order: the kernel's hotplug lock is taken inside
//! `remove_cpu` and `add_cpu`; none of ours is held there.

use crate::ffi;
use adeos_proto::cpuset::CpuSet;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};

/// Interrupt command: INIT, level, assert (SDM volume 3, section 12.6.1).
const ICR_INIT: u32 = 0x0000_c500;
/// Interrupt command: STARTUP; the low byte names the page where the CPU starts.
const ICR_STARTUP: u32 = 0x0000_0600;
/// Interrupt command: fixed delivery of the vector in the low byte.
#[cfg(not(CONFIG_ADEOS))]
const ICR_FIXED: u32 = 0;

/// CPUs that the root has lent, as bits.
static LENT: [Atomic<u64>; 4] = [const { Atomic::new(0) }; 4];

fn lent_word(cpu: u32) -> Option<(&'static Atomic<u64>, u64)> {
    Some((LENT.get((cpu / 64) as usize)?, 1 << (cpu % 64)))
}

fn is_lent(cpu: u32) -> bool {
    lent_word(cpu).is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0)
}

/// Marks a CPU as lent; false when it was so before.
fn claim(cpu: u32) -> bool {
    lent_word(cpu).is_some_and(|(word, bit)| change(word, |seen| seen | bit) & bit == 0)
}

/// Marks a CPU as not lent.
fn release(cpu: u32) {
    if let Some((word, bit)) = lent_word(cpu) {
        change(word, |seen| seen & !bit);
    }
}

/// Changes a word of [`LENT`]; what it was before.
fn change(word: &Atomic<u64>, to: impl Fn(u64) -> u64) -> u64 {
    let mut seen = word.load(Relaxed);
    loop {
        match word.cmpxchg(seen, to(seen), Full) {
            Ok(before) => return before,
            Err(now) => seen = now,
        }
    }
}

/// CPUs that are lent now.
pub fn lent() -> CpuSet {
    CpuSet::from_words(LENT.each_ref().map(|word| word.load(Relaxed)))
}

/// CPUs that are online in this kernel.
pub fn online() -> CpuSet {
    let mut set = CpuSet::EMPTY;
    for cpu in 0..adeos_proto::cpuset::MAX {
        if is_online(cpu) {
            set.insert(cpu);
        }
    }
    set
}

fn is_online(cpu: u32) -> bool {
    // SAFETY: The function takes any number.
    unsafe { ffi::adeos_cpu_online(cpu) }
}

/// The CPU that this runs on; a hint where the caller can be moved.
pub(crate) fn current() -> u32 {
    // SAFETY: The function only reads a per-CPU number.
    unsafe { ffi::adeos_this_cpu() }
}

/// Local APIC id of a CPU of this kernel, online or not; `None` when there is no such CPU.
pub fn apic_id(cpu: u32) -> Option<u32> {
    if cpu >= kernel::cpu::nr_cpu_ids() {
        return None;
    }
    // SAFETY: The CPU is below the number of possible ones, so it has per-CPU data.
    Some(unsafe { ffi::adeos_cpu_apic_id(cpu) })
}

/// The right to reset and start CPUs, which can take any kernel of the machine down. Only kmb and
/// the watch of adeos_core have it.
pub struct StartCpus(());

impl StartCpus {
    /// Takes the right.
    ///
    /// # Safety
    ///
    /// The holder sends INIT and STARTUP only to CPUs that are lent to a vnode it is responsible
    /// for.
    pub const unsafe fn new() -> Self {
        Self(())
    }

    /// Stops the CPU: it waits for a STARTUP with interrupts off, whatever it did before.
    pub fn init(&self, apic_id: u32) {
        // SAFETY: By the promise of `new` the CPU runs nothing of this kernel.
        unsafe { ffi::adeos_icr_write(ICR_INIT, apic_id) };
    }

    /// Starts the CPU, after INIT, at a page below 1 MiB in real mode.
    pub fn startup(&self, apic_id: u32, page: u8) {
        // SAFETY: As for `init`.
        unsafe { ffi::adeos_icr_write(ICR_STARTUP | u32::from(page), apic_id) };
    }
}

/// Interrupts a CPU of any kernel with the portals' vector.
pub(crate) fn send_portal(apic_id: u32) {
    send(apic_id, adeos_proto::layout::PORTAL_VECTOR as u8);
}

/// Interrupts a CPU of this kernel by a vector that the pipeline takes there, or Linux if nobody
/// does, after `before`. ENODEV for a CPU that is not online. Any context but NMIs.
pub(crate) fn interrupt_after(cpu: u32, vector: u8, before: impl FnOnce()) -> Result {
    // A CPU goes offline while all others wait with interrupts on: not before this is over.
    let _disabled = kernel::interrupt::local_interrupt_disable();
    let apic_id = apic_id(cpu).filter(|_| is_online(cpu)).ok_or(ENODEV)?;
    before();
    send(apic_id, vector);
    Ok(())
}

fn send(apic_id: u32, vector: u8) {
    #[cfg(CONFIG_ADEOS)]
    // SAFETY: The vector is the portals' own in every kernel of the machine, and harmless where
    // nobody listens; or it goes to a CPU of this kernel, which takes it or finds it spurious.
    unsafe {
        ffi::adeos_send_interrupt(apic_id, vector)
    };
    #[cfg(not(CONFIG_ADEOS))]
    // SAFETY: As above.
    unsafe {
        ffi::adeos_icr_write(ICR_FIXED | u32::from(vector), apic_id)
    };
}

/// CPUs that are taken from this kernel; dropping it brings them back.
pub struct LentCpus(CpuSet);

impl LentCpus {
    /// Takes CPUs offline and keeps them so. Process context; sleeps.
    ///
    /// EBUSY when one is lent already, is not online, is the one that the firmware booted, or
    /// refuses to go; then all are as they were.
    pub fn take(cpus: &CpuSet) -> Result<Self> {
        let usable = |cpu| cpu != 0 && is_online(cpu) && !is_lent(cpu);
        if cpus.is_empty() || !cpus.iter().all(usable) {
            return Err(EBUSY);
        }

        let mut taken = Self(CpuSet::EMPTY);
        for cpu in cpus.iter() {
            // First, so that nobody brings it back in between, and only one takes it.
            if !claim(cpu) {
                return Err(EBUSY);
            }
            // SAFETY: The function takes any CPU number, and fails where it cannot go.
            let result = unsafe { bindings::remove_cpu(cpu) };
            // 1: somebody else has taken it offline meanwhile.
            if result != 0 {
                pr_err!("CPU {} does not go offline ({})\n", cpu, result);
                release(cpu);
                return Err(EBUSY);
            }
            taken.0.insert(cpu);
        }
        Ok(taken)
    }

    /// Which CPUs.
    pub fn cpus(&self) -> CpuSet {
        self.0
    }
}

impl Drop for LentCpus {
    fn drop(&mut self) {
        for cpu in self.0.iter() {
            release(cpu);
            // SAFETY: The CPU was online before, and nothing runs on it now.
            if let Err(error) = to_result(unsafe { bindings::add_cpu(cpu) }) {
                pr_err!(
                    "CPU {} does not come back (error {})\n",
                    cpu,
                    error.to_errno()
                );
            }
        }
    }
}

/// The hotplug callback that keeps lent CPUs away; it goes when this is dropped.
pub(crate) struct Veto(bindings::cpuhp_state);

impl Veto {
    /// Registers the callback. Process context; sleeps.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The callback is a static function of this module, which `drop` unregisters
        // before the module goes.
        let state = unsafe {
            bindings::__cpuhp_setup_state(
                bindings::cpuhp_state_CPUHP_BP_PREPARE_DYN,
                c"adeos:lent".as_char_ptr(),
                false,
                Some(refuse_lent),
                None,
                false,
            )
        };
        to_result(state)?;
        Ok(Self(state as bindings::cpuhp_state))
    }
}

impl Drop for Veto {
    fn drop(&mut self) {
        // SAFETY: The state was registered by `new` and goes once.
        unsafe { bindings::__cpuhp_remove_state(self.0, false) };
    }
}

/// Runs on the CPU that wants to bring `cpu` up, before anything was sent to it.
extern "C" fn refuse_lent(cpu: u32) -> i32 {
    if is_lent(cpu) {
        EBUSY.to_errno()
    } else {
        0
    }
}
