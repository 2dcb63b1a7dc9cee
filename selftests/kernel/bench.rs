// SPDX-License-Identifier: GPL-2.0

//! Measures what kernels say to each other against what one kernel does alone, for scripts/bench.
//!
//! It is loaded in the root first, where it makes a bridge, then in vnodes. It is told what to do by
//! a line written to `bench/run` in debugfs, and the writer waits until it is done:
//!
//! | line | |
//! |------|-|
//! | `serve` | in a vnode: answers portals from now on |
//! | `portals VNODE CPU ROUNDS` | round trips by portals, against calls on a CPU of this kernel |
//! | `requests VNODE CPU ROUNDS` | requests that ask for nothing, against the same calls |
//! | `copies ROUNDS` | into the bridge and out of it, against memory of this kernel |
//! | `send COUNT` | in a vnode: sends the root messages, once it lets it |
//! | `receive VNODES COUNT` | in the root: takes so many of so many vnodes, which begin together |
//!
//! The file tells medians, in ticks of the time-stamp counter, each with that of what it is
//! compared to; and how long messages took.

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
use adeos_core::dsp::Service;
use adeos_core::Core;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::GRANULE;
use command::Words;
use kernel::debugfs::Scope as Files;
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

#[path = "bench/call.rs"]
mod call;
mod command;
#[path = "bench/copies.rs"]
mod copies;
#[path = "bench/figures.rs"]
mod figures;
#[path = "bench/messages.rs"]
mod messages;
#[path = "bench/portals.rs"]
mod portals;
#[path = "bench/words.rs"]
mod words;

module! {
    type: Module,
    name: "bench",
    authors: ["The Adeos cluster project"],
    description: "Benchmark of what kernels say to each other",
    license: "GPL",
}

struct Module {
    _files: Pin<KBox<Files<Bench>>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let bench = Bench::new(Core::get()?)?;
        let files = Files::dir(bench, c"bench", |bench, dir| {
            CURRENT.store(core::ptr::from_ref(bench) as usize, Release);
            dir.read_write_callback_file(c"run", bench, &report, &run);
        });
        Ok(Self {
            _files: KBox::pin_init(files, GFP_KERNEL)?,
        })
    }
}

/// What the commands work on. What has handlers goes first: then none looks at the rest any more.
#[pin_data]
struct Bench {
    #[pin]
    answering: Mutex<Option<portals::Answering>>,
    _services: [Service; 2],
    mapped: Mapped,
    _bridge: Bridge,
    core: Arc<Core>,
}

/// The one [`Bench`], for handlers of portals.
static CURRENT: Atomic<usize> = Atomic::new(0);

impl Bench {
    /// Makes the bridge (root) or opens it (vnode). Errors of [`Bridge::create`] and of
    /// [`Bridge::open`].
    fn new(core: Arc<Core>) -> Result<impl PinInit<Self>> {
        let key = Key {
            scope: Scope::Global,
            name: BridgeName::new("bench").map_err(|_| EINVAL)?,
        };
        let bridge = if core.identity().is_root() {
            let spec = Spec {
                key,
                size: GRANULE,
                rights: Rights::open_to(Vnodes::ALL),
                follow: Follow::Stays,
            };
            Bridge::create(&core, &spec, None)?
        } else {
            Bridge::open(&core, &key, Access::Write, Follow::Stays, None)?
        };
        let mapped = bridge.map()?;
        let services = messages::register(&core)?;
        Ok(pin_init!(Self {
            answering <- kernel::new_mutex!(None, "bench"),
            _services: services,
            mapped,
            _bridge: bridge,
            core,
        }))
    }
}

/// Runs `with` on it, in a handler of a portal.
fn in_handler(with: impl FnOnce(&Bench)) {
    let address = CURRENT.load(Acquire) as *const Bench;
    // SAFETY: It is set once, to what is pinned until the module goes; and handlers of portals run
    // only while there is `answering`, which goes before the rest of it.
    if let Some(bench) = unsafe { address.as_ref() } {
        with(bench);
    }
}

impl Words<'_> {
    fn vnode(&mut self) -> Result<VnodeId> {
        VnodeId::new(self.number()?).ok_or(EINVAL)
    }
}

/// The file is written to. EINVAL for a line that is no command.
fn run(bench: &Bench, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 64];
    let mut words = Words::read(line, &mut bytes)?;
    match words.next()? {
        "serve" => portals::serve(bench),
        "portals" => portals::measure(bench, words.vnode()?, words.number()?, words.number()?),
        "requests" => messages::ask(bench, words.vnode()?, words.number()?, words.number()?),
        "copies" => copies::measure(bench, words.number()?),
        "send" => messages::send(bench, words.number()?),
        "receive" => messages::receive(bench, words.number()?, words.number()?),
        _ => Err(EINVAL),
    }
}

/// The file is read.
fn report(_: &Bench, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    figures::report(f)?;
    messages::report(f)
}
