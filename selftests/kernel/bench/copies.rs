// SPDX-License-Identifier: GPL-2.0

//! Copies: into the bridge and out of it, as modules do that, against `memcpy` between two places of
//! this kernel's own memory.

use crate::figures::{
    self,
    Figure, //
};
use crate::words::COPIED;
use crate::Bench;
use adeos_proto::window::Window;
use core::hint::black_box;
use kernel::prelude::*;

/// Bytes that are copied at once: more than most caches of one CPU hold.
const SIZE: usize = 1 << 20;

/// Measures both directions. ENOMEM; EILSEQ when what comes out is not what went in.
pub(crate) fn measure(bench: &Bench, rounds: usize) -> Result {
    let mut one = KVec::from_elem(0x5a_u8, SIZE, GFP_KERNEL)?;
    let mut other = KVec::from_elem(0_u8, SIZE, GFP_KERNEL)?;
    let into_bridge = || {
        bench.mapped.write(COPIED, black_box(&one));
        Ok(())
    };
    let alone = || {
        other.copy_from_slice(black_box(&one));
        Ok(())
    };
    figures::measure(Figure::CopyIn, rounds, into_bridge, alone)?;

    one.fill(0);
    let out_of_bridge = || {
        bench.mapped.read(COPIED, black_box(&mut one));
        Ok(())
    };
    let mut third = KVec::from_elem(0_u8, SIZE, GFP_KERNEL)?;
    let alone = || {
        third.copy_from_slice(black_box(&other));
        Ok(())
    };
    figures::measure(Figure::CopyOut, rounds, out_of_bridge, alone)?;
    let is_whole = *one == *other && *other == *third;
    is_whole.then_some(()).ok_or(EILSEQ)
}
