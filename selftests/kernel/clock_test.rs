// SPDX-License-Identifier: GPL-2.0

//! Compares the cluster's time of two kernels by a ping-pong through a bridge, for
//! selftests/160-clock.sh.
//!
//! Each line written to `clock_test/run` in debugfs is done when the write returns:
//!
//! | line | |
//! |------|-|
//! | `answer MS` | writes its time for each number that comes, for so long |
//! | `ask COUNT` | takes its own time, has the other's written, takes its own again |
//! | `over 0` | ends the other's `answer` |
//!
//! The file tells how many rounds there were; by how many ns the other's time was outside of the two
//! of the asker, at most; and how long the shortest round took, in ns.

use adeos_core::bridge::{
    Access,
    Bridge,
    BridgeName,
    Follow,
    Key,
    Mapped,
    Rights,
    Scope,
    Spec,
    Vnodes, //
};
use adeos_core::{
    now_ns,
    Core, //
};
use adeos_proto::layout::GRANULE;
use adeos_proto::window::Window;
use command::Words;
use kernel::debugfs::Scope as Files;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::Arc;
use kernel::uaccess::UserSliceReader;

mod command;

module! {
    type: ClockTest,
    name: "clock_test",
    authors: ["The Adeos cluster project"],
    description: "Test of the cluster's time",
    license: "GPL",
}

struct ClockTest {
    _files: Pin<KBox<Files<Test>>>,
}

impl kernel::Module for ClockTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let test = Test::new()?;
        let files = Files::dir(test, c"clock_test", |test, dir| {
            dir.read_write_callback_file(c"run", test, &report, &run);
        });
        Ok(Self {
            _files: KBox::pin_init(files, GFP_KERNEL)?,
        })
    }
}

struct Test {
    core: Arc<Core>,
    mapped: Mapped,
    _bridge: Bridge,
}

/// Words of the bridge, a cache line each: the number of a round, that of the one that was answered,
/// and the answerer's time.
const ASKED: usize = 0;
const ANSWERED: usize = 64;
const TIME: usize = 128;

/// The number that ends it.
const OVER: u64 = u64::MAX;

/// Who waits for longer does not count the round.
const PATIENCE_NS: u64 = 1_000_000_000;

static ROUNDS: Atomic<u64> = Atomic::new(0);
static OUTSIDE_NS: Atomic<u64> = Atomic::new(0);
static SHORTEST_NS: Atomic<u64> = Atomic::new(u64::MAX);

impl Test {
    /// Opens the bridge, which the first one makes.
    fn new() -> Result<Self> {
        let core = Core::get()?;
        let key = Key {
            scope: Scope::Global,
            name: BridgeName::new("clock_test").map_err(|_| EINVAL)?,
        };
        let spec = Spec {
            key,
            size: GRANULE,
            rights: Rights::open_to(Vnodes::ALL),
            follow: Follow::Stays,
        };
        let bridge = match Bridge::create(&core, &spec, None) {
            Err(error) if error == EEXIST => {
                Bridge::open(&core, &key, Access::Write, Follow::Stays, None)?
            }
            created => created?,
        };
        Ok(Self {
            core,
            mapped: bridge.map()?,
            _bridge: bridge,
        })
    }

    fn answer(&self, ms: u64) -> Result {
        let begun = now_ns();
        let mut last = self.mapped.load_acquire64(ASKED);
        while now_ns().wrapping_sub(begun) < ms.wrapping_mul(1_000_000) {
            let asked = self.mapped.load_acquire64(ASKED);
            if asked == last {
                core::hint::spin_loop();
                continue;
            }
            if asked == OVER {
                break;
            }
            last = asked;
            let time = self.core.cluster_ns()?;
            self.mapped.store_release64(TIME, time);
            self.mapped.store_release64(ANSWERED, asked);
        }
        Ok(())
    }

    fn ask(&self, count: u64) -> Result {
        let first = self.mapped.load_acquire64(ASKED);
        for round in 1..=count {
            let number = first.wrapping_add(round);
            let before = self.core.cluster_ns()?;
            self.mapped.store_release64(ASKED, number);
            let begun = now_ns();
            while self.mapped.load_acquire64(ANSWERED) != number {
                if now_ns().wrapping_sub(begun) > PATIENCE_NS {
                    return Err(ETIMEDOUT);
                }
                core::hint::spin_loop();
            }
            let there = self.mapped.load_acquire64(TIME);
            let after = self.core.cluster_ns()?;
            note(before, there, after);
        }
        Ok(())
    }
}

/// One at a time asks.
fn note(before: u64, there: u64, after: u64) {
    let outside = before
        .saturating_sub(there)
        .max(there.saturating_sub(after));
    OUTSIDE_NS.store(OUTSIDE_NS.load(Acquire).max(outside), Release);
    let took = after.saturating_sub(before);
    SHORTEST_NS.store(SHORTEST_NS.load(Acquire).min(took), Release);
    ROUNDS.store(ROUNDS.load(Acquire).wrapping_add(1), Release);
}

/// The file is written to. EINVAL for a line that is no command; ETIMEDOUT when nobody answers.
fn run(test: &Test, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 32];
    let mut words = Words::read(line, &mut bytes)?;
    let (command, number) = (words.next()?, words.number()?);
    match command {
        "answer" => test.answer(number),
        "ask" => test.ask(number),
        "over" => {
            test.mapped.store_release64(ASKED, OVER);
            Ok(())
        }
        _ => Err(EINVAL),
    }
}

/// The file is read.
fn report(_: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "rounds {}", ROUNDS.load(Acquire))?;
    writeln!(f, "outside_ns {}", OUTSIDE_NS.load(Acquire))?;
    writeln!(f, "shortest_ns {}", SHORTEST_NS.load(Acquire))
}
