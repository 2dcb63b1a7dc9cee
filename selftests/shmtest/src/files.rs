// SPDX-License-Identifier: GPL-2.0

//! What a region's file does beside being mapped: it signals an eventfd, and counts in what a process is told of its faults.

use anyhow::{ensure, Result};
use bridge::{Memory, Region};
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// The eventfd that a region signals.
#[derive(Default)]
pub(crate) struct Signalled(Mutex<Option<OwnedFd>>);

impl Signalled {
    /// Has it signalled, a new one.
    pub(crate) fn begin(&self, region: &Region) -> Result<()> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        region.signal(Some(event.as_fd()))?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
        Ok(())
    }

    /// Waits for it, for some time: how often it was signalled.
    pub(crate) fn wait(&self, ms: i64) -> Result<u64> {
        let event = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(event) = &*event else {
            anyhow::bail!("nothing is signalled");
        };
        let time = Timespec {
            tv_sec: ms / 1000,
            tv_nsec: ms % 1000 * 1_000_000,
        };
        if poll(&mut [PollFd::new(event, PollFlags::IN)], Some(&time))? == 0 {
            return Ok(0);
        }
        let mut count = [0; 8];
        rustix::io::read(event, &mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}

/// Touches each page of a region that was just mapped: how many faults that has taken.
pub(crate) fn faults(memory: &Memory) -> Result<i64> {
    let before = faults_so_far()?;
    let mut sum = 0;
    for page in 0..memory.size() / 4096 {
        sum |= memory.word(page * 4096)?.load(Ordering::Relaxed);
    }
    ensure!(sum == 0, "it is not zeros");
    Ok(faults_so_far()? - before)
}

/// Faults of this thread so far, those that were tried again among them.
fn faults_so_far() -> Result<i64> {
    // SAFETY: A record of zeros is one; the call fills it in.
    let (result, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let result = libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        (result, usage)
    };
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(usage.ru_minflt + usage.ru_majflt)
}

/// Whether a child that is forked now finds this all over a region.
pub(crate) fn child_finds(memory: &Memory, wanted: impl Fn(usize) -> u64) -> Result<bool> {
    // SAFETY: The child loads numbers, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_right = (0..memory.size() / 8).all(|place| {
            let found = memory.word64(place * 8);
            found.is_ok_and(|word| word.load(Ordering::Relaxed) == wanted(place))
        });
        // SAFETY: It ends without anything else.
        unsafe { libc::_exit(i32::from(!is_right)) };
    }
    ensure!(child > 0, "no child");
    let mut status = 0;
    // SAFETY: It waits for that child, and the number is there.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    Ok(status == 0)
}
