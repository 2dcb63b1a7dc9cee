// SPDX-License-Identifier: GPL-2.0

//! Adeos's stage, ahead of Linux: where portals are taken out of the inbox.
//!
//! It runs when the portals' interrupt comes through the pipeline; when this module is loaded; and in rounds of the watch's
//! thread, in a kernel without the patches in each, and else when something has waited for a while.
//! So a raise that came while nobody took the interrupt waits for no other, nor does one whose
//! sender has died before it could interrupt.

use super::{
    handlers,
    local, //
};
use crate::core_state::Core;
use crate::cpu;
use crate::machine;
use crate::pipeline::{
    in_thread,
    InStage,
    LOOK, //
};
use adeos_proto::pipeline::{
    Outcome,
    Stage, //
};
use adeos_proto::portal::pace::{
    self,
    Pace, //
};
use adeos_proto::portal::statistics::count_delivery;
use adeos_proto::portal::{
    self,
    local as words,
    Number, //
};
use adeos_proto::window::Window;
use kernel::prelude::*;

/// Takes what waits in the inbox and runs the handlers of this stage, as the interrupt does, from a
/// thread, so that handlers find themselves in the same place, and in a section that the release of a
/// portal waits for.
pub(crate) fn run_in_thread(core: &Core) {
    // Cannot be refused: Adeos's stage is registered for as long as there is a pipeline.
    if let Err(error) = in_thread(core, |stage| stage.trigger(Stage::ADEOS, LOOK)) {
        pr_err!("portals are not looked for (error {})\n", error.to_errno());
    }
}

/// What Adeos's stage runs: for the portals' vector at the pace of proto/portal/pace.rs, for [`LOOK`]
/// at once.
pub(crate) fn on_interrupt(stage: &InStage<'_>, vector: u8) -> Outcome {
    if vector == LOOK {
        return run(stage);
    }
    let core = stage.core();
    match pace::enter(&local()) {
        Pace::Leave => Outcome::Taken,
        Pace::Take => run(stage),
        Pace::AskAndTake => {
            core.deferral().ask_for_turn();
            run(stage)
        }
    }
}

/// What Linux's stage runs when that is passed on to it.
pub(crate) fn in_linux(stage: &InStage<'_>, _: u8) -> Outcome {
    let core = stage.core();
    core.deferral().deliver_left(core);
    Outcome::Taken
}

/// Linux's turn, in process context.
pub(super) fn take_turn(_: usize) {
    Core::with_in_interrupt(|core| {
        pace::turn(&local());
        run_in_thread(core);
    });
}

/// Has the stage run on this CPU, or another one of this kernel. Any context.
pub(super) fn run_soon(core: &Core) {
    if cfg!(CONFIG_ADEOS) {
        // A thread may have moved on; then the interrupt comes on the CPU that it left.
        if let Some(apic_id) = cpu::apic_id(cpu::current()) {
            cpu::send_portal(apic_id);
        }
    } else {
        core.doorbell().raise();
    }
}

/// Takes what waits in the inbox, and runs the handlers of this stage. What is Linux's is left to its
/// stage, which it is then to be passed on to.
fn run(stage: &InStage<'_>) -> Outcome {
    let core = stage.core();
    let inbox = core.control().slot(stage.vnode());
    let linux = portal::take(&inbox, &local(), |from, portals| {
        for number in Number::all_of(portals) {
            count_delivery(&local(), number);
            handlers::run_ahead(stage, from, number);
        }
    });
    if linux == 0 {
        return Outcome::Taken;
    }
    core.deferral().leave(linux);
    Outcome::Passed
}

/// As [`run_in_thread`], once in each round of the watch's thread: always where portals do not interrupt, and
/// elsewhere if there is something that no interrupt comes for.
pub(crate) fn run_in_round(core: &Core) {
    let inbox = core.control().slot(core.identity().vnode);
    let now_ms = machine::now_ns() / 1_000_000;
    if !machine::PATCHED || pace::look(&inbox, &local(), now_ms) {
        run_in_thread(core);
    }
}

/// Interrupts by portals; those among them that were left to Linux's turn; and rounds in which
/// something was found that no interrupt had come for.
pub(super) fn counts() -> [u64; 3] {
    let count = |at| local().load_acquire64(at);
    [
        pace::interrupts(&local()),
        count(words::LEFT),
        count(words::FOUND),
    ]
}
