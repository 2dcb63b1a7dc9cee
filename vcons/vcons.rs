// SPDX-License-Identifier: GPL-2.0

//! Consoles of vnodes, in every kernel of the machine (paper section 7.3; docs/vcons.md).
//!
//! The same module runs in each. It makes `/dev/vcons0`, the terminal that others see as this vnode's
//! console, and where the kernel's messages go as well; and `/dev/vcons/NAME`, the consoles of others,
//! as far as this vnode may see them. In the root it keeps all consoles.

use adeos_core::dsp::{
    Area,
    Context,
    Service, //
};
use adeos_core::events::Subscription;
use adeos_core::{
    Core,
    Event,
    Handler,
    Kthread,
    Portal, //
};
use adeos_proto::layout::portal::CONSOLE;
use adeos_proto::vcons::request::{
    Request,
    SERVICE, //
};
use attendant::Attendant;
use chardev::Region;
use console::{
    Console,
    Use, //
};
use keeper::Keeper;
use kernel::debugfs::Scope;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;
use line::ConsoleLine;
use nodes::Nodes;
use place::Place;
use shown::Viewers;
use speaker::Speaker;
use tty::Tty;

mod asks;
mod attendant;
mod chardev;
mod console;
mod ffi;
mod file;
mod keeper;
mod ldisc;
mod line;
mod nodes;
mod place;
mod shown;
mod speaker;
mod statics;
mod tty;

module! {
    type: Vcons,
    name: "vcons",
    authors: ["The Adeos cluster project"],
    description: "Consoles of vnodes, from any vnode",
    license: "GPL",
    params: {
        mode: u16 {
            default: 0,
            description: "Rights of the devices in /dev/vcons, octal with a leading 0 (default: 0600, with a group 0660)",
        },
        sysrq: bool {
            default: false,
            description: "Whether the key after a break on this vnode's console is a magic one",
        },
    },
}

/// The loaded module. Fields go in this order: first what brings work, then what does it.
struct Vcons {
    _files: Pin<KBox<Scope<Arc<Attendant>>>>,
    _discipline: ldisc::Registration<ConsoleLine>,
    _console: Console<Speaker, Speaker>,
    _service: Option<Service>,
    _subscription: Subscription,
    _portal: Portal,
    _thread: Kthread<Attendant>,
    _published: statics::Published,
    _attached: Attached,
}

impl kernel::Module for Vcons {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        statics::init();
        let core = Core::get()?;
        let is_root = core.identity().is_root();
        let keeper = match is_root {
            true => Some(Keeper::new(core.clone())?),
            false => None,
        };
        let (attached, times) = Attached::new(&core, keeper.clone())?;
        let place = Place::open(&core, core.identity().vnode)?;
        let news = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let speaker = Speaker::new(place, news.clone(), module_parameters::sysrq.value())?;
        // What can fail comes before programs can open anything: what is open needs the module.
        let portal = Portal::take(CONSOLE, "vcons", Handler::Deferred(statics::on_portal))?;
        let subscription = Subscription::new(statics::on_view)?;
        statics::take_view(&core);
        let tty = Arc::new(Tty::new(c"vcons", speaker.clone())?, GFP_KERNEL)?;
        let how = Use {
            always: !is_root,
            // What is in the kernel's log already is there once in each life.
            replay: times <= 1,
        };
        let console = Console::new(c"vcons", how, speaker, tty.clone())?;
        let viewers = Viewers::new(core.clone(), keeper.clone())?;
        let region = Region::new(c"vcons", module_parameters::mode.value())?;
        let nodes = Nodes::new(viewers.clone(), region);
        let attendant = Attendant::new(core.clone(), news, tty.clone(), viewers, keeper, nodes)?;
        let files = Scope::dir(attendant.clone(), c"vcons", |attendant, dir| {
            dir.read_callback_file(c"consoles", attendant, &show);
        });
        let files = KBox::pin_init(files, GFP_KERNEL)?;
        let published = statics::Published::new(attendant.clone());
        let service = match is_root {
            true => Some(Service::register(
                &core,
                Area::Console,
                SERVICE,
                Context::Thread,
                statics::on_request,
            )?),
            false => None,
        };
        let thread = Kthread::spawn(c"vcons", attendant.clone())?;
        let discipline = ldisc::Registration::new(c"n_vcons")?;
        tty.register()?;
        console.register();
        portal.unmask();
        attendant.begin();
        Ok(Self {
            _files: files,
            _discipline: discipline,
            _console: console,
            _service: service,
            _subscription: subscription,
            _portal: portal,
            _thread: thread,
            _published: published,
            _attached: attached,
        })
    }
}

fn show(attendant: &Arc<Attendant>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    attendant.show(f)
}

/// How often a life that is no member yet asks for its console.
const TRIES: u32 = 500;
/// How long it waits in between.
const PAUSE: Delta = Delta::from_millis(20);

/// The root knows that this life speaks, until this is dropped.
struct Attached {
    core: Arc<Core>,
    keeper: Option<Arc<Keeper>>,
}

impl Attached {
    /// Attaches; and how often this life has. Process context; waits for the root.
    fn new(core: &Arc<Core>, keeper: Option<Arc<Keeper>>) -> Result<(Self, u32)> {
        let attached = Self {
            core: core.clone(),
            keeper,
        };
        let mut tries = 0;
        let answer = loop {
            match attached.ask(Request::Attach) {
                // It has joined a moment ago, and the view that says so is on its way.
                Err(ENXIO) if tries < TRIES => {
                    tries += 1;
                    fsleep(PAUSE);
                }
                answer => break answer,
            }
        };
        let answer = answer.inspect_err(|error| {
            if *error == EOPNOTSUPP {
                pr_err!("the root has no consoles: load vcons there first\n");
            } else {
                pr_err!("the root gives this vnode no console: {:?}\n", error);
            }
        })?;
        Ok((attached, answer))
    }

    fn ask(&self, request: Request) -> Result<u32> {
        let answer = match &self.keeper {
            Some(keeper) => keeper.serve(self.core.own_life(), request)?,
            None => asks::ask(&self.core, request)?,
        };
        Ok(answer.attached)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        match self.ask(Request::Detach) {
            // A root without consoles knows of none.
            Ok(_) | Err(EOPNOTSUPP) => {}
            Err(error) => pr_warn!(
                "the root does not know that this vnode has no console any more: {:?}\n",
                error
            ),
        }
    }
}
