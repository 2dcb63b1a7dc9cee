// SPDX-License-Identifier: GPL-2.0

//! Round trips: a portal against a call on another CPU of the same kernel.
//!
//! Two kinds. *Answer*: an interrupt there, and a word in memory back, which the asker looks at.
//! That is how `smp_call_function_single` waits, so they are compared. *Return*: interrupts both
//! ways, against two asynchronous calls.

use crate::call;
use crate::figures::{
    self,
    Figure, //
};
use crate::words::Word;
use crate::{
    in_handler,
    Bench, //
};
use adeos_core::{
    Delivery,
    Handler,
    InStage,
    Portal, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::portal::Number;
use kernel::cpu::CpuId;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};

/// A round trip that takes longer is lost: ticks of the counter, seconds in any case.
pub(crate) const LIMIT: u64 = 1 << 34;

/// Portals that answer, as long as this is there.
pub(crate) struct Answering {
    _portals: [Portal; 2],
}

/// Times that a portal came back to the asker.
static RETURNED: Atomic<u64> = Atomic::new(0);

/// Has portals that answer from now on. EBUSY when there are some.
pub(crate) fn serve(bench: &Bench) -> Result {
    let mut answering = bench.answering.lock();
    if answering.is_some() {
        return Err(EBUSY);
    }
    let portals = [
        Portal::allocate("bench", Handler::Stage(on_answer))?,
        Portal::allocate("bench", Handler::Stage(on_return))?,
    ];
    let own = bench.core.identity().vnode;
    let words = [Word::AnswerPortal(own), Word::ReturnPortal(own)];
    for (portal, word) in portals.iter().zip(words) {
        portal.unmask();
        bench.set_word(word, portal.number().index() as u64);
    }
    *answering = Some(Answering { _portals: portals });
    Ok(())
}

fn on_answer(_: &InStage<'_>, _: Delivery) {
    in_handler(|bench| bench.set_word(Word::Answered, bench.word(Word::Asked)));
}

fn on_return(stage: &InStage<'_>, delivery: Delivery) {
    in_handler(|bench| {
        if let Ok(number) = portal(bench, Word::Return) {
            stage.raise(delivery.from, number);
        }
    });
}

fn on_returned(_: &InStage<'_>, _: Delivery) {
    RETURNED.fetch_add(1, Full);
}

/// The portal that a word tells.
fn portal(bench: &Bench, word: Word) -> Result<Number> {
    let number = u32::try_from(bench.word(word))?;
    Number::new(number).ok_or(EINVAL)
}

/// Measures both kinds. The caller keeps to one CPU, the first one, which is the one that portals
/// interrupt. ETIMEDOUT.
pub(crate) fn measure(bench: &Bench, to: VnodeId, cpu: u32, rounds: usize) -> Result {
    let answer = portal(bench, Word::AnswerPortal(to))?;
    let by_answer = || {
        let round = bench.word(Word::Asked).wrapping_add(1);
        bench.set_word(Word::Asked, round);
        bench.core.raise(to, answer);
        call::spin(LIMIT, || bench.word(Word::Answered) == round)
    };
    figures::measure(Figure::Portal, rounds, by_answer, || call::there(cpu))?;

    let there = portal(bench, Word::ReturnPortal(to))?;
    let back = Portal::allocate("bench", Handler::Stage(on_returned))?;
    bench.set_word(Word::Return, back.number().index() as u64);
    back.unmask();
    let by_return = || {
        let before = RETURNED.load(Acquire);
        bench.core.raise(to, there);
        call::spin(LIMIT, || RETURNED.load(Acquire) != before)
    };
    let home = CpuId::current().as_u32();
    let by_calls = || call::there_and_back(home, cpu, LIMIT);
    figures::measure(Figure::PortalsBothWays, rounds, by_return, by_calls)
}
