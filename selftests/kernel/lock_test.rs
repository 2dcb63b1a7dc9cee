// SPDX-License-Identifier: GPL-2.0

//! Drives locks between vnodes from inside kernels, for selftests/170-locks.sh.
//!
//! The first kernel that loads it creates the bridge `lock_test`, the others open it; in it lie a
//! lock and what it guards. A line written to `lock_test/run` in debugfs is a command; the write
//! returns when it is done, and fails with its error.
//!
//! | line | |
//! |------|-|
//! | `reset` | sets what the lock guards to zeros, while nobody contends |
//! | `contend TOTAL MASK` | waits until all vnodes of a mask do this, then takes the lock in turns and counts, until they have counted so far |
//! | `spin TOTAL` | the same for two callers of this kernel and a spinlock of Linux |
//! | `hold MS` | takes the lock and keeps it for a time, or until `release` |
//! | `release` | |
//! | `take MS` | takes the lock within a time, and frees it |
//! | `repair MS` | the same, and declares consistent |
//! | `try`, `stage` | tries to take the lock, in a process, or in the handler of a portal |
//! | `open OFFSET` | opens a lock of its own there, and closes it |
//! | `poke OFFSET NUMBER` | writes into the bridge |
//!
//! Reading tells what has come of it.

use adeos_core::Core;
use contend::Counted;
use core::str::{
    FromStr,
    SplitAsciiWhitespace, //
};
use kernel::debugfs::Scope;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Release, //
};
use kernel::sync::{
    Arc,
    SpinLock, //
};
use kernel::uaccess::UserSliceReader;
use shared::Shared;
use turns::Turns;

#[path = "lock_test/contend.rs"]
mod contend;
#[path = "lock_test/shared.rs"]
mod shared;
#[path = "lock_test/turns.rs"]
mod turns;

module! {
    type: LockTest,
    name: "lock_test",
    authors: ["The Adeos cluster project"],
    description: "Test of locks between vnodes",
    license: "GPL",
}

struct LockTest {
    test: Arc<Test>,
    _files: Pin<KBox<Scope<Arc<Test>>>>,
}

impl kernel::Module for LockTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let core = Core::get()?;
        let shared = Shared::new(&core)?;
        let test = Arc::pin_init(Test::new(core, shared), GFP_KERNEL)?;
        turns::CURRENT.store(Arc::as_ptr(&test) as usize, Release);
        let files = Scope::dir(test.clone(), c"lock_test", |test, dir| {
            dir.read_write_callback_file(c"run", test, &report, &run);
        });
        Ok(Self {
            test,
            _files: KBox::pin_init(files, GFP_KERNEL)?,
        })
    }
}

impl Drop for LockTest {
    fn drop(&mut self) {
        // The file goes when nobody writes to it any more: those who wait or hold are to come back.
        self.test.shared.lock.shut_down();
        self.test.turns.release();
    }
}

/// What the commands work on.
#[pin_data]
struct Test {
    core: Arc<Core>,
    shared: Shared,
    #[pin]
    turns: Turns,
    own: Counted,
    #[pin]
    spun: SpinLock<contend::Spun>,
    /// Callers of `spin` that have come.
    spinners: Atomic<u32>,
    /// How long the latest contention took, in ns: for the lock, and for the spinlock.
    lasted_ns: [Atomic<u64>; 2],
}

impl Test {
    fn new(core: Arc<Core>, shared: Shared) -> impl PinInit<Self> {
        pin_init!(Self {
            core,
            shared,
            turns <- Turns::new(),
            own: Counted::new(),
            spun <- kernel::new_spinlock!(contend::Spun::new(), "lock_test:spun"),
            spinners: Atomic::new(0),
            lasted_ns: [const { Atomic::new(0) }; 2],
        })
    }
}

/// The words that follow a command.
struct Words<'a>(SplitAsciiWhitespace<'a>);

impl Words<'_> {
    /// The next one is a number, decimal or hexadecimal. EINVAL.
    fn number<T: FromStr + TryFrom<u64>>(&mut self) -> Result<T> {
        let word = self.0.next().ok_or(EINVAL)?;
        match word.strip_prefix("0x") {
            Some(digits) => {
                let number = u64::from_str_radix(digits, 16).map_err(|_| EINVAL)?;
                T::try_from(number).map_err(|_| EINVAL)
            }
            None => word.parse().map_err(|_| EINVAL),
        }
    }
}

/// The file is written to. EINVAL for a line that is no command.
fn run(test: &Arc<Test>, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 128];
    let len = line.len();
    let text = bytes.get_mut(..len).ok_or(EINVAL)?;
    line.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    let mut words = Words(text.split_ascii_whitespace());
    match words.0.next().ok_or(EINVAL)? {
        "reset" => contend::reset(test),
        "contend" => contend::contend(test, words.number()?, words.number()?),
        "spin" => contend::spin(test, words.number()?),
        "hold" => turns::hold(test, words.number()?),
        "release" => {
            test.turns.release();
            Ok(())
        }
        "take" => turns::take(test, words.number()?, turns::Then::Free),
        "repair" => turns::take(test, words.number()?, turns::Then::Repair),
        "try" => turns::try_here(test),
        "stage" => turns::try_in_stage(test),
        "open" => test.shared.open(&test.core, words.number()?),
        "poke" => test.shared.poke(words.number()?, words.number()?),
        _ => Err(EINVAL),
    }
}

/// The file is read.
fn report(test: &Arc<Test>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "vnode {}", test.core.identity().vnode.number())?;
    contend::report(test, f)?;
    test.turns.report(f)
}
