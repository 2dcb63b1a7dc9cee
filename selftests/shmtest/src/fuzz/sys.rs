// SPDX-License-Identifier: GPL-2.0

//! Calls of Linux as they are, with whatever arguments: no type keeps one from saying what makes no sense.

use std::os::fd::RawFd;

/// What a call returns, or its error number.
pub(super) type Answer = Result<u64, i32>;

/// The error number; 0 for success.
pub(super) fn code(answer: Answer) -> i32 {
    answer.err().unwrap_or(0)
}

fn answer(result: i64) -> Answer {
    u64::try_from(result).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(-1))
}

/// A call that changes what is mapped.
///
/// # Safety
///
/// Of the memory that Rust knows of nothing is changed, nor unmapped.
pub(super) unsafe fn map_call(number: i64, arguments: [u64; 6]) -> Answer {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: By this function's condition.
    answer(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// A call that gets a descriptor, numbers, and addresses of memory that Rust knows nothing of, or of none.
pub(super) fn file_call(number: i64, file: RawFd, arguments: [u64; 5]) -> Answer {
    let [a, b, c, d, e] = arguments;
    // SAFETY: What Linux may write to is none of Rust's memory, as the callers see to; a descriptor that is closed is the
    // caller's own.
    answer(unsafe { libc::syscall(number, i64::from(file), a, b, c, d, e) })
}

/// What a poll of a descriptor tells that asks for `wanted`.
pub(super) fn poll(file: RawFd, wanted: i16, ms: i32) -> Result<i16, i32> {
    let mut one = libc::pollfd {
        fd: file,
        events: wanted,
        revents: 0,
    };
    // SAFETY: There is one.
    answer(i64::from(unsafe { libc::poll(&mut one, 1, ms) }))?;
    Ok(one.revents)
}

/// Adds a descriptor to those that an epoll waits for, or takes it away.
pub(super) fn watch(epoll: RawFd, operation: i32, file: RawFd) -> Answer {
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLPRI) as u32,
        u64: 0,
    };
    // SAFETY: The event lives as long as the call.
    answer(i64::from(unsafe {
        libc::epoll_ctl(epoll, operation, file, &mut event)
    }))
}

/// What an epoll tells now, of one descriptor; nothing where it tells nothing.
pub(super) fn watched(epoll: RawFd) -> Result<Option<u32>, i32> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: There is room for one.
    let count = answer(i64::from(unsafe {
        libc::epoll_wait(epoll, &mut event, 1, 0)
    }))?;
    Ok((count > 0).then_some(event.events))
}

/// Sends the memory at an address through a pipe as it is, without a copy, as far as that can be.
pub(super) fn lend(pipe: RawFd, address: u64, length: usize) -> Answer {
    let part = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: length,
    };
    // SAFETY: Nothing is written to.
    answer(unsafe { libc::vmsplice(pipe, &part, 1, libc::SPLICE_F_NONBLOCK) } as i64)
}

/// Reads this process's memory as another one would.
pub(super) fn read_process(from: u64, to: u64, length: usize) -> Answer {
    let part = |address: u64| libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: length,
    };
    // SAFETY: The number of this process; `to` is memory that Rust knows nothing of, as the callers see to.
    answer(
        unsafe { libc::process_vm_readv(libc::getpid(), &part(to), 1, &part(from), 1, 0) } as i64,
    )
}
