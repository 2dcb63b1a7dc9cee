// SPDX-License-Identifier: GPL-2.0

//! Numbers that a seed decides (xorshift64*, Vigna 2016), so that a run can be repeated as far as
//! the rest of the machine goes along.

/// A sequence of numbers.
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Any number.
    pub(crate) fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let high = (self.any() >> 32) as usize;
        high.checked_rem(bound).unwrap_or(0)
    }

    /// One of these, or the default of none.
    pub(crate) fn pick<T: Copy + Default>(&mut self, among: &[T]) -> T {
        among
            .get(self.below(among.len()))
            .copied()
            .unwrap_or_default()
    }
}
