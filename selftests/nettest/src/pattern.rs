// SPDX-License-Identifier: GPL-2.0

//! Bytes that follow from a seed and their position.

/// The eight bytes of a place (splitmix64).
fn word(seed: u64, place: u64) -> [u8; 8] {
    let mut x = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).to_le_bytes()
}

/// Sets bytes to what they are from a position on, which is a multiple of eight.
pub(crate) fn fill(seed: u64, position: u64, bytes: &mut [u8]) {
    for (place, chunk) in (position / 8..).zip(bytes.chunks_mut(8)) {
        for (byte, right) in chunk.iter_mut().zip(word(seed, place)) {
            *byte = right;
        }
    }
}

/// Checks bytes as they come, however they are cut.
pub(crate) struct Checker {
    seed: u64,
    position: u64,
}

impl Checker {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, position: 0 }
    }

    /// Whether the next bytes are right.
    pub(crate) fn check(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let word = word(self.seed, self.position / 8);
            let right = &word[(self.position % 8) as usize..];
            let count = right.len().min(bytes.len());
            if bytes[..count] != right[..count] {
                return false;
            }
            self.position += count as u64;
            bytes = &bytes[count..];
        }
        true
    }

    /// Bytes checked so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_byte_is_found() {
        let mut bytes = [0; 100];
        fill(3, 0, &mut bytes);
        let mut checker = Checker::new(3);
        assert!(checker.check(&bytes[..13]) && checker.check(&bytes[13..]));
        assert_eq!(checker.position(), 100);
        bytes[77] ^= 1;
        assert!(!Checker::new(3).check(&bytes));
        assert!(!Checker::new(4).check(&bytes));
    }
}
