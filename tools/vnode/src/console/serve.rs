// SPDX-License-Identifier: GPL-2.0

//! A terminal that belongs to all consoles: the kernel's line discipline N_VCONS does what is to be
//! done there, and this only waits until somebody has left.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::io::Errno;

use super::terminal::Raw;
use crate::device;
use crate::failure::{Context, Failure, Kind, Result};

/// The discipline of every terminal: `N_TTY`.
const N_TTY: i32 = 0;
/// That of the consoles: `N_DEVELOPMENT`, which is for disciplines that are not Linux's own.
const N_VCONS: i32 = 29;

/// Gives a terminal to the consoles until somebody leaves there.
pub(crate) fn run(path: &Path) -> Result<()> {
    let name = || path.display().to_string();
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(path)
        .context(name)?;
    let _raw = Raw::new(terminal.try_clone().context(name)?).context(name)?;
    device::set_discipline(&terminal, N_VCONS).map_err(|error| {
        match Errno::from_io_error(&error) {
            Some(Errno::INVAL) => Failure::new(
                Kind::NotSupported,
                "the kernel has no consoles for a terminal",
            )
            .help("load the module: insmod vcons.ko, in the root first"),
            Some(Errno::OPNOTSUPP) => {
                Failure::failed(format!("{} is a console itself", path.display()))
            }
            _ => Failure::failed(format!("{}: {error}", path.display())),
        }
    })?;
    let left = wait(&mut terminal).context(name);
    device::set_discipline(&terminal, N_TTY).context(name)?;
    left
}

/// Waits until somebody has left, or the terminal has hung up.
fn wait(terminal: &mut File) -> io::Result<()> {
    loop {
        match terminal.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal that has hung up.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => return Ok(()),
            result => return result.map(drop),
        }
    }
}
