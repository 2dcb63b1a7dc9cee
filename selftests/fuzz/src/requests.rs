// SPDX-License-Identifier: GPL-2.0

//! Requests that no honest program would send, and some that one might.

use adeos_proto::abi;

/// A request to a device.
pub(crate) struct Request {
    /// The ioctl's number.
    pub(crate) number: u32,
    /// Its argument.
    pub(crate) argument: Argument,
}

/// What goes with a request.
pub(crate) enum Argument {
    /// A number, or an address that this process has not mapped.
    Number(u64),
    /// The address of these bytes.
    Record(Vec<u8>),
}

/// The requests that mean something.
pub(crate) const KNOWN: [(&str, u32); 11] = [
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
];

/// Pseudo-random numbers: xorshift64*, which is enough here and repeatable.
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each thread.
    pub(crate) fn new(seed: u64, thread: u64) -> Self {
        let mixed = seed
            .wrapping_add(thread.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self(mixed | 1)
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 8) % bound.max(1)
    }

    /// One of several.
    fn pick<T: Copy + Default>(&mut self, choices: &[T]) -> T {
        let place = self.below(choices.len() as u64) as usize;
        choices.get(place).copied().unwrap_or_default()
    }
}

/// Any request: mostly one whose number means something.
pub(crate) fn any(random: &mut Random) -> Request {
    let number = number(random);
    let argument = match random.below(8) {
        0 => Argument::Number(address(random)),
        _ => Argument::Record(record(random, number)),
    };
    Request { number, argument }
}

fn number(random: &mut Random) -> u32 {
    let (_, known) = random.pick(&KNOWN);
    match random.below(10) {
        // The right number with a wrong size, direction, letter or number.
        0 => known ^ (1 << random.below(32)),
        1 => random.next() as u32,
        _ => known,
    }
}

/// An address that leads nowhere: the first page, the gap between user and kernel, the kernel.
fn address(random: &mut Random) -> u64 {
    let base = random.pick(&[
        0,
        1,
        0x0000_8000_0000_0000,
        0xffff_8880_0000_0000,
        0xffff_ffff_8100_0000,
        u64::MAX - 4096,
    ]);
    base.wrapping_add(random.below(4096))
}

/// A number of the kind that checks forget.
fn boundary(random: &mut Random) -> u64 {
    let power = 1u64 << random.below(64);
    let chosen = random.pick(&[
        0,
        1,
        2,
        15,
        16,
        17,
        4096,
        1 << 20,
        64 << 20,
        i32::MAX as u64,
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ]);
    match random.below(4) {
        0 => power,
        1 => power.wrapping_sub(1),
        2 => random.next(),
        _ => chosen,
    }
}

/// Bytes of a record. Some are noise; most are honest but for one word, and so get past the first
/// checks.
fn record(random: &mut Random, number: u32) -> Vec<u8> {
    let size = (number >> 16) & 0x3fff;
    let mut bytes = vec![0; size as usize];
    if random.below(3) == 0 {
        for offset in (0..bytes.len()).step_by(8) {
            put64(&mut bytes, offset, boundary(random));
        }
        put32(&mut bytes, 0, size);
    } else {
        honest(random, number, &mut bytes);
        put32(&mut bytes, 0, size);
        if random.below(4) != 0 {
            let word = random.below(u64::from(size).div_ceil(8));
            put64(&mut bytes, word as usize * 8, boundary(random));
        }
    }
    tame(random, number, &mut bytes);
    bytes
}

/// Fills a record as an honest program might.
fn honest(random: &mut Random, number: u32, bytes: &mut [u8]) {
    match number {
        abi::KMB_START => {
            put32(
                bytes,
                abi::Start::OFFSETS.name,
                u32::from_le_bytes(*b"fuzz"),
            );
            put64(bytes, abi::Start::OFFSETS.cpus, 1 << random.below(4));
            put64(bytes, abi::Start::OFFSETS.memory_size, 64 << 20);
            put64(bytes, abi::Start::OFFSETS.memory_base, u64::MAX);
            put32(bytes, abi::Start::OFFSETS.initrd_fd, u32::MAX);
        }
        // The other records name a vnode second, or do not mind.
        abi::KMB_STOP | abi::KMB_KILL | abi::KMB_QUERY | abi::KMB_CONSOLE | abi::ADEOS_CONNECT => {
            put32(bytes, 4, random.below(18) as u32);
        }
        _ => {}
    }
}

/// Takes the teeth out of requests that would work, but not what they are checked for: starts have
/// no image, consoles are copied nowhere, waits are short, faults are none, and who is to be stopped
/// or killed is a life that there never was.
fn tame(random: &mut Random, number: u32, bytes: &mut [u8]) {
    match number {
        abi::KMB_START => {
            // Standard input is no kernel image; the others are not open.
            let fd = random.pick(&[0, -1, -2, i32::MIN, i32::MAX, 1023]);
            put32(bytes, abi::Start::OFFSETS.kernel_fd, fd as u32);
            let address = address(random);
            put64(bytes, abi::Start::OFFSETS.cmdline, address);
        }
        abi::KMB_CONSOLE => {
            let address = address(random);
            put64(bytes, abi::ConsoleRead::OFFSETS.buffer, address);
            put32(bytes, abi::ConsoleRead::OFFSETS.timeout_ms, 1);
        }
        abi::KMB_WAIT => put32(bytes, abi::Wait::OFFSETS.timeout_ms, 1),
        abi::KMB_FAULT => {
            let step = random.pick(&[0, abi::step::LAST + 1, u32::MAX]);
            put32(bytes, abi::Fault::OFFSETS.step, step);
        }
        abi::KMB_STOP | abi::KMB_KILL => put32(bytes, abi::Target::OFFSETS.generation, 0x4000_0001),
        _ => {}
    }
}

fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    for (to, from) in bytes.iter_mut().skip(offset).zip(value.to_le_bytes()) {
        *to = from;
    }
}

fn put64(bytes: &mut [u8], offset: usize, value: u64) {
    for (to, from) in bytes.iter_mut().skip(offset).zip(value.to_le_bytes()) {
        *to = from;
    }
}
