// SPDX-License-Identifier: GPL-2.0

//! The cluster's clock: the root publishes it, and each vnode finds out by how much its counter
//! differs from the root's (docs/pipeline.md, section 9; paper section 6.5).
//!
//! The logic is `proto/clock.rs`. A vnode measures in its nanokernel's thread, once it can talk to
//! the root, and again in each life; until then it has no common time.

#![deny(unsafe_code)]

use crate::core_state::Core;
use crate::dsp::{
    Area,
    Context,
    Payload,
    Request,
    Service, //
};
use crate::machine;
use adeos_proto::clock::exchange::{
    self,
    Answering,
    Asked,
    Look,
    QUESTIONS, //
};
use adeos_proto::clock::{
    self,
    Estimate,
    Offset,
    Publisher,
    Rate,
    Sample, //
};
use adeos_proto::id::{VnodeId, MAX_VNODES};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};
use kernel::sync::Mutex;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// The service by which a vnode says that it is going to ask.
const SERVICE: u16 = 0x0001;
/// How long the root waits for the next question.
const QUESTION_NS: u64 = 2_000_000;
/// How long it answers one vnode, whose questions may come slowly: others wait for the same thread.
const EXCHANGE_NS: u64 = 10_000_000;
/// Each vnode gets one exchange in this time: an announcement costs it less than it costs the root.
const EVERY_NS: u64 = 250_000_000;
/// How long a vnode waits for the first answer, while the root comes to it. It looks now and then.
const FIRST_ANSWER_NS: u64 = 100_000_000;
const LOOK_EVERY: Delta = Delta::from_micros(50);
/// How long it looks for an answer without a pause.
const ANSWER_NS: u64 = 10_000_000;
/// How long it waits until the next exchange, when that was cut short, and when there was none.
const NEXT_NS: u64 = 300_000_000;
const PAUSE_NS: u64 = 1_000_000_000;

/// Samples that make an offset. The first one of each exchange is not counted: the root may not have
/// been there when the question came.
const ENOUGH: u64 = QUESTIONS - 1;

/// Samples of one life. A CPU that is held up ends an exchange early; what was said until then holds,
/// so exchanges go on until there are enough.
struct Measured {
    estimate: Estimate,
    samples: u64,
}

impl Measured {
    const fn new() -> Self {
        Self {
            estimate: Estimate::new(),
            samples: 0,
        }
    }

    /// The offset, when there are enough samples.
    fn offset(&self) -> Option<Offset> {
        let is_enough = self.samples >= ENOUGH;
        is_enough.then(|| self.estimate.offset()).flatten()
    }
}

/// What this kernel knows of its counter.
#[pin_data]
pub(crate) struct Clock {
    /// Ticks that the root's counter is ahead, as an `i64`.
    ticks: Atomic<u64>,
    /// By how much that can be wrong; all ones while nothing is known.
    error_ticks: Atomic<u64>,
    /// Before this moment nothing is tried.
    next_ns: Atomic<u64>,
    /// What has been measured so far.
    #[pin]
    measured: Mutex<Measured>,
    /// Root: when each vnode may have its next exchange.
    due_ns: [Atomic<u64>; MAX_VNODES],
    /// Root: what publishes the clock.
    #[pin]
    publisher: Mutex<Option<Publisher>>,
}

impl Clock {
    /// That of a kernel that has not measured; the root has nothing to measure.
    pub(crate) fn new(is_root: bool) -> impl PinInit<Self> {
        pin_init!(Self {
            ticks: Atomic::new(0),
            error_ticks: Atomic::new(if is_root { 0 } else { u64::MAX }),
            next_ns: Atomic::new(0),
            due_ns: [const { Atomic::new(0) }; MAX_VNODES],
            measured <- kernel::new_mutex!(Measured::new(), "adeos:clock_measured"),
            publisher <- kernel::new_mutex!(None, "adeos:clock"),
        })
    }

    fn offset(&self) -> Option<Offset> {
        let error_ticks = self.error_ticks.load(Acquire);
        (error_ticks != u64::MAX).then(|| Offset {
            ticks: self.ticks.load(Relaxed).cast_signed(),
            error_ticks,
        })
    }

    fn set(&self, offset: Offset) {
        self.ticks.store(offset.ticks.cast_unsigned(), Relaxed);
        self.error_ticks.store(offset.error_ticks, Release);
    }
}

/// The service while it is there.
pub(crate) struct Running {
    _service: Option<Service>,
}

impl Running {
    /// The root publishes the clock and answers questions. ENODEV for a root whose counters are not
    /// to be relied on (CK-1) is no failure: then there is no clock.
    pub(crate) fn start(core: &Core) -> Result<Self> {
        if !core.identity().is_root() {
            return Ok(Self { _service: None });
        }
        let rate = Rate::from_khz(machine::tsc_khz()).filter(|_| machine::has_sound_tsc());
        let Some(rate) = rate else {
            pr_warn!("the time-stamp counters are not to be relied on: there is no common clock\n");
            return Ok(Self { _service: None });
        };
        let ns = machine::now_ns();
        let publisher = Publisher::start(&core.control().clock(), rate, ns, machine::tsc);
        *core.clock().publisher.lock() = Some(publisher);
        let service = Service::register(core, Area::Nanokernel, SERVICE, Context::Thread, answer)?;
        Ok(Self {
            _service: Some(service),
        })
    }
}

/// Root: writes the clock anew, whoever may have written over it. Process context.
pub(crate) fn mend(core: &Core) {
    if let Some(publisher) = &mut *core.clock().publisher.lock() {
        let _disabled = kernel::interrupt::local_interrupt_disable();
        publisher.mend(&core.control().clock());
    }
}

/// Root: announcements of questions that came too early or made no sense (CK-35).
static UNHEARD: Atomic<u64> = Atomic::new(0);

/// Answers a vnode's questions, for as long as they come (CK-35).
fn answer(core: &Core, request: &Request) {
    let vnode = request.from.vnode;
    let Some(due_ns) = core.clock().due_ns.get(vnode.index()) else {
        return;
    };
    let first_ns = machine::now_ns();
    if first_ns < due_ns.load(Relaxed) {
        UNHEARD.add(1, Relaxed);
        return;
    }
    due_ns.store(first_ns.wrapping_add(EVERY_NS), Relaxed);
    let asker = core.control().question(vnode);
    let place = core.control().answers(vnode);
    let Some(first) = exchange::announced(request.payload.as_slice()) else {
        UNHEARD.add(1, Relaxed);
        return;
    };
    let mut answering = Answering::new(&place, first);
    let (mut now_ns, mut last_ns) = (first_ns, first_ns);
    while now_ns.wrapping_sub(last_ns) <= QUESTION_NS
        && now_ns.wrapping_sub(first_ns) <= EXCHANGE_NS
    {
        match answering.look(&asker, &place, machine::tsc) {
            Look::Over => return,
            Look::Answered => last_ns = machine::now_ns(),
            Look::Nothing => core::hint::spin_loop(),
        }
        now_ns = machine::now_ns();
    }
}

impl Core {
    /// The common time of the cluster in ns, the same in every vnode but for the error of its
    /// offset. It is not the time of day. Any context.
    ///
    /// ENODATA when there is no clock, or this vnode does not know its offset yet; EAGAIN when the
    /// root is changing the clock, or has died doing so; EPROTO when what is there is no clock.
    pub fn cluster_ns(&self) -> Result<u64> {
        let offset = self.clock().offset().ok_or(ENODATA)?;
        let root = || machine::tsc().wrapping_add_signed(offset.ticks);
        clock::read(&self.control().clock(), root).map_err(|error| match error {
            clock::Error::Unpublished => ENODATA,
            clock::Error::Busy => EAGAIN,
            clock::Error::Nonsense => EPROTO,
        })
    }

    /// How far the root's counter is ahead of this kernel's; `None` before that is known.
    pub fn clock_offset(&self) -> Option<Offset> {
        self.clock().offset()
    }

    /// Finds out the offset, if that is not done and the root can be talked to. The nanokernel's
    /// thread.
    pub(crate) fn set_clock(&self) {
        let now_ns = machine::now_ns();
        if self.clock().offset().is_some() || now_ns < self.clock().next_ns.load(Relaxed) {
            return;
        }
        let mut measured = self.clock().measured.lock();
        let before = measured.samples;
        if let Err(error) = self.measure(&mut measured) {
            if error == EPROTO {
                // A counter was set, or somebody has lied: nothing of it can be relied on (CK-32).
                *measured = Measured::new();
            }
            // Without a sample the root has no such service, or is late.
            let pause_ns = match measured.samples > before {
                true => NEXT_NS,
                false => PAUSE_NS,
            };
            let next_ns = now_ns.wrapping_add(pause_ns);
            self.clock().next_ns.store(next_ns, Relaxed);
        }
        if let Some(offset) = measured.offset() {
            self.clock().set(offset);
        }
    }

    /// Asks the questions of one exchange. ENXIO, ENOTCONN while the root cannot be told; ETIMEDOUT
    /// when it does not answer; EPROTO when its answers contradict each other, or earlier ones.
    fn measure(&self, measured: &mut Measured) -> Result {
        let own = self.control().question(self.identity().vnode);
        let root = self.view().life(VnodeId::ROOT).ok_or(ENXIO)?;
        exchange::clear(&own);
        let first = machine::tsc();
        let payload = Payload::new(&exchange::announce(first)).ok_or(EINVAL)?;
        self.tell(root, SERVICE, &payload)?;
        let sample = self.ask_once(first, FIRST_ANSWER_NS)?;
        measured.estimate.add(&sample).map_err(|_| EPROTO)?;
        for number in 1..QUESTIONS {
            let sample = self.ask_once(first.wrapping_add(number), ANSWER_NS)?;
            measured.estimate.add(&sample).map_err(|_| EPROTO)?;
            measured.samples = measured.samples.saturating_add(1);
        }
        Ok(())
    }

    /// One question. While the root has not come to it after [`ANSWER_NS`], this sleeps between looks.
    fn ask_once(&self, number: u64, patience_ns: u64) -> Result<Sample> {
        let own = self.identity().vnode;
        let answers = self.control().answers(own);
        let begin_ns = machine::now_ns();
        let asked = Asked::new(&self.control().question(own), number, machine::tsc);
        loop {
            if let Some(sample) = asked.look(&answers, machine::tsc) {
                return Ok(sample);
            }
            let waited_ns = machine::now_ns().wrapping_sub(begin_ns);
            if waited_ns > patience_ns {
                return Err(ETIMEDOUT);
            }
            if waited_ns > ANSWER_NS {
                fsleep(LOOK_EVERY);
            } else {
                core::hint::spin_loop();
            }
        }
    }
}

/// What debugfs shows: the time, the offset and its error, in ticks, and ticks per ms.
pub(crate) fn show(core: &Core, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match core.cluster_ns() {
        Ok(ns) => writeln!(f, "time_ns {}", ns)?,
        Err(error) => writeln!(f, "no time: error {}", error.to_errno())?,
    }
    if let Some(offset) = core.clock_offset() {
        writeln!(f, "offset_ticks {}", offset.ticks)?;
        writeln!(f, "error_ticks {}", offset.error_ticks)?;
    }
    if core.identity().is_root() {
        writeln!(f, "unheard {}", UNHEARD.load(Relaxed))?;
    }
    writeln!(f, "khz {}", machine::tsc_khz())
}
