// SPDX-License-Identifier: GPL-2.0

//! What can be mapped of a region, and how: each call of Linux that could get more.

use anyhow::{ensure, Context, Result};
use bridge::{Access, Region};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags};
use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

const PAGE: usize = 4096;

/// Maps a part of a file where nothing is; what is mapped is used by nobody but those that get the address.
fn map(
    file: BorrowedFd<'_>,
    offset: u64,
    size: usize,
    rights: ProtFlags,
    flags: MapFlags,
) -> Result<*mut c_void, Errno> {
    // SAFETY: Linux chooses the address.
    unsafe { rustix::mm::mmap(null_mut(), size, rights, flags, file, offset) }
}

fn unmap(address: *mut c_void, size: usize) -> Result<()> {
    // SAFETY: It is one of `map`'s, and nobody refers to it.
    Ok(unsafe { rustix::mm::munmap(address, size) }?)
}

/// Fails unless a call was refused for one of these reasons.
fn refused<T>(what: &str, result: Result<T, Errno>, reasons: &[Errno]) -> Result<()> {
    match result {
        Err(error) if reasons.contains(&error) => Ok(()),
        Err(error) => anyhow::bail!("{what}: {error}, not {reasons:?}"),
        Ok(_) => anyhow::bail!("{what} succeeds"),
    }
}

/// Tries all of it on a region that this program may write, and that holds what it likes; how many tries were as they are to be.
pub(crate) fn check(name: &str) -> Result<u32> {
    let region = Region::open(name, Access::Write)?;
    let reader = Region::open(name, Access::Read)?;
    let size = usize::try_from(region.size()?)?;
    let (file, reading) = (region.as_fd(), reader.as_fd());
    let both = ProtFlags::READ | ProtFlags::WRITE;
    let shared = MapFlags::SHARED;
    let past = region.size()?;

    refused(
        "a private mapping",
        map(file, 0, PAGE, both, MapFlags::PRIVATE),
        &[Errno::INVAL],
    )?;
    refused(
        "one behind the end",
        map(file, past, PAGE, both, shared),
        &[Errno::INVAL],
    )?;
    refused(
        "one over the end",
        map(file, past - 4096, 2 * PAGE, both, shared),
        &[Errno::INVAL],
    )?;
    refused(
        "one from far behind",
        map(file, 1 << 62, PAGE, both, shared),
        &[Errno::INVAL, Errno::OVERFLOW],
    )?;
    refused(
        "all and a page",
        map(file, 0, size + PAGE, both, shared),
        &[Errno::INVAL],
    )?;
    let code = [Errno::PERM, Errno::ACCESS];
    refused(
        "one of code",
        map(file, 0, PAGE, both | ProtFlags::EXEC, shared),
        &code,
    )?;
    refused(
        "a reader's to write",
        map(reading, 0, PAGE, both, shared),
        &[Errno::ACCESS],
    )?;

    let read = map(reading, 0, PAGE, ProtFlags::READ, shared)?;
    // SAFETY: It is mapped, and nobody refers to it.
    let more =
        unsafe { rustix::mm::mprotect(read, PAGE, MprotectFlags::READ | MprotectFlags::WRITE) };
    refused("to make a reader's writable", more, &[Errno::ACCESS])?;
    unmap(read, PAGE)?;

    let mapped = map(file, 0, size, both, shared)?;
    // SAFETY: As above.
    let more =
        unsafe { rustix::mm::mprotect(mapped, size, MprotectFlags::READ | MprotectFlags::EXEC) };
    refused("to make it code", more, &[Errno::ACCESS])?;
    // SAFETY: As above.
    let more = unsafe { rustix::mm::mremap(mapped, size, 2 * size, MremapFlags::MAYMOVE) };
    refused("to make it larger", more, &[Errno::FAULT, Errno::INVAL])?;
    // SAFETY: As above. Its second page goes.
    unsafe { rustix::mm::munmap(mapped.byte_add(PAGE), PAGE) }?;
    unmap(mapped, PAGE)?;
    // SAFETY: The rest of it.
    unsafe { rustix::mm::munmap(mapped.byte_add(2 * PAGE), size - 2 * PAGE) }?;

    children(&region)?;
    Ok(13)
}

/// A child that was forked stores what its parent sees; one that runs another program has no descriptor of the region.
fn children(region: &Region) -> Result<()> {
    let memory = region.map()?;
    let word = memory.word(0)?;
    word.store(1, Ordering::SeqCst);
    // SAFETY: The child stores one number, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        word.store(2, Ordering::SeqCst);
        // SAFETY: It ends without anything else.
        unsafe { libc::_exit(0) };
    }
    ensure!(child > 0, "no child");
    // SAFETY: It waits for that child.
    unsafe { libc::waitpid(child, null_mut(), 0) };
    ensure!(
        word.load(Ordering::SeqCst) == 2,
        "the child has stored what its parent does not see"
    );
    let said = Command::new("ls")
        .arg("-l")
        .arg("/proc/self/fd")
        .output()
        .context("ls")?;
    let files = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(
        !files.contains("bridge_shm"),
        "another program has the region: {files}"
    );
    Ok(())
}
