// SPDX-License-Identifier: GPL-2.0

//! Owners: who gets a portal, and what the one before leaves behind.

use crate::receiver::{
    add_one,
    await_ms,
    print_all, //
};
use crate::Test;
use adeos_core::{
    now_ns,
    Core,
    Delivery,
    Handler,
    InStage,
    Portal, //
};
use adeos_proto::layout::PORTALS;
use adeos_proto::portal::Number;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Release, //
};
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// Rounds of `forget`; raises that came to the next owner; and raises for it that were lost.
static FORGETS: [Atomic<u64>; 3] = [const { Atomic::new(0) }; 3];
/// Portals that `exhaust` has got; and deliveries to these, which nobody has raised.
static EXHAUSTS: [Atomic<u64>; 2] = [const { Atomic::new(0) }; 2];
/// Rounds of `outlast`; those in which the handler did run when the release began; and those in
/// which it did so when the release was over.
static OUTLASTS: [Atomic<u64>; 3] = [const { Atomic::new(0) }; 3];

/// Deliveries to the next owner, and to a portal that tells that those before it are over.
static NEXT: Atomic<u64> = Atomic::new(0);
static WITNESS: Atomic<u64> = Atomic::new(0);
/// Not 0 while the slow handler runs, and when it may come to its end.
static RUNS: Atomic<u32> = Atomic::new(0);
static MAY_END: Atomic<u32> = Atomic::new(0);

/// How long the slow handler goes on when it may end: longer than a release that does not wait
/// takes. And after this time it ends in any case. In ns.
const GOES_ON_NS: u64 = 2_000_000;
const PATIENCE_NS: u64 = 1_000_000_000;

/// Raises for an owner what it never gets delivered, and sees that the next one does not get it
/// either, but what is its own. ETIMEDOUT.
pub(crate) fn forget(test: &Test, rounds: u64) -> Result {
    let own = test.core.identity().vnode;
    let witness = Portal::allocate("portal_test", Handler::Stage(on_witness))?;
    witness.unmask();
    // All that was raised before this, by this CPU, has been taken once the witness has run.
    let settle = || -> Result {
        let before = WITNESS.load(Acquire);
        test.core.raise(own, witness.number());
        await_ms(1000, || WITNESS.load(Acquire) != before)
            .then_some(())
            .ok_or(ETIMEDOUT)
    };
    for round in 0..rounds {
        let first = Portal::allocate("portal_test", Handler::Stage(on_next))?;
        let number = first.number();
        test.core.raise(own, number);
        if round % 2 == 0 {
            settle()?;
        }
        drop(first);

        NEXT.store(0, Release);
        let second = take(number, Handler::Stage(on_next))?;
        second.unmask();
        settle()?;
        add_one(&FORGETS, 1, NEXT.load(Acquire) != 0);
        test.core.raise(own, number);
        let came = await_ms(1000, || NEXT.load(Acquire) != 0);
        add_one(&FORGETS, 2, !came);
        add_one(&FORGETS, 0, true);
    }
    Ok(())
}

/// Takes all portals that are free. EILSEQ when what comes then is not refused as it has to be, or
/// when one that is released is not the next to be given out.
pub(crate) fn exhaust() -> Result {
    let mut portals = KVec::new();
    let error = loop {
        match Portal::allocate("portal_test", Handler::Stage(on_next)) {
            Ok(portal) => portals.push(portal, GFP_KERNEL)?,
            Err(error) => break error,
        }
    };
    NEXT.store(0, Release);
    portals.iter().for_each(Portal::unmask);
    let middle = portals.len() / 2;
    let number = portals.get(middle).ok_or(ENOENT)?.number();
    let taken = take(number, Handler::Stage(on_next)).err();
    let beyond = Portal::take(PORTALS as u32, "portal_test", Handler::Stage(on_next)).err();
    let are_refused = error == ENOSPC && taken == Some(EBUSY) && beyond == Some(EINVAL);

    let released = portals.remove(middle).map_err(|_| ENOENT)?;
    let serial = released.serial();
    drop(released);
    let again = Portal::allocate("portal_test", Handler::Stage(on_next))?;
    let is_next = again.number() == number && again.serial() == serial.wrapping_add(1);
    portals.push(again, GFP_KERNEL)?;

    add(&EXHAUSTS, 0, portals.len() as u64);
    add(&EXHAUSTS, 1, NEXT.load(Acquire));
    (are_refused && is_next).then_some(()).ok_or(EILSEQ)
}

/// Releases portals, of both stages in turn, while their handlers run. The caller keeps to a CPU
/// that is not the first one, which is the one that portals interrupt.
pub(crate) fn outlast(test: &Test, rounds: u64) -> Result {
    for round in 0..rounds {
        let handler = if round % 2 == 0 {
            Handler::Stage(on_slow)
        } else {
            Handler::Deferred(on_slow_deferred)
        };
        let portal = Portal::allocate("portal_test", handler)?;
        MAY_END.store(0, Release);
        portal.unmask();
        test.core.raise(test.core.identity().vnode, portal.number());
        let runs = await_ms(500, || RUNS.load(Acquire) != 0);
        add_one(&OUTLASTS, 1, runs);
        MAY_END.store(1, Release);
        drop(portal);
        add_one(&OUTLASTS, 2, RUNS.load(Acquire) != 0);
        add_one(&OUTLASTS, 0, true);
    }
    Ok(())
}

fn take(number: Number, handler: Handler) -> Result<Portal> {
    Portal::take(number.index() as u32, "portal_test", handler)
}

fn on_next(_: &InStage<'_>, _: Delivery) {
    NEXT.fetch_add(1, Full);
}

fn on_witness(_: &InStage<'_>, _: Delivery) {
    WITNESS.fetch_add(1, Full);
}

fn on_slow(_: &InStage<'_>, _: Delivery) {
    be_slow(core::hint::spin_loop);
}

/// It may sleep, and does: the caller may want the same CPU.
fn on_slow_deferred(_: &Core, _: Delivery) {
    be_slow(|| fsleep(Delta::from_micros(100)));
}

fn be_slow(rest: fn()) {
    RUNS.store(1, Release);
    let start_ns = now_ns();
    while MAY_END.load(Acquire) == 0 && now_ns().wrapping_sub(start_ns) < PATIENCE_NS {
        rest();
    }
    let end_ns = now_ns().wrapping_add(GOES_ON_NS);
    while now_ns() < end_ns {
        rest();
    }
    RUNS.store(0, Release);
}

fn add(counters: &[Atomic<u64>], at: usize, more: u64) {
    if let Some(counter) = counters.get(at) {
        counter.fetch_add(more, Full);
    }
}

/// What of the report is about owners.
pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (name, counters) in [
        ("forgets", &FORGETS[..]),
        ("exhausts", &EXHAUSTS[..]),
        ("outlasts", &OUTLASTS[..]),
    ] {
        write!(f, "{}", name)?;
        print_all(f, counters)?;
    }
    Ok(())
}
