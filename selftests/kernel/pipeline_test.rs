// SPDX-License-Identifier: GPL-2.0

//! Has two domains in a kernel's pipeline, one ahead of Linux and one behind it, for
//! selftests/115-pipeline.sh.
//!
//! It is told what to do by a line written to `pipeline_test/run` in debugfs, and the writer waits
//! until it is done; what concerns "this CPU" is that of the writer. RANK is 2 or 6, PLACE that of
//! one of two vectors that come by hardware:
//!
//! | line | |
//! |------|-|
//! | `open`, `close` | has the domains and their vectors, or gives them back |
//! | `takes RANK`, `passes RANK`, `puts-off RANK`, `hands-on RANK` | what its handler does from now on |
//! | `send CPU PLACE` | one interrupt |
//! | `trigger RANK VECTOR` | a synthetic one, on this CPU |
//! | `ask CPU RANK VECTOR` | a synthetic one, on another CPU |
//! | `stall RANK`, `unstall RANK` | on this CPU |
//! | `storm CPU COUNT` | interrupts one after the other, each when the one before has been handled |
//! | `remove PLACE`, `add PLACE` | the first domain gives up a vector, or takes it again |
//! | `churn ROUNDS` | the first domain goes and comes back, again and again |
//! | `refuse` | asks for what has to be refused; EILSEQ if something is not |
//! | `clear` | forgets what was noted |
//!
//! The file tells the vectors, how many runs of handlers there were, and the latest of them.

use adeos_core::pipeline::{
    Domain,
    SYNTHETIC, //
};
use adeos_core::{
    now_ns,
    InStage, //
};
use adeos_proto::layout::PORTAL_VECTOR;
use adeos_proto::pipeline::{
    Outcome,
    Stage, //
};
use command::Words;
use kernel::debugfs::Scope;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Release, //
};
use kernel::sync::Mutex;
use kernel::uaccess::UserSliceReader;

mod command;

module! {
    type: PipelineTest,
    name: "pipeline_test",
    authors: ["The Adeos cluster project"],
    description: "Test of the interrupt pipeline",
    license: "GPL",
}

struct PipelineTest {
    _files: Pin<KBox<Scope<Test>>>,
}

impl kernel::Module for PipelineTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let test = pin_init!(Test {
            late <- kernel::new_mutex!(None, "pipeline_test:late"),
            early <- kernel::new_mutex!(None, "pipeline_test:early"),
        });
        let files = Scope::dir(test, c"pipeline_test", |test, dir| {
            dir.read_write_callback_file(c"run", test, &report, &run);
        });
        Ok(Self {
            _files: KBox::pin_init(files, GFP_KERNEL)?,
        })
    }
}

/// What the commands work on. Of the two locks each is held for a whole command, so that the early
/// domain can go and come while the late one is in a storm.
#[pin_data]
struct Test {
    #[pin]
    late: Mutex<Option<Late>>,
    #[pin]
    early: Mutex<Option<Domain>>,
}

struct Late {
    domain: Domain,
    vectors: [u8; 2],
}

const EARLY: usize = 2;
const LATE: usize = 6;

/// The synthetic vectors of both: what the test triggers, and what one stage hands on to the other.
const TRIGGERED: u8 = 3;
const HANDED_ON: u8 = 5;

/// What a handler does: see the commands.
#[derive(Clone, Copy)]
enum Habit {
    Takes,
    Passes,
    /// Stalls its own stage and triggers the interrupt for it again (PI-32), once.
    PutsOff,
    /// Triggers [`HANDED_ON`] for the late stage, and takes what it was given.
    HandsOn,
}

/// Habits of both, by number.
static EARLY_DOES: Atomic<u32> = Atomic::new(Habit::Takes as u32);
static LATE_DOES: Atomic<u32> = Atomic::new(Habit::Takes as u32);

/// What both are offered: the two that come by hardware, and [`TRIGGERED`].
static VECTORS: [Atomic<u32>; 3] = [const { Atomic::new(0) }; 3];

/// Runs of the handlers.
static EARLY_RUNS: Atomic<u64> = Atomic::new(0);
static LATE_RUNS: Atomic<u64> = Atomic::new(0);

/// The latest runs: rank and vector.
static LATEST: [Atomic<u32>; 32] = [const { Atomic::new(0) }; 32];
static NOTED: Atomic<u64> = Atomic::new(0);

/// Interrupts of a storm; those that nobody has handled; and rounds of `churn`.
static SENT: Atomic<u64> = Atomic::new(0);
static LOST: Atomic<u64> = Atomic::new(0);
static CHURNED: Atomic<u64> = Atomic::new(0);

/// After this time an interrupt has got lost. In ns.
const PATIENCE_NS: u64 = 2_000_000_000;

fn stage(rank: usize) -> Result<Stage> {
    Stage::new(rank).ok_or(EINVAL)
}

fn on_early(stage: &InStage<'_>, vector: u8) -> Outcome {
    note(EARLY, vector, &EARLY_RUNS);
    act(stage, EARLY, vector, &EARLY_DOES)
}

fn on_late(stage: &InStage<'_>, vector: u8) -> Outcome {
    note(LATE, vector, &LATE_RUNS);
    act(stage, LATE, vector, &LATE_DOES)
}

fn note(rank: usize, vector: u8, runs: &Atomic<u64>) {
    let at = NOTED.fetch_add(1, Full) as usize % LATEST.len();
    if let Some(place) = LATEST.get(at) {
        place.store((rank as u32) << 8 | u32::from(vector), Release);
    }
    runs.fetch_add(1, Full);
}

fn act(at: &InStage<'_>, rank: usize, vector: u8, habit: &Atomic<u32>) -> Outcome {
    let does = habit.load(Acquire);
    if does == Habit::Passes as u32 {
        return Outcome::Passed;
    }
    if let (Ok(own), true) = (stage(rank), does == Habit::PutsOff as u32) {
        habit.store(Habit::Takes as u32, Release);
        if at.stall(own).is_err() || at.trigger(own, vector).is_err() {
            return Outcome::Passed;
        }
    }
    if let (Ok(late), true) = (stage(LATE), does == Habit::HandsOn as u32) {
        if at.trigger(late, HANDED_ON).is_err() {
            return Outcome::Passed;
        }
    }
    Outcome::Taken
}

impl Late {
    fn new() -> Result<Self> {
        let domain = Domain::register("late", stage(LATE)?, on_late)?;
        let vectors = [domain.allocate()?, domain.allocate()?];
        domain.add(TRIGGERED)?;
        domain.add(HANDED_ON)?;
        Ok(Self { domain, vectors })
    }

    fn vector(&self, place: usize) -> Result<u8> {
        self.vectors.get(place).copied().ok_or(EINVAL)
    }
}

/// The domain that is offered the same before the late one.
fn early() -> Result<Domain> {
    let domain = Domain::register("early", stage(EARLY)?, on_early)?;
    for vector in &VECTORS {
        domain.add(vector.load(Acquire) as u8)?;
    }
    Ok(domain)
}

fn open(test: &Test) -> Result {
    let late = Late::new()?;
    let vectors = [late.vectors[0], late.vectors[1], TRIGGERED];
    for (place, vector) in VECTORS.iter().zip(vectors) {
        place.store(u32::from(vector), Release);
    }
    *test.early.lock() = Some(early()?);
    *test.late.lock() = Some(late);
    Ok(())
}

fn close(test: &Test) {
    *test.early.lock() = None;
    *test.late.lock() = None;
}

/// Sends interrupts of the first vector, each when one of the handlers has run for the one before.
fn storm(late: &Late, cpu: u32, count: u64) -> Result {
    let runs = || {
        EARLY_RUNS
            .load(Acquire)
            .wrapping_add(LATE_RUNS.load(Acquire))
    };
    for _ in 0..count {
        let before = runs();
        let start = now_ns();
        late.domain.send(cpu, late.vector(0)?)?;
        SENT.fetch_add(1, Full);
        while runs() == before {
            if now_ns().wrapping_sub(start) > PATIENCE_NS {
                LOST.fetch_add(1, Full);
                break;
            }
            core::hint::spin_loop();
        }
    }
    Ok(())
}

/// The early domain goes and comes back. The late one may be in a storm, so it is not asked.
fn churn(test: &Test, rounds: u64) -> Result {
    let mut place = test.early.lock();
    for _ in 0..rounds {
        *place = None;
        *place = Some(early()?);
        CHURNED.fetch_add(1, Full);
    }
    Ok(())
}

/// What has to be refused.
fn refuse(late: &Late) -> Result {
    let vector = late.vector(0)?;
    let late = &late.domain;
    let adeos = Domain::register("other", Stage::ADEOS, on_early).err();
    let linux = Domain::register("other", Stage::LINUX, on_early).err();
    let taken = Domain::register("other", stage(EARLY)?, on_early).err();
    // The local timer's, a system call's, a device's, the one that the APIC calls spurious; and those
    // of portals.
    let vectors = [0xec, 0x80, 0x31, 0xff, PORTAL_VECTOR as u8, 0];
    let others = vectors.map(|vector| late.add(vector).err());
    let early = stage(EARLY)?;
    let answers = [
        (adeos, EBUSY),
        (linux, EBUSY),
        (taken, EBUSY),
        (others[0], EBUSY),
        (others[1], EBUSY),
        (others[2], EBUSY),
        (others[3], EBUSY),
        (others[4], EBUSY),
        (others[5], EBUSY),
        (late.trigger(early, HANDED_ON).err(), ENOENT),
        (late.trigger_on(0, early, HANDED_ON).err(), ENOENT),
        (late.trigger_on(0, early, SYNTHETIC).err(), EINVAL),
        (late.trigger_on(1000, early, TRIGGERED).err(), ENODEV),
        (late.send(0, PORTAL_VECTOR as u8).err(), EINVAL),
        (late.send(0, TRIGGERED).err(), EINVAL),
        (late.send(1000, vector).err(), ENODEV),
    ];
    for (number, (answer, wanted)) in answers.iter().enumerate() {
        if *answer != Some(*wanted) {
            pr_err!("refusal {}: {:?}, not {:?}\n", number, answer, wanted);
            return Err(EILSEQ);
        }
    }
    Ok(())
}

/// The file is written to. EINVAL for a line that is no command, ENOENT without domains.
fn run(test: &Test, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 64];
    let mut words = Words::read(line, &mut bytes)?;
    let command = words.next()?;
    match command {
        "open" => return open(test),
        "close" => {
            close(test);
            return Ok(());
        }
        "clear" => {
            for number in [&EARLY_RUNS, &LATE_RUNS, &NOTED, &SENT, &LOST, &CHURNED] {
                number.store(0, Release);
            }
            return Ok(());
        }
        "takes" => return set(words.number()?, Habit::Takes),
        "passes" => return set(words.number()?, Habit::Passes),
        "puts-off" => return set(words.number()?, Habit::PutsOff),
        "hands-on" => return set(words.number()?, Habit::HandsOn),
        "churn" => return churn(test, words.number()?),
        "add" => return early_has(test, words.number()?, true),
        "remove" => return early_has(test, words.number()?, false),
        "stall" => return with_domain(test, words.number()?, |domain| domain.stall().map(|_| ())),
        "unstall" => {
            return with_domain(test, words.number()?, |domain| {
                domain.unstall();
                Ok(())
            })
        }
        _ => (),
    }
    let guard = test.late.lock();
    let late = guard.as_ref().ok_or(ENOENT)?;
    let domain = &late.domain;
    match command {
        "send" => {
            let cpu = words.number()?;
            domain.send(cpu, late.vector(words.number()?)?)
        }
        "trigger" => domain.trigger(stage(words.number()?)?, words.number()?),
        "ask" => {
            let cpu = words.number()?;
            domain.trigger_on(cpu, stage(words.number()?)?, words.number()?)
        }
        "storm" => storm(late, words.number()?, words.number()?),
        "refuse" => refuse(late),
        _ => Err(EINVAL),
    }
}

/// Whether the early domain is offered a vector from now on.
fn early_has(test: &Test, place: usize, has: bool) -> Result {
    let vector = VECTORS.get(place).ok_or(EINVAL)?.load(Acquire) as u8;
    with_domain(test, EARLY, |early| match has {
        true => early.add(vector),
        false => early.remove(vector),
    })
}

/// Runs `with` on the domain of a stage.
fn with_domain(test: &Test, rank: usize, with: impl FnOnce(&Domain) -> Result) -> Result {
    match rank {
        EARLY => with(test.early.lock().as_ref().ok_or(ENOENT)?),
        LATE => with(&test.late.lock().as_ref().ok_or(ENOENT)?.domain),
        _ => Err(EINVAL),
    }
}

fn set(rank: usize, habit: Habit) -> Result {
    let place = match rank {
        EARLY => &EARLY_DOES,
        LATE => &LATE_DOES,
        _ => return Err(EINVAL),
    };
    place.store(habit as u32, Release);
    Ok(())
}

/// The file is read.
fn report(_: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "vectors")?;
    for vector in &VECTORS {
        write!(f, " {:#04x}", vector.load(Acquire))?;
    }
    writeln!(f)?;
    for (name, number) in [
        ("early", &EARLY_RUNS),
        ("late", &LATE_RUNS),
        ("sent", &SENT),
        ("lost", &LOST),
        ("churned", &CHURNED),
    ] {
        writeln!(f, "{} {}", name, number.load(Acquire))?;
    }
    write!(f, "latest")?;
    let noted = NOTED.load(Acquire) as usize;
    for at in noted.saturating_sub(LATEST.len())..noted {
        let latest = LATEST.get(at % LATEST.len());
        let word = latest.map_or(0, |latest| latest.load(Acquire));
        write!(f, " {}:{:#04x}", word >> 8, word & 0xff)?;
    }
    writeln!(f)
}
