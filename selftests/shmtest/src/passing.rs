// SPDX-License-Identifier: GPL-2.0

//! What becomes of a region that is passed on, and of a mapping that its region has left.

use anyhow::{ensure, Context, Result};
use bridge::{Access, Options, Region};
use rustix::io::IoSliceMut;
use rustix::net::{
    recvmsg, sendmsg, socketpair, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage,
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

const GRANULE: u64 = 2 << 20;

/// Sends a descriptor to the other end of a socket.
fn send(socket: &OwnedFd, what: &impl AsFd) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = [what.as_fd()];
    ensure!(
        rights.push(SendAncillaryMessage::ScmRights(&descriptors)),
        "there is no room for a descriptor"
    );
    sendmsg(
        socket,
        &[IoSlice::new(b"r")],
        &mut rights,
        SendFlags::empty(),
    )?;
    Ok(())
}

/// Takes one.
fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut rights,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = rights.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut all) => all.next(),
        _ => None,
    });
    descriptors.next().context("no descriptor has come")
}

/// Whether the region of a name is gone, soon.
fn is_gone(name: &str) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        match Region::open(name, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            result => drop(result?),
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

/// SH-3: a region that is on its way from one program to another is there, and is what it was when it has come.
fn passed_on(name: &str) -> Result<()> {
    let region = Region::create(name, &Options::new(GRANULE))?;
    region.map()?.word(0)?.store(7, Ordering::SeqCst);
    let (one, other) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    send(&one, &region)?;
    drop(region);
    drop(Region::open(name, Access::Read).context("while it is on its way")?);
    let region = Region::try_from(receive(&other)?)?;
    ensure!(
        region.map()?.word(0)?.load(Ordering::SeqCst) == 7,
        "it is not what it was"
    );
    send(&one, &region)?;
    drop(region);
    // Nobody has taken it.
    drop((one, other));
    ensure!(is_gone(name)?, "it is there though nobody has it");
    Ok(())
}

/// SH-35: Linux's own futex is no way to wait for it.
fn no_futex(name: &str) -> Result<()> {
    let region = Region::create(name, &Options::new(GRANULE))?;
    let memory = region.map()?;
    let word = memory.word(0)?;
    word.store(1, Ordering::SeqCst);
    // SAFETY: The word is mapped; the call would end at once, as it has another value, if it could be made.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            0,
            null_mut::<libc::timespec>(),
        )
    };
    let error = io::Error::last_os_error();
    ensure!(
        result == -1 && error.raw_os_error() == Some(libc::EFAULT),
        "a futex: {error}"
    );
    Ok(())
}

/// SH-26: what was mapped and not touched finds the new size, and SIGBUS behind it.
fn behind_the_end(name: &str) -> Result<()> {
    let region = Region::create(name, &Options::new(2 * GRANULE))?;
    let memory = region.map()?;
    region.resize(GRANULE)?;
    memory.word(0)?.store(1, Ordering::SeqCst);
    let behind = memory.word(usize::try_from(GRANULE)?)?;
    // SAFETY: The child stores one number, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        behind.store(1, Ordering::SeqCst);
        // SAFETY: It ends without anything else.
        unsafe { libc::_exit(0) };
    }
    ensure!(child > 0, "no child");
    let mut status = 0;
    // SAFETY: It waits for that child, and the number is there.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    ensure!(
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS,
        "who has touched what is not there any more has ended with {status:#x}"
    );
    Ok(())
}

/// All of it, with regions of this name; how many there were.
pub(crate) fn check(name: &str) -> Result<usize> {
    let all = [passed_on, no_futex, behind_the_end];
    for one in all {
        one(name)?;
    }
    Ok(all.len())
}
