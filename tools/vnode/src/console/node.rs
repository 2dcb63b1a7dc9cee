// SPDX-License-Identifier: GPL-2.0

//! The consoles that this kernel shows: `/dev/vcons/NAME`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use adeos_proto::abi::console as abi;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;

use crate::device;
use crate::failure::{Context, Failure, Kind, Result};

/// Bytes that are read in one go.
const PIECE: usize = 16 << 10;

/// Where they are.
const PLACE: &str = "/dev/vcons";

/// The names of all of them, in their order. None when `vcons` is not loaded.
pub(crate) fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(PLACE) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Where a vnode's console is.
fn path(name: &str) -> PathBuf {
    Path::new(PLACE).join(name)
}

/// Whether there is one of this name.
pub(crate) fn exists(name: &str) -> bool {
    !name.contains('/') && path(name).exists()
}

/// The name of the console of the vnode with a number.
pub(crate) fn of_vnode(number: u32) -> Option<String> {
    let is_of = |name: &String| {
        let status = Node::open(name, Wish::Look).and_then(|node| node.status());
        status.is_ok_and(|status| status.vnode == number)
    };
    names().into_iter().find(is_of)
}

/// Whether all that there are, and there are some, are a group's.
pub(crate) fn are_of(group: u32) -> bool {
    let names = names();
    let is_of = |name: &String| fs::metadata(path(name)).is_ok_and(|about| about.gid() == group);
    !names.is_empty() && names.iter().all(is_of)
}

/// An open console.
#[derive(Debug)]
pub(crate) struct Node {
    file: File,
}

/// What is to be done with a console.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Reads it, and may miss what it does not read in time.
    Look,
    /// Reads all of it, and types.
    Use,
}

impl Node {
    /// Opens a console. Its reads and writes do not wait.
    pub(crate) fn open(name: &str, wish: Wish) -> Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(wish == Wish::Use)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path(name))
            .map(|file| Self { file })
            .map_err(|error| refused(name, &error))
    }

    /// The open file, to be waited for.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The next bytes; none at the end, `None` when there are no more yet.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>> {
        let mut piece = vec![0; PIECE];
        match (&self.file).read(&mut piece) {
            Ok(count) => {
                piece.truncate(count);
                Ok(Some(piece))
            }
            Err(error) if is_later(&error) => Ok(None),
            Err(error) => Err(error).context(|| "the console cannot be read".into()),
        }
    }

    /// Waits until there is something to read.
    pub(crate) fn wait(&self) -> Result<()> {
        match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// Tells all about it.
    pub(crate) fn status(&self) -> Result<abi::Console> {
        let record = abi::Console {
            size: device::size(abi::Console::SIZE),
            ..Default::default()
        };
        let mut bytes = record.to_bytes();
        device::ioctl(&self.file, abi::VCONS_STATUS, &mut bytes)
            .context(|| "the console does not tell of itself".into())?;
        Ok(abi::Console::from_bytes(&bytes))
    }

    /// Takes the keyboard; from whoever has it, if it is to be stolen.
    pub(crate) fn take(&self, steal: bool) -> io::Result<()> {
        let record = abi::Keyboard {
            size: device::size(abi::Keyboard::SIZE),
            steal: steal.into(),
        };
        device::ioctl(&self.file, abi::VCONS_TAKE, &mut record.to_bytes())
    }

    /// Sends a break.
    pub(crate) fn send_break(&self) -> io::Result<()> {
        self.signal(abi::signal::BREAK, [0; 4])
    }

    /// Says how large the window is: rows, columns, width and height in pixels.
    pub(crate) fn resize(&self, window: [u16; 4]) -> io::Result<()> {
        self.signal(abi::signal::RESIZE, window)
    }

    /// Says that the terminal has gone.
    pub(crate) fn hang_up(&self) -> io::Result<()> {
        self.signal(abi::signal::HANG_UP, [0; 4])
    }

    fn signal(&self, signal: u32, window: [u16; 4]) -> io::Result<()> {
        let record = abi::Signal {
            size: device::size(abi::Signal::SIZE),
            signal,
            window,
            reserved: 0,
        };
        device::ioctl(&self.file, abi::VCONS_SIGNAL, &mut record.to_bytes())
    }

    /// Says which vnodes may read it, and which may type as well, as bits.
    pub(crate) fn allow(&self, readers: u32, writers: u32) -> io::Result<()> {
        let record = abi::Allow {
            size: device::size(abi::Allow::SIZE),
            readers,
            writers,
            reserved: 0,
        };
        device::ioctl(&self.file, abi::VCONS_ALLOW, &mut record.to_bytes())
    }
}

/// Whether something can be tried again.
pub(crate) fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn refused(name: &str, error: &io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) if names().is_empty() => {
            Failure::new(Kind::NotSupported, "there are no consoles here")
                .help("load the module: insmod vcons.ko, in the root first")
        }
        Some(Errno::NOENT) => Failure::new(Kind::NoVnode, format!("{name} has no console here"))
            .help(format!("there are: {}", names().join(", "))),
        Some(Errno::ACCESS) => Failure::failed(format!("{name}: permission denied"))
            .help("the cluster file says which vnodes may see the consoles of others"),
        _ => Failure::failed(format!("the console of {name} cannot be opened: {error}")),
    }
}
