// SPDX-License-Identifier: GPL-2.0

//! One thread's hand: does what was planned, and checks what is answered.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use adeos_proto::abi::shm as abi;
use fuzzing::{Allowed, Arena};
use rustix::fs::OFlags;

use super::book::Shared;
use super::field::{Area, Field};
use super::model::{Model, Open, Which};
use super::plan::{Step, KNOWN, SLOTS};
use super::World;

mod children;
mod files;
mod memory;
mod requests;

/// Where regions come from.
const DEVICE: &str = "/dev/bridge_shm";
/// Where a record goes that is the hand's own.
const ASIDE: usize = Arena::TEXT;

/// An open descriptor.
struct Slot {
    file: OwnedFd,
    inode: u64,
}

/// What threads have in common.
#[derive(Clone, Default)]
pub(super) struct Common {
    pub(super) book: Arc<Shared>,
    /// Held to write while there is a child: it has all that is open.
    children: Arc<RwLock<()>>,
}

/// What one thread works with.
pub(super) struct Hand {
    common: Common,
    device: File,
    arena: Arena,
    field: Field,
    model: Model,
    slots: [Option<Slot>; SLOTS as usize],
    /// Descriptors of regions that are to be kept no more in the end.
    kept: Vec<OwnedFd>,
    /// Notices of a region, as they were told last.
    told: BTreeMap<u16, u64>,
    epoll: OwnedFd,
    /// The reading end, and the writing one.
    pipe: (OwnedFd, OwnedFd),
    null: File,
    memory: File,
    /// A file of which there is something to send.
    program: File,
}

fn said(error: impl Into<io::Error>) -> String {
    format!("this program's own work failed: {}", error.into())
}

/// The name of a call, for the book.
fn name_of(number: u32) -> &'static str {
    let known = KNOWN.iter().find(|(_, known)| *known == number);
    known.map_or("SHM_unknown", |(name, _)| *name)
}

fn own(file: i32) -> OwnedFd {
    // SAFETY: A call has just opened it, for nobody else.
    unsafe { OwnedFd::from_raw_fd(file) }
}

impl Hand {
    pub(super) fn new(
        seed: u64,
        thread: u64,
        world: World,
        common: Common,
    ) -> Result<Self, String> {
        let both = |path| OpenOptions::new().read(true).write(true).open(path);
        // SAFETY: It opens a descriptor.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(said(io::Error::last_os_error()));
        }
        let pipe = fuzzing::pipe().map_err(said)?;
        for end in [&pipe.0, &pipe.1] {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK).map_err(said)?;
        }
        Ok(Self {
            common,
            device: both(DEVICE).map_err(|error| format!("{DEVICE}: {error}"))?,
            arena: Arena::new().map_err(said)?,
            field: Field::new(thread).map_err(said)?,
            model: Model::new(seed, thread, world),
            slots: [const { None }; SLOTS as usize],
            kept: Vec::new(),
            told: BTreeMap::new(),
            epoll: own(epoll),
            pipe,
            null: both("/dev/null").map_err(said)?,
            memory: both("/proc/self/mem").map_err(said)?,
            program: File::open("/proc/self/exe").map_err(said)?,
        })
    }

    /// Does a step. An error tells what is wrong.
    pub(super) fn carry_out(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Ask {
                whom,
                number,
                record,
                fill,
                spot,
                slot,
            } => self.request(*whom, *number, record, *fill, *spot, *slot),
            Step::Read { slot, length, spot } => self.read(*slot, *length, *spot),
            Step::Write {
                slot,
                length,
                number,
                spot,
            } => self.write(*slot, *length, *number, *spot),
            Step::Poll { slot, ms } => self.poll(*slot, *ms),
            Step::Watch { slot, how } => self.watch(*slot, *how),
            Step::Duplicate { slot, to } => self.duplicate(*slot, *to),
            Step::Close(slot) => self.put(*slot, None),
            Step::Leave => self.leave(),
            Step::GuardMany(slot) => self.guard_many(*slot),
            Step::Odd(slot, odd) => self.odd(*slot, *odd),
            Step::Child {
                acts,
                killed_after_ms,
            } => self.child(acts, *killed_after_ms),
            _ => self.memory_step(step),
        }
    }

    /// Notes an answer, which is to be one of these.
    fn judge(&self, call: &'static str, errno: i32, allowed: &Allowed) -> Result<(), String> {
        self.common.book.open().note(call, errno);
        if !allowed.has(errno) {
            return Err(format!(
                "{call}: answer {errno}, but allowed is {allowed:?}"
            ));
        }
        Ok(())
    }

    fn slot(&self, slot: u64) -> Option<&Slot> {
        self.slots.get((slot % SLOTS) as usize)?.as_ref()
    }

    /// The descriptor of a slot, which is none where nothing is open.
    fn descriptor(&self, slot: u64) -> RawFd {
        self.slot(slot).map_or(-1, |slot| slot.file.as_raw_fd())
    }

    fn open_file(&self, slot: u64) -> Option<&Open> {
        self.model.files.get(&self.slot(slot)?.inode)
    }

    /// Keeps children away while a region goes that only this thread knows, or may.
    fn alone<'a>(children: &'a RwLock<()>, may_go: bool) -> Option<RwLockReadGuard<'a, ()>> {
        may_go.then(|| children.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a descriptor into a slot; what was there is closed.
    fn put(&mut self, slot: u64, new: Option<Slot>) -> Result<(), String> {
        let is_own = self
            .open_file(slot)
            .is_some_and(|open| matches!(open.which, Which::Own(_)));
        let children = self.common.children.clone();
        let _alone = Self::alone(&children, is_own);
        let Some(place) = self.slots.get_mut((slot % SLOTS) as usize) else {
            return Ok(());
        };
        let old = std::mem::replace(place, new);
        if let Some(old) = old {
            if let Some(open) = self.model.files.get_mut(&old.inode) {
                open.descriptors -= 1;
            }
            drop(old.file);
            self.common.book.open().note("close", 0);
            self.settle()?;
        }
        Ok(())
    }

    /// Closes all, and has nothing mapped.
    fn leave(&mut self) -> Result<(), String> {
        let children = self.common.children.clone();
        let alone = Self::alone(&children, true);
        self.field.clear();
        self.settle()?;
        drop(alone);
        (0..SLOTS).try_for_each(|slot| self.put(slot, None))
    }

    /// What is mapped, of which all is as it may be.
    fn areas(&self) -> Result<Vec<Area>, String> {
        let areas = self.field.areas().map_err(said)?;
        for area in &areas {
            self.model.check_area(area)?;
        }
        Ok(areas)
    }

    /// Takes files for closed that nothing has any more.
    fn settle(&mut self) -> Result<(), String> {
        let unused = |model: &Model| -> Vec<u64> {
            let files = model.files.iter();
            let unused = files.filter(|(_, open)| open.descriptors == 0);
            unused.map(|(inode, _)| *inode).collect()
        };
        let unused = unused(&self.model);
        if unused.is_empty() {
            return Ok(());
        }
        let areas = self.areas()?;
        for inode in unused {
            if areas.iter().any(|area| area.inode == inode) {
                continue;
            }
            let freed = self.model.released(inode);
            self.common.book.open().reached.freed += freed;
            if freed > 0 {
                self.check_locks(&areas)?;
            }
        }
        Ok(())
    }

    /// Lets go of everything. After that nothing is left of regions that only this thread knows.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let children = self.common.children.clone();
        let _alone = Self::alone(&children, true);
        self.field.clear();
        for file in std::mem::take(&mut self.kept) {
            // Another thread may have done so.
            let known = self.keep_no_more(&file)?;
            self.judge("SHM_KEEP", known, &Allowed::maybe(&[libc::ENOENT]))?;
        }
        for which in [Which::Own(0), Which::Own(1)] {
            if self.model.own(which).is_some_and(|own| own.is_kept) {
                let file = self.open_own(which).map_err(|errno| {
                    format!("a region that is kept cannot be opened: error {errno}")
                })?;
                let errno = self.keep_no_more(&file)?;
                self.judge("SHM_KEEP", errno, &Allowed::fails(Vec::new()))?;
            }
        }
        for slot in &mut self.slots {
            *slot = None;
        }
        for which in [Which::Own(0), Which::Own(1)] {
            let found = self.open_own(which).map(drop).err().unwrap_or(0);
            self.judge("SHM_OPEN", found, &Allowed::fails(vec![libc::ENOENT]))?;
        }
        Ok(())
    }

    fn keep_no_more(&self, file: &OwnedFd) -> Result<i32, String> {
        let record = abi::Keep {
            size: abi::Keep::SIZE as u32,
            keep: 0,
        };
        self.arena.write(ASIDE, &record.to_bytes());
        let answer = fuzzing::ask(file.as_raw_fd(), abi::SHM_KEEP, self.arena.address(ASIDE));
        Ok(answer.err().unwrap_or(0))
    }

    /// Opens a region of this thread's own to read it.
    fn open_own(&self, which: Which) -> Result<OwnedFd, i32> {
        let record = self.model.own_record(which);
        self.arena.write(ASIDE, &record.to_bytes());
        let device = self.device.as_raw_fd();
        fuzzing::ask(device, abi::SHM_OPEN, self.arena.address(ASIDE)).map(own)
    }
}
