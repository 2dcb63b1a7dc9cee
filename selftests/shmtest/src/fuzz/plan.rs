// SPDX-License-Identifier: GPL-2.0

//! What a thread does. Each step follows from the random numbers alone, never from an answer, so that a seed repeats it; what
//! only the run can know, such as what is mapped, is named by its place among its like.

use adeos_proto::abi::shm as abi;
use adeos_proto::record;
use fuzzing::{noise, Bytes, Random, Spot};

use super::field::{Map, Part, PAGE, PAGES};
use super::World;

mod memory;
mod records;

pub(super) use memory::{lock_of, Peek, Touch};

/// Descriptors that a thread has at once.
pub(super) const SLOTS: u64 = 6;
/// Regions that only the thread itself knows.
pub(super) const OWN: u64 = 2;
/// Locks are among the first so many words of a region's first page; whoever writes keeps off that page but for them.
pub(super) const LOCKS: u64 = 8;
/// Bytes of which a region has a multiple.
const GRANULE: u64 = 2 << 20;

/// The calls of the device, and of a region's file.
pub(super) const KNOWN: [(&str, u32); 10] = [
    ("SHM_CREATE", abi::SHM_CREATE),
    ("SHM_OPEN", abi::SHM_OPEN),
    ("SHM_STAT", abi::SHM_STAT),
    ("SHM_PROTECT", abi::SHM_PROTECT),
    ("SHM_WAIT", abi::SHM_WAIT),
    ("SHM_NOTIFY", abi::SHM_NOTIFY),
    ("SHM_WAIT_WORD", abi::SHM_WAIT_WORD),
    ("SHM_WAKE_WORD", abi::SHM_WAKE_WORD),
    ("SHM_GUARD", abi::SHM_GUARD),
    ("SHM_KEEP", abi::SHM_KEEP),
];

/// Whom a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// `/dev/bridge_shm`.
    Device,
    /// What is open in a slot.
    Slot(u64),
}

/// What is put into a record when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    Nothing,
    /// The number of notices that is known.
    Notices,
    /// The word that is there.
    Word,
}

/// A call that no region's file has, or that means nothing of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Odd {
    Seek(u64, u64),
    Advise(u64, u64, u64),
    Allocate(u64, u64, u64),
    Truncate(u64),
    Sync,
    ReadAt(u64, u64),
    WriteAt(u64, u64),
    /// Into a pipe, out of one.
    Splice(u64, u64),
    SpliceFrom(u64, u64),
    /// Into a file, out of one.
    Send(u64),
    SendFrom(u64),
}

/// What is asked of an epoll.
#[derive(Clone, Copy, Debug)]
pub(super) enum Watch {
    Add,
    Remove,
    Look,
}

/// What a child does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Loads from what is mapped.
    Load(u64),
    /// Stores there.
    Store(u64, u64),
    Notify(u64),
    Close(u64),
    Unmap(Part),
    /// Sleeps for what does not come, until it is killed.
    WaitWord(u64),
    Wait(u64),
    Read(u64),
    /// Makes, or opens, a region, and closes it, until it is killed.
    Again(u32, Bytes),
}

/// A step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A request; a descriptor that it gives goes to a slot.
    Ask {
        whom: Whom,
        number: u32,
        record: Bytes,
        fill: Fill,
        spot: Spot,
        slot: u64,
    },
    Read {
        slot: u64,
        length: u64,
        spot: Spot,
    },
    Write {
        slot: u64,
        length: u64,
        number: u64,
        spot: Spot,
    },
    Poll {
        slot: u64,
        ms: i32,
    },
    Watch {
        slot: u64,
        how: Watch,
    },
    Duplicate {
        slot: u64,
        to: u64,
    },
    Close(u64),
    /// Everything is closed, and nothing mapped any more.
    Leave,
    /// More locks are guarded than can be.
    GuardMany(u64),
    Odd(u64, Odd),
    Map(u64, Map),
    Unmap(Part),
    Protect(Part, u32),
    Remap {
        part: Part,
        length: u64,
        flags: u32,
        to: u64,
    },
    Advise(Part, i32),
    Sync(Part, i32),
    Lock(Part, bool),
    Touch(u64, Touch),
    Peek(u64, Peek),
    Child {
        acts: Vec<Act>,
        killed_after_ms: Option<u64>,
    },
}

/// One thread's steps.
pub(super) struct Planner {
    random: Random,
    world: World,
    names: [String; OWN as usize],
}

/// What a thread's own regions are called: the first one in the cluster, the second one in this vnode. Who damages one of these
/// names does not come upon another one.
pub(super) fn own_names(seed: u64, thread: u64) -> [String; OWN as usize] {
    [0, 1].map(|which| {
        let mut random = Random::new(seed, thread * OWN + which);
        random.any();
        format!("p{:016x}", random.any())
    })
}

impl Planner {
    /// The steps of this thread.
    pub(super) fn new(seed: u64, thread: u64, world: World) -> Self {
        Self {
            random: Random::new(seed, thread),
            world,
            names: own_names(seed, thread),
        }
    }

    fn slot(&mut self) -> u64 {
        self.random.below(SLOTS)
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Step {
        match self.random.below(160) {
            0..=11 => self.open(abi::SHM_CREATE),
            12..=20 => self.open(abi::SHM_OPEN),
            21..=51 => self.ask(),
            52..=54 => self.unknown(),
            55..=58 => {
                let (slot, length) = (self.slot(), self.length());
                let spot = Spot::any(&mut self.random, 8);
                Step::Read { slot, length, spot }
            }
            59..=62 => {
                let (slot, length) = (self.slot(), self.length());
                let number = self.random.pick(&[0, 1, 1, u64::MAX]);
                let spot = Spot::any(&mut self.random, 8);
                Step::Write {
                    slot,
                    length,
                    number,
                    spot,
                }
            }
            63..=64 => Step::Poll {
                slot: self.slot(),
                ms: self.random.pick(&[0, 0, 1, 10]),
            },
            65..=66 => Step::Watch {
                slot: self.slot(),
                how: match self.random.below(3) {
                    0 => Watch::Add,
                    1 => Watch::Remove,
                    _ => Watch::Look,
                },
            },
            67..=68 => Step::Duplicate {
                slot: self.slot(),
                to: self.slot(),
            },
            69..=73 => Step::Close(self.slot()),
            74..=77 => Step::Odd(self.slot(), odd(&mut self.random)),
            78..=79 => self.child(),
            80 => Step::Leave,
            81 if self.random.once_in(4) => Step::GuardMany(self.slot()),
            _ => memory::step(&mut self.random),
        }
    }

    /// Bytes to read or to write.
    fn length(&mut self) -> u64 {
        match self.random.below(8) {
            0 => self.random.below(16),
            1 => self.random.boundary(),
            _ => 8,
        }
    }

    fn open(&mut self, number: u32) -> Step {
        let mut record = self.region(number).to_bytes();
        self.damage(&mut record);
        let whom = match self.random.once_in(32) {
            true => Whom::Slot(self.slot()),
            false => Whom::Device,
        };
        self.request(whom, number, &record, Fill::Nothing)
    }

    fn request(&mut self, whom: Whom, number: u32, record: &[u8], fill: Fill) -> Step {
        Step::Ask {
            whom,
            number,
            record: Bytes(record.to_vec()),
            fill,
            spot: Spot::any(&mut self.random, record.len()),
            slot: self.slot(),
        }
    }

    fn unknown(&mut self) -> Step {
        let known = self.random.below(KNOWN.len() as u64) as usize;
        let known = KNOWN.get(known).map_or(0, |(_, number)| *number);
        let number = match self.random.below(2) {
            0 => known ^ (1 << self.random.below(32)),
            _ => self.random.any() as u32,
        };
        let record = noise(&mut self.random, number);
        let whom = match self.random.once_in(4) {
            true => Whom::Device,
            false => Whom::Slot(self.slot()),
        };
        self.request(whom, number, &record, Fill::Nothing)
    }

    /// A call of a region's file.
    fn ask(&mut self) -> Step {
        let number = self.random.pick(&[
            abi::SHM_STAT,
            abi::SHM_STAT,
            abi::SHM_PROTECT,
            abi::SHM_PROTECT,
            abi::SHM_WAIT,
            abi::SHM_WAIT,
            abi::SHM_NOTIFY,
            abi::SHM_WAIT_WORD,
            abi::SHM_WAIT_WORD,
            abi::SHM_WAKE_WORD,
            abi::SHM_WAKE_WORD,
            abi::SHM_GUARD,
            abi::SHM_GUARD,
            abi::SHM_GUARD,
            abi::SHM_KEEP,
        ]);
        let (mut record, fill) = self.record(number);
        self.damage(&mut record);
        let whom = match self.random.once_in(32) {
            true => Whom::Device,
            false => Whom::Slot(self.slot()),
        };
        self.request(whom, number, &record, fill)
    }

    fn child(&mut self) -> Step {
        let mut acts = Vec::new();
        for _ in 0..1 + self.random.below(6) {
            let (pick, slot) = (self.random.any(), self.slot());
            acts.push(match self.random.below(8) {
                0..=2 => Act::Load(pick),
                3 | 4 => Act::Store(pick, self.random.any()),
                5 => Act::Notify(slot),
                6 => Act::Close(slot),
                _ => Act::Unmap(memory::part(&mut self.random)),
            });
        }
        let killed_after_ms = self.random.once_in(2).then(|| self.random.below(8));
        if killed_after_ms.is_some() {
            let slot = self.slot();
            acts.push(match self.random.below(5) {
                0 => Act::WaitWord(slot),
                1 => Act::Wait(slot),
                2 => Act::Read(slot),
                _ => {
                    let number = self.random.pick(&[abi::SHM_CREATE, abi::SHM_OPEN]);
                    let record = abi::Region {
                        name: record::set_text(self.random.pick(&["fuzz.a", "fuzz.b", "fuzz.d"])),
                        scope: 1,
                        vnode: 0,
                        access: 2,
                        bytes: if number == abi::SHM_CREATE {
                            GRANULE
                        } else {
                            0
                        },
                        ..self.region(number)
                    };
                    Act::Again(number, Bytes(record.to_bytes().to_vec()))
                }
            });
        }
        Step::Child {
            acts,
            killed_after_ms,
        }
    }
}

fn odd(random: &mut Random) -> Odd {
    let (first, second) = (random.boundary(), random.boundary());
    match random.below(11) {
        0 => Odd::Seek(first, random.below(6)),
        1 => Odd::Advise(first, second, random.below(8)),
        2 => Odd::Allocate(
            random.pick(&[0, 1, 2, 3, 8, 16, 64, 1 << 31]),
            first,
            second,
        ),
        3 => Odd::Truncate(first),
        4 => Odd::Sync,
        5 => Odd::ReadAt(random.below(16), first),
        6 => Odd::WriteAt(random.below(16), first),
        7 => Odd::Splice(first, random.below(16)),
        8 => Odd::SpliceFrom(first, random.below(16)),
        9 => Odd::Send(first),
        _ => Odd::SendFrom(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, thread: u64) -> Vec<String> {
        let mut planner = Planner::new(seed, thread, World::default());
        (0..5000).map(|_| format!("{:?}", planner.next())).collect()
    }

    #[test]
    fn a_seed_repeats_the_steps_of_each_thread() {
        assert_eq!(steps(7, 1), steps(7, 1));
        assert_ne!(steps(7, 1), steps(7, 2));
        assert_ne!(steps(7, 1), steps(8, 1));
    }

    #[test]
    fn every_call_is_made_with_what_is_right_and_with_what_is_not() {
        let mut planner = Planner::new(1, 0, World::default());
        let mut seen = std::collections::BTreeMap::<u32, [u32; 3]>::new();
        for _ in 0..20_000 {
            if let Step::Ask {
                whom, number, spot, ..
            } = planner.next()
            {
                let [there, elsewhere, astray] = seen.entry(number).or_default();
                *there += u32::from(spot == Spot::Mapped);
                *elsewhere += u32::from(spot != Spot::Mapped);
                let is_devices = [abi::SHM_CREATE, abi::SHM_OPEN].contains(&number);
                *astray += u32::from((whom == Whom::Device) != is_devices);
            }
        }
        for (name, number) in KNOWN {
            assert!(seen[&number].iter().all(|count| *count > 0), "{name}");
        }
        assert!(
            seen.len() > 100,
            "numbers that nobody knows are asked for as well"
        );
    }

    #[test]
    fn every_kind_of_step_is_planned() {
        let mut planner = Planner::new(2, 0, World::default());
        let kinds = (0..20_000).map(|_| {
            let step = format!("{:?}", planner.next());
            step.split([' ', '(']).next().unwrap_or_default().to_owned()
        });
        let kinds: std::collections::BTreeSet<_> = kinds.collect();
        let wanted = [
            "Advise",
            "Ask",
            "Child",
            "Close",
            "Duplicate",
            "GuardMany",
            "Leave",
            "Lock",
            "Map",
            "Odd",
            "Peek",
            "Poll",
            "Protect",
            "Read",
            "Remap",
            "Sync",
            "Touch",
            "Unmap",
            "Watch",
            "Write",
        ];
        assert!(kinds.iter().eq(wanted.iter()), "{kinds:?}");
    }

    #[test]
    fn regions_of_threads_have_names_of_their_own() {
        let seeds = [0, 1, 2, 3, u64::MAX];
        let all = seeds.map(|seed| {
            (0..16)
                .flat_map(|it| own_names(seed, it))
                .collect::<Vec<_>>()
        });
        let all = all.concat();
        for (at, name) in all.iter().enumerate() {
            assert!(adeos_proto::shm::region_name(name).is_ok(), "{name}");
            for other in &all[at + 1..] {
                let letters = name.bytes().zip(other.bytes());
                let different = letters.filter(|(one, other)| one != other).count();
                assert!(different > 8, "{name} and {other}");
            }
        }
    }
}
