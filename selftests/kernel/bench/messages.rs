// SPDX-License-Identifier: GPL-2.0

//! Messages: requests that ask for nothing, and as many messages as vnodes can send to the root.

use crate::call;
use crate::figures::{
    self,
    Figure, //
};
use crate::words::Word;
use crate::Bench;
use adeos_core::dsp::{
    Area,
    Context,
    Payload,
    Request,
    Service, //
};
use adeos_core::{
    now_ns,
    Core, //
};
use adeos_proto::id::{
    Life,
    VnodeId, //
};
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

/// The service that answers what asks for nothing, and the one that counts.
const NULL: u16 = 0xff10;
const COUNTED: u16 = 0xff11;

/// A request without an answer after this time is an error.
const ANSWER_MS: u32 = 1000;
/// Messages have not arrived after this time, in ns.
const ARRIVAL_NS: u64 = 100_000_000_000;
/// Tries to send between two looks for a signal.
const TRIES: u32 = 1 << 16;

/// Messages that have come since senders were let go; how many there will be; and when the last
/// one came.
static CAME: Atomic<u64> = Atomic::new(0);
static EXPECTED: Atomic<u64> = Atomic::new(0);
static LAST_NS: Atomic<u64> = Atomic::new(0);
/// How long they took.
static TOOK_NS: Atomic<u64> = Atomic::new(0);

/// Has both services.
pub(crate) fn register(core: &Core) -> Result<[Service; 2]> {
    let register =
        |service, handler| Service::register(core, Area::Local, service, Context::Stage, handler);
    Ok([register(NULL, answer)?, register(COUNTED, count)?])
}

fn answer(core: &Core, request: &Request) {
    // Whoever has asked may have gone meanwhile.
    let _ = core.reply(request, 0, &Payload::EMPTY);
}

fn count(_: &Core, _: &Request) {
    if CAME.fetch_add(1, Full).wrapping_add(1) == EXPECTED.load(Acquire) {
        LAST_NS.store(now_ns(), Release);
    }
}

/// The life of a vnode. ENXIO when it is no member.
fn life(core: &Core, vnode: VnodeId) -> Result<Life> {
    core.view().life(vnode).ok_or(ENXIO)
}

/// Measures requests. Errors of [`Core::ask`].
pub(crate) fn ask(bench: &Bench, to: VnodeId, cpu: u32, rounds: usize) -> Result {
    let to = life(&bench.core, to)?;
    let ask = || {
        let answer = bench.core.ask(to, NULL, &Payload::EMPTY, ANSWER_MS)?;
        (answer.status == 0).then_some(()).ok_or(EILSEQ)
    };
    figures::measure(Figure::Request, rounds, ask, || call::there(cpu))
}

/// Sends the root messages as fast as it takes them, once it lets all go. Errors of
/// [`Core::tell`] but for EAGAIN; EINTR on a signal.
pub(crate) fn send(bench: &Bench, count: u64) -> Result {
    let root = life(&bench.core, VnodeId::ROOT)?;
    let go = bench.word(Word::Gone).wrapping_add(1);
    bench.set_word(Word::Ready(bench.core.identity().vnode), go);
    let mut sent = 0;
    let mut tries = 0;
    while sent < count {
        tries += 1;
        if tries == TRIES {
            tries = 0;
            check_signal()?;
        }
        if bench.word(Word::Gone) != go {
            core::hint::spin_loop();
            continue;
        }
        match bench.core.tell(root, COUNTED, &Payload::EMPTY) {
            Ok(()) => sent += 1,
            Err(error) if error == EAGAIN => core::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lets senders go as soon as there are so many, and waits until all that each is to send has come.
/// ETIMEDOUT; EINTR on a signal.
pub(crate) fn receive(bench: &Bench, vnodes: usize, count: u64) -> Result {
    let go = bench.word(Word::Gone).wrapping_add(1);
    let is_ready = |vnode: &VnodeId| bench.word(Word::Ready(*vnode)) == go;
    await_that(|| VnodeId::all().filter(is_ready).count() == vnodes)?;

    CAME.store(0, Release);
    LAST_NS.store(0, Release);
    EXPECTED.store(count.saturating_mul(vnodes as u64), Release);
    let start_ns = now_ns();
    bench.set_word(Word::Gone, go);
    await_that(|| LAST_NS.load(Acquire) != 0)?;
    TOOK_NS.store(LAST_NS.load(Acquire).wrapping_sub(start_ns), Release);
    Ok(())
}

/// Waits until something is so, which is looked at now and then.
fn await_that(mut is_so: impl FnMut() -> bool) -> Result {
    let start_ns = now_ns();
    while !is_so() {
        check_signal()?;
        if now_ns().wrapping_sub(start_ns) > ARRIVAL_NS {
            return Err(ETIMEDOUT);
        }
        fsleep(Delta::from_millis(1));
    }
    Ok(())
}

fn check_signal() -> Result {
    if kernel::current!().signal_pending() {
        return Err(EINTR);
    }
    Ok(())
}

/// What of the report was measured so.
pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let took_ns = TOOK_NS.load(Acquire);
    if took_ns != 0 {
        writeln!(f, "messages {} {}", EXPECTED.load(Acquire), took_ns)?;
    }
    Ok(())
}
