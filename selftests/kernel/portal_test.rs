// SPDX-License-Identifier: GPL-2.0

//! Drives portals from inside kernels, for selftests/110-portals.sh.
//!
//! It is loaded in the root first, where it takes memory out of the pool and tells its address
//! (`memory` in the report); in vnodes it is given that address. It is told what to do by a line
//! written to `portal_test/run` in debugfs, and the writer waits until it is done:
//!
//! | line | |
//! |------|-|
//! | `open` | has portals of its own from now on; the report tells their numbers |
//! | `close` | gives them back |
//! | `mask PLACE`, `unmask PLACE` | of a portal of its own |
//! | `toggle ROUNDS` | masks and unmasks two of them, and looks whether it helps |
//! | `churn ROUNDS` | releases one and takes it again; storms go on until that is done |
//! | `forget ROUNDS` | raises what is given to somebody else before it is delivered |
//! | `exhaust` | takes all portals that are free, and then some |
//! | `outlast ROUNDS` | releases portals while their handlers run, on another CPU |
//! | `chase`, `rest` | has a portal whose handler raises it again, without end, until `rest` |
//! | `raise VNODE PLACE NUMBER` | |
//! | `die VNODE PLACE NUMBER` | the same without the interrupt, as if it died before |
//! | `storm VNODE COUNT NUMBER...` | raises these in turn, the one of place 0 first |

use adeos_core::{
    Core,
    Portal, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::portal::Number;
use core::str::SplitAsciiWhitespace;
use kernel::debugfs::Scope;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::{
    Arc,
    Mutex, //
};
use kernel::uaccess::UserSliceReader;
use shared::Shared;

#[path = "portal_test/owner.rs"]
mod owner;
#[path = "portal_test/receiver.rs"]
mod receiver;
#[path = "portal_test/sender.rs"]
mod sender;
#[path = "portal_test/shared.rs"]
mod shared;

module! {
    type: PortalTest,
    name: "portal_test",
    authors: ["The Adeos cluster project"],
    description: "Test of portals between vnodes",
    license: "GPL",
    params: {
        memory: u64 {
            default: 0,
            description: "Physical address of the memory that the module in the root has told",
        },
    },
}

struct PortalTest {
    _files: Pin<KBox<Scope<Test>>>,
}

impl kernel::Module for PortalTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let core = Core::get()?;
        let shared = Shared::new(&core, module_parameters::memory.value())?;
        let files = Scope::dir(Test::new(core, shared), c"portal_test", |test, dir| {
            CURRENT.store(core::ptr::from_ref(test) as usize, Release);
            dir.read_write_callback_file(c"run", test, &report, &run);
        });
        Ok(Self {
            _files: KBox::pin_init(files, GFP_KERNEL)?,
        })
    }
}

/// What the commands work on. Portals go first: then no handler looks at the rest any more.
#[pin_data]
struct Test {
    #[pin]
    portals: Mutex<KVec<Portal>>,
    core: Arc<Core>,
    shared: Shared,
}

/// The one [`Test`], for handlers.
static CURRENT: Atomic<usize> = Atomic::new(0);

impl Test {
    fn new(core: Arc<Core>, shared: Shared) -> impl PinInit<Self> {
        pin_init!(Self {
            portals <- kernel::new_mutex!(KVec::new(), "portal_test"),
            core,
            shared,
        })
    }
}

/// Runs `with` on the test, in a handler.
fn in_handler(with: impl FnOnce(&Test)) {
    let address = CURRENT.load(Acquire) as *const Test;
    // SAFETY: It is set once, to what is pinned until the module goes; and handlers run only while
    // there are portals, which are its own and go before the rest of it.
    if let Some(test) = unsafe { address.as_ref() } {
        with(test);
    }
}

/// The words that follow a command.
struct Words<'a>(SplitAsciiWhitespace<'a>);

impl Words<'_> {
    /// The next one is a number. EINVAL.
    fn number(&mut self) -> Result<u64> {
        let word = self.0.next().ok_or(EINVAL)?;
        word.parse().map_err(|_| EINVAL)
    }

    fn vnode(&mut self) -> Result<VnodeId> {
        VnodeId::new(u32::try_from(self.number()?)?).ok_or(EINVAL)
    }

    fn place(&mut self) -> Result<usize> {
        let place = usize::try_from(self.number()?)?;
        (place < shared::PLACES).then_some(place).ok_or(EINVAL)
    }

    fn portal(&mut self) -> Result<Number> {
        Number::new(u32::try_from(self.number()?)?).ok_or(EINVAL)
    }
}

/// The file is written to. EINVAL for a line that is no command.
fn run(test: &Test, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 128];
    let len = line.len();
    let text = bytes.get_mut(..len).ok_or(EINVAL)?;
    line.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    let mut words = Words(text.split_ascii_whitespace());
    match words.0.next().ok_or(EINVAL)? {
        "open" => receiver::open(test),
        "close" => receiver::close(test),
        "mask" => receiver::mask(test, words.place()?),
        "unmask" => receiver::unmask(test, words.place()?),
        "toggle" => receiver::toggle(test, words.number()?),
        "churn" => receiver::churn(test, words.number()?),
        "forget" => owner::forget(test, words.number()?),
        "exhaust" => owner::exhaust(),
        "outlast" => owner::outlast(test, words.number()?),
        "chase" => receiver::chase(test),
        "rest" => receiver::rest(),
        "die" => sender::die(test, words.vnode()?, words.place()?, words.portal()?),
        "raise" => sender::raise(test, words.vnode()?, words.place()?, words.portal()?),
        "storm" => sender::storm(test, &mut words),
        _ => Err(EINVAL),
    }
}

/// The file is read.
fn report(test: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "vnode {}", test.core.identity().vnode.number())?;
    writeln!(f, "memory {:#x}", test.shared.base())?;
    receiver::report(f)?;
    owner::report(f)?;
    sender::report(f)
}
