// SPDX-License-Identifier: GPL-2.0

//! The devices of the kernel modules, `/dev/kmb` and `/dev/adeos`: typed calls over their ioctls.
//!
//! This is the only file with unsafe code. It does not explain errors: it hands back what the
//! kernel said, and [`crate::explain`] makes sentences of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use adeos_proto::abi;

use crate::failure::{Failure, Kind, Result};

/// Where the boot loader is.
const KMB: &str = "/dev/kmb";
/// Where channels between the root and its vnodes begin and end.
const ADEOS: &str = "/dev/adeos";

/// The open `/dev/kmb`: the root's hold on its vnodes.
pub(crate) struct Kmb {
    file: File,
}

impl Kmb {
    /// Opens the device and makes sure that the module speaks this tool's language.
    pub(crate) fn open() -> Result<Self> {
        let kmb = Self::open_any()?;
        let info = kmb
            .info()
            .map_err(|error| other_version(&error.to_string()))?;
        if info.abi_version != abi::VERSION {
            return Err(other_version(&format!(
                "it speaks version {}",
                info.abi_version
            )));
        }
        Ok(kmb)
    }

    /// Opens the device whatever version its module has.
    pub(crate) fn open_any() -> Result<Self> {
        open(KMB, "insmod adeos_core.ko; insmod kmb.ko").map(|file| Self { file })
    }

    /// Tells versions, CPUs and memory.
    pub(crate) fn info(&self) -> io::Result<abi::Info> {
        let mut bytes = abi::Info {
            size: size(abi::Info::SIZE),
            ..Default::default()
        }
        .to_bytes();
        ioctl(&self.file, abi::KMB_INFO, &mut bytes)?;
        Ok(abi::Info::from_bytes(&bytes))
    }

    /// Starts a vnode from open files; the results stand in the record that comes back.
    pub(crate) fn start(
        &self,
        start: &abi::Start,
        kernel: &File,
        initrd: Option<&File>,
        append: &str,
    ) -> io::Result<abi::Start> {
        let mut bytes = abi::Start {
            size: size(abi::Start::SIZE),
            kernel_fd: kernel.as_raw_fd(),
            initrd_fd: initrd.map_or(-1, AsRawFd::as_raw_fd),
            cmdline: append.as_ptr() as u64,
            cmdline_size: size(append.len()),
            ..*start
        }
        .to_bytes();
        ioctl(&self.file, abi::KMB_START, &mut bytes)?;
        Ok(abi::Start::from_bytes(&bytes))
    }

    /// Asks a vnode to shut down.
    pub(crate) fn stop(&self, vnode: u32, generation: u32) -> io::Result<()> {
        ioctl(&self.file, abi::KMB_STOP, &mut target(vnode, generation))
    }

    /// Takes a vnode back whatever its state.
    pub(crate) fn kill(&self, vnode: u32, generation: u32) -> io::Result<()> {
        ioctl(&self.file, abi::KMB_KILL, &mut target(vnode, generation))
    }

    /// Tells all about one vnode.
    pub(crate) fn query(&self, vnode: u32) -> io::Result<abi::Query> {
        let query = abi::Query {
            size: size(abi::Query::SIZE),
            vnode,
            ..Default::default()
        };
        let mut bytes = query.to_bytes();
        ioctl(&self.file, abi::KMB_QUERY, &mut bytes)?;
        Ok(abi::Query::from_bytes(&bytes))
    }

    /// Copies a part of a console, from byte `position` on, waiting up to `timeout_ms` for some.
    pub(crate) fn console(
        &self,
        vnode: u32,
        position: u64,
        buffer: &mut [u8],
        timeout_ms: u32,
    ) -> io::Result<abi::ConsoleRead> {
        let mut bytes = abi::ConsoleRead {
            size: size(abi::ConsoleRead::SIZE),
            vnode,
            position,
            buffer: buffer.as_mut_ptr() as u64,
            length: size(buffer.len()),
            timeout_ms,
            ..Default::default()
        }
        .to_bytes();
        ioctl(&self.file, abi::KMB_CONSOLE, &mut bytes)?;
        Ok(abi::ConsoleRead::from_bytes(&bytes))
    }

    /// Waits up to `timeout_ms` for a change that `count` does not know of; tells the count now.
    pub(crate) fn wait(&self, count: u64, timeout_ms: u32) -> io::Result<u64> {
        let wait = abi::Wait {
            size: size(abi::Wait::SIZE),
            timeout_ms,
            count,
            reserved: 0,
        };
        let mut bytes = wait.to_bytes();
        ioctl(&self.file, abi::KMB_WAIT, &mut bytes)?;
        Ok(abi::Wait::from_bytes(&bytes).count)
    }

    /// Makes one step of the next start fail.
    pub(crate) fn fault(&self, step: u32) -> io::Result<()> {
        let fault = abi::Fault {
            size: size(abi::Fault::SIZE),
            step,
            reserved: 0,
        };
        ioctl(&self.file, abi::KMB_FAULT, &mut fault.to_bytes())
    }
}

/// Opens the root's end of a channel to a vnode; the file is the stream from then on.
pub(crate) fn connect(vnode: u32, generation: u32) -> Result<io::Result<File>> {
    let file = open(ADEOS, "insmod adeos_core.ko")?;
    let channel = abi::Channel {
        size: size(abi::Channel::SIZE),
        vnode,
        generation,
        channel: 0,
    };
    Ok(ioctl(&file, abi::ADEOS_CONNECT, &mut channel.to_bytes()).map(|()| file))
}

/// Waits, in a vnode, for the root to open a channel; the file is the stream from then on.
pub(crate) fn accept() -> Result<io::Result<File>> {
    let file = open(ADEOS, "insmod adeos_core.ko")?;
    let channel = abi::Channel {
        size: size(abi::Channel::SIZE),
        ..Default::default()
    };
    Ok(ioctl(&file, abi::ADEOS_ACCEPT, &mut channel.to_bytes()).map(|()| file))
}

/// Tells who this vnode is.
pub(crate) fn whoami() -> Result<io::Result<abi::Whoami>> {
    let file = open(ADEOS, "insmod adeos_core.ko")?;
    let whoami = abi::Whoami {
        size: size(abi::Whoami::SIZE),
        ..Default::default()
    };
    let mut bytes = whoami.to_bytes();
    Ok(ioctl(&file, abi::ADEOS_WHOAMI, &mut bytes).map(|()| abi::Whoami::from_bytes(&bytes)))
}

/// The open `/dev/adeos` as a source of facts, in any vnode.
pub(crate) struct Adeos {
    file: File,
}

impl Adeos {
    /// Opens the device.
    pub(crate) fn open() -> Result<Self> {
        open(ADEOS, "insmod adeos_core.ko").map(|file| Self { file })
    }

    /// Tells about one bridge, by its place.
    pub(crate) fn bridge(&self, index: u32) -> io::Result<abi::Bridge> {
        let bridge = abi::Bridge {
            size: size(abi::Bridge::SIZE),
            index,
            ..Default::default()
        };
        let mut bytes = bridge.to_bytes();
        ioctl(&self.file, abi::ADEOS_BRIDGE, &mut bytes)?;
        Ok(abi::Bridge::from_bytes(&bytes))
    }

    /// Tells what bridges and moves have come to.
    pub(crate) fn bridge_stat(&self) -> io::Result<abi::BridgeStat> {
        let stat = abi::BridgeStat {
            size: size(abi::BridgeStat::SIZE),
            ..Default::default()
        };
        let mut bytes = stat.to_bytes();
        ioctl(&self.file, abi::ADEOS_BRIDGE_STAT, &mut bytes)?;
        Ok(abi::BridgeStat::from_bytes(&bytes))
    }
}

fn open(path: &str, modules: &str) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Failure::failed(format!("{path}: permission denied")).help("only root may do this")
            }
            _ => Failure::new(Kind::NotSupported, format!("{path}: {error}"))
                .help(format!("load the modules: {modules}")),
        })
}

fn other_version(why: &str) -> Failure {
    Failure::new(
        Kind::NotSupported,
        format!(
            "the loaded kmb.ko is not of this tool's ABI version {}: {why}",
            abi::VERSION
        ),
    )
    .help("install the tool and the modules from the same build")
}

fn target(vnode: u32, generation: u32) -> [u8; abi::Target::SIZE] {
    abi::Target {
        size: size(abi::Target::SIZE),
        vnode,
        generation,
        reserved: 0,
    }
    .to_bytes()
}

/// Bytes as records count them; what does not fit would be refused by the kernel as well.
pub(crate) fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Gives a terminal another line discipline.
pub(crate) fn set_discipline(terminal: &File, number: i32) -> io::Result<()> {
    let request = u32::try_from(libc::TIOCSETD).map_err(io::Error::other)?;
    ioctl(terminal, request, &mut number.to_ne_bytes())
}

/// Does one ioctl over the bytes of its record, again when a signal came in between.
pub(crate) fn ioctl(file: &File, request: u32, record: &mut [u8]) -> io::Result<()> {
    loop {
        // SAFETY: 1. The descriptor is open for as long as `file` is borrowed. 2. The number of
        // each request in `adeos_proto::abi` carries the size of its record (TIOCSETD is of an int), and every caller
        // passes the bytes of that very record, so the kernel stays inside `record`. 3. The
        // addresses that `start` and `console` put into their records are those of borrowed
        // slices with the length that stands beside them, alive until this call returns; the
        // kernel reads `cmdline` and writes `buffer` only, and keeps neither.
        let result = unsafe {
            libc::ioctl(
                file.as_raw_fd(),
                libc::c_ulong::from(request) as _,
                record.as_mut_ptr(),
            )
        };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sets an option of a socket that is a number.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    // SAFETY: The descriptor is open for as long as it is borrowed, and the kernel reads as many bytes of the number as the
    // number has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
