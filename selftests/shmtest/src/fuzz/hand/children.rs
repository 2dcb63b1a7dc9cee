// SPDX-License-Identifier: GPL-2.0

//! Children of a thread: what they are to do, made ready.

use std::os::fd::AsRawFd;
use std::sync::PoisonError;

use adeos_proto::abi::shm as abi;
use fuzzing::{Allowed, Arena};

use super::super::child::{self, Raw};
use super::super::field::PAGE;
use super::super::model::{mark, Which};
use super::super::plan::{Act, LOCKS};
use super::Hand;

/// Room for a record in the buffer.
const RECORD: usize = 128;
/// A word on which nobody else sleeps, nor stores: it is zero for ever.
const QUIET: u64 = 4 * (LOCKS + 1);

/// What is made ready.
#[derive(Default)]
struct Ready {
    raw: Vec<Raw>,
    /// Numbers that the child stores where only this thread looks.
    stored: Vec<(Which, u64, u64)>,
    /// Notices that it gives.
    notified: Vec<Which>,
    /// Slots that it has closed.
    closed: Vec<u64>,
    has_unmapped: bool,
}

impl Hand {
    /// Has a child do what was planned, as far as there is something to do it with.
    pub(super) fn child(
        &mut self,
        acts: &[Act],
        killed_after_ms: Option<u64>,
    ) -> Result<(), String> {
        let mut ready = Ready::default();
        for act in acts {
            self.make_ready(act, killed_after_ms.is_some(), &mut ready)?;
        }
        let children = self.common.children.clone();
        let result = {
            let _all = children.write().unwrap_or_else(PoisonError::into_inner);
            child::run(&ready.raw, killed_after_ms)
        };
        let name = if killed_after_ms.is_some() {
            "child killed"
        } else {
            "child"
        };
        self.judge(name, 0, &Allowed::fails(Vec::new()))?;
        result?;
        let reached = &mut self.common.book.open().reached;
        match killed_after_ms {
            Some(_) => reached.killed += 1,
            None => reached.children += 1,
        }
        for (which, offset, number) in ready.stored {
            self.model.stored(which, offset, number);
        }
        for which in ready.notified {
            self.model.notified(which);
        }
        Ok(())
    }

    fn make_ready(&self, act: &Act, is_killed: bool, ready: &mut Ready) -> Result<(), String> {
        let is_open = |slot: u64| {
            let is_closed = ready.closed.contains(&slot);
            self.open_file(slot).filter(|_| !is_closed)
        };
        match act {
            Act::Load(pick) => {
                if let Some(place) = self.place(*pick)? {
                    let is_own = self.model.own(place.which).is_some();
                    let known = (is_own && place.offset >= PAGE).then(|| {
                        let stored = ready.stored.iter().rev();
                        let own = |(which, offset, number): &(Which, u64, u64)| {
                            ((*which, *offset) == (place.which, place.offset)).then_some(*number)
                        };
                        stored
                            .clone()
                            .find_map(own)
                            .unwrap_or_else(|| self.model.number(place.which, place.offset))
                    });
                    ready.raw.push(Raw::Load {
                        address: place.address,
                        wanted: known,
                        may_fault: ready.has_unmapped
                            || !place.area.may_load()
                            || self.field.is_marked(place.address, 8),
                    });
                }
            }
            Act::Store(pick, bits) => {
                let place = self.place(*pick)?.filter(|place| {
                    let is_there = place.area.may_write
                        && !ready.has_unmapped
                        && !self.field.is_marked(place.address, 8);
                    is_there && place.offset >= PAGE
                });
                let Some(place) = place else {
                    return Ok(());
                };
                let is_own = self.model.own(place.which).is_some();
                // Nobody knows how far one comes that is killed.
                if is_own && is_killed {
                    return Ok(());
                }
                let number = mark(place.which, *bits);
                ready.raw.push(Raw::Store {
                    address: place.address,
                    number,
                });
                ready.stored.push((place.which, place.offset, number));
            }
            Act::Notify(slot) => {
                let Some(open) = is_open(*slot) else {
                    return Ok(());
                };
                let is_own = self.model.own(open.which).is_some();
                if is_own && is_killed {
                    return Ok(());
                }
                if open.can_write {
                    ready.notified.push(open.which);
                }
                ready.raw.push(Raw::Ask {
                    file: self.descriptor(*slot),
                    number: abi::SHM_NOTIFY,
                    address: 0,
                });
            }
            Act::Close(slot) => {
                if is_open(*slot).is_some() {
                    ready.closed.push(*slot);
                    ready.raw.push(Raw::Close(self.descriptor(*slot)));
                }
            }
            Act::Unmap(part) => {
                let part = self.field.cut(*part);
                // One that is refused changes nothing.
                if part.shift == 0 && part.length > 0 && part.length <= 1 << 40 {
                    ready.has_unmapped = true;
                    ready.raw.push(Raw::Unmap {
                        address: self.field.start(part),
                        length: part.length,
                    });
                }
            }
            Act::WaitWord(slot) => {
                let record = abi::Word {
                    size: abi::Word::SIZE as u32,
                    value: 0,
                    offset: QUIET,
                    timeout_ms: abi::FOR_EVER,
                };
                self.ask_for_ever(*slot, abi::SHM_WAIT_WORD, &record.to_bytes(), ready);
            }
            Act::Wait(slot) => {
                let which = self.open_file(*slot).map(|open| open.which);
                let seen = which.and_then(|which| self.known_notices(which));
                let record = abi::Wait {
                    size: abi::Wait::SIZE as u32,
                    reserved: 0,
                    seen: seen.unwrap_or(0),
                    timeout_ms: abi::FOR_EVER,
                };
                self.ask_for_ever(*slot, abi::SHM_WAIT, &record.to_bytes(), ready);
            }
            Act::Read(slot) => {
                // What it reads is read, for all that have the file.
                let is_own = is_open(*slot).is_none_or(|open| self.model.own(open.which).is_some());
                if !is_own {
                    ready.raw.push(Raw::Read {
                        file: self.descriptor(*slot),
                        address: self.arena.address(Arena::BUFFER),
                    });
                }
            }
            Act::Again(number, record) => {
                let address = self.record_of_child(&record.0, ready);
                ready.raw.push(Raw::Again {
                    file: self.device.as_raw_fd(),
                    number: *number,
                    address,
                });
            }
        }
        Ok(())
    }

    fn ask_for_ever(&self, slot: u64, number: u32, record: &[u8], ready: &mut Ready) {
        let address = self.record_of_child(record, ready);
        ready.raw.push(Raw::Ask {
            file: self.descriptor(slot),
            number,
            address,
        });
    }

    /// Puts a record where the child finds it.
    fn record_of_child(&self, record: &[u8], ready: &Ready) -> u64 {
        let at = Arena::BUFFER + RECORD * (1 + ready.raw.len());
        self.arena.write(at, record);
        self.arena.address(at)
    }
}
