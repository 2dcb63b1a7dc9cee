// SPDX-License-Identifier: GPL-2.0

//! What a subscription is told: the views, one after the other.

use adeos_core::Core;
use adeos_proto::membership::{
    Change,
    View, //
};
use kernel::fmt;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};

/// Views that are remembered.
const VIEWS: usize = 256;

/// Number, members, and change of each; and how many there are. One thread writes.
static SEEN: [[Atomic<u64>; 3]; VIEWS] = [const { [const { Atomic::new(0) }; 3] }; VIEWS];
static COUNT: Atomic<usize> = Atomic::new(0);

/// The subscription's function.
pub(crate) fn note(_: &Core, view: &View) {
    let count = COUNT.load(Relaxed);
    let (kind, life, cause) = match view.change() {
        Change::Joined(life) => (0, life, 0),
        Change::Left(life) => (1, life, 0),
        Change::Died(life, cause) => (2, life, cause),
    };
    let change = kind << 48
        | u64::from(cause) << 40
        | u64::from(life.vnode.number()) << 32
        | u64::from(life.generation.0);
    if let Some([number, members, what]) = SEEN.get(count) {
        number.store(view.number(), Relaxed);
        members.store(view.members().into(), Relaxed);
        what.store(change, Relaxed);
        COUNT.store(count.wrapping_add(1), Release);
    }
}

pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let count = COUNT.load(Acquire);
    for [number, members, what] in SEEN.iter().take(count) {
        let change = what.load(Relaxed);
        let kind = match change >> 48 {
            0 => "joined",
            1 => "left",
            _ => "died",
        };
        writeln!(
            f,
            "view {} members {:#x} vnode {} life {} {} {}",
            number.load(Relaxed),
            members.load(Relaxed),
            change >> 32 & 0xff,
            change & 0xffff_ffff,
            kind,
            change >> 40 & 0xff
        )?;
    }
    Ok(())
}
