// SPDX-License-Identifier: GPL-2.0

//! What a thread asks for. Each request follows from the random numbers and the [`World`] alone,
//! never from an answer, so that a seed repeats it; what only the run can know, such as the life
//! that is to be ended, is named by its place among its like.

use adeos_proto::abi;
use fuzzing::{noise, put64, put_size, Bytes, Random, Spot};

use crate::start::StartPlan;
use crate::world::World;

/// The requests that mean something.
pub(crate) const KNOWN: [(&str, u32); 13] = [
    ("KMB_INFO", abi::KMB_INFO),
    ("KMB_START", abi::KMB_START),
    ("KMB_STOP", abi::KMB_STOP),
    ("KMB_KILL", abi::KMB_KILL),
    ("KMB_QUERY", abi::KMB_QUERY),
    ("KMB_CONSOLE", abi::KMB_CONSOLE),
    ("KMB_WAIT", abi::KMB_WAIT),
    ("KMB_FAULT", abi::KMB_FAULT),
    ("ADEOS_CONNECT", abi::ADEOS_CONNECT),
    ("ADEOS_ACCEPT", abi::ADEOS_ACCEPT),
    ("ADEOS_WHOAMI", abi::ADEOS_WHOAMI),
    ("ADEOS_BRIDGE", abi::ADEOS_BRIDGE),
    ("ADEOS_BRIDGE_STAT", abi::ADEOS_BRIDGE_STAT),
];

/// Which life of which vnode is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    /// One of those that live: its place among them.
    Living(u64),
    /// One that has been taken back.
    Gone(u64),
    /// Whichever has this number.
    Number(u32),
    /// This number and life, which there may never have been.
    Life(u32, u32),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// A start.
    Start(Box<StartPlan>),
    /// KMB_STOP or KMB_KILL of a vnode.
    Target(u32, Whom),
    /// A console, with the place of the buffer.
    Console(abi::ConsoleRead, Spot),
    /// Any other request, with the bytes of its record.
    Other(u32, Bytes),
    /// Reading from a file that is no end of a channel, or writing to it.
    Stream { write: bool },
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What is asked.
    pub(crate) ask: Ask,
    /// Whether it goes to the device that does not know it.
    pub(crate) astray: bool,
    /// Where the record lies.
    pub(crate) spot: Spot,
}

/// One thread's requests.
pub(crate) struct Planner {
    random: Random,
    world: World,
    /// The last request asked for a fault.
    armed: bool,
}

impl Planner {
    /// The requests of this thread.
    pub(crate) fn new(seed: u64, thread: u64, world: World) -> Self {
        Self {
            random: Random::new(seed, thread),
            world,
            armed: false,
        }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Request {
        if std::mem::take(&mut self.armed) {
            let start = StartPlan::honest(&mut self.random, &self.world);
            return Request {
                ask: Ask::Start(Box::new(start)),
                astray: false,
                spot: Spot::Mapped,
            };
        }
        let ask = self.ask();
        let spot = self.spot(&ask);
        Request {
            ask,
            astray: self.random.once_in(32),
            spot,
        }
    }

    fn ask(&mut self) -> Ask {
        let random = &mut self.random;
        match random.below(100) {
            0..=15 => Ask::Start(Box::new(StartPlan::any(random, &self.world))),
            16..=35 => Ask::Target(abi::KMB_KILL, whom(random, &self.world)),
            36..=43 => Ask::Target(abi::KMB_STOP, whom(random, &self.world)),
            44..=45 => self.fault(),
            46..=52 => console(random),
            53..=58 => Ask::Stream {
                write: random.once_in(2),
            },
            59..=63 => unknown(random),
            _ => other(random),
        }
    }

    fn fault(&mut self) -> Ask {
        let step = match self.random.below(5) {
            0 => self.random.boundary() as u32,
            _ => 1 + self.random.below(u64::from(abi::step::LAST)) as u32,
        };
        self.armed = (1..=abi::step::LAST).contains(&step);
        let record = abi::Fault {
            size: abi::Fault::SIZE as u32,
            step,
            reserved: 0,
        };
        Ask::Other(abi::KMB_FAULT, Bytes(record.to_bytes().to_vec()))
    }

    fn spot(&mut self, ask: &Ask) -> Spot {
        let size = match ask {
            Ask::Start(_) if self.random.once_in(8) => return Spot::ReadOnly,
            Ask::Start(_) => abi::Start::SIZE,
            Ask::Target(..) => abi::Target::SIZE,
            Ask::Console(..) => abi::ConsoleRead::SIZE,
            Ask::Other(_, bytes) => bytes.0.len(),
            Ask::Stream { .. } => return Spot::Mapped,
        };
        Spot::any(&mut self.random, size)
    }
}

/// Mostly a vnode that there is; seldom one without a life, which may be anybody's.
fn whom(random: &mut Random, world: &World) -> Whom {
    let life = random.boundary() as u32;
    match random.below(12) {
        0..=6 => Whom::Living(random.any()),
        7 | 8 => Whom::Gone(random.any()),
        9 if random.once_in(3) => Whom::Number(random.below(18) as u32),
        9 | 10 => Whom::Life(random.below(18) as u32, life),
        _ => Whom::Life(world.one, life),
    }
}

fn console(random: &mut Random) -> Ask {
    let length = random.pick(&[0, 1, 80, 4096, 65536, 65537, u32::MAX]);
    let record = abi::ConsoleRead {
        size: abi::ConsoleRead::SIZE as u32,
        vnode: random.below(18) as u32,
        position: random.boundary(),
        length,
        timeout_ms: random.below(30) as u32,
        reserved: random.pick(&[0, 0, 0, 0, 0, 0, 0, 1]),
        ..Default::default()
    };
    let spot = match random.below(8) {
        0 => Spot::Nowhere(random.nowhere()),
        1 => Spot::Partly(random.below(u64::from(length.min(65536)) + 1)),
        _ => Spot::Mapped,
    };
    Ask::Console(record, spot)
}

/// A request that means nothing: another size, direction, letter or number.
fn unknown(random: &mut Random) -> Ask {
    let (_, known) = random.pick(&KNOWN);
    let number = match random.below(2) {
        0 => known ^ (1 << random.below(32)),
        _ => random.any() as u32,
    };
    Ask::Other(number, Bytes(noise(random, number)))
}

/// A request that changes nothing of importance: noise, or honest in all but one word.
fn other(random: &mut Random) -> Ask {
    let numbers = [
        abi::KMB_INFO,
        abi::KMB_QUERY,
        abi::KMB_QUERY,
        abi::KMB_WAIT,
        abi::KMB_WAIT,
        abi::KMB_STOP,
        abi::KMB_KILL,
        abi::ADEOS_CONNECT,
        abi::ADEOS_CONNECT,
        abi::ADEOS_ACCEPT,
        abi::ADEOS_WHOAMI,
        abi::ADEOS_BRIDGE,
        abi::ADEOS_BRIDGE_STAT,
    ];
    let number = random.pick(&numbers);
    let size = (number >> 16) & 0x3fff;
    let mut bytes = vec![0; size as usize];
    if random.once_in(8) {
        bytes = noise(random, number);
    } else {
        // The records of these name a vnode second, or do not mind.
        put64(&mut bytes, 0, random.below(18) << 32);
        put_size(&mut bytes, size);
        if random.once_in(4) {
            let word = random.below(u64::from(size) / 8) as usize;
            put64(&mut bytes, word * 8, random.boundary());
        }
    }
    if number == abi::KMB_WAIT {
        let timeout = random.below(30) << 32;
        put64(&mut bytes, 0, timeout | u64::from(size));
    }
    Ask::Other(number, Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: World = World {
        one: 1,
        one_generation: 1,
        one_cpus: 2,
        one_base: 1 << 32,
        one_size: 64 << 20,
        lendable: 0x1c,
        offline: 0x20,
        needs: 64 << 20,
        largest: 1 << 30,
    };

    fn requests(seed: u64, thread: u64) -> Vec<String> {
        let mut planner = Planner::new(seed, thread, WORLD);
        (0..2000).map(|_| format!("{:?}", planner.next())).collect()
    }

    #[test]
    fn a_seed_repeats_the_requests_of_each_thread() {
        assert_eq!(requests(7, 1), requests(7, 1));
        assert_ne!(requests(7, 1), requests(7, 2));
        assert_ne!(requests(7, 1), requests(8, 1));
    }
}
