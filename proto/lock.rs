// SPDX-License-Identifier: GPL-2.0

//! Locks between vnodes, in memory that they share (paper section 4, footnote 12).
//!
//! One word says who holds the lock; each vnode has a place in which it announces that it waits,
//! with a ticket one behind all that it found. A free lock is for the waiter with the lowest
//! ticket, who takes it by exchanging the word; so the word alone excludes, and the places only
//! order. Nothing here waits: each call is a bounded number of accesses, and its user spins,
//! sleeps or gives up as its context allows. The specification is docs/inter-vnode-locks.md.
//!
//! A life that has ended is taken out of the word by whoever notices first. The lock then says
//! to each owner that what it guards may be inconsistent, until one of them declares otherwise.

use crate::id::Life;
use crate::window::Window;

pub mod lives;

mod word;

pub use lives::{Lives, Standing};
use word::{Holder, Place, Word};

/// Where the parts of a lock lie, from its start. All zeros are a lock that is free (IL-2).
pub mod layout {
    use crate::id::MAX_VNODES;

    /// `u64`: who holds the lock (IL-4).
    pub const OWNER: usize = 0x00;
    /// `u32`: ticket of the waiter that was served last.
    pub const SERVED: usize = 0x08;
    /// `u64` for each vnode: its ticket while it waits (IL-5).
    pub const PLACES: usize = 0x40;
    /// Bytes of a lock.
    pub const SIZE: usize = 0xc0;
    /// Alignment of a lock in bytes: a cache line.
    pub const ALIGN: usize = 0x40;

    const _: () = assert!(PLACES + MAX_VNODES * 8 == SIZE);
    const _: () = assert!(SIZE % ALIGN == 0 && SERVED + 8 <= PLACES);
}

/// How often a call tries again when others change the word under its hands.
const TRIES: usize = 4;

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The lock is held or waited for (EBUSY).
    Busy,
    /// This vnode does not hold the lock, does not wait, or already does one of them (EINVAL).
    WrongState,
    /// Somebody has taken the lock out of this owner's hands: a hostile peer, or one that was told
    /// that this vnode is dead (EOWNERDEAD). What the lock guards is not safe.
    Lost,
}

/// What a new owner finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The owner before has unlocked.
    Consistent,
    /// An owner has died since the guarded data were last declared consistent.
    MaybeInconsistent,
}

/// What a waiter is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// The lock is this vnode's.
    Acquired(Entry),
    /// Wait to be woken, or poll again. When the lock is free but another waiter's turn, this is
    /// who must be woken (IL-22).
    Wait(Option<Life>),
    /// Others were faster; poll again before sleeping.
    Again,
}

/// A claim to the lock that was taken out of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// This life held the lock and has ended.
    Dead(Life),
    /// The word was no owner at all, or named this vnode, which holds nothing.
    Forged,
}

/// How many claims an end of a lock has taken out of the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaks {
    /// Of lives that have ended.
    pub dead: u32,
    /// Of nobody: [`Broken::Forged`].
    pub forged: u32,
}

impl Breaks {
    fn count(&mut self, broken: Broken) {
        let count = match broken {
            Broken::Dead(_) => &mut self.dead,
            Broken::Forged => &mut self.forged,
        };
        *count = count.wrapping_add(1);
    }
}

/// What [`Lock::recover`] has done and what is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The claim that this very call has broken.
    pub broken: Option<Broken>,
    /// The waiter whose turn it is, and who must be woken (IL-22).
    pub next: Option<Life>,
}

/// What this vnode has to do with the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Waiting(Place),
    Held,
}

/// A vnode's end of a lock. A vnode has one for each lock, and its calls must not run side by
/// side: its own callers queue for it in front (IL-3).
#[derive(Debug)]
pub struct Lock {
    at: usize,
    me: Life,
    state: State,
    breaks: Breaks,
    /// What the word had counted when this vnode last announced itself.
    announced_at: u16,
    longest_wait: u16,
}

impl Lock {
    /// The end of the vnode `me` of the lock that starts at `at`.
    pub const fn new(at: usize, me: Life) -> Self {
        Self {
            at,
            me,
            state: State::Idle,
            breaks: Breaks { dead: 0, forged: 0 },
            announced_at: 0,
            longest_wait: 0,
        }
    }

    /// Whether this vnode holds the lock, as far as it knows.
    pub fn is_held(&self) -> bool {
        self.state == State::Held
    }

    /// Whether this vnode has announced itself, and is to poll when it is woken (IL-23).
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Whether its place is filled though this vnode does not wait: it is to recover when it is
    /// woken (IL-23), for others take it for a waiter.
    pub fn is_misnamed<W: Window>(&self, w: &W) -> bool {
        let raw = w.load_acquire64(self.place_at(Place::new(self.me, 0)));
        !self.is_waiting() && Place::parse(self.me.vnode, raw).is_some()
    }

    /// The claims that this end has taken out of the word.
    pub fn breaks(&self) -> Breaks {
        self.breaks
    }

    /// The most turns that others have begun and ended while this vnode waited, of all its waits
    /// that got the lock (IL-15); a declaration of consistency counts as half of one. A peer that
    /// scribbles over the word can make it anything.
    pub fn longest_wait(&self) -> u16 {
        self.longest_wait
    }

    /// Takes the lock if it is free and nobody waits. `Busy`, `WrongState`.
    pub fn try_lock<W: Window>(&mut self, w: &W, lives: &Lives) -> Result<Entry, Error> {
        if self.state != State::Idle {
            return Err(Error::WrongState);
        }
        let (word, _) = self.settle(w, lives);
        if self.first(w, lives, Standing::Alive).is_some() {
            return Err(Error::Busy);
        }
        self.take(w, word).ok_or(Error::Busy)
    }

    /// Queues behind all that have announced themselves. `WrongState`. Poll next.
    pub fn announce<W: Window>(&mut self, w: &W, lives: &Lives) -> Result<(), Error> {
        if self.state != State::Idle {
            return Err(Error::WrongState);
        }
        let served = w.load_acquire(self.at(layout::SERVED));
        let furthest = self
            .waiters(w)
            .filter(|place| place.life != self.me && lives.standing(place.life) != Standing::Dead)
            .map(|place| place.distance(served))
            .fold(0, i32::max);

        let ahead = furthest.saturating_add(1).unsigned_abs();
        let place = Place::new(self.me, served.wrapping_add(ahead));
        // A full barrier: either the poll that follows finds the lock free, or its owner finds
        // this place after it has freed it.
        w.swap64(self.place_at(place), place.raw());
        self.state = State::Waiting(place);
        self.announced_at = Word(w.load_acquire64(self.at(layout::OWNER))).changes();
        Ok(())
    }

    /// Takes the lock if it is this waiter's turn. `WrongState` when it has not announced itself.
    pub fn poll<W: Window>(&mut self, w: &W, lives: &Lives) -> Result<Poll, Error> {
        let State::Waiting(mine) = self.state else {
            return Err(Error::WrongState);
        };
        if w.load_acquire64(self.place_at(mine)) != mine.raw() {
            // Nobody else may write it, but who does must not make us wait for ever.
            w.swap64(self.place_at(mine), mine.raw());
        }

        for _ in 0..TRIES {
            let (word, _) = self.settle(w, lives);
            match word.holder() {
                Holder::Nobody => {}
                Holder::Life(other)
                    if other != self.me && lives.standing(other) != Standing::Dead =>
                {
                    return Ok(Poll::Wait(None));
                }
                // Another claim to be broken has come meanwhile.
                Holder::Life(_) | Holder::Nonsense => continue,
            }
            match self.first(w, lives, Standing::Alive) {
                Some(first) if first != self.me => return Ok(Poll::Wait(Some(first))),
                Some(_) | None => {}
            }
            if let Some(entry) = self.take(w, word) {
                return Ok(Poll::Acquired(entry));
            }
        }
        Ok(Poll::Again)
    }

    /// Stops waiting. Returns the waiter who must be woken in its stead, if any. `WrongState`.
    pub fn withdraw<W: Window>(&mut self, w: &W, lives: &Lives) -> Result<Option<Life>, Error> {
        let State::Waiting(mine) = self.state else {
            return Err(Error::WrongState);
        };
        // A full barrier (IL-25): an unlock that still finds the place is one that the look at the
        // owner word, which follows, does not miss.
        w.swap64(self.place_at(mine), 0);
        self.state = State::Idle;
        Ok(self.recover(w, lives).next)
    }

    /// Says that what the lock guards is in order again. `WrongState`, `Lost`.
    pub fn declare_consistent<W: Window>(&mut self, w: &W) -> Result<(), Error> {
        self.change_mine(w, |word| word.marked(Entry::Consistent))
    }

    /// Frees the lock. Returns the waiter who must be woken (IL-22). `WrongState`, `Lost`; this
    /// vnode does not hold the lock afterwards in any case.
    pub fn unlock<W: Window>(&mut self, w: &W, lives: &Lives) -> Result<Option<Life>, Error> {
        let freed = self.change_mine(w, |word| word.freed(word.entry()));
        if freed != Err(Error::WrongState) {
            self.state = State::Idle;
        }
        freed.map(|()| self.next(w, lives))
    }

    /// Breaks what is known to be no owner's and clears the places of the dead. For every lock
    /// after every new view, and when this vnode is woken for a lock that it does not wait for.
    pub fn recover<W: Window>(&mut self, w: &W, lives: &Lives) -> Recovered {
        if self.is_misnamed(w) {
            // Announced in this vnode's name, by another; those behind would wait for nobody.
            w.swap64(self.place_at(Place::new(self.me, 0)), 0);
        }
        for place in self.waiters(w) {
            if lives.standing(place.life) == Standing::Dead {
                // Refused if its vnode's next life has announced itself meanwhile.
                let _ = w.compare_exchange64(self.place_at(place), place.raw(), 0);
            }
        }

        let (word, broken) = self.settle(w, lives);
        let next = match word.holder() {
            Holder::Nobody => self.next(w, lives),
            Holder::Life(_) | Holder::Nonsense => None,
        };
        Recovered { broken, next }
    }

    /// The owner word, after a claim that is known to be false has been taken out of it.
    fn settle<W: Window>(&mut self, w: &W, lives: &Lives) -> (Word, Option<Broken>) {
        let word = Word(w.load_acquire64(self.at(layout::OWNER)));
        let broken = match word.holder() {
            Holder::Nobody => return (word, None),
            Holder::Life(life) if life == self.me => match self.state {
                State::Held => return (word, None),
                State::Idle | State::Waiting(_) => Broken::Forged,
            },
            Holder::Life(life) => match lives.standing(life) {
                Standing::Dead => Broken::Dead(life),
                Standing::Alive | Standing::Unknown => return (word, None),
            },
            Holder::Nonsense => Broken::Forged,
        };
        let free = word.freed(Entry::MaybeInconsistent);
        match self.exchange(w, word, free) {
            Ok(()) => {
                self.breaks.count(broken);
                (free, Some(broken))
            }
            Err(other) => (other, None),
        }
    }

    /// Makes this vnode the owner, if the word still is `word` and free.
    fn take<W: Window>(&mut self, w: &W, word: Word) -> Option<Entry> {
        if word.holder() != Holder::Nobody {
            return None;
        }
        self.exchange(w, word, word.held_by(self.me)).ok()?;
        if let State::Waiting(mine) = self.state {
            // Two changes make a turn.
            let turns = word.changes().wrapping_sub(self.announced_at) / 2;
            self.longest_wait = self.longest_wait.max(turns);
            w.store_release(self.at(layout::SERVED), mine.ticket);
            w.store_release64(self.place_at(mine), 0);
        }
        self.state = State::Held;
        Some(word.entry())
    }

    /// Replaces the word while it is this owner's.
    fn change_mine<W: Window>(&self, w: &W, change: impl Fn(Word) -> Word) -> Result<(), Error> {
        if self.state != State::Held {
            return Err(Error::WrongState);
        }
        let mut word = Word(w.load_acquire64(self.at(layout::OWNER)));
        for _ in 0..TRIES {
            if word.holder() != Holder::Life(self.me) {
                break;
            }
            match self.exchange(w, word, change(word)) {
                Ok(()) => return Ok(()),
                Err(other) => word = other,
            }
        }
        Err(Error::Lost)
    }

    fn exchange<W: Window>(&self, w: &W, from: Word, to: Word) -> Result<(), Word> {
        w.compare_exchange64(self.at(layout::OWNER), from.0, to.0)
            .map(|_| ())
            .map_err(Word)
    }

    /// Who must be woken for a free lock: who is known to live, else who may.
    fn next<W: Window>(&self, w: &W, lives: &Lives) -> Option<Life> {
        self.first(w, lives, Standing::Alive)
            .or_else(|| self.first(w, lives, Standing::Unknown))
    }

    /// The waiter with the lowest ticket among those of this standing. This vnode counts as
    /// alive to itself while it waits, and not at all while it does not.
    fn first<W: Window>(&self, w: &W, lives: &Lives, standing: Standing) -> Option<Life> {
        let served = w.load_acquire(self.at(layout::SERVED));
        let counts = |place: &Place| {
            if place.life == self.me {
                standing == Standing::Alive && self.state == State::Waiting(*place)
            } else {
                lives.standing(place.life) == standing
            }
        };
        self.waiters(w)
            .filter(counts)
            .min_by_key(|place| (place.distance(served), place.life.vnode))
            .map(|place| place.life)
    }

    fn waiters<'a, W: Window>(&'a self, w: &'a W) -> impl Iterator<Item = Place> + 'a {
        crate::id::VnodeId::all().filter_map(move |vnode| {
            Place::parse(vnode, w.load_acquire64(self.at(word::place(vnode))))
        })
    }

    fn place_at(&self, place: Place) -> usize {
        self.at(word::place(place.life.vnode))
    }

    fn at(&self, offset: usize) -> usize {
        self.at.saturating_add(offset)
    }
}
