// SPDX-License-Identifier: GPL-2.0

//! Requests, and what follows from their answers.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use adeos_proto::abi::shm as abi;
use fuzzing::{put64, u32_at, Arena, Bytes, Spot};
use rustix::fs::OFlags;
use rustix::io::FdFlags;

use super::super::model::{Open, To, Which};
use super::super::plan::{Fill, Whom};
use super::super::probe;
use super::{name_of, own, said, Hand, Slot, ASIDE};

/// No call sleeps longer than it was told to and this: on a busy machine it may be long before it runs.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that a thread sleeps for what nobody promises.
const SLEEP_MS: u64 = 50;

impl Hand {
    /// Sends a request, and does what follows from its answer.
    pub(super) fn request(
        &mut self,
        whom: Whom,
        number: u32,
        record: &Bytes,
        fill: Fill,
        spot: Spot,
        slot: u64,
    ) -> Result<(), String> {
        let mut bytes = record.0.clone();
        let file = match whom {
            Whom::Device => self.device.as_raw_fd(),
            Whom::Slot(slot) => self.descriptor(slot),
        };
        if let Whom::Slot(slot) = whom {
            self.fill(slot, number, fill, &mut bytes)?;
        }
        bound(number, &mut bytes);

        let to = match whom {
            Whom::Device => To::Device,
            Whom::Slot(slot) => self.open_file(slot).map_or(To::Nobody, To::File),
        };
        let allowed = self.model.allowed(to, number, &bytes, spot);
        let address = self.arena.lay(Arena::RECORD, &bytes, spot);
        let is_closed = spot == Spot::ReadOnly;
        if is_closed {
            self.arena.close_record(true).map_err(said)?;
        }
        let begun = Instant::now();
        let answer = fuzzing::ask(file, number, address);
        if is_closed {
            self.arena.close_record(false).map_err(said)?;
        }
        let errno = answer.err().unwrap_or(0);
        self.judge(name_of(number), errno, &allowed)?;
        self.check_time(number, &bytes, begun.elapsed(), errno)?;
        let Ok(opened) = answer else {
            return Ok(());
        };
        if spot == Spot::Mapped {
            self.arena.read(Arena::RECORD, &mut bytes);
        }
        match whom {
            Whom::Device => self.adopt(own(opened), number, record, slot),
            Whom::Slot(slot) => self.is_done(slot, number, &bytes),
        }
    }

    /// Has as many locks guarded as can be, and more.
    pub(super) fn guard_many(&mut self, slot: u64) -> Result<(), String> {
        for at in 0..=abi::MAX_GUARDS as u64 + 1 {
            let record = abi::Guard {
                size: abi::Guard::SIZE as u32,
                reserved: 0,
                offset: 4 * at,
            };
            let record = Bytes(record.to_bytes().to_vec());
            let (whom, number) = (Whom::Slot(slot), abi::SHM_GUARD);
            self.request(whom, number, &record, Fill::Nothing, Spot::Mapped, slot)?;
        }
        Ok(())
    }

    /// What only the run can know of a record.
    fn fill(&self, slot: u64, number: u32, fill: Fill, bytes: &mut [u8]) -> Result<(), String> {
        let Some(open) = self.open_file(slot) else {
            return Ok(());
        };
        match fill {
            Fill::Nothing => {}
            Fill::Notices => {
                let known = self.known_notices(open.which).unwrap_or(0);
                put64(bytes, abi::Wait::OFFSETS.seen, known);
            }
            Fill::Word if number == abi::SHM_WAIT_WORD => {
                let Some(record) = bytes.first_chunk().map(abi::Word::from_bytes) else {
                    return Ok(());
                };
                let value = self.word_at(open, record.offset)?;
                let from = value.to_le_bytes();
                for (to, from) in bytes.iter_mut().skip(abi::Word::OFFSETS.value).zip(from) {
                    *to = from;
                }
            }
            Fill::Word => {}
        }
        Ok(())
    }

    /// The word that is at an offset, as far as that can be known.
    fn word_at(&self, open: &Open, offset: u64) -> Result<u32, String> {
        if let Some(word) = self.model.lock(open.which, offset) {
            return Ok(word);
        }
        for area in self.areas()? {
            let is_same = self
                .model
                .mapped(&area)
                .is_some_and(|it| it.which == open.which);
            let there = area.place.end - area.place.start;
            if !is_same || !area.may_load() || offset % 4 != 0 {
                continue;
            }
            if let Some(at) = offset.checked_sub(area.offset).filter(|at| *at < there) {
                let found = probe::load32(area.place.start + at);
                return found.map_err(|signal| format!("a load has met signal {signal}"));
            }
        }
        Ok(0)
    }

    /// Whoever waits looks once a second by itself, and is back when its time is over (SH-42).
    fn check_time(
        &self,
        number: u32,
        bytes: &[u8],
        took: Duration,
        errno: i32,
    ) -> Result<(), String> {
        if [abi::SHM_WAIT, abi::SHM_WAIT_WORD].contains(&number) {
            let reached = &mut self.common.book.open().reached;
            match errno {
                0 => reached.woken += 1,
                libc::ETIMEDOUT => reached.slept += 1,
                libc::EOWNERDEAD => reached.deaths += 1,
                _ => {}
            }
            if took > PATIENCE {
                let (name, record) = (name_of(number), Bytes(bytes.to_vec()));
                return Err(format!("{name} took {took:?}: {record:?}"));
            }
        }
        Ok(())
    }

    /// A region was made, or opened: checks the descriptor, and puts it into a slot.
    fn adopt(
        &mut self,
        file: OwnedFd,
        number: u32,
        record: &Bytes,
        slot: u64,
    ) -> Result<(), String> {
        let record = record.0.first_chunk().map(abi::Region::from_bytes);
        let known = record.and_then(|record| Some((record, self.model.key(&record)?)));
        let Some((record, key)) = known else {
            return Err("a descriptor of no region".to_owned());
        };
        let can_write = record.access == 2;
        let wanted = if can_write {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        let flags = rustix::fs::fcntl_getfl(&file).map_err(said)?;
        let is_closed = rustix::io::fcntl_getfd(&file).map_err(said)?;
        if flags & OFlags::RWMODE != wanted || !is_closed.contains(FdFlags::CLOEXEC) {
            return Err(format!("the descriptor has {flags:?}, {is_closed:?}"));
        }
        let facts = rustix::fs::fstat(&file).map_err(said)?;
        let stat = self.ask_stat(file.as_raw_fd())?;
        if facts.st_size as u64 != stat.bytes {
            return Err(format!("{} bytes of {}", facts.st_size, stat.bytes));
        }
        let which = self.model.which(&key);
        if number == abi::SHM_CREATE {
            self.model.made(which, &record);
            self.common.book.open().reached.made += 1;
        } else {
            self.common.book.open().reached.opened += 1;
        }
        self.model.opened(facts.st_ino, key, can_write, &stat);
        self.learn(facts.st_ino, &stat)?;
        let new = Slot {
            file,
            inode: facts.st_ino,
        };
        self.put(slot, Some(new))
    }

    fn ask_stat(&self, file: RawFd) -> Result<abi::Stat, String> {
        let record = abi::Stat {
            size: abi::Stat::SIZE as u32,
            ..Default::default()
        };
        let mut bytes = record.to_bytes();
        self.arena.write(ASIDE, &bytes);
        fuzzing::ask(file, abi::SHM_STAT, self.arena.address(ASIDE))
            .map_err(|errno| format!("SHM_STAT of what is open gives error {errno}"))?;
        self.arena.read(ASIDE, &mut bytes);
        Ok(abi::Stat::from_bytes(&bytes))
    }

    /// Notes what is told of a file's region, and checks it.
    fn learn(&mut self, inode: u64, stat: &abi::Stat) -> Result<(), String> {
        let Some(open) = self.model.files.get(&inode) else {
            return Ok(());
        };
        self.model.check(open, stat)?;
        let which = open.which;
        self.told_notices(which, stat.notices);
        if let Some(open) = self.model.files.get_mut(&inode) {
            let moved = stat.moves.wrapping_sub(open.moves);
            self.common.book.open().reached.moved += u64::from(moved);
            open.moves = stat.moves;
        }
        Ok(())
    }

    pub(super) fn known_notices(&self, which: Which) -> Option<u64> {
        match which {
            Which::Own(_) => self.model.own(which)?.notices,
            Which::Shared(tag) => self.told.get(&tag).copied(),
        }
    }

    fn told_notices(&mut self, which: Which, notices: u64) {
        if let Which::Shared(tag) = which {
            self.told.insert(tag, notices);
        } else if let Some(own) = self.model.own_mut(which) {
            own.notices = Some(notices);
        }
    }

    /// What a call of a region's file has done.
    fn is_done(&mut self, slot: u64, number: u32, bytes: &[u8]) -> Result<(), String> {
        let Some((inode, open)) = self
            .slot(slot)
            .and_then(|slot| Some((slot.inode, self.model.files.get(&slot.inode)?)))
        else {
            return Ok(());
        };
        let which = open.which;
        match number {
            abi::SHM_STAT => {
                if let Some(stat) = bytes.first_chunk().map(abi::Stat::from_bytes) {
                    self.learn(inode, &stat)?;
                }
            }
            abi::SHM_PROTECT => {
                if let Some(asked) = bytes.first_chunk().map(abi::Protect::from_bytes) {
                    self.model.protected(which, &asked);
                }
            }
            abi::SHM_WAIT => {
                if let Some(told) = bytes.first_chunk().map(abi::Wait::from_bytes) {
                    self.told_notices(which, told.seen);
                }
            }
            abi::SHM_NOTIFY => self.model.notified(which),
            abi::SHM_GUARD => {
                if let Some(asked) = bytes.first_chunk().map(abi::Guard::from_bytes) {
                    self.model.guarded(inode, asked.offset);
                }
            }
            abi::SHM_KEEP => self.keep(slot, which, u32_at(bytes, abi::Keep::OFFSETS.keep) == 1)?,
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, slot: u64, which: Which, is_kept: bool) -> Result<(), String> {
        match which {
            Which::Own(_) if !is_kept => self.model.not_kept(which),
            Which::Own(_) => {
                if let Some(own) = self.model.own_mut(which) {
                    own.is_kept = true;
                }
            }
            Which::Shared(_) if is_kept => {
                let Some(slot) = self.slot(slot) else {
                    return Ok(());
                };
                // Who is to open it again to let go of it may be refused by then.
                let (copy, inode) = (slot.file.try_clone().map_err(said)?, slot.inode);
                if let Some(open) = self.model.files.get_mut(&inode) {
                    open.descriptors += 1;
                }
                self.kept.push(copy);
            }
            Which::Shared(_) => {}
        }
        Ok(())
    }
}

/// Has a call not sleep for long that nobody may end. No region has had so many notices as to have a wait for them sleep.
fn bound(number: u32, bytes: &mut [u8]) {
    const MANY: u64 = 1 << 32;
    let at = |offset: usize| {
        let number = bytes.get(offset..).and_then(|rest| rest.first_chunk());
        number.map_or(0, |number| u64::from_le_bytes(*number))
    };
    let offset = match number {
        abi::SHM_WAIT if at(abi::Wait::OFFSETS.seen) < MANY => abi::Wait::OFFSETS.timeout_ms,
        abi::SHM_WAIT_WORD => abi::Word::OFFSETS.timeout_ms,
        _ => return,
    };
    let time = at(offset).min(SLEEP_MS);
    put64(bytes, offset, time);
}
