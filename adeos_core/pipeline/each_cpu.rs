// SPDX-License-Identifier: GPL-2.0

//! Calls in the pipelines of all CPUs, and CPUs that come and go.
//!
//! C headers: `include/linux/smp.h`, `include/linux/cpuhotplug.h`.

use super::stage::{
    in_thread,
    InStage, //
};
use crate::core_state::Core;
use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::c_void;
use kernel::prelude::*;

/// What one CPU is to do.
struct Call<'a, F> {
    core: &'a Core,
    run: F,
}

/// Runs `with` in the pipeline of each CPU that is online, one after the other, on that CPU. What is
/// offline has nothing in its pipeline. Process context, with interrupts on; sleeps.
pub(super) fn on_each(core: &Core, mut with: impl FnMut(&InStage<'_>, u32) + Send) {
    // SAFETY: Process context, as this function asks for; released below.
    unsafe { bindings::cpus_read_lock() };
    for cpu in 0..kernel::cpu::nr_cpu_ids() {
        on_one(core, cpu, |stage| with(stage, cpu));
    }
    // SAFETY: Taken above.
    unsafe { bindings::cpus_read_unlock() };
}

fn on_one<F: FnMut(&InStage<'_>) + Send>(core: &Core, cpu: u32, run: F) {
    let mut call = Call { core, run };
    let info = core::ptr::from_mut(&mut call).cast::<c_void>();
    // SAFETY: `called` gets a `Call` of the type that it expects, which lives until the end of the
    // call: it is waited for. A CPU that is offline is not called, which is no error here.
    unsafe { bindings::smp_call_function_single(cpu as i32, Some(called::<F>), info, true) };
}

/// Runs on the CPU that is called, with interrupts off.
///
/// # Safety
///
/// `info` is a `Call<'_, F>` that nobody else uses while this runs.
unsafe extern "C" fn called<F: FnMut(&InStage<'_>) + Send>(info: *mut c_void) {
    // SAFETY: By this function's condition.
    let call = unsafe { &mut *info.cast::<Call<'_, F>>() };
    in_thread(call.core, |stage| (call.run)(stage));
}

/// The callbacks by which CPUs empty their pipeline when they leave; they go when this is dropped,
/// after each CPU has emptied it.
pub(crate) struct Hotplug(bindings::cpuhp_state);

impl Hotplug {
    /// Registers them. Process context; sleeps.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The callbacks are static functions of this module; `drop` removes them.
        let state = unsafe {
            bindings::__cpuhp_setup_state(
                bindings::cpuhp_state_CPUHP_AP_ONLINE_DYN,
                c"adeos:pipeline".as_char_ptr(),
                true,
                Some(online),
                Some(offline),
                false,
            )
        };
        to_result(state)?;
        Ok(Self(state as bindings::cpuhp_state))
    }
}

impl Drop for Hotplug {
    fn drop(&mut self) {
        // SAFETY: `new` registered the state, which goes once. This runs `offline` on every CPU.
        unsafe { bindings::__cpuhp_remove_state(self.0, true) };
    }
}

/// Runs on the CPU that has come.
extern "C" fn online(_: u32) -> i32 {
    Core::with_in_interrupt(|core| in_thread(core, |stage| core.pipeline().enter(stage)));
    0
}

/// Runs on the CPU that is to go.
extern "C" fn offline(_: u32) -> i32 {
    Core::with_in_interrupt(|core| in_thread(core, |stage| core.pipeline().leave(stage)));
    0
}
