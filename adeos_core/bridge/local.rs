// SPDX-License-Identifier: GPL-2.0

//! What is open in this kernel. To the root a kernel is one user, however many openers it has
//! (BR-41): they are counted here, share one mapping, and follow moves only if all of them do.

use super::mapped::Mapped;
use super::{
    ask,
    follower,
    view,
    Access,
    Follow,
    Id,
    Key,
    Spec,
    Watcher, //
};
use crate::core_state::Core;
use crate::mapping::Mapping;
use crate::pool;
use crate::work::Work;
use adeos_proto::bridge::request::Request;
use adeos_proto::id::{
    Life,
    PhysRange, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    CondVar,
    Mutex,
    UniqueArc, //
};

/// An opener of a bridge.
pub(super) struct Opener {
    number: u64,
    follow: Follow,
    pub(super) watcher: Option<Arc<dyn Watcher>>,
}

/// What this kernel may do with a bridge now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It can be mapped.
    Usable,
    /// Its openers are being asked to let go.
    LettingGo,
    /// Nobody here touches it until the freeze of this number is over.
    Frozen(u32),
    /// The last opener is gone, and the root is yet to hear of it.
    Closing,
}

/// What changes of a bridge that is open here.
pub(super) struct State {
    pub(super) openers: KVec<Opener>,
    last_number: u64,
    pub(super) stage: Stage,
    pub(super) mapping: Option<Arc<Mapping>>,
    /// How many [`Mapped`] there are.
    pub(super) seats: usize,
    /// Whether the root counts this kernel among those that have it mapped.
    pub(super) is_mapped: bool,
    /// The freeze that was answered last.
    pub(super) answered: Option<u32>,
    /// The owner whose death the openers have been told.
    pub(super) mourned: Option<Life>,
    /// Whether watchers are being called.
    pub(super) is_calling: bool,
}

/// A bridge that is open in this kernel.
#[pin_data]
pub(super) struct Local {
    id: Id,
    key: Key,
    /// Names it to its work item. A place of the root's table can have been another bridge's.
    number: usize,
    #[pin]
    pub(super) state: Mutex<State>,
    /// No watcher is being called any more.
    #[pin]
    pub(super) calm: CondVar,
    /// Looks at the bridge's entry. It holds the bridge only while it is in the list.
    #[pin]
    pub(super) work: Work,
}

impl Local {
    pub(super) fn new(id: Id, key: Key, number: usize) -> Result<Arc<Self>> {
        let state = State {
            openers: KVec::new(),
            last_number: 0,
            stage: Stage::Usable,
            mapping: None,
            seats: 0,
            is_mapped: false,
            answered: None,
            mourned: None,
            is_calling: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                id,
                key,
                number,
                state <- kernel::new_mutex!(state, "adeos:bridge"),
                calm <- kernel::new_condvar!("adeos:bridge_calm"),
                work <- Work::new(follower::look_at, *number),
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn id(&self) -> Id {
        self.id
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn openers(&self) -> u32 {
        // There are not as many handles as that.
        self.state.lock().openers.len() as u32
    }

    /// What the root is to be told of whether this kernel follows moves.
    fn follow(&self, state: &State) -> Follow {
        follow_of(state.openers.iter().map(|opener| opener.follow))
    }
}

/// Follows who has no opener that does not.
fn follow_of(mut openers: impl Iterator<Item = Follow>) -> Follow {
    if openers.any(|follow| follow == Follow::Stays) {
        Follow::Stays
    } else {
        Follow::Moves
    }
}

/// One opener's hold on a bridge; closed when dropped.
pub(super) struct Handle {
    core: Arc<Core>,
    local: Arc<Local>,
    number: u64,
    access: Access,
}

impl Handle {
    pub(super) fn id(&self) -> Id {
        self.local.id
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }
}

/// Creates a bridge and opens it.
pub(super) fn create(
    core: &Arc<Core>,
    spec: &Spec,
    watcher: Option<Arc<dyn Watcher>>,
) -> Result<Arc<Handle>> {
    let place = UniqueArc::new_uninit(GFP_KERNEL)?;
    let _one = core.bridges().operations.lock_killable()?;
    let id = ask::create(core, spec)?;
    let may_write = spec.rights.mode & super::mode::OWNER_WRITE != 0;
    let access = if may_write {
        Access::Write
    } else {
        Access::Read
    };
    let handle = admit(core, id, &spec.key, access, spec.follow, watcher)?;
    Ok(place.write(handle).into())
}

/// Opens a bridge.
pub(super) fn open(
    core: &Arc<Core>,
    key: &Key,
    access: Access,
    follow: Follow,
    watcher: Option<Arc<dyn Watcher>>,
) -> Result<Arc<Handle>> {
    let place = UniqueArc::new_uninit(GFP_KERNEL)?;
    let _one = core.bridges().operations.lock_killable()?;
    let here = core.bridges().named(key);
    let others = here.map_or(Follow::Moves, |local| local.follow(&local.state.lock()));
    let together = follow_of([others, follow].into_iter());
    let id = ask::open(core, key, access, together)?;
    let handle = admit(core, id, key, access, follow, watcher)?;
    Ok(place.write(handle).into())
}

/// Counts an opener of a bridge that the root counts this kernel a user of; without room for that,
/// the bridge is closed again.
fn admit(
    core: &Arc<Core>,
    id: Id,
    key: &Key,
    access: Access,
    follow: Follow,
    watcher: Option<Arc<dyn Watcher>>,
) -> Result<Handle> {
    let local = match core.bridges().place(id, key) {
        Ok(local) => local,
        Err(error) => {
            // A close that does not get through leaves this life a user until it ends.
            let _ = ask::root(core, &Request::Close(id));
            return Err(error);
        }
    };
    let mut state = local.state.lock();
    let number = state.last_number.wrapping_add(1);
    state.last_number = number;
    let opener = Opener {
        number,
        follow,
        watcher,
    };
    let counted = state.openers.push(opener, GFP_KERNEL);
    if state.stage == Stage::Closing && counted.is_ok() {
        state.stage = Stage::Usable;
    }
    let is_unused = state.openers.is_empty();
    if is_unused {
        state.stage = Stage::Closing;
    }
    drop(state);
    if counted.is_err() {
        if is_unused {
            finish(core, &local);
        }
        return Err(ENOMEM);
    }
    Ok(Handle {
        core: core.clone(),
        local,
        number,
        access,
    })
}

/// Says anew whether an opener follows.
pub(super) fn follow(handle: &Handle, follow: Follow) -> Result {
    let _one = handle.core.bridges().operations.lock_killable()?;
    let mut state = handle.local.state.lock();
    let opener = state
        .openers
        .iter_mut()
        .find(|opener| opener.number == handle.number);
    opener.ok_or(EBADF)?.follow = follow;
    let together = handle.local.follow(&state);
    drop(state);
    ask::open(&handle.core, &handle.local.key, handle.access, together)?;
    Ok(())
}

/// Gives a bridge another size. What is mapped no more here is told to the root first.
pub(super) fn resize(handle: &Handle, size: u64) -> Result {
    handle.local.say_unmapped(&handle.core);
    ask::resize(&handle.core, handle.local.id, size)
}

/// Maps a bridge, or takes part in the mapping that is there.
pub(super) fn map(handle: &Arc<Handle>) -> Result<Mapped> {
    let local = &handle.local;
    let mut state = local.state.lock();
    if state.stage != Stage::Usable {
        return Err(EAGAIN);
    }
    let mapping = match &state.mapping {
        Some(mapping) => mapping.clone(),
        None => {
            // The lock is held over the request: it keeps out those that want the same mapping.
            let range = ask::map(&handle.core, local.id)
                .inspect_err(|error| note_unmapped(handle, &mut state, *error))?;
            state.is_mapped = true;
            let mapped = map_range(&handle.core, range);
            if mapped.is_err() {
                // The follower tells the root that there is no mapping after all.
                handle.core.bridges().nudge();
            }
            let mapping = mapped?;
            state.mapping = Some(mapping.clone());
            mapping
        }
    };
    state.seats = state.seats.wrapping_add(1);
    let seat = Seat(handle.clone());
    Ok(Mapped::new(mapping, handle.access, seat))
}

/// Has the follower do what remains of a request to map that has failed.
fn note_unmapped(handle: &Handle, state: &mut State, error: Error) {
    if error != EAGAIN {
        // The answer may have been lost: the root, which then waits for this kernel in every
        // freeze, is told that nothing here maps the bridge.
        state.is_mapped = true;
    } else if !state.is_mapped {
        // Nobody tells who maps nothing of a freeze: it is for the follower to find out when that
        // is over.
        let entry = view::read(&handle.core, handle.local.id.index);
        let freeze = entry.ok().flatten().map_or(0, |entry| entry.freeze);
        state.stage = Stage::Frozen(freeze);
    }
    handle.core.bridges().nudge();
}

/// Maps memory that the root says is a bridge's (BR-42). EPROTO when it cannot be.
fn map_range(core: &Core, range: PhysRange) -> Result<Arc<Mapping>> {
    let is_control = core.control().range().overlaps(range);
    if !core.bridges().holds(range) || is_control || !pool::is_foreign(range) {
        pr_err!(
            "the root grants {:#x}+{:#x}, where no bridge can be\n",
            range.base(),
            range.size()
        );
        return Err(EPROTO);
    }
    // SAFETY: None of it is RAM of this kernel, nor the control area, as has just been checked; the
    // pool, in which it lies, holds nothing else that this kernel maps.
    let mapping = unsafe { Mapping::new(range) }?;
    Ok(Arc::new(mapping, GFP_KERNEL)?)
}

/// A place among those that have a bridge mapped. Dropped with the mapping, behind it.
pub(super) struct Seat(Arc<Handle>);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.0.local.state.lock();
        state.seats = state.seats.wrapping_sub(1);
        if state.seats == 0 {
            // The last reference: this unmaps.
            state.mapping = None;
            drop(state);
            self.0.core.bridges().nudge();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _one = self.core.bridges().operations.lock();
        let mut state = self.local.state.lock();
        while state.is_calling {
            self.local.calm.wait(&mut state);
        }
        let before = self.local.follow(&state);
        // An opener's watcher may own things that need the lock when they go.
        let at = state.openers.iter().position(|it| it.number == self.number);
        let opener = at.map(|at| state.openers.remove(at));
        let after = self.local.follow(&state);
        let is_last = state.openers.is_empty();
        if is_last {
            state.stage = Stage::Closing;
        }
        drop(state);
        drop(opener);
        if is_last {
            finish(&self.core, &self.local);
        } else if before != after {
            // When this does not get through, the bridge stays pinned longer than it had to.
            let _ = ask::open(&self.core, &self.local.key, Access::Read, after);
        }
    }
}

/// Tells the root that this kernel has no opener of a bridge left. If that does not get through,
/// the follower tries again; whether it has.
pub(super) fn finish(core: &Core, local: &Local) -> bool {
    let told = ask::close(core, local.id);
    if told {
        core.bridges().forget(local);
    } else {
        core.bridges().nudge();
    }
    told
}
