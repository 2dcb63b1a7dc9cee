// SPDX-License-Identifier: GPL-2.0

//! Pseudo-random numbers that a seed repeats, and values of the kind that checks forget.

/// Xorshift64*, which is enough here.
pub struct Random(u64);

impl Random {
    /// A stream of its own for each thread.
    pub fn new(seed: u64, thread: u64) -> Self {
        let mixed = seed
            .wrapping_add(thread.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self(mixed | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.any() >> 8) % bound.max(1)
    }

    /// Whether a thing that happens once in `times` happens now.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<T: Copy + Default>(&mut self, choices: &[T]) -> T {
        let place = self.below(choices.len() as u64) as usize;
        choices.get(place).copied().unwrap_or_default()
    }

    /// An address that leads nowhere: the first page, the gap between user and kernel, the kernel.
    pub fn nowhere(&mut self) -> u64 {
        let base = self.pick(&[
            0,
            1,
            0x0000_8000_0000_0000,
            0xffff_8880_0000_0000,
            0xffff_ffff_8100_0000,
            u64::MAX - 4096,
        ]);
        base.wrapping_add(self.below(4096))
    }

    /// A number of the kind that checks forget.
    pub fn boundary(&mut self) -> u64 {
        let power = 1u64 << self.below(64);
        let chosen = self.pick(&[
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
        match self.below(4) {
            0 => power,
            1 => power.wrapping_sub(1),
            2 => self.any(),
            _ => chosen,
        }
    }
}
