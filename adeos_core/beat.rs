// SPDX-License-Identifier: GPL-2.0

//! The beat: each CPU of each kernel counts in shared memory, so that others see that it lives.
//!
//! A timer of the CPU itself counts, in hard interrupt context: a CPU that has interrupts off for
//! too long falls silent, whatever the rest of its kernel does. A CPU that its kernel takes
//! offline sets its count to 0, which means: not expected.

use crate::control::Control;
use crate::cpu;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    self,
    slot, //
};
use adeos_proto::window::Window;
use core::cell::UnsafeCell;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::Arc;

/// Time from one beat to the next.
pub(crate) const PERIOD_MS: i64 = 100;

/// A CPU's timer and where it counts.
struct Beater {
    timer: UnsafeCell<bindings::hrtimer>,
    position: usize,
}

/// What the timers of all CPUs of this kernel share, and never change.
struct Shared {
    control: Arc<Control>,
    own: VnodeId,
    /// By this kernel's CPU numbers; `None` for CPUs that are not in the boot block. Never moved.
    beaters: KVec<Option<KBox<Beater>>>,
}

/// The timers of all CPUs of this kernel; they end when this is dropped.
pub(crate) struct Beats {
    state: bindings::cpuhp_state,
    /// Dropped after the timers have ended.
    _shared: KBox<Shared>,
}

// SAFETY: The timers are touched only by the CPU they belong to and, after the hotplug callbacks
// are gone, by `drop`.
unsafe impl Send for Shared {}
// SAFETY: As above; everything else is read only.
unsafe impl Sync for Shared {}

/// The one `Shared` of this kernel, for the hotplug callbacks and the timers.
static BEATS: Atomic<usize> = Atomic::new(0);

impl Beats {
    /// Starts the beat on all CPUs that are online, and on later ones when they come.
    pub(crate) fn start(control: Arc<Control>, own: VnodeId) -> Result<Self> {
        let mut beaters = KVec::new();
        for cpu in 0..kernel::cpu::nr_cpu_ids() {
            let apic_id = cpu::apic_id(cpu).unwrap_or(layout::NO_APIC);
            let mut positions = 0..layout::MAX_CPUS;
            let position = positions.find(|position| control.apic_id(own, *position) == apic_id);
            let beater = match position {
                Some(position) if apic_id != layout::NO_APIC => Some(new_beater(position)?),
                _ => None,
            };
            beaters.push(beater, GFP_KERNEL)?;
        }

        let shared = Shared {
            control,
            own,
            beaters,
        };
        let shared = KBox::new(shared, GFP_KERNEL)?;
        BEATS.store(core::ptr::from_ref(&*shared) as usize, Release);
        // SAFETY: The callbacks are static functions of this module; `drop` removes them.
        let state = unsafe {
            bindings::__cpuhp_setup_state(
                bindings::cpuhp_state_CPUHP_AP_ONLINE_DYN,
                c"adeos:beat".as_char_ptr(),
                true,
                Some(online),
                Some(offline),
                false,
            )
        };
        if let Err(error) = to_result(state) {
            BEATS.store(0, Release);
            return Err(error);
        }
        Ok(Self {
            state: state as bindings::cpuhp_state,
            _shared: shared,
        })
    }
}

impl Shared {
    fn count(&self, position: usize, beating: bool) {
        let slot = self.control.slot(self.own);
        let offset = slot::BEATS + position * 4;
        let next = slot.load_acquire(offset).wrapping_add(1).max(1);
        slot.store_release(offset, if beating { next } else { 0 });
    }

    fn beater(&self, cpu: u32) -> Option<&Beater> {
        self.beaters.get(cpu as usize)?.as_deref()
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        // SAFETY: `start` registered the state. This runs `offline` on every CPU, which ends its
        // timer, before it returns.
        unsafe { bindings::__cpuhp_remove_state(self.state, true) };
        BEATS.store(0, Release);
    }
}

fn new_beater(position: usize) -> Result<KBox<Beater>> {
    let beater = KBox::new(
        Beater {
            timer: UnsafeCell::new(pin_init::zeroed()),
            position,
        },
        GFP_KERNEL,
    )?;
    // SAFETY: The timer is zeroed memory that does not move: it is boxed, and the box is never
    // opened.
    unsafe {
        bindings::hrtimer_setup(
            beater.timer.get(),
            Some(beat),
            bindings::CLOCK_MONOTONIC as i32,
            bindings::hrtimer_mode_HRTIMER_MODE_REL_PINNED_HARD,
        )
    };
    Ok(beater)
}

/// What the callbacks and the timers share.
fn current() -> Option<&'static Shared> {
    let address = BEATS.load(Acquire) as *const Shared;
    // SAFETY: Set by `start` before the callbacks are registered, and cleared only after they and
    // all timers are gone; in between the box lives.
    unsafe { address.as_ref() }
}

/// Runs on the CPU that has come online.
///
/// # Safety
///
/// Called by the hotplug code only, on that CPU.
unsafe extern "C" fn online(cpu: u32) -> i32 {
    if let Some((beats, beater)) = current().and_then(|beats| Some((beats, beats.beater(cpu)?))) {
        beats.count(beater.position, true);
        // SAFETY: The timer is set up, and it is this CPU's own.
        unsafe {
            bindings::hrtimer_start_range_ns(
                beater.timer.get(),
                PERIOD_MS * 1_000_000,
                0,
                bindings::hrtimer_mode_HRTIMER_MODE_REL_PINNED_HARD,
            )
        };
    }
    0
}

/// Runs on the CPU that goes offline, or on which the beat ends.
///
/// # Safety
///
/// Called by the hotplug code only, on that CPU.
unsafe extern "C" fn offline(cpu: u32) -> i32 {
    if let Some((beats, beater)) = current().and_then(|beats| Some((beats, beats.beater(cpu)?))) {
        // SAFETY: The timer is set up; this waits for a running one.
        unsafe { bindings::hrtimer_cancel(beater.timer.get()) };
        beats.count(beater.position, false);
    }
    0
}

/// Runs in a hard interrupt on the CPU that the timer belongs to.
///
/// # Safety
///
/// `timer` is one of the beaters', whose callback this is.
unsafe extern "C" fn beat(timer: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
    if let Some(beats) = current() {
        // The timer is pinned: the CPU that runs it names the beater.
        if let Some(beater) = beats.beater(cpu::current()) {
            beats.count(beater.position, true);
        }
    }
    // SAFETY: The timer runs its callback, so nobody else changes it; `ktime_get` may be called
    // from hard interrupts.
    unsafe { bindings::hrtimer_forward(timer, bindings::ktime_get(), PERIOD_MS * 1_000_000) };
    bindings::hrtimer_restart::HRTIMER_RESTART
}
