// SPDX-License-Identifier: GPL-2.0

//! Drives the DSP from inside kernels, for selftests/100-dsp.sh and 101-members.sh.
//!
//! Each kernel that loads it has its services (`dsp_test/services.rs`) and is told what to do by a
//! line written to `dsp_test/run` in debugfs; the writer waits until it is done:
//!
//! | line | |
//! |------|-|
//! | `ask VNODE SERVICE COUNT MS` | asks so often, one after the other, and checks the answers |
//! | `tell VNODE SERVICE COUNT` | tells a sequence of numbers, again when the mailbox is full |
//! | `fill VNODE SERVICE` | tells the same until the mailbox is full |
//! | `gate open`, `gate closed` | lets the handler of the gated service go on, or not |
//!
//! What has come of it, and the views that a subscription was told of, is what the file says.

use adeos_core::dsp::{
    Area,
    Context,
    Service, //
};
use adeos_core::events::Subscription;
use adeos_core::Core;
use adeos_proto::id::{
    Life,
    VnodeId, //
};
use core::str::SplitAsciiWhitespace;
use kernel::debugfs::{
    Dir,
    File, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::UserSliceReader;
use services::number;

#[path = "dsp_test/client.rs"]
mod client;
#[path = "dsp_test/services.rs"]
mod services;
#[path = "dsp_test/views.rs"]
mod views;

module! {
    type: DspTest,
    name: "dsp_test",
    authors: ["The Adeos cluster project"],
    description: "Test of the distributed sharing protocol between vnodes",
    license: "GPL",
}

/// The loaded module. The services go before the gate opens: they wait for a handler that waits for
/// it, until somebody opens it. The gated one goes after that.
#[pin_data]
struct DspTest {
    #[pin]
    file: File<Test>,
    _dir: Dir,
    _services: [Service; 5],
    _gate: services::OpenAtEnd,
    _gated: [Service; 2],
    _subscription: Subscription,
}

impl kernel::InPlaceModule for DspTest {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let core = Core::get()?;
            let subscription = Subscription::new(views::note)?;
            let register = |service, context, handler| {
                Service::register(&core, Area::Local, service, context, handler)
            };
            let services = [
                register(number::ECHO_STAGE, Context::Stage, services::echo)?,
                register(number::ECHO_THREAD, Context::Thread, services::echo)?,
                register(number::SILENT, Context::Stage, services::be_silent)?,
                register(number::COUNT, Context::Stage, services::count)?,
                register(number::NESTED, Context::Thread, services::ask_back)?,
            ];
            let gated = [
                register(number::GATED, Context::Thread, services::count_behind_gate)?,
                register(number::OPEN, Context::Stage, services::open_gate)?,
            ];
            let test = Test { core };
            let dir = Dir::new(c"dsp_test");
            Ok(try_pin_init!(Self {
                file <- dir.read_write_callback_file(c"run", test, &report, &run),
                _dir: dir.clone(),
                _services: services,
                _gate: services::OpenAtEnd,
                _gated: gated,
                _subscription: subscription,
            }))
        })
    }
}

/// What the commands work on.
struct Test {
    core: Arc<Core>,
}

impl Test {
    /// The life of a vnode, as the latest view has it. ENXIO when it is no member.
    fn life(&self, vnode: VnodeId) -> Result<Life> {
        self.core.view().life(vnode).ok_or(ENXIO)
    }
}

/// The words that follow a command.
struct Words<'a>(SplitAsciiWhitespace<'a>);

impl Words<'_> {
    /// The next one is a number. EINVAL.
    fn number<T: TryFrom<u64>>(&mut self) -> Result<T> {
        let word = self.0.next().ok_or(EINVAL)?;
        let number = word.parse::<u64>().map_err(|_| EINVAL)?;
        T::try_from(number).map_err(|_| EINVAL)
    }

    fn vnode(&mut self) -> Result<VnodeId> {
        VnodeId::new(self.number()?).ok_or(EINVAL)
    }

    /// The next one names one of the services.
    fn service(&mut self) -> Result<u16> {
        services::named(self.0.next().ok_or(EINVAL)?).ok_or(EINVAL)
    }
}

/// The file is written to. EINVAL for a line that is no command, EINTR on a signal.
fn run(test: &Test, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 128];
    let len = line.len();
    let text = bytes.get_mut(..len).ok_or(EINVAL)?;
    line.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    let mut words = Words(text.split_ascii_whitespace());
    match words.0.next().ok_or(EINVAL)? {
        "ask" => {
            let (vnode, service) = (words.vnode()?, words.service()?);
            client::ask(test, vnode, service, words.number()?, words.number()?)
        }
        "tell" => client::tell(test, words.vnode()?, words.service()?, words.number()?),
        "fill" => client::fill(test, words.vnode()?, words.service()?),
        "gate" => {
            let is_open = match words.0.next() {
                Some("open") => true,
                Some("closed") => false,
                _ => return Err(EINVAL),
            };
            services::set_gate(is_open);
            Ok(())
        }
        _ => Err(EINVAL),
    }
}

/// The file is read.
fn report(_: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    client::report(f)?;
    services::report(f)?;
    views::report(f)
}
