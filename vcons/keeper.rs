// SPDX-License-Identifier: GPL-2.0

//! The root's part: it makes the consoles, decides who types, and cleans up behind lives that have
//! ended (docs/vcons.md, sections 2 and 5).
//!
//! Lock: `consoles`, a mutex, which is held while a bridge is made, whoever has to give way for it.

#![deny(unsafe_code)]

use crate::place::{
    self,
    raise,
    Place, //
};
use adeos_core::bridge::{
    Access,
    Bridge,
    Follow,
    Rights,
    Spec,
    Vnodes, //
};
use adeos_core::{
    now_ns,
    Core,
    ModuleHold, //
};
use adeos_proto::id::{
    Life,
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::membership::{
    each,
    View, //
};
use adeos_proto::vcons::keyboard::{
    Holder,
    Keyboard,
    Refused, //
};
use adeos_proto::vcons::output;
use adeos_proto::vcons::request::{
    Answer,
    Request, //
};
use adeos_proto::vcons::{
    self,
    OUTPUT,
    SIGNATURE, //
};
use adeos_proto::window::Window;
use kernel::fmt;
use kernel::module::this_module;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::{
    Arc,
    Mutex, //
};

/// How long a console stays when its vnode has been taken back: a restart takes it back as well.
const LINGER_NS: u64 = 10_000_000_000;

/// One console.
struct Console {
    place: Place,
    /// What its vnode is called, once it has been made ready for that one.
    name: Option<[u8; 32]>,
    keyboard: Keyboard,
    /// What was published of who may use it.
    rights: Rights,
    /// The life that speaks.
    speaker: Option<Life>,
    /// The life that has spoken last, and how often it has attached.
    attached: (Option<Life>, u32),
    /// Since when its vnode has been taken back.
    gone_since_ns: Option<u64>,
    /// While another vnode speaks, this module stays: who else would decide?
    hold: Option<ModuleHold>,
}

/// All consoles.
#[pin_data]
pub(crate) struct Keeper {
    core: Arc<Core>,
    #[pin]
    consoles: Mutex<KVec<Console>>,
    /// Which life of each vnode has been seen, so that what an earlier one held is let go of; with
    /// `consoles` locked.
    lives: [Atomic<u32>; MAX_VNODES],
}

impl Keeper {
    pub(crate) fn new(core: Arc<Core>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                core,
                consoles <- kernel::new_mutex!(KVec::new(), "vcons:consoles"),
                lives: [const { Atomic::new(0) }; MAX_VNODES],
            }),
            GFP_KERNEL,
        )
    }

    /// Carries a request out. Process context; may wait for room for a new console. EACCES the asker
    /// may not type there, EBUSY somebody does, ENOTCONN the vnode does not speak, ESTALE the keyboard
    /// is not the asker's, ENOSPC there are no more tickets, ENXIO the asker is no member, ENOENT there
    /// is no such console; and those of [`Bridge::create`].
    pub(crate) fn serve(&self, from: Life, request: Request) -> Result<Answer> {
        let mut consoles = self.consoles.lock();
        if !self.core.view().contains(from) {
            return Err(ENXIO);
        }
        let vnode = match request {
            Request::Attach | Request::Detach => from.vnode,
            Request::Take(vnode) | Request::Steal(vnode) | Request::GiveBack(vnode, _) => vnode,
        };
        self.see(&consoles, from.vnode, from.generation.0);
        if request == Request::Attach {
            self.prepare_for(&mut consoles, vnode)?;
        }
        let console = find(&mut consoles, vnode)?;
        match request {
            Request::Attach => self.attach(console, from)?,
            Request::Detach => self.detach(console, from)?,
            Request::Take(_) => self.decide(console, from, Keyboard::take)?,
            Request::Steal(_) => self.decide(console, from, Keyboard::steal)?,
            Request::GiveBack(_, ticket) => {
                let given = console.keyboard.give_back(from, ticket);
                given.map_err(errno)?;
                console.publish();
            }
        }
        Ok(Answer {
            keyboard: console.keyboard.holder(),
            attached: console.attached.1,
        })
    }

    /// Sees to it that there is a console for what a vnode is now.
    fn prepare_for(&self, consoles: &mut KVec<Console>, vnode: VnodeId) -> Result {
        let name = self.name(vnode);
        // One that has come again under another number has left its console there.
        consoles.retain(|console| {
            let other = console.place.vnode();
            other == vnode || console.name != Some(name) || self.name(other) == name
        });
        if find(consoles, vnode).is_err() {
            consoles.push(self.create(vnode)?, GFP_KERNEL)?;
        }
        if find(consoles, vnode)?.name == Some(name) {
            return Ok(());
        }
        // What another vnode was allowed, and what it has said, is nothing that belongs to this one.
        for console in consoles.iter_mut() {
            let Rights {
                readers, writers, ..
            } = console.rights;
            if console.place.vnode() != vnode {
                console.protect(&self.core, readers.without(vnode), writers.without(vnode))?;
            }
        }
        let console = find(consoles, vnode)?;
        OUTPUT.clear(console.place.window());
        console.attached = (None, 0);
        console.protect(&self.core, Vnodes::NONE, Vnodes::NONE)?;
        // Last: after an error before this it is all done again.
        console.name = Some(name);
        Ok(())
    }

    fn create(&self, vnode: VnodeId) -> Result<Console> {
        let rights = rights(vnode, Vnodes::NONE, Vnodes::NONE);
        let spec = Spec {
            key: place::key(vnode)?,
            size: vcons::SIZE as u64,
            rights,
            follow: Follow::Stays,
        };
        let (bridge, is_new) = match Bridge::create(&self.core, &spec, None) {
            // Somebody has it open still that has outlived the console, or the module.
            Err(EEXIST) => {
                let access = Access::Write;
                let old = Bridge::open(&self.core, &spec.key, access, Follow::Stays, None)?;
                Bridge::protect(&self.core, &spec.key, rights)?;
                (old, false)
            }
            result => (result?, true),
        };
        let place = Place::of(self.core.clone(), vnode, bridge)?;
        if place.window().size() < vcons::SIZE {
            return Err(EPROTO);
        }
        // Tickets must not come again (VC-30).
        let before = match is_new {
            true => Holder::NOBODY,
            false => Holder::read(place.window()),
        };
        vcons::create(place.window());
        let keyboard = Keyboard::after(before.ticket);
        keyboard.holder().publish(place.window());
        Ok(Console {
            place,
            name: None,
            keyboard,
            rights,
            speaker: None,
            attached: (None, 0),
            gone_since_ns: None,
            hold: None,
        })
    }

    /// What a vnode is called now; zeros for one that is gone.
    fn name(&self, vnode: VnodeId) -> [u8; 32] {
        let assignment = self
            .core
            .facts(vnode)
            .ok()
            .and_then(|facts| facts.assignment);
        assignment.map_or([0; 32], |assignment| assignment.name.field())
    }

    fn attach(&self, console: &mut Console, from: Life) -> Result {
        if console.speaker.is_some_and(|speaker| speaker != from) {
            // Its end has not been followed yet, and is now.
            self.end_speaker(console);
        }
        if console.hold.is_none() && !from.vnode.is_root() {
            console.hold = Some(ModuleHold::new(this_module::<crate::LocalModule>())?);
        }
        if console.attached.0 != Some(from) {
            vcons::prepare(console.place.window());
            SIGNATURE.sign(console.place.window());
            console.publish();
            console.attached = (Some(from), 0);
        }
        console.attached.1 = console.attached.1.saturating_add(1);
        console.speaker = Some(from);
        Ok(())
    }

    fn detach(&self, console: &mut Console, from: Life) -> Result {
        if console.speaker != Some(from) {
            return Err(ESTALE);
        }
        self.end_speaker(console);
        Ok(())
    }

    fn end_speaker(&self, console: &mut Console) {
        console.speaker = None;
        if console.keyboard.speaker_ended() {
            console.publish();
        }
        // All that show it look, whatever they wait for.
        for vnode in each(self.core.view().members()) {
            raise(&self.core, vnode);
        }
        console.hold = None;
    }

    fn decide(
        &self,
        console: &mut Console,
        from: Life,
        how: fn(&mut Keyboard, Life) -> Result<u32, Refused>,
    ) -> Result {
        if !console.lets_type(from.vnode) {
            return Err(EACCES);
        }
        console.speaker.ok_or(ENOTCONN)?;
        let before = console.keyboard.holder().viewer;
        how(&mut console.keyboard, from).map_err(errno)?;
        console.publish();
        // Nobody empties its ring any more (VC-36).
        if let Some(loser) = before {
            raise(&self.core, loser);
        }
        Ok(())
    }

    /// Follows who lives. Process context.
    pub(crate) fn follow(&self, view: &View) {
        let mut consoles = self.consoles.lock();
        for console in consoles.iter_mut() {
            if console.speaker.is_some_and(|life| !view.contains(life)) {
                self.end_speaker(console);
            }
            if console.keyboard.let_go_of(|life| view.contains(life)) {
                console.publish();
            }
        }
        for vnode in VnodeId::all() {
            let life = view.life(vnode).map_or(0, |life| life.generation.0);
            self.see(&consoles, vnode, life);
        }
    }

    /// Sees which life of a vnode there is: what an earlier one held, it holds no more (VC-13). A life that
    /// has asked for something is seen before it can hold anything.
    fn see(&self, consoles: &KVec<Console>, vnode: VnodeId, life: u32) {
        let Some(seen) = self.lives.get(vnode.index()) else {
            return;
        };
        if seen.load(Relaxed) != life {
            seen.store(life, Relaxed);
            for console in consoles {
                output::release(console.place.window(), vnode);
            }
        }
    }

    /// Ends the consoles of vnodes that were taken back a while ago, and did not come again as the same
    /// ones. Process context.
    pub(crate) fn tidy(&self) {
        self.consoles.lock().retain(|console| {
            let vnode = console.place.vnode();
            if vnode.is_root() || console.speaker.is_some() || self.exists(vnode) {
                console.gone_since_ns = None;
                return true;
            }
            let since_ns = *console.gone_since_ns.get_or_insert(now_ns());
            now_ns().saturating_sub(since_ns) < LINGER_NS
        });
    }

    fn exists(&self, vnode: VnodeId) -> bool {
        let facts = self.core.facts(vnode);
        facts.is_ok_and(|facts| facts.assignment.is_some())
    }

    /// Says which vnodes may read a console beside its own and the root, and which may type. Process
    /// context. ENOENT.
    pub(crate) fn allow(&self, vnode: VnodeId, readers: u16, writers: u16) -> Result {
        let mut consoles = self.consoles.lock();
        let console = find(&mut consoles, vnode)?;
        console.protect(&self.core, Vnodes(readers), Vnodes(writers))?;
        let allowed = console.rights.writers;
        let may_type = |life: Life| life.vnode.is_root() || allowed.has(life.vnode);
        if console.keyboard.let_go_of(may_type) {
            console.publish();
        }
        // Who may not write any more has the bridge mapped still, but holds nothing.
        for other in VnodeId::all().filter(|other| !other.is_root() && !allowed.has(*other)) {
            output::release(console.place.window(), other);
        }
        Ok(())
    }

    /// What the vnode of a console is called; `None` for one that there is not.
    pub(crate) fn name_of(&self, vnode: VnodeId) -> Option<[u8; 32]> {
        let mut consoles = self.consoles.lock();
        find(&mut consoles, vnode).ok()?.name
    }

    /// The view of debugfs.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for console in self.consoles.lock().iter() {
            let holder = console.keyboard.holder();
            writeln!(
                f,
                "console vnode {} speaker {} attached {} keyboard {} ticket {} dropped {}",
                console.place.vnode().number(),
                console.speaker.map_or(0, |life| life.generation.0),
                console.attached.1,
                holder.viewer.map_or(-1, |vnode| i64::from(vnode.number())),
                holder.ticket,
                output::dropped(console.place.window()),
            )?;
        }
        Ok(())
    }
}

impl Console {
    fn publish(&self) {
        self.keyboard.holder().publish(self.place.window());
    }

    /// Says who may use it beside the root and its own vnode.
    fn protect(&mut self, core: &Core, readers: Vnodes, writers: Vnodes) -> Result {
        let own = self.place.vnode();
        let rights = rights(own, readers, writers);
        if rights != self.rights {
            Bridge::protect(core, &place::key(own)?, rights)?;
            self.rights = rights;
        }
        Ok(())
    }

    fn lets_type(&self, vnode: VnodeId) -> bool {
        vnode.is_root() || self.rights.writers.has(vnode)
    }
}

fn find(consoles: &mut KVec<Console>, vnode: VnodeId) -> Result<&mut Console> {
    let mut consoles = consoles.iter_mut();
    consoles
        .find(|console| console.place.vnode() == vnode)
        .ok_or(ENOENT)
}

/// The root and the vnode itself may do everything; who may type may read.
fn rights(own: VnodeId, readers: Vnodes, writers: Vnodes) -> Rights {
    Rights {
        readers: readers.and(writers).with(own),
        ..Rights::open_to(writers.with(own))
    }
}

fn errno(refused: Refused) -> Error {
    match refused {
        Refused::Busy(_) => EBUSY,
        Refused::Stale => ESTALE,
        Refused::Exhausted => ENOSPC,
    }
}
