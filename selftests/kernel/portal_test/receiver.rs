// SPDX-License-Identifier: GPL-2.0

//! The receiver: portals whose handlers note what their senders have announced.

use crate::shared::PLACES;
use crate::{
    in_handler,
    Test, //
};
use adeos_core::{
    Core,
    Delivery,
    Handler,
    InStage,
    Portal, //
};
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::PORTALS;
use kernel::cpu::CpuId;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed,
    Release, //
};
use kernel::sync::rcu::synchronize_rcu;
use kernel::time::delay::fsleep;
use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};

/// Places of the portals that `open` makes: two that are left alone, two that are masked in storms,
/// one that is released in them, and one whose handler runs in Linux's interrupts; and of the one that `chase` makes.
const STEADY: usize = 0;
const TOGGLED: usize = 2;
const TOGGLED_DEFERRED: usize = 3;
const CHURNED: usize = 4;
const INTERRUPT: usize = 5;
const CHASED: usize = 6;

/// By number: the place that a portal has, plus one.
static PLACE: [Atomic<usize>; PORTALS] = [const { Atomic::new(0) }; PORTALS];
/// By sender and place: the highest sequence that a handler has seen.
static SEEN: [[Atomic<u64>; PLACES]; MAX_VNODES] =
    [const { [const { Atomic::new(0) }; PLACES] }; MAX_VNODES];
/// By place: how often the handler has run, and on which CPU the last time.
static DELIVERIES: [Atomic<u64>; PLACES] = [const { Atomic::new(0) }; PLACES];
static CPU: [Atomic<u32>; PLACES] = [const { Atomic::new(0) }; PLACES];

/// Rounds of `toggle`; those in which others were delivered while it was masked; and those in which
/// it was delivered itself.
static TOGGLES: [Atomic<u64>; 3] = [const { Atomic::new(0) }; 3];
/// Owners of the churned portal, and deliveries to one that was none at that time.
static CHURNS: [Atomic<u64>; 2] = [const { Atomic::new(0) }; 2];
/// Serial of the churned portal while it has an owner; 0 for none.
static LIVE: Atomic<u32> = Atomic::new(0);
/// Not 0 while the chased portal is to raise itself again.
static CHASE: Atomic<u32> = Atomic::new(0);

/// Has the portals of all places; those that are there already are given back first.
pub(crate) fn open(test: &Test) -> Result {
    close(test)?;
    let handlers = [
        Handler::Stage(on_stage),
        Handler::Deferred(on_deferred),
        Handler::Stage(on_stage),
        Handler::Deferred(on_deferred),
    ];
    let mut portals = test.portals.lock();
    for (place, handler) in handlers.into_iter().enumerate() {
        add(&mut portals, place, handler)?;
    }
    add(&mut portals, INTERRUPT, Handler::Interrupt(on_deferred))?;
    add(&mut portals, CHURNED, Handler::Stage(on_churned))?;
    // The last one only to know its number, which is free when the others have theirs.
    drop(portals.pop());
    for portal in portals.iter() {
        portal.unmask();
    }
    Ok(())
}

/// Has one more portal, which is masked and the last of them.
fn add(portals: &mut KVec<Portal>, place: usize, handler: Handler) -> Result {
    let portal = Portal::allocate("portal_test", handler)?;
    if let Some(at) = PLACE.get(portal.number().index()) {
        at.store(place + 1, Release);
    }
    Ok(portals.push(portal, GFP_KERNEL)?)
}

pub(crate) fn close(test: &Test) -> Result {
    test.portals.lock().clear();
    PLACE.iter().for_each(|place| place.store(0, Relaxed));
    Ok(())
}

pub(crate) fn mask(test: &Test, place: usize) -> Result {
    let portals = test.portals.lock();
    portals.get(place).ok_or(ENOENT)?.mask();
    Ok(())
}

pub(crate) fn unmask(test: &Test, place: usize) -> Result {
    let portals = test.portals.lock();
    portals.get(place).ok_or(ENOENT)?.unmask();
    Ok(())
}

/// Masks and unmasks, and sees that a handler does not run meanwhile.
pub(crate) fn toggle(test: &Test, rounds: u64) -> Result {
    let _busy = test.shared.keep_busy(TOGGLED);
    for _ in 0..rounds {
        mask(test, TOGGLED)?;
        mask(test, TOGGLED_DEFERRED)?;
        // A handler that was about to run may (PO-23).
        synchronize_rcu();
        let toggled = count(&DELIVERIES, TOGGLED);
        let steady = count(&DELIVERIES, STEADY);
        let busy = await_ms(20, || count(&DELIVERIES, STEADY) >= steady + 4);
        add_one(&TOGGLES, 1, busy);
        add_one(&TOGGLES, 2, count(&DELIVERIES, TOGGLED) != toggled);
        unmask(test, TOGGLED)?;
        unmask(test, TOGGLED_DEFERRED)?;
        add_one(&TOGGLES, 0, true);
    }
    Ok(())
}

/// Releases the churned portal and takes it again, for both stages in turn.
pub(crate) fn churn(test: &Test, rounds: u64) -> Result {
    let number = PLACE
        .iter()
        .position(|place| place.load(Acquire) == CHURNED + 1);
    let number = u32::try_from(number.ok_or(ENOENT)?)?;
    let _busy = test.shared.keep_busy(CHURNED);
    for round in 0..rounds {
        let handler = if round % 2 == 0 {
            Handler::Stage(on_churned)
        } else {
            Handler::Deferred(on_churned_deferred)
        };
        let portal = Portal::take(number, "portal_test", handler)?;
        LIVE.store(portal.serial(), Release);
        let before = count(&DELIVERIES, CHURNED);
        portal.unmask();
        await_ms(20, || count(&DELIVERIES, CHURNED) != before);
        drop(portal);
        LIVE.store(0, Release);
        add_one(&CHURNS, 0, true);
    }
    Ok(())
}

/// Has a portal that raises itself without end: the worst that senders can do.
pub(crate) fn chase(test: &Test) -> Result {
    let mut portals = test.portals.lock();
    add(&mut portals, CHASED, Handler::Stage(on_chased))?;
    let portal = portals.last().ok_or(ENOENT)?;
    portal.unmask();
    CHASE.store(1, Release);
    test.core.raise(test.core.identity().vnode, portal.number());
    Ok(())
}

/// Ends that.
pub(crate) fn rest() -> Result {
    CHASE.store(0, Release);
    Ok(())
}

fn on_chased(stage: &InStage<'_>, delivery: Delivery) {
    note(delivery);
    if CHASE.load(Acquire) != 0 {
        stage.raise(stage.vnode(), delivery.number);
    }
}

fn on_stage(_: &InStage<'_>, delivery: Delivery) {
    note(delivery);
}

fn on_deferred(_: &Core, delivery: Delivery) {
    note(delivery);
}

fn on_churned(_: &InStage<'_>, delivery: Delivery) {
    add_one(&CHURNS, 1, delivery.serial != LIVE.load(Acquire));
    note(delivery);
}

fn on_churned_deferred(_: &Core, delivery: Delivery) {
    add_one(&CHURNS, 1, delivery.serial != LIVE.load(Acquire));
    note(delivery);
}

/// Looks at what was announced, as every handler does.
fn note(delivery: Delivery) {
    let place = PLACE.get(delivery.number.index());
    let Some(place) = place.and_then(|place| place.load(Acquire).checked_sub(1)) else {
        return;
    };
    in_handler(|test| {
        let sequence = test.shared.sequence(delivery.from, place);
        let seen = SEEN.get(delivery.from.index());
        if let Some(seen) = seen.and_then(|seen| seen.get(place)) {
            raise_to(seen, sequence);
        }
    });
    if let Some(cpu) = CPU.get(place) {
        cpu.store(CpuId::current().as_u32(), Relaxed);
    }
    add_one(&DELIVERIES, place, true);
}

/// Several CPUs may note something at once.
fn raise_to(number: &Atomic<u64>, value: u64) {
    let mut seen = number.load(Acquire);
    while seen < value {
        match number.cmpxchg(seen, value, Full) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

pub(crate) fn count(counters: &[Atomic<u64>], at: usize) -> u64 {
    counters.get(at).map_or(0, |counter| counter.load(Acquire))
}

pub(crate) fn add_one(counters: &[Atomic<u64>], at: usize, is_one: bool) {
    if let Some(counter) = counters.get(at).filter(|_| is_one) {
        counter.fetch_add(1, Full);
    }
}

/// Waits until something is so; whether it is.
pub(crate) fn await_ms(limit: i64, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::<Monotonic>::now();
    loop {
        if is_so() {
            return true;
        }
        if start.elapsed() > Delta::from_millis(limit) {
            return false;
        }
        fsleep(Delta::from_micros(100));
    }
}

/// What of the report is the receiver's.
pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (number, place) in PLACE.iter().enumerate() {
        if let Some(place) = place.load(Acquire).checked_sub(1) {
            writeln!(f, "portal {} {}", place, number)?;
        }
    }
    for from in VnodeId::all() {
        let Some(seen) = SEEN.get(from.index()) else {
            continue;
        };
        write!(f, "seen {}", from.number())?;
        print_all(f, seen)?;
    }
    write!(f, "deliveries")?;
    print_all(f, &DELIVERIES)?;
    write!(f, "cpu")?;
    for cpu in &CPU {
        write!(f, " {}", cpu.load(Relaxed))?;
    }
    write!(f, "\ntoggles")?;
    print_all(f, &TOGGLES)?;
    write!(f, "churns")?;
    print_all(f, &CHURNS)
}

pub(crate) fn print_all(f: &mut fmt::Formatter<'_>, numbers: &[Atomic<u64>]) -> fmt::Result {
    for number in numbers {
        write!(f, " {}", number.load(Acquire))?;
    }
    writeln!(f)
}
