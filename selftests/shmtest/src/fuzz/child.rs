// SPDX-License-Identifier: GPL-2.0

//! Children that inherit what is open and mapped, use it, and end, or are killed in the middle of that.
//!
//! A child of a program with several threads has what they had of its memory at that moment, locks that are held among it:
//! so it does nothing but calls of Linux, and touches memory.

use std::os::fd::RawFd;
use std::thread;
use std::time::Duration;

use super::probe;
use super::sys::file_call;

/// What a child does, ready to be done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw {
    /// Loads a number, which is to be this one if that is known.
    Load {
        address: u64,
        wanted: Option<u64>,
        may_fault: bool,
    },
    Store {
        address: u64,
        number: u64,
    },
    /// A request; what it comes to is nothing to the child.
    Ask {
        file: RawFd,
        number: u32,
        address: u64,
    },
    /// The same for a new descriptor, which is closed: again and again.
    Again {
        file: RawFd,
        number: u32,
        address: u64,
    },
    Read {
        file: RawFd,
        address: u64,
    },
    Close(RawFd),
    Unmap {
        address: u64,
        length: u64,
    },
}

impl Raw {
    /// Does it; whether it was as it is to be.
    fn is_done(self) -> bool {
        match self {
            Self::Load {
                address,
                wanted,
                may_fault,
            } => match probe::load64(address) {
                Ok(number) => wanted.is_none_or(|wanted| wanted == number),
                // The vnode may not use another's region any more, and it was moved: SH-33.
                Err(libc::SIGBUS) => wanted.is_none(),
                Err(signal) => may_fault && signal == libc::SIGSEGV,
            },
            Self::Store { address, number } => probe::store64(address, number).is_ok(),
            Self::Ask {
                file,
                number,
                address,
            } => {
                let arguments = [number.into(), address, 0, 0, 0];
                let _ = file_call(libc::SYS_ioctl, file, arguments);
                true
            }
            Self::Again {
                file,
                number,
                address,
            } => loop {
                let arguments = [number.into(), address, 0, 0, 0];
                if let Ok(opened) = file_call(libc::SYS_ioctl, file, arguments) {
                    let _ = file_call(libc::SYS_close, opened as RawFd, [0; 5]);
                }
            },
            Self::Read { file, address } => {
                let _ = file_call(libc::SYS_read, file, [address, 8, 0, 0, 0]);
                true
            }
            Self::Close(file) => file_call(libc::SYS_close, file, [0; 5]).is_ok(),
            Self::Unmap { address, length } => {
                // SAFETY: It is in the parent's field, or nowhere.
                unsafe { super::sys::map_call(libc::SYS_munmap, [address, length, 0, 0, 0, 0]) }
                    .is_ok()
            }
        }
    }
}

/// Has a child do all of it, and end; or be killed after a time.
pub(super) fn run(acts: &[Raw], killed_after_ms: Option<u64>) -> Result<(), String> {
    // SAFETY: The child does what is said above, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let wrong = acts.iter().position(|act| !act.is_done());
        if wrong.is_none() && killed_after_ms.is_some() {
            loop {
                // SAFETY: It sleeps.
                unsafe { libc::pause() };
            }
        }
        // SAFETY: It ends without anything else.
        unsafe { libc::_exit(wrong.map_or(0, |at| at as i32 + 1)) };
    }
    if child < 0 {
        return Err(format!("no child: {}", std::io::Error::last_os_error()));
    }
    if let Some(ms) = killed_after_ms {
        thread::sleep(Duration::from_millis(ms));
        // SAFETY: The child has not been waited for, so that its number is nobody else's.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: There is room for the status.
    while unsafe { libc::waitpid(child, &mut status, 0) } < 0 {
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(format!("a child cannot be waited for: {error}"));
        }
    }
    let is_killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 && killed_after_ms.is_none()
        || is_killed && killed_after_ms.is_some()
    {
        return Ok(());
    }
    if libc::WIFEXITED(status) {
        let at = libc::WEXITSTATUS(status) as usize;
        let act = acts.get(at.wrapping_sub(1));
        return Err(format!("a child has found {act:x?} wrong"));
    }
    Err(format!("a child has ended with {status:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_finds_is_told() {
        probe::install().unwrap();
        let words = [7u64, 8];
        let load = |wanted| Raw::Load {
            address: &raw const words[1] as u64,
            wanted,
            may_fault: false,
        };
        let nowhere = |may_fault| Raw::Load {
            address: 8,
            wanted: None,
            may_fault,
        };
        assert_eq!(
            run(&[load(None), load(Some(8)), nowhere(true)], None),
            Ok(())
        );
        assert!(run(&[load(Some(8)), load(Some(7))], None).is_err());
        assert!(run(&[nowhere(false)], None).is_err());
        assert!(run(&[Raw::Close(-1)], None).is_err());
        assert_eq!(run(&[load(Some(8))], Some(1)), Ok(()));
        assert!(run(&[load(Some(7))], Some(300)).is_err());
    }
}
