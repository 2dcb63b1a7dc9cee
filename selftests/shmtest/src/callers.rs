// SPDX-License-Identifier: GPL-2.0

//! What each kind of caller may do with a region, against what its mode says.

use anyhow::{bail, ensure, Context, Result};
use bridge::{Access, Region};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The user and the group that the region is to have.
const USER: u32 = 1000;
const GROUP: u32 = 2000;

/// Callers: user, group, and which bits of a mode are theirs; the last one has all capabilities.
const CALLERS: [(u32, u32, u32); 5] = [
    (USER, 5, 6),
    (USER, GROUP, 6),
    (USER + 1, GROUP, 3),
    (USER + 1, 5, 0),
    (0, 0, 9),
];

/// What one caller can do, a letter for each that it can: open to read, map what is open so, map that to write; the same open to
/// write; and, if that is tried, have the region kept.
pub(crate) fn attempt(name: &str, is_to_be_kept: bool) -> String {
    let mut can = String::new();
    for (access, letters) in [(Access::Read, "rmx"), (Access::Write, "wnz")] {
        let Ok(region) = Region::open(name, access) else {
            continue;
        };
        let maps = [region.map().is_ok(), region.map_writable().is_ok()];
        if is_to_be_kept && region.keep(true).is_ok() {
            can.push('k');
        }
        for (is_so, letter) in [true].into_iter().chain(maps).zip(letters.chars()) {
            if is_so {
                can.push(letter);
            }
        }
    }
    can
}

/// The same, as the mode says, where the vnode may do what `vnode` says: nothing, `r` or `w`.
fn wanted(mode: u32, shift: u32, vnode: &str) -> String {
    let bits = if shift == 9 { 6 } else { mode >> shift & 7 };
    let reads = bits & 4 != 0 && vnode != "none";
    let writes = reads && bits & 2 != 0 && vnode == "w";
    let mut can = String::new();
    if reads {
        can.push_str("rm");
    }
    if writes {
        can.push_str("wnz");
    }
    can
}

/// Has all callers try a region, which has this mode, [`USER`] and [`GROUP`]. In a user namespace of their own they have all
/// capabilities, which are worth nothing outside of it (SH-15), and no others.
pub(crate) fn check(name: &str, mode: &str, vnode: &str, is_apart: bool) -> Result<usize> {
    ensure!(
        ["none", "r", "w"].contains(&vnode),
        "the vnode may do none, r or w"
    );
    let mode = u32::from_str_radix(mode, 8).context("the mode is octal")?;
    for (user, group, shift) in CALLERS {
        let mut command = Command::new("/proc/self/exe");
        // Other groups than the first are gone when the user changes.
        command.args(["try", name]).gid(group).uid(user);
        if is_apart {
            command.arg("--keep");
            // SAFETY: Between fork and exec it does one call of the system, and nothing else.
            unsafe { command.pre_exec(enter_namespace) };
        }
        let told = command.output()?;
        ensure!(told.status.success(), "the caller has failed: {told:?}");
        let can = String::from_utf8(told.stdout)?;
        let is_others = is_apart && shift == 9;
        let wanted = wanted(mode, if is_others { 0 } else { shift }, vnode);
        if can.trim() != wanted {
            bail!("mode {mode:o}: {user}:{group} can {can}, and may {wanted}");
        }
    }
    Ok(CALLERS.len())
}

/// Goes into a user namespace in which no user is mapped.
fn enter_namespace() -> io::Result<()> {
    // SAFETY: This process has one thread and shares nothing.
    match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
