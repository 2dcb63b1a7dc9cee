// SPDX-License-Identifier: GPL-2.0

//! The root's log, for the faults that have come: the kernel says so when it makes a step fail.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use adeos_proto::abi::step;

/// How often each step has failed; the first is of no step.
pub(crate) type Fired = [u64; step::LAST as usize + 1];

/// Reads what the kernel says from now on.
pub(crate) struct Log(File);

impl Log {
    /// Opens the log at its end.
    pub(crate) fn open() -> Result<Self, String> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .map_err(|error| format!("/dev/kmsg: {error}"))?;
        file.seek(SeekFrom::End(0))
            .map_err(|error| format!("/dev/kmsg: {error}"))?;
        Ok(Self(file))
    }

    /// Counts until `done` is set and all has been read.
    pub(crate) fn count(mut self, done: &AtomicBool) -> Result<Fired, String> {
        let mut fired = Fired::default();
        let mut record = [0; 8192];
        loop {
            let last = done.load(Ordering::Acquire);
            match self.0.read(&mut record) {
                Ok(len) => {
                    let text = String::from_utf8_lossy(record.get(..len).unwrap_or(&[]));
                    if let Some(count) = failed_step(&text).and_then(|step| fired.get_mut(step)) {
                        *count += 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && last => return Ok(fired),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(20));
                }
                // What was overwritten before it was read is not counted.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(format!("/dev/kmsg: {error}")),
            }
        }
    }
}

fn failed_step(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("step ")?;
    let (number, _) = rest.split_once(" fails on request")?;
    number.parse().ok()
}
