// SPDX-License-Identifier: GPL-2.0

//! The client: it asks and tells, and counts how that ends.
//!
//! What is sent to each service of each vnode is a sequence of numbers from 1; the sequence begins
//! anew with each life of the vnode.

use crate::services::{
    self,
    NAMES, //
};
use crate::Test;
use adeos_core::dsp::Payload;
use adeos_proto::id::{
    Life,
    VnodeId,
    MAX_VNODES, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};
use kernel::time::delay::fsleep;
use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};

/// How often a full mailbox is tried again, 1 ms apart, before it is called stuck.
const TRIES: u32 = 20_000;

/// What has come of what was sent to one service of one vnode.
struct Sent {
    /// The last number, and the life that it was sent to.
    last: Atomic<u64>,
    life: Atomic<u32>,
    /// Answers, those that were wrong, and requests that failed.
    answered: Atomic<u64>,
    wrong: Atomic<u64>,
    failed: Atomic<u64>,
    /// How the last one failed.
    error: Atomic<i32>,
    /// Messages that were told, and how often the mailbox was full.
    told: Atomic<u64>,
    full: Atomic<u64>,
    /// Time that requests took, in microseconds.
    us: Atomic<u64>,
}

impl Sent {
    const fn nothing() -> Self {
        Self {
            last: Atomic::new(0),
            life: Atomic::new(0),
            answered: Atomic::new(0),
            wrong: Atomic::new(0),
            failed: Atomic::new(0),
            error: Atomic::new(0),
            told: Atomic::new(0),
            full: Atomic::new(0),
            us: Atomic::new(0),
        }
    }

    /// The next payload for a life.
    fn next(&self, to: Life) -> Payload {
        if self.life.xchg(to.generation.0, Full) != to.generation.0 {
            self.last.store(0, Relaxed);
        }
        services::payload(self.last.fetch_add(1, Full).wrapping_add(1))
    }
}

static SENT: [[Sent; NAMES.len()]; MAX_VNODES] =
    [const { [const { Sent::nothing() }; NAMES.len()] }; MAX_VNODES];

fn sent(vnode: VnodeId, service: u16) -> Result<&'static Sent> {
    let row = SENT.get(vnode.index()).ok_or(EINVAL)?;
    row.get(services::place(service)).ok_or(EINVAL)
}

fn check_signal() -> Result {
    if kernel::current!().signal_pending() {
        return Err(EINTR);
    }
    Ok(())
}

/// Asks a service, and checks each answer. A request that fails is counted, and the next one asked.
pub(crate) fn ask(test: &Test, vnode: VnodeId, service: u16, count: u64, ms: u32) -> Result {
    let sent = sent(vnode, service)?;
    let to = test.life(vnode)?;
    let begin = Instant::<Monotonic>::now();
    for _ in 0..count {
        check_signal()?;
        let payload = sent.next(to);
        match test.core.ask(to, service, &payload, ms) {
            Ok(answer) => {
                sent.answered.fetch_add(1, Full);
                let len = payload.as_slice().len() as i32;
                if answer.status != len || answer.payload != services::echoed(&payload) {
                    sent.wrong.fetch_add(1, Full);
                }
            }
            Err(error) => {
                sent.failed.fetch_add(1, Full);
                sent.error.store(error.to_errno(), Relaxed);
            }
        }
    }
    let us = begin.elapsed().as_nanos() / 1000;
    sent.us.fetch_add(us as u64, Full);
    Ok(())
}

/// Tells a service, and tries again when the mailbox is full. ETIMEDOUT when it stays so.
pub(crate) fn tell(test: &Test, vnode: VnodeId, service: u16, count: u64) -> Result {
    let sent = sent(vnode, service)?;
    let to = test.life(vnode)?;
    for _ in 0..count {
        let payload = sent.next(to);
        let mut tries = 0;
        while let Err(error) = test.core.tell(to, service, &payload) {
            check_signal()?;
            if error != EAGAIN {
                return Err(error);
            }
            sent.full.fetch_add(1, Full);
            tries += 1;
            if tries == TRIES {
                return Err(ETIMEDOUT);
            }
            fsleep(Delta::from_millis(1));
        }
        sent.told.fetch_add(1, Full);
    }
    Ok(())
}

/// Tells a service until the mailbox is full, and it stays so for a moment: the receiver may still
/// be taking what fits into its queue.
pub(crate) fn fill(test: &Test, vnode: VnodeId, service: u16) -> Result {
    let sent = sent(vnode, service)?;
    let to = test.life(vnode)?;
    let mut tries = 0;
    let mut payload = sent.next(to);
    while tries < 200 {
        check_signal()?;
        match test.core.tell(to, service, &payload) {
            Ok(()) => {
                sent.told.fetch_add(1, Full);
                payload = sent.next(to);
                tries = 0;
            }
            Err(error) if error == EAGAIN => {
                sent.full.fetch_add(1, Full);
                tries += 1;
                fsleep(Delta::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    // This number was not sent.
    sent.last.fetch_sub(1, Full);
    Ok(())
}

pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (to, row) in VnodeId::all().zip(&SENT) {
        for (name, sent) in NAMES.iter().zip(row) {
            let [answered, wrong, failed, told, full, us] = [
                &sent.answered,
                &sent.wrong,
                &sent.failed,
                &sent.told,
                &sent.full,
                &sent.us,
            ]
            .map(|counter| counter.load(Relaxed));
            if answered != 0 || failed != 0 {
                let error = sent.error.load(Relaxed);
                write!(f, "asked {} {} answered {}", to.number(), name, answered)?;
                writeln!(
                    f,
                    " wrong {} failed {} error {} us {}",
                    wrong, failed, error, us
                )?;
            }
            if told != 0 || full != 0 {
                writeln!(f, "told {} {} {} full {}", to.number(), name, told, full)?;
            }
        }
    }
    Ok(())
}
