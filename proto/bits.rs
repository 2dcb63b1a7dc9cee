// SPDX-License-Identifier: GPL-2.0

//! Sets of small numbers, as the bits of a word.

/// The bits that are set in a word, the lowest first.
pub fn each(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let lowest = bits.trailing_zeros();
        // It is 0 once all have been named.
        bits &= bits.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_bit_is_named_once_in_order(bits: u64) {
            let expected = (0..64).filter(|bit| bits >> bit & 1 != 0);
            prop_assert!(each(bits).eq(expected));
        }
    }
}
