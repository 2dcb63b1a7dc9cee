// SPDX-License-Identifier: GPL-2.0

//! Sets of CPUs, in the kernel's logical numbering, as people write them: `2-4,7`.

use core::fmt;

/// CPUs that a set can name: 0 to 255.
pub const MAX: u32 = 256;

/// A set of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuSet([u64; 4]);

/// Why a list of CPUs is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Nothing between two commas, or nothing at all.
    Empty,
    /// Something that is not a number or a range.
    NotANumber,
    /// A range that runs backwards.
    Backwards,
    /// A number beyond 255.
    TooLarge,
    /// The same CPU twice.
    Twice(u32),
}

impl CpuSet {
    /// The set with no CPU.
    pub const EMPTY: Self = Self([0; 4]);

    /// Takes the words that a record holds.
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self(words)
    }

    /// The words that a record holds: CPU n is bit n % 64 of word n / 64.
    pub const fn words(&self) -> [u64; 4] {
        self.0
    }

    /// Adds a CPU; a number beyond 255 adds nothing.
    pub fn insert(&mut self, cpu: u32) {
        if let Some(word) = self.0.get_mut((cpu / 64) as usize) {
            *word |= 1 << (cpu % 64);
        }
    }

    /// Takes a CPU out.
    pub fn remove(&mut self, cpu: u32) {
        if let Some(word) = self.0.get_mut((cpu / 64) as usize) {
            *word &= !(1 << (cpu % 64));
        }
    }

    /// Whether the CPU is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0
            .get((cpu / 64) as usize)
            .is_some_and(|word| word & (1 << (cpu % 64)) != 0)
    }

    /// How many CPUs there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The CPUs in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        (0..MAX).filter(|cpu| self.contains(*cpu))
    }

    /// CPUs that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = *self;
        for (word, mask) in both.0.iter_mut().zip(other.0) {
            *word &= mask;
        }
        both
    }

    /// Reads a list such as `2-4,7`.
    pub fn parse(list: &str) -> Result<Self, ParseError> {
        let mut set = Self::EMPTY;
        for part in list.split(',') {
            let part = part.trim();
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(ParseError::Backwards);
            }
            for cpu in first..=last {
                if set.contains(cpu) {
                    return Err(ParseError::Twice(cpu));
                }
                set.insert(cpu);
            }
        }
        Ok(set)
    }
}

fn number(text: &str) -> Result<u32, ParseError> {
    if text.is_empty() {
        return Err(ParseError::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseError::NotANumber);
    }
    match text.parse::<u32>() {
        Ok(cpu) if cpu < MAX => Ok(cpu),
        _ => Err(ParseError::TooLarge),
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut cpu = 0;
        while cpu < MAX {
            if !self.contains(cpu) {
                cpu += 1;
                continue;
            }
            let first = cpu;
            while self.contains(cpu + 1) {
                cpu += 1;
            }
            if cpu == first {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{cpu}")?;
            }
            separator = ",";
            cpu += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn lists_read_as_they_print() {
        for list in ["0", "2-4,7", "0-255", "1,3,5"] {
            assert_eq!(CpuSet::parse(list).unwrap().to_string(), list);
        }
        assert_eq!(CpuSet::parse("2-4,7").unwrap().len(), 4);
    }

    #[test]
    fn wrong_lists_are_named() {
        assert_eq!(CpuSet::parse(""), Err(ParseError::Empty));
        assert_eq!(CpuSet::parse("1,"), Err(ParseError::Empty));
        assert_eq!(CpuSet::parse("a"), Err(ParseError::NotANumber));
        assert_eq!(CpuSet::parse("4-2"), Err(ParseError::Backwards));
        assert_eq!(CpuSet::parse("256"), Err(ParseError::TooLarge));
        assert_eq!(CpuSet::parse("1,0-3"), Err(ParseError::Twice(1)));
    }
}
