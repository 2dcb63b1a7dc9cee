// SPDX-License-Identifier: GPL-2.0

//! A vnode that means harm, for selftests/140-hostile.sh (paper section 3, "fault containment").
//!
//! Loaded in a vnode, it is told what to do by a line written to `hostile/run` in debugfs; the writer
//! waits until it is done:
//!
//! | line | |
//! |------|-|
//! | `talk SECONDS SEED` | sends every service of everybody what it does not expect |
//! | `forge SECONDS SEED` | puts messages into its mailboxes that no nanokernel makes |
//! | `own SECONDS SEED` | stores at random where this vnode writes, and to its mailboxes |
//! | `lock SECONDS SEED` | stores at random to a lock that it may take |
//! | `all SECONDS SEED` | stores at random wherever kernels read |
//!
//! What exactly is stored to, and what is spared so that the test can go on and tell what has
//! happened, is in `hostile/places.rs`. How far it has come it writes to the last page of the
//! control area, which nobody else uses: by then its console and its channels may be of no use.

use adeos_core::{
    Core,
    Mapping, //
};
use adeos_proto::id::PhysRange;
use adeos_proto::layout::CONTROL_SIZE;
use core::str::SplitAsciiWhitespace;
use kernel::debugfs::{
    Dir,
    File, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::UserSliceReader;
use places::Reach;
use progress::Progress;
use random::Random;

#[path = "hostile/forge.rs"]
mod forge;
#[path = "hostile/places.rs"]
mod places;
#[path = "hostile/progress.rs"]
mod progress;
#[path = "hostile/random.rs"]
mod random;
#[path = "hostile/scribble.rs"]
mod scribble;
#[path = "hostile/talk.rs"]
mod talk;

module! {
    type: Hostile,
    name: "hostile",
    authors: ["The Adeos cluster project"],
    description: "Test of what a hostile vnode can do to others",
    license: "GPL",
}

/// The loaded module.
#[pin_data]
struct Hostile {
    #[pin]
    file: File<Test>,
    _dir: Dir,
}

impl kernel::InPlaceModule for Hostile {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let test = Test::new()?;
            let dir = Dir::new(c"hostile");
            Ok(try_pin_init!(Self {
                file <- dir.read_write_callback_file(c"run", test, &show, &run),
                _dir: dir.clone(),
            }))
        })
    }
}

/// What the commands work on.
struct Test {
    core: Arc<Core>,
    /// All of the control area, as no module that means well has it.
    area: Mapping,
}

impl Test {
    /// EINVAL in the root: what it does to the area is not hostile.
    fn new() -> Result<Self> {
        let core = Core::get()?;
        let base = core.identity().control.ok_or(EINVAL)?;
        let range = PhysRange::new(base, CONTROL_SIZE as u64).ok_or(EINVAL)?;
        // SAFETY: It is the control area, which is memory of no kernel, as the root has told this one.
        let area = unsafe { Mapping::new(range) }?;
        Ok(Self { core, area })
    }

    fn progress(&self) -> Progress<'_> {
        Progress::new(&self.area)
    }
}

/// The file is read: how far it has come.
fn show(test: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    test.progress().show(f)
}

/// The file is written to. EINVAL for a line that is no command, EINTR on a signal.
fn run(test: &Test, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 64];
    let text = bytes.get_mut(..line.len()).ok_or(EINVAL)?;
    line.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    let mut words = text.split_ascii_whitespace();
    let verb = words.next().ok_or(EINVAL)?;
    let (seconds, mut random) = (number(&mut words)?, Random::new(number(&mut words)?));

    let progress = test.progress();
    progress.begin(seconds);
    let result = match verb {
        "talk" => talk::run(&test.core, &progress, &mut random),
        "forge" => forge::run(test, &progress, &mut random),
        "own" => scribble::run(test, Reach::Own, &progress, &mut random),
        "lock" => scribble::run_on_lock(test, &progress, &mut random),
        "all" => scribble::run(test, Reach::All, &progress, &mut random),
        _ => Err(EINVAL),
    };
    progress.end();
    result
}

fn number(words: &mut SplitAsciiWhitespace<'_>) -> Result<u64> {
    let word = words.next().ok_or(EINVAL)?;
    word.parse().map_err(|_| EINVAL)
}
