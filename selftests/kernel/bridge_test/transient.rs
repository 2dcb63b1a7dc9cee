// SPDX-License-Identifier: GPL-2.0

//! Requesters of transient bridges, who are told where their memory is and do nothing else about
//! moves.

use crate::slot::{
    pattern,
    CHUNK, //
};
use adeos_core::bridge::{
    Access,
    Key,
    Mapped,
    Relocation,
    Transient,
    Vnodes, //
};
use adeos_core::Core;
use adeos_proto::id::PhysRange;
use adeos_proto::window::Window;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Release, //
};
use kernel::sync::{
    Arc,
    Mutex, //
};
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// Requesters that there are.
pub(crate) const PLACES: usize = 10;

/// What a requester notes.
struct Notes {
    relocated: Atomic<u64>,
    /// Calls that have named a place where it was not before, or is not now.
    wrong: Atomic<u64>,
    base: Atomic<u64>,
    mourned: Atomic<u64>,
}

impl Relocation for Notes {
    fn relocated(&self, from: PhysRange, to: &Mapped) {
        let base = to.range().base();
        if from.base() != self.base.load(Acquire) || from.base() == base {
            self.wrong.fetch_add(1, Full);
        }
        self.base.store(base, Release);
        self.relocated.fetch_add(1, Full);
    }

    fn owner_died(&self) {
        self.mourned.fetch_add(1, Full);
    }
}

struct Requester {
    notes: Arc<Notes>,
    transient: Transient,
}

/// All of them.
#[pin_data]
pub(crate) struct Requesters {
    #[pin]
    places: Mutex<[Option<Requester>; PLACES]>,
}

impl Requesters {
    pub(crate) fn new() -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                places <- kernel::new_mutex!([const { None }; PLACES], "bridge_test:transient"),
            }),
            GFP_KERNEL,
        )
    }

    /// Requests one and fills it.
    pub(crate) fn request(
        &self,
        core: &Arc<Core>,
        place: usize,
        key: Key,
        size: u64,
        seed: u64,
    ) -> Result {
        self.keep(place, |notes| {
            Transient::request(core, key, size, Vnodes::ALL, notes)
        })?;
        self.each_chunk(place, |mapped, offset| {
            mapped.write(offset, &pattern(seed, offset));
            true
        })
    }

    pub(crate) fn join(&self, core: &Arc<Core>, place: usize, key: &Key) -> Result {
        self.keep(place, |notes| {
            Transient::join(core, key, Access::Write, notes)
        })
    }

    fn keep(
        &self,
        place: usize,
        get: impl FnOnce(Arc<dyn Relocation>) -> Result<Transient>,
    ) -> Result {
        let mut places = self.places.lock();
        let place = places.get_mut(place).ok_or(EINVAL)?;
        if place.is_some() {
            return Err(EBUSY);
        }
        let notes = Arc::new(
            Notes {
                relocated: Atomic::new(0),
                wrong: Atomic::new(0),
                base: Atomic::new(0),
                mourned: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        let transient = get(notes.clone())?;
        let base = transient.with(|mapped| mapped.range().base())?;
        notes.base.store(base, Release);
        *place = Some(Requester { notes, transient });
        Ok(())
    }

    /// EILSEQ when it does not hold what it was filled with.
    pub(crate) fn check(&self, place: usize, seed: u64) -> Result {
        self.each_chunk(place, |mapped, offset| {
            let mut found = [0; CHUNK];
            mapped.read(offset, &mut found);
            found == pattern(seed, offset)
        })
    }

    fn each_chunk(&self, place: usize, mut work: impl FnMut(&Mapped, usize) -> bool) -> Result {
        let places = self.places.lock();
        let requester = places.get(place).and_then(Option::as_ref).ok_or(EBADF)?;
        let is_right = requester.transient.with(|mapped| {
            (0..mapped.size())
                .step_by(CHUNK)
                .all(|offset| work(mapped, offset))
        })?;
        is_right.then_some(()).ok_or(EILSEQ)
    }

    /// Uses it for so long, which a move waits for.
    pub(crate) fn linger(&self, place: usize, ms: i64) -> Result {
        let places = self.places.lock();
        let requester = places.get(place).and_then(Option::as_ref).ok_or(EBADF)?;
        requester.transient.with(|_| fsleep(Delta::from_millis(ms)))
    }

    pub(crate) fn close(&self, place: usize) -> Result {
        let requester = self.places.lock().get_mut(place).ok_or(EINVAL)?.take();
        requester.map(drop).ok_or(EBADF)
    }

    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, requester) in self.places.lock().iter().enumerate() {
            if let Some(Requester { notes, .. }) = requester {
                writeln!(
                    f,
                    "transient {} at {:#x} relocated {} wrong {} mourned {}",
                    number,
                    notes.base.load(Acquire),
                    notes.relocated.load(Acquire),
                    notes.wrong.load(Acquire),
                    notes.mourned.load(Acquire)
                )?;
            }
        }
        Ok(())
    }
}
