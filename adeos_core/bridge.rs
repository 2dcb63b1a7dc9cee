// SPDX-License-Identifier: GPL-2.0

//! Bridges: named memory that vnodes share (paper sections 3 and 4.3), as modules use it.
//!
//! The rules are docs/bridges-and-portals.md, the logic is `proto/bridge.rs`. The root decides
//! (`bridge/root.rs`); every kernel asks it (`bridge/ask.rs`), counts its own openers
//! (`bridge/local.rs`), and does what a freeze or an owner's death asks for (`bridge/follower.rs`).
//!
//! Lock order: `operations`, `regrets`, a bridge's `state`, the root's table, the pool; `locals` is a leaf. A
//! thread that waits for the root's answer holds nothing that the root, or a third, needs.

use crate::control::Control;
use crate::core_state::Core;
use crate::killable_mutex::KillableMutex;
use crate::kthread::Event;
use crate::machine::{
    self,
    Identity, //
};
use adeos_proto::bridge::entry;
use adeos_proto::bridge::request::Request;
use adeos_proto::id::PhysRange;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed,
    Release, //
};
use kernel::sync::{
    Arc,
    Mutex, //
};
use local::{
    Handle,
    Local, //
};
use regret::Regret;

mod ask;
mod follower;
mod local;
mod mapped;
mod regret;
pub(crate) mod root;
pub(crate) mod server;
mod service;
mod transient;
pub(crate) mod view;

pub use adeos_proto::bridge::entry::Entry;
pub use adeos_proto::bridge::table::Create as Spec;
pub use adeos_proto::bridge::{
    mode,
    Access,
    BridgeName,
    Follow,
    Id,
    Key,
    Rights,
    Scope,
    Vnodes, //
};
pub use mapped::Mapped;
pub(crate) use service::Running;
pub use transient::{
    Relocation,
    Transient, //
};

/// What an opener of a bridge does about what happens to it.
///
/// All methods are called by this kernel's adeos_core in process context, those of one bridge one
/// after the other. They may sleep, have to return soon, and must not open, create or close a
/// bridge: a [`Mapped`] that is the last of its opener closes it when dropped, so who lets go keeps
/// the [`Bridge`] as well. None runs any more once the bridge is closed.
pub trait Watcher: Send + Sync {
    /// The bridge is going to be moved: whoever follows moves drops all of its [`Mapped`], and sees
    /// to it that no CPU, device or program touches the bridge any more. An error refuses: the
    /// bridge stays where it is, and pinned, until [`Bridge::follow`] says anew that it can move.
    fn let_go(&self) -> Result {
        Err(EBUSY)
    }

    /// The freeze is over, whatever became of it: the bridge can be mapped again.
    fn settled(&self) {}

    /// The owner has died. The bridge goes on, with what the owner has left in it.
    fn owner_died(&self) {}
}

/// A bridge that a module has opened. It is closed when this and every [`Mapped`] of it are dropped;
/// the last user's close ends the bridge. Drop in process context; it may wait for the root.
pub struct Bridge(Arc<Handle>);

impl Bridge {
    /// Creates a bridge, whose owner and first user is this kernel. Process context; waits for the
    /// root, which may have to move other bridges. What the opener may do is what `rights` give the
    /// owner; it follows moves if the bridge is to be movable.
    ///
    /// EINVAL size or rights make no sense, EACCES a local name of another vnode, EEXIST the name is
    /// taken, EDQUOT the quota is used up, ENOSPC the table is full, ENOMEM there is no memory for
    /// it; and those of [`Core::ask`]. After ETIMEDOUT and EINTR the bridge may be
    /// there for a while: what nobody here knows of is closed again.
    pub fn create(
        core: &Arc<Core>,
        spec: &Spec,
        watcher: Option<Arc<dyn Watcher>>,
    ) -> Result<Self> {
        local::create(core, spec, watcher).map(Self)
    }

    /// Opens the bridge of this name. Process context; waits for the root. Without a watcher,
    /// [`Follow::Moves`] promises no more than that the bridge can move while nothing maps it.
    ///
    /// ENOENT there is none, EACCES the rights do not allow it; and those of [`Core::ask`]: EINTR also when somebody else has one made
    /// here, for which memory is looked for.
    pub fn open(
        core: &Arc<Core>,
        key: &Key,
        access: Access,
        follow: Follow,
        watcher: Option<Arc<dyn Watcher>>,
    ) -> Result<Self> {
        local::open(core, key, access, follow, watcher).map(Self)
    }

    /// Maps the bridge: write-back, not executable. Process context; waits for the root if nothing
    /// in this kernel maps it already. All that map it share one mapping.
    ///
    /// EAGAIN it is being moved: [`Watcher::settled`] comes when that is over. EACCES the rights
    /// have changed. EPROTO the root names memory that no bridge can have. ENOMEM.
    pub fn map(&self) -> Result<Mapped> {
        local::map(&self.0)
    }

    /// Says anew whether this opener follows moves. What this kernel has pinned by a refusal, or by
    /// being late, is pinned no more once all of its openers follow. Process context; waits for
    /// the root.
    pub fn follow(&self, follow: Follow) -> Result {
        local::follow(&self.0, follow)
    }

    /// Which bridge it is: the name of one that has gone can be another's.
    pub fn id(&self) -> Id {
        self.0.id()
    }

    /// What this opener may do.
    pub fn access(&self) -> Access {
        self.0.access()
    }

    /// What the root publishes of it now. Process context. EAGAIN it is being written, EPROTO it makes
    /// no sense.
    pub fn entry(&self) -> Result<Entry> {
        match view::read(self.0.core(), self.id().index) {
            Ok(Some(entry)) if entry.id == self.id() => Ok(entry),
            Ok(_) | Err(entry::ReadError::Busy) => Err(EAGAIN),
            Err(_) => Err(EPROTO),
        }
    }

    /// What the root publishes of the bridge of a name, which need not be open here. Any context.
    pub fn published(core: &Core, key: &Key) -> Option<Entry> {
        entry::find(&core.control().registry(), key)
    }

    /// All bridges that can be read now. Process context.
    pub fn all(core: &Core) -> impl Iterator<Item = Entry> + '_ {
        let places = 0..adeos_proto::bridge::BRIDGES as u16;
        places.filter_map(|index| view::read(core, index).ok().flatten())
    }

    /// Says who may use a bridge. The owner and the root only; neither has to be a user. Process
    /// context. ENOENT there is none, EACCES, EINVAL the rights make no sense.
    pub fn protect(core: &Core, key: &Key, rights: Rights) -> Result {
        let id = find(core, key)?;
        ask::root(core, &Request::Protect(id, rights))
    }

    /// Says who may use this bridge; see [`Bridge::protect`].
    pub fn set_rights(&self, rights: Rights) -> Result {
        ask::root(self.0.core(), &Request::Protect(self.id(), rights))
    }

    /// Gives the bridge another size; whoever maps it then finds what it had, as far as there is room, and zeros behind it. The owner
    /// and the root only. Process context; waits for the root, which may have to move other bridges.
    ///
    /// EACCES, EINVAL the size makes no sense, EBUSY somebody has it mapped or cannot follow it, EAGAIN it is being moved, EDQUOT, ENOMEM
    /// there is no room for both sizes at once; and those of [`Core::ask`]: after ETIMEDOUT and EINTR it may happen all the same.
    pub fn resize(&self, size: u64) -> Result {
        local::resize(&self.0, size)
    }

    /// Takes a bridge over whose owner has died, without becoming a user. The root, or a later life
    /// of the owner's vnode. Process context. ENOENT there is none, EACCES it is no orphan or
    /// another's, EDQUOT.
    pub fn adopt(core: &Core, key: &Key) -> Result {
        let id = find(core, key)?;
        ask::root(core, &Request::Adopt(id))
    }
}

/// The bridge of a name, as the registry has it; who is root, or asks it, checks the rest.
fn find(core: &Core, key: &Key) -> Result<Id> {
    if core.identity().is_root() {
        return root::find(key).ok_or(ENOENT);
    }
    let found = entry::find(&core.control().registry(), key);
    found.map(|entry| entry.id).ok_or(ENOENT)
}

/// Prepares the statics of bridges and of the mover.
pub(crate) fn init_statics() {
    root::init_statics();
    server::init_statics();
    crate::mover::init_statics();
}

/// This kernel's part of it: what is open here.
#[pin_data]
pub(crate) struct Bridges {
    /// Where bridges can be, as the root said when this kernel joined.
    pool: [Option<PhysRange>; entry::POOL_RANGES],
    /// Held while a bridge is opened or closed: the root counts a kernel once.
    #[pin]
    operations: KillableMutex,
    #[pin]
    locals: Mutex<KVec<Arc<Local>>>,
    /// Counts the bridges that were opened here; `locals` guards it.
    last_number: Atomic<usize>,
    /// Requests that were given up, and may have been carried out.
    #[pin]
    regrets: Mutex<KVec<Regret>>,
    /// Wakes the follower: an entry has changed, or there is something to be repeated.
    #[pin]
    news: Event,
    /// Whether bridges are to be looked at though no entry may have changed.
    restless: Atomic<u32>,
    /// Root: wakes the server.
    #[pin]
    work: Event,
    /// Root: wakes the mover, which waits for answers to a freeze.
    #[pin]
    answered: Event,
    /// Root: bridges that wait for memory.
    #[pin]
    wanted: Mutex<KVec<server::Wanted>>,
}

/// Root: writes the registry anew, whoever may have written over it. Process context.
pub(crate) fn mend(core: &Core) {
    let registry = core.control().registry();
    entry::write_header(&registry);
    entry::set_pool(&registry, machine::pool_ranges());
    root::change(core, |table| table.mend());
}

impl Bridges {
    /// Nothing is open. The root says in the registry where bridges can be; the others take it from
    /// there, once.
    pub(crate) fn new(control: &Control, identity: &Identity) -> impl PinInit<Self> {
        let registry = control.registry();
        if identity.is_root() {
            entry::set_pool(&registry, machine::pool_ranges());
        }
        let pool = entry::pool(&registry);
        pin_init!(Self {
            pool,
            operations <- KillableMutex::new(
                c"adeos:bridge_operations",
                kernel::static_lock_class!(),
            ),
            locals <- kernel::new_mutex!(KVec::new(), "adeos:bridges"),
            last_number: Atomic::new(0),
            regrets <- kernel::new_mutex!(KVec::new(), "adeos:bridge_regrets"),
            news <- Event::new(),
            restless: Atomic::new(0),
            work <- Event::new(),
            answered <- Event::new(),
            wanted <- kernel::new_mutex!(KVec::new(), "adeos:bridges_wanted"),
        })
    }

    /// Whether bridges can lie there.
    fn holds(&self, range: PhysRange) -> bool {
        let mut areas = self.pool.iter().flatten();
        areas.any(|area| area.contains(range))
    }

    /// Root: waits until somebody may have answered a freeze, or the time is over. EINTR when the
    /// process is to be killed.
    pub(crate) fn wait_for_answer(&self, timeout_ms: u32) -> Result {
        self.answered.wait_killable_ms(timeout_ms)?;
        self.answered.forget();
        Ok(())
    }

    fn local(&self, at: usize) -> Option<Arc<Local>> {
        self.locals.lock().get(at).cloned()
    }

    fn named(&self, key: &Key) -> Option<Arc<Local>> {
        let locals = self.locals.lock();
        locals.iter().find(|local| local.key() == key).cloned()
    }

    /// The place of a bridge, which is made if there is none.
    fn place(&self, id: Id, key: &Key) -> Result<Arc<Local>> {
        let mut locals = self.locals.lock();
        if let Some(local) = locals.iter().find(|local| local.id() == id) {
            return Ok(local.clone());
        }
        let number = self.last_number.load(Relaxed).wrapping_add(1);
        self.last_number.store(number, Relaxed);
        let local = Local::new(id, *key, number)?;
        locals.push(local.clone(), GFP_KERNEL)?;
        Ok(local)
    }

    /// The bridge of this number.
    fn numbered(&self, number: usize) -> Option<Arc<Local>> {
        let locals = self.locals.lock();
        locals
            .iter()
            .find(|local| local.number() == number)
            .cloned()
    }

    fn forget(&self, local: &Local) {
        self.locals.lock().retain(|other| other.id() != local.id());
        // Its item, which has held it until now, must not be the one that drops it.
        local.work.cancel();
        // Whoever goes through the list by number looks again: numbers have changed.
        self.nudge();
    }

    /// Has the bridges of this kernel looked at soon. Any context.
    fn nudge(&self) {
        self.restless.store(1, Release);
        self.news.raise();
    }

    /// How often this kernel has a bridge open.
    fn openers(&self, id: Id) -> u32 {
        let locals = self.locals.lock();
        let local = locals.iter().find(|local| local.id() == id).cloned();
        drop(locals);
        local.map_or(0, |local| local.openers())
    }
}
