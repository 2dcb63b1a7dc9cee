// SPDX-License-Identifier: GPL-2.0

//! Records: honest ones, and ones that are not in one number.

use adeos_proto::abi::shm as abi;
use adeos_proto::record;
use fuzzing::put64;

use super::{Fill, Planner, GRANULE, LOCKS, PAGE};

impl Planner {
    /// What finds a region, mostly one of those that others use.
    fn name(&mut self) -> (u32, u32, [u8; 32]) {
        let random = &mut self.random;
        let shared = ["fuzz.a", "fuzz.b", "fuzz.c"];
        let own = self.names.each_ref().map(String::as_str);
        let [first, second] = own;
        match random.below(16) {
            0..=3 => (1, 0, record::set_text(first)),
            4..=6 => (2, u32::MAX, record::set_text(second)),
            7..=11 => (1, 0, record::set_text(random.pick(&shared))),
            12..=14 => {
                let vnode = random.pick(&[u32::MAX, u32::MAX, 0, 1, 2, 15, 16]);
                (2, vnode, record::set_text("fuzz.l"))
            }
            // A name that may be none: of the wrong characters, or without an end.
            _ => {
                let mut name = record::set_text(random.pick(&["", "fuzz/a", "FUZZ", ".", "-"]));
                if random.once_in(2) {
                    name = [b'f'; 32];
                }
                (random.below(4) as u32, random.below(3) as u32, name)
            }
        }
    }

    /// A size of which there can be a region, or one of which there is never enough memory.
    fn size(&mut self) -> u64 {
        let random = &mut self.random;
        match random.below(12) {
            0..=8 => GRANULE,
            9 => random.pick(&[2 * GRANULE, 3 * GRANULE]),
            10 => random.pick(&[0, 1, PAGE, GRANULE - 1, GRANULE + PAGE]),
            _ => match random.boundary() {
                size if size % GRANULE == 0 && size < 1 << 40 => size + 1,
                size => size,
            },
        }
    }

    pub(super) fn region(&mut self, number: u32) -> abi::Region {
        let (scope, vnode, name) = self.name();
        let mut record = abi::Region {
            size: abi::Region::SIZE as u32,
            access: self.random.pick(&[2, 2, 2, 1]),
            scope,
            vnode,
            name,
            ..Default::default()
        };
        if number == abi::SHM_CREATE {
            record.bytes = self.size();
            record.mode = self.random.pick(&[
                0o600, 0o600, 0o660, 0o666, 0o666, 0o666, 0o640, 0o644, 0o400, 0,
            ]);
            record.readers = self.vnodes();
            record.writers = self.vnodes();
        }
        record
    }

    fn vnodes(&mut self) -> u32 {
        let any = self.random.below(1 << 16) as u32;
        self.random.pick(&[0, 0xffff, 0xffff, 0xffff, any])
    }

    /// Now and then one number of a record is not what it was, or what there may be.
    pub(super) fn damage(&mut self, record: &mut [u8]) {
        let words = record.len() as u64 / 8;
        if !self.random.once_in(6) || words == 0 {
            return;
        }
        let at = self.random.below(words) as usize * 8;
        match self.random.below(3) {
            0 => put64(record, at, self.random.boundary()),
            1 => {
                let half = at + self.random.below(2) as usize * 4;
                let number = (self.random.boundary() as u32).to_le_bytes();
                for (to, from) in record.iter_mut().skip(half).zip(number) {
                    *to = from;
                }
            }
            _ => {
                let bit = self.random.below(64) as usize;
                if let Some(byte) = record.get_mut(at + bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
    }

    /// Where a word may be.
    fn offset(&mut self) -> u64 {
        let random = &mut self.random;
        match random.below(16) {
            0..=9 => 4 * random.below(LOCKS),
            10 | 11 => PAGE * random.below(GRANULE / PAGE) + 4 * random.below(8),
            12 => random.pick(&[GRANULE - 4, GRANULE, GRANULE - 2, 3 * GRANULE, 1]),
            13 => random.boundary() & !3,
            _ => random.boundary(),
        }
    }

    /// An honest record for a call of a region's file.
    pub(super) fn record(&mut self, number: u32) -> (Vec<u8>, Fill) {
        let size = number >> 16 & 0x3fff;
        let soon = self.random.pick(&[0, 0, 1, 5, 20]);
        let mut fill = Fill::Nothing;
        let record = match number {
            abi::SHM_STAT => abi::Stat {
                size,
                ..Default::default()
            }
            .to_bytes()
            .to_vec(),
            abi::SHM_PROTECT => {
                let (user, group) = (self.world.user, self.world.group);
                abi::Protect {
                    size,
                    mode: self
                        .random
                        .pick(&[0o600, 0o660, 0o666, 0o666, 0o400, 0, 0o620]),
                    user: self
                        .random
                        .pick(&[user, user, user, user, 0, 1000, u32::MAX]),
                    group: self.random.pick(&[group, group, group, 0, 4711, u32::MAX]),
                    readers: self.vnodes(),
                    writers: self.vnodes(),
                    reserved: 0,
                }
                .to_bytes()
                .to_vec()
            }
            abi::SHM_WAIT => {
                let (seen, mut timeout_ms) = (self.random.any(), self.random.boundary());
                if self.random.once_in(2) {
                    (fill, timeout_ms) = (Fill::Notices, soon);
                }
                abi::Wait {
                    size,
                    reserved: 0,
                    seen,
                    timeout_ms,
                }
                .to_bytes()
                .to_vec()
            }
            abi::SHM_WAIT_WORD => {
                if self.random.once_in(2) {
                    fill = Fill::Word;
                }
                abi::Word {
                    size,
                    value: self.random.boundary() as u32,
                    offset: self.offset(),
                    timeout_ms: soon,
                }
                .to_bytes()
                .to_vec()
            }
            abi::SHM_WAKE_WORD => abi::Word {
                size,
                value: self.random.pick(&[0, 1, 1, 2, u32::MAX]),
                offset: self.offset(),
                timeout_ms: 0,
            }
            .to_bytes()
            .to_vec(),
            abi::SHM_GUARD => abi::Guard {
                size,
                reserved: 0,
                offset: self.offset(),
            }
            .to_bytes()
            .to_vec(),
            abi::SHM_KEEP => abi::Keep {
                size,
                keep: self.random.pick(&[0, 0, 1, 1, 2, u32::MAX]),
            }
            .to_bytes()
            .to_vec(),
            _ => Vec::new(),
        };
        (record, fill)
    }
}
