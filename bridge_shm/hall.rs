// SPDX-License-Identifier: GPL-2.0

//! Where all desks of this kernel are found, by portals' interrupts as well.
//!
//! Locks: `OPENING`, a mutex, under which desks come and go; inside it the hall's `seen`, which hard interrupts take, and in that a
//! desk's `sleepers`. `changing` is held while the root is asked, and inside none of these.

use crate::board::Board;
use crate::desk::Desk;
use adeos_core::bridge::Id;
use adeos_core::work::{
    Queue,
    Work, //
};
use adeos_core::{
    Core,
    Delivery,
    KillableMutex,
    RawSpinLock, //
};
use adeos_proto::bridge::BRIDGES;
use adeos_proto::shm::Region;
use core::ops::Deref;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::Arc;

/// What interrupts see.
struct Seen {
    board: Option<Arc<Board>>,
    /// By place in the registry.
    desks: KVec<Option<Arc<Desk>>>,
}

/// The hall.
#[pin_data]
struct Hall {
    #[pin]
    seen: RawSpinLock<Seen>,
    /// Held by who changes whose regions are, or how large they are.
    #[pin]
    changing: KillableMutex,
    /// Tells those that interrupts cannot tell. It goes before the queue.
    #[pin]
    telling: Work,
    queue: Queue,
}

/// The one hall, or 0.
static HALL: Atomic<usize> = Atomic::new(0);

kernel::sync::global_lock! {
    // SAFETY: `Open::new` is called once, in the module's initialisation, before any other use.
    unsafe(uninit) static OPENING: Mutex<()> = ();
}

/// The hall, open from the module's initialisation to its end: dropped when no portal comes and no file is there any more.
pub(crate) struct Open(Pin<KBox<Hall>>);

impl Open {
    /// Opens it, once. Process context. ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The module makes one hall, before its device and its portal.
        unsafe { OPENING.init() };
        let seen = Seen {
            board: None,
            desks: KVec::from_elem(None, BRIDGES, GFP_KERNEL)?,
        };
        let queue = Queue::new(c"bridge_shm")?;
        let hall = KBox::pin_init(
            pin_init!(Hall {
                seen <- RawSpinLock::new(seen, c"bridge_shm:hall", kernel::static_lock_class!()),
                changing <- KillableMutex::new(c"bridge_shm:changing", kernel::static_lock_class!()),
                telling <- Work::new(tell_due, 0),
                queue,
            }),
            GFP_KERNEL,
        )?;
        HALL.store(core::ptr::from_ref(&*hall) as usize, Release);
        Ok(Self(hall))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        HALL.store(0, Release);
        self.0.telling.cancel();
        let board = self.0.seen.lock().board.take();
        // It waits for the root.
        drop(board);
    }
}

/// Does something in the hall; nothing without one.
fn within<R>(what: impl FnOnce(&Hall) -> R) -> Option<R> {
    let hall = HALL.load(Acquire) as *const Hall;
    // SAFETY: It is set to what is pinned, and cleared before that goes; portals and files, whose functions all callers are, have gone
    // before, as have the module's subscription and its work.
    unsafe { hall.as_ref() }.map(what)
}

/// The board, once it is there. Any context; what is returned is not to be the last of it in an interrupt.
pub(crate) fn board() -> Option<Arc<Board>> {
    within(|hall| hall.seen.lock().board.clone()).flatten()
}

/// Has interrupts find the board; whoever was quicker has put up the one that counts. Process context.
pub(crate) fn put_up(board: Arc<Board>) -> Arc<Board> {
    within(|hall| {
        let mut seen = hall.seen.lock();
        seen.board.get_or_insert(board.clone()).clone()
    })
    .unwrap_or(board)
}

/// Does something while nobody else in this kernel does such a thing. Process context. EINTR the process is to be killed.
pub(crate) fn one_by_one<R>(what: impl FnOnce() -> Result<R>) -> Result<R> {
    within(|hall| {
        let _one = hall.changing.lock_killable()?;
        what()
    })
    .unwrap_or(Err(ENODEV))
}

/// All desks, one after the other. Process context.
pub(crate) fn each(mut what: impl FnMut(&Desk)) {
    for index in 0..BRIDGES {
        let desk = within(|hall| hall.seen.lock().desks.get(index).cloned().flatten());
        if let Some(desk) = desk.flatten() {
            what(&desk);
        }
    }
}

/// What has to be told in process context.
fn tell_due(_: usize) {
    if let Some(board) = board() {
        each(|desk| desk.tell_due(&board));
    }
}

/// The portal of regions was raised: somebody sleeps here who is to look. In an interrupt of Linux's, where one came.
pub(crate) fn on_portal(_core: &Core, _delivery: Delivery) {
    within(|hall| {
        let seen = hall.seen.lock();
        let Some(board) = &seen.board else {
            return;
        };
        let mut is_due = false;
        for told in board.take() {
            if let Some(Some(desk)) = seen.desks.get(told.region.index()) {
                is_due |= desk.wake_some(told.classes);
            }
        }
        if is_due {
            hall.queue.add(&hall.telling);
        }
    });
}

/// The place for those that sleep for a region, as one open file has it: it goes with the last one.
pub(crate) struct DeskUse(Arc<Desk>);

impl DeskUse {
    /// Finds it, or makes it. Process context. ENOMEM; ESTALE this kernel has another region open that the registry had at this place.
    pub(crate) fn new(id: Id, region: Region, board: &Board) -> Result<Self> {
        let _one = OPENING.lock();
        let here = within(|hall| {
            hall.seen
                .lock()
                .desks
                .get(region.index())
                .cloned()
                .flatten()
        });
        if let Some(desk) = here.flatten() {
            if desk.id() != id {
                return Err(ESTALE);
            }
            desk.add_file();
            return Ok(Self(desk));
        }
        let desk = Desk::new(id, region, board)?;
        desk.add_file();
        within(|hall| {
            if let Some(place) = hall.seen.lock().desks.get_mut(region.index()) {
                *place = Some(desk.clone());
            }
        });
        Ok(Self(desk))
    }
}

impl Deref for DeskUse {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.0
    }
}

impl Drop for DeskUse {
    fn drop(&mut self) {
        let _one = OPENING.lock();
        if self.0.end_file() {
            let index = self.0.region().index();
            let desk = within(|hall| hall.seen.lock().desks.get_mut(index).and_then(Option::take));
            drop(desk);
        }
    }
}
