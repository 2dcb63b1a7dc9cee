// SPDX-License-Identifier: GPL-2.0

//! The root's side of the membership: it makes the views and follows who has reached them.
//!
//! What it knows is its own; of the shared memory it reads only the acknowledgements, which are
//! claims. It never waits: a member that does not acknowledge in time is named, and the caller
//! decides. One caller at a time.

use super::{bit, has, reached_at, store, Change, Mask, View};
use crate::id::{Generation, Life, VnodeId, MAX_VNODES};
use crate::window::Window;

/// Why there is no new view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The vnode is a member already, in this life or another one.
    IsMember,
    /// This life is not a member.
    NotMember,
    /// A life that is not later than the last one of this vnode does not join.
    OldLife,
    /// The root is a member from the first view to the last.
    Root,
    /// There is no number left.
    Exhausted,
}

/// How a member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// In good order.
    Left,
    /// Otherwise; the number is one of [`crate::layout::cause`].
    Died(u32),
}

/// What the root knows of one vnode.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Generation of its latest life; 0 if there was none.
    last: u32,
    /// First view with that life.
    joined: u64,
    /// First view without the last life that has gone; 0 if none has.
    departed: u64,
    /// Latest view that the present life has acknowledged; 0 before the first.
    reached: u64,
}

impl Member {
    const NOBODY: Self = Self {
        last: 0,
        joined: 0,
        departed: 0,
        reached: 0,
    };
}

/// Makes the views. The root only.
#[derive(Debug)]
pub struct Publisher {
    number: u64,
    view: View,
    known: [Member; MAX_VNODES],
    /// Members that have claimed a view that does not exist.
    liars: Mask,
}

impl Publisher {
    /// Starts with view 1, of which the root is the only member. The shared memory is new: all
    /// zeros.
    pub fn new<W: Window>(window: &W, root: Generation) -> Self {
        let life = Life {
            vnode: VnodeId::ROOT,
            generation: root,
        };
        let mut publisher = Self {
            number: 0,
            view: View::before(life),
            known: [Member::NOBODY; MAX_VNODES],
            liars: 0,
        };
        // The first number is always there.
        let _ = publisher.publish(window, Change::Joined(life));
        publisher
    }

    /// The latest view.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Makes a life a member and returns the number of the view. Called when the vnode says that
    /// its nanokernel runs; the root has set its word to zero before that life began.
    pub fn join<W: Window>(&mut self, window: &W, life: Life) -> Result<u64, Error> {
        if self.view.life(life.vnode).is_some() {
            return Err(Error::IsMember);
        }
        if life.generation.0 <= self.member(life.vnode).last {
            return Err(Error::OldLife);
        }
        self.publish(window, Change::Joined(life))
    }

    /// Ends the membership of a life and returns the number of the view.
    pub fn remove<W: Window>(
        &mut self,
        window: &W,
        life: Life,
        how: Departure,
    ) -> Result<u64, Error> {
        if life.vnode.is_root() {
            return Err(Error::Root);
        }
        if !self.view.contains(life) {
            return Err(Error::NotMember);
        }
        let change = match how {
            Departure::Left => Change::Left(life),
            Departure::Died(cause) => Change::Died(life, cause),
        };
        self.publish(window, change)
    }

    /// Sets a vnode's word to zero, before a life of it begins and while none of its CPUs runs.
    pub fn clear<W: Window>(window: &W, vnode: VnodeId) {
        window.store_release64(reached_at(vnode), 0);
    }

    fn publish<W: Window>(&mut self, window: &W, change: Change) -> Result<u64, Error> {
        let number = self.number.checked_add(1).ok_or(Error::Exhausted)?;
        self.number = number;
        let (life, generation) = match change {
            Change::Joined(life) => (life, life.generation.0),
            Change::Left(life) | Change::Died(life, _) => (life, 0),
        };
        if let Some(member) = self.known.get_mut(life.vnode.index()) {
            if generation != 0 {
                member.last = generation;
                member.joined = number;
                member.reached = 0;
                self.liars &= !bit(life.vnode);
            } else {
                member.departed = number;
            }
        }
        self.view.number = number;
        self.view.change = change;
        if let Some(entry) = self.view.generations.get_mut(life.vnode.index()) {
            *entry = generation;
        }
        store(window, &self.view);
        Ok(number)
    }

    fn member(&self, vnode: VnodeId) -> Member {
        self.known
            .get(vnode.index())
            .copied()
            .unwrap_or(Member::NOBODY)
    }

    /// Looks at what the members have acknowledged. A claim counts from the view in which the
    /// life joined to the latest one, and never goes back; zero says nothing yet.
    pub fn observe<W: Window>(&mut self, window: &W) {
        for vnode in VnodeId::all().filter(|vnode| self.view.life(*vnode).is_some()) {
            let claim = window.load_acquire64(reached_at(vnode));
            let Some(member) = self.known.get_mut(vnode.index()) else {
                continue;
            };
            if claim > self.number {
                self.liars |= bit(vnode);
            } else if claim >= member.joined && claim > member.reached {
                member.reached = claim;
            }
        }
    }

    /// Members that have claimed, in their present life, to have reached a view that did not
    /// exist. Whoever does is hostile or broken; the claim itself counts for nothing.
    pub const fn liars(&self) -> Mask {
        self.liars
    }

    /// The latest view that a member's present life has acknowledged; `None` for others and
    /// before the first. As of the last [`observe`](Self::observe).
    pub fn reached(&self, vnode: VnodeId) -> Option<u64> {
        self.view.life(vnode)?;
        Some(self.member(vnode).reached).filter(|number| *number != 0)
    }

    /// Members of view `number` that still are members and are yet to reach it. A vnode that has
    /// joined later knows nothing older, and one that has gone has nothing to let go of.
    pub fn missing(&self, number: u64) -> Mask {
        VnodeId::all()
            .filter(|vnode| self.view.life(*vnode).is_some())
            .filter(|vnode| {
                let member = self.member(*vnode);
                member.joined <= number && member.reached < number
            })
            .fold(0, |mask, vnode| mask | bit(vnode))
    }

    /// Whether a member's present life has let go of the last life of `other` that has gone, or
    /// has never known it.
    pub fn has_let_go(&self, vnode: VnodeId, other: VnodeId) -> bool {
        let departed = self.member(other).departed;
        let member = self.member(vnode);
        self.view.life(vnode).is_some() && member.joined.max(member.reached) >= departed
    }
}

/// How far an agreement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All members have reached the view.
    Agreed,
    /// These have not, and there is time left.
    Waiting(Mask),
    /// These have not, and their time is over. They may still come.
    Late(Mask),
}

/// Waits, without blocking, for all members to reach a view.
#[derive(Clone, Copy, Debug)]
pub struct Agreement {
    number: u64,
    deadline_ns: u64,
}

impl Agreement {
    /// Wants view `number` to be reached within `patience_ns` from `now_ns`.
    pub const fn new(number: u64, now_ns: u64, patience_ns: u64) -> Self {
        Self {
            number,
            deadline_ns: now_ns.saturating_add(patience_ns),
        }
    }

    /// How far it has come, as of the publisher's last [`observe`](Publisher::observe).
    pub fn look(&self, publisher: &Publisher, now_ns: u64) -> Progress {
        match publisher.missing(self.number) {
            0 => Progress::Agreed,
            missing if now_ns < self.deadline_ns => Progress::Waiting(missing),
            missing => Progress::Late(missing),
        }
    }

    /// Whether one vnode has nothing to do with it any more: it has reached the view, has gone,
    /// or has joined later.
    pub fn is_settled(&self, publisher: &Publisher, vnode: VnodeId) -> bool {
        !has(publisher.missing(self.number), vnode)
    }
}
