// SPDX-License-Identifier: GPL-2.0

//! Starts of vnodes to be asked for: honest ones, and ones with a field or a file that is not.

use adeos_proto::abi::{self, start};
use fuzzing::{put64, Random, Spot};

use crate::world::World;

/// Memory is counted in this many bytes.
pub(crate) const GRANULE: u64 = 2 << 20;
/// The least memory of a vnode.
pub(crate) const MIN_MEMORY: u64 = 64 << 20;

/// A file that is handed over as image or initial RAM disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The kernel image.
    Image,
    /// The initial RAM disk.
    Initrd,
    /// That of the two which belongs here, cut to so many 65536ths of its length.
    Cut(u64),
    /// The image with these bytes of its setup header changed: offset, and bits to turn.
    Flipped(Vec<(usize, u8)>),
    /// A regular file of so many zero bytes.
    Zeros(u64),
    /// A regular file of noise.
    Noise,
    /// A regular file that is made when it is read, and has no size.
    Made,
    /// Regular, but open for writing only.
    WriteOnly,
    /// The image, to be read past the page cache.
    Direct,
    /// A folder.
    Folder,
    /// The reading end of a pipe.
    Pipe,
    /// The device of this number in [`crate::files::DEVICES`].
    Device(usize),
    /// A number that no open file has.
    Closed(i32),
}

/// A start to be asked for.
#[derive(Clone, Debug)]
pub(crate) struct StartPlan {
    /// The request, but for files and text.
    pub(crate) record: abi::Start,
    /// The image.
    pub(crate) kernel: Source,
    /// The initial RAM disk.
    pub(crate) initrd: Source,
    /// Text for the command line.
    pub(crate) text: Vec<u8>,
    /// Where it lies.
    pub(crate) text_spot: Spot,
    /// How long the vnode may live before anybody who means it ends it.
    pub(crate) dwell_ms: u64,
}

impl StartPlan {
    /// A start as an honest program might ask for; others may be quicker to take what it wants.
    pub(crate) fn honest(random: &mut Random, world: &World) -> Self {
        let mut cpus = cpu_of(random, world.lendable);
        if random.once_in(8) {
            cpus |= cpu_of(random, world.lendable);
        }
        let side = random.pick(&[0, 0, 0, start::BELOW_4G, start::ABOVE_4G]);
        Self {
            record: abi::Start {
                size: abi::Start::SIZE as u32,
                flags: side,
                name: name_of(format!("fuzz{}", random.below(6)).as_bytes()),
                cpus: [cpus, 0, 0, 0],
                memory_size: world.needs + (random.pick(&[0, 0, 2, 32, 64]) << 20),
                memory_base: u64::MAX,
                ..Default::default()
            },
            kernel: Source::Image,
            initrd: match random.below(10) {
                0 => Source::Closed(-1),
                1 => Source::Cut(random.below(65536)),
                2 => Source::Zeros(random.below(1 << 22)),
                _ => Source::Initrd,
            },
            text: words(random, 64),
            text_spot: Spot::Mapped,
            dwell_ms: random.pick(&[0, 0, 0, 0, 0, 0, 10, 100, 1000, 3000]),
        }
    }

    /// Any start: half are honest, the others in all but one or two things.
    pub(crate) fn any(random: &mut Random, world: &World) -> Self {
        let mut plan = Self::honest(random, world);
        for _ in 0..random.pick(&[0, 0, 1, 1, 1, 2]) {
            plan.spoil(random, world);
        }
        // An unpatched platform resets the machine when it panics: such a kernel gets all it needs.
        if plan.kernel != Source::Image || plan.initrd != Source::Initrd {
            plan.record.flags &= !start::ENTRY_SIPI;
        }
        plan
    }

    fn spoil(&mut self, random: &mut Random, world: &World) {
        match random.below(9) {
            0 => self.record.cpus = cpus(random, world),
            1 => self.record.memory_size = memory_size(random, world),
            2 => self.record.memory_base = memory_base(random, world),
            3 => self.record.name = name(random),
            4 => self.record.flags |= random.pick(&[start::ALL, 6, 8, 1 << 31, 1, 1]),
            5 => self.kernel = kernel(random),
            6 => self.initrd = other_file(random),
            7 => self.spoil_text(random),
            _ => self.overwrite(random),
        }
    }

    fn spoil_text(&mut self, random: &mut Random) {
        let longest = abi::MAX_CMDLINE as u64;
        let len = random.pick(&[
            0,
            1,
            64,
            longest / 2,
            longest - 1,
            longest,
            longest + 1,
            4095,
        ]);
        self.text = words(random, len as usize);
        match random.below(5) {
            0 => self.text_spot = Spot::Nowhere(random.nowhere()),
            1 => self.text_spot = Spot::Partly(random.below(len + 1)),
            2 => {
                let bad = random.pick(&[0, 7, b'\n', 0x7f, 0x80, 0xff]);
                let middle = self.text.len() / 2;
                self.text.splice(middle..middle, [b'a', bad, b'a']);
            }
            3 => self.text = b"quiet no-ipi_broadcast=0".to_vec(),
            _ => {}
        }
    }

    /// Puts a number where none belongs, but for files and text, which have their own.
    fn overwrite(&mut self, random: &mut Random) {
        let word = random.below(abi::Start::SIZE as u64 / 8) as usize;
        if matches!(word, 11 | 12) {
            return;
        }
        let mut bytes = self.record.to_bytes();
        put64(&mut bytes, word * 8, random.boundary());
        self.record = abi::Start::from_bytes(&bytes);
    }
}

fn cpu_of(random: &mut Random, set: u64) -> u64 {
    let mut left = set;
    for _ in 0..random.below(u64::from(set.count_ones())) {
        left &= left.wrapping_sub(1);
    }
    left & left.wrapping_neg()
}

fn cpus(random: &mut Random, world: &World) -> [u64; 4] {
    let free = cpu_of(random, world.lendable);
    let low = random.pick(&[
        0,
        1,
        free | 1,
        world.one_cpus,
        free | world.one_cpus,
        world.offline,
        free | world.offline,
        1 << 63,
        free | 1 << 63,
        u64::MAX,
        world.lendable,
    ]);
    let high = random.pick(&[0, 0, 0, 1, 1 << 63]);
    [low, high, 0, random.pick(&[0, 0, 0, 1 << 63])]
}

fn memory_size(random: &mut Random, world: &World) -> u64 {
    let boundary = random.boundary();
    random.pick(&[
        0,
        1,
        GRANULE,
        MIN_MEMORY - GRANULE,
        MIN_MEMORY - 1,
        MIN_MEMORY + 4096,
        world.largest,
        world.largest - GRANULE,
        world.largest + GRANULE,
        1 << 39,
        1 << 63,
        0u64.wrapping_sub(GRANULE),
        u64::MAX,
        boundary,
    ])
}

fn memory_base(random: &mut Random, world: &World) -> u64 {
    let boundary = random.boundary();
    let steps = random.below(256).wrapping_sub(64).wrapping_mul(GRANULE);
    random.pick(&[
        world.one_base,
        world.one_base.wrapping_add(steps),
        world.one_base + world.one_size,
        world.one_base + world.one_size + 4096,
        world.one_base - GRANULE,
        16 << 20,
        0,
        1 << 39,
        (1 << 39) - MIN_MEMORY,
        0u64.wrapping_sub(GRANULE),
        boundary,
    ])
}

/// A name as records hold it.
pub(crate) fn name_of(text: &[u8]) -> [u8; 32] {
    let mut field = [0; 32];
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
    field
}

fn name(random: &mut Random) -> [u8; 32] {
    let names: [&[u8]; 12] = [
        b"",
        b"one",
        b"root",
        b"a/b",
        b"-a",
        b"a b",
        b"a\nb",
        b"\xff\xfe",
        b"a\xc3",
        b"..",
        &[b'x'; 31],
        &[b'x'; 32],
    ];
    name_of(random.pick(&names))
}

/// Text of that many bytes, of words that no kernel knows.
fn words(random: &mut Random, len: usize) -> Vec<u8> {
    let letters = b"fuzz.aA0_-=,";
    let mut text = b"fuzz.".to_vec();
    while text.len() < len {
        text.push(match text.len() % 32 {
            31 => b' ',
            _ => random.pick(letters),
        });
    }
    text.truncate(len);
    text
}

fn kernel(random: &mut Random) -> Source {
    match random.below(3) {
        0 => {
            let flips = 0..=random.below(3);
            Source::Flipped(flips.map(|_| flip(random)).collect())
        }
        1 => match random.below(3) {
            // Mostly where the header is, which is less than a thousandth of it.
            0 => Source::Cut(random.below(65536)),
            1 => Source::Cut(random.below(16)),
            _ => Source::Initrd,
        },
        _ => other_file(random),
    }
}

fn flip(random: &mut Random) -> (usize, u8) {
    (
        0x1f1 + random.below(0x280 - 0x1f1) as usize,
        1 << random.below(8),
    )
}

fn other_file(random: &mut Random) -> Source {
    match random.below(11) {
        0 => Source::Zeros(random.pick(&[0, 1, 4096, 40 << 20, 100 << 20, 1 << 40])),
        1 => Source::Noise,
        2 => Source::Made,
        3 => Source::WriteOnly,
        4 => Source::Folder,
        5 => Source::Pipe,
        6 => Source::Device(random.below(crate::files::DEVICES.len() as u64) as usize),
        7 => Source::Image,
        8 => Source::Direct,
        _ => Source::Closed(random.pick(&[-1, -2, i32::MIN, i32::MAX, 900, 1023])),
    }
}
