// SPDX-License-Identifier: GPL-2.0

//! The lock by which one supervisor keeps the others of its machine away.
//!
//! It is a record lock (fcntl(2)): the kernel knows whose it is, and lets go of it when that
//! process ends, however it does.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Flock, FlockType};

use crate::failure::{Context, Failure, Result};

/// The locked file. No vnode's name begins with a dot, so none of the notes is called that.
const FILE: &str = ".supervisor";

/// The lock, held until this is dropped.
pub(super) struct Only {
    _file: File,
}

impl Only {
    /// Takes the lock of a folder, or says who has it.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).context(|| path.display().to_string())?;
        loop {
            match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::AGAIN | Errno::ACCESS) => {}
                Err(error) => {
                    return Err(io::Error::from(error)).context(|| path.display().to_string());
                }
            }
            let holder = rustix::process::fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))
                .map_err(io::Error::from)
                .context(|| path.display().to_string())?;
            // None: it has ended between the two questions.
            if let Some(holder) = holder {
                return Err(taken(&holder));
            }
        }
    }
}

fn taken(holder: &Flock) -> Failure {
    let message = "another supervisor watches the vnodes of this machine";
    match holder.pid {
        Some(pid) => {
            let pid = pid.as_raw_nonzero();
            Failure::failed(format!("{message}: process {pid}")).help(format!(
                "`kill -HUP {pid}` makes it read its file anew, `kill {pid}` ends it"
            ))
        }
        // A process of another namespace has no number in ours.
        None => Failure::failed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::process::{self, Command};

    const FOLDER: &str = "VNODE_TEST_FOLDER";

    /// Such a lock is a process's, so this test runs itself in another one.
    #[test]
    fn the_second_one_is_told_who_is_the_first() {
        if let Some(folder) = env::var_os(FOLDER) {
            match Only::new(Path::new(&folder)) {
                Ok(_) => println!("the lock is free"),
                Err(failure) => println!("{failure}; {:?}", failure.help),
            }
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let second = || {
            let name = "supervise::only::tests::the_second_one_is_told_who_is_the_first";
            let output = Command::new(env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env(FOLDER, folder.path())
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };

        let first = Only::new(folder.path()).unwrap();
        let (said, pid) = (second(), process::id());
        assert!(
            said.contains(&format!("of this machine: process {pid};")),
            "{said}"
        );
        assert!(said.contains(&format!("`kill -HUP {pid}`")), "{said}");
        drop(first);
        assert!(second().contains("the lock is free"));
    }
}
