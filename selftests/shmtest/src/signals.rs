// SPDX-License-Identifier: GPL-2.0

//! What a signal does to who waits for a region (SH-45): each way of waiting, with and without a time, in programs whose handler
//! has calls begun again, and in those whose handler has not.

use anyhow::{ensure, Context, Result};
use bridge::{Access, Region};
use std::io;
use std::ptr::null_mut;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// One way to wait: it is over when there is a notice.
type Wait = fn(&Region, Option<Duration>) -> io::Result<()>;

extern "C" fn nothing(_: libc::c_int) {}

/// Has SIGUSR1 do nothing but end calls, or have them begun again.
fn handle(is_begun_again: bool) {
    // SAFETY: A record of zeros says nothing; the handler is a function that lives for ever.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = if is_begun_again { libc::SA_RESTART } else { 0 };
        libc::sigaction(libc::SIGUSR1, &raw const action, null_mut());
    }
}

fn for_notice(region: &Region, timeout: Option<Duration>) -> io::Result<()> {
    let seen = region.stat()?.notices;
    region.wait(seen, timeout).map(drop)
}

fn for_word(region: &Region, timeout: Option<Duration>) -> io::Result<()> {
    region.wait_word(0, 0, timeout)
}

fn by_read(region: &Region, _: Option<Duration>) -> io::Result<()> {
    Ok(rustix::io::read(region, &mut [0; 8]).map(drop)?)
}

/// Sends signals to a thread that waits until it is done, or until it has had some without an end; then ends the wait. What has
/// come out of it.
fn interrupt(region: &Region, wait: Wait, timeout: Option<Duration>) -> Result<io::Result<()>> {
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            // SAFETY: It only tells the thread's number.
            let own = unsafe { libc::pthread_self() };
            // Who is told waits as long as this thread runs.
            let _ = tell.send(own);
            wait(region, timeout)
        });
        let thread = told.recv().context("no thread")?;
        let begun = Instant::now();
        while !waiting.is_finished() && begun.elapsed() < Duration::from_secs(2) {
            // SAFETY: The thread is not joined yet.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
            thread::sleep(Duration::from_millis(50));
        }
        region.notify()?;
        region.wake_word(0, 1)?;
        Ok(waiting
            .join()
            .map_err(|_| io::Error::other("the thread has panicked"))?)
    })
}

/// Tries all of it on a region of zeros; how many tries were as they are to be.
pub(crate) fn check(name: &str) -> Result<u32> {
    let region = Region::open(name, Access::Write)?;
    let long = Some(Duration::from_secs(60));
    let ways: [(&str, Wait, Option<Duration>, bool); 5] = [
        ("a wait for a notice", for_notice, None, true),
        ("one with a time", for_notice, long, false),
        ("a wait on a word", for_word, None, true),
        ("one with a time", for_word, long, false),
        ("a read", by_read, None, true),
    ];
    let mut tried = 0;
    for is_begun_again in [false, true] {
        handle(is_begun_again);
        for (what, wait, timeout, can_begin_again) in ways {
            // What earlier tries have left.
            let flags = rustix::fs::fcntl_getfl(&region)?;
            rustix::fs::fcntl_setfl(&region, flags | rustix::fs::OFlags::NONBLOCK)?;
            let _ = rustix::io::read(&region, &mut [0; 8]);
            rustix::fs::fcntl_setfl(&region, flags)?;
            let ended = interrupt(&region, wait, timeout)?;
            let goes_on = is_begun_again && can_begin_again;
            match ended {
                Ok(()) => ensure!(goes_on, "{what} goes on, with SA_RESTART {is_begun_again}"),
                Err(error) => {
                    let is_it = error.raw_os_error() == Some(libc::EINTR);
                    ensure!(
                        is_it && !goes_on,
                        "{what}: {error}, with SA_RESTART {is_begun_again}"
                    );
                }
            }
            tried += 1;
        }
    }
    Ok(tried)
}
