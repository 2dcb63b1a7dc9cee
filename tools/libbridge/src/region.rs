// SPDX-License-Identifier: GPL-2.0

//! Regions: how they are made, opened, waited for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use adeos_proto::abi::shm as abi;
use adeos_proto::record;

use crate::memory::Memory;
use crate::sys;

/// Where regions come from.
const DEVICE: &str = "/dev/bridge_shm";

/// What a program does with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads, and waits.
    Read,
    /// It writes as well, and wakes others.
    Write,
}

/// A set of vnodes, bit n for vnode n; the root is 0.
///
/// ```
/// use bridge::Vnodes;
///
/// let root_and_third = Vnodes(1 << 0 | 1 << 3);
/// assert_ne!(root_and_third, Vnodes::ALL);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vnodes(pub u16);

impl Vnodes {
    /// None: the vnode that makes a region can use it whatever else is said.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(u16::MAX);
}

/// What finds a region. A text alone is a global name.
///
/// ```
/// use bridge::Name;
///
/// assert_eq!(Name::from("counter"), Name::Global("counter"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A name of the cluster's.
    Global(&'a str),
    /// A name of this vnode's.
    Own(&'a str),
    /// A name of that vnode's.
    Local(u32, &'a str),
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(name: &'a str) -> Self {
        Self::Global(name)
    }
}

/// How a region is made.
///
/// ```
/// use bridge::{Options, Vnodes};
///
/// // 4 MiB, which the user's programs write in all vnodes, and its group's read in vnode 2.
/// let options = Options::new(4 << 20).mode(0o640).vnodes(Vnodes::ALL);
/// let fewer = options.readers(Vnodes(1 << 2)).writers(Vnodes::NONE);
/// assert_ne!(options, fewer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    bytes: u64,
    mode: u32,
    readers: Vnodes,
    writers: Vnodes,
}

impl Options {
    /// A region of so many bytes, a multiple of 2 MiB, for this vnode alone and its user.
    pub const fn new(bytes: u64) -> Self {
        Self {
            bytes,
            mode: 0o600,
            readers: Vnodes::NONE,
            writers: Vnodes::NONE,
        }
    }

    /// Mode bits, as a file has them (0600).
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Other vnodes whose programs may use it as the mode says.
    pub const fn vnodes(self, vnodes: Vnodes) -> Self {
        self.readers(vnodes).writers(vnodes)
    }

    /// Other vnodes whose programs may read it as the mode says.
    pub const fn readers(mut self, vnodes: Vnodes) -> Self {
        self.readers = vnodes;
        self
    }

    /// Other vnodes whose programs may write it as the mode says. They may read it as well.
    pub const fn writers(mut self, vnodes: Vnodes) -> Self {
        self.writers = vnodes;
        self
    }
}

/// What there is to know of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is called.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its user, group, and mode bits.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Its mode bits.
    pub mode: u32,
    /// The vnode that owns it, and the life of it in which it was made.
    pub owner: (u32, u32),
    /// Whether that life has ended.
    pub is_orphan: bool,
    /// Other vnodes that may read it.
    pub readers: Vnodes,
    /// Other vnodes that may write it.
    pub writers: Vnodes,
    /// Notices so far.
    pub notices: u64,
    /// Deaths of vnodes that may use it, since this kernel has it open.
    pub deaths: u64,
    /// How often it was moved to another place.
    pub moves: u32,
    /// This vnode.
    pub vnode: u32,
    /// The life of each vnode that uses it; 0 for those that do not.
    pub users: [u32; 16],
}

/// An open region: closed when dropped. It is a descriptor, which can be waited for as one that `eventfd` gives: it is
/// readable when there are notices.
///
/// ```no_run
/// use bridge::{Access, Region};
///
/// # fn main() -> std::io::Result<()> {
/// // Looks at what is there each time that somebody gives a notice.
/// let region = Region::open("weather", Access::Read)?;
/// let memory = region.map()?;
/// let mut seen = 0;
/// loop {
///     seen = region.wait(seen, None)?;
///     let mut text = [0; 16];
///     memory.read(64, &mut text)?;
///     println!("{}", String::from_utf8_lossy(&text));
/// }
/// # }
/// ```
///
/// What another program has passed on, by a socket or by exec, becomes one by `try_from`:
///
/// ```
/// use bridge::Region;
/// use std::os::fd::OwnedFd;
///
/// # fn main() -> std::io::Result<()> {
/// let file = OwnedFd::from(std::fs::File::open("/dev/null")?);
/// assert!(Region::try_from(file).is_err(), "that is no region");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Region {
    file: OwnedFd,
    token: u32,
    access: Access,
}

fn millis(timeout: Option<Duration>) -> u64 {
    timeout.map_or(abi::FOR_EVER, |time| {
        let millis = time.as_nanos().div_ceil(1_000_000);
        u64::try_from(millis)
            .unwrap_or(abi::FOR_EVER - 1)
            .min(abi::FOR_EVER - 1)
    })
}

const fn size(bytes: usize) -> u32 {
    bytes as u32
}

impl Region {
    /// Makes a region, zeros, and opens it to write.
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) there is one of this name, EDQUOT the user has as much as it may have, and what
    /// else `proto/abi/shm.rs` says of `SHM_CREATE`.
    pub fn create<'a>(name: impl Into<Name<'a>>, options: &Options) -> io::Result<Self> {
        let record = abi::Region {
            bytes: options.bytes,
            mode: options.mode,
            readers: options.readers.0.into(),
            writers: options.writers.0.into(),
            ..named(name.into(), Access::Write)?
        };
        Self::bind(abi::SHM_CREATE, &record)
    }

    /// Opens the region of a name.
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) there is none, [`PermissionDenied`](io::ErrorKind::PermissionDenied) user, group or vnode
    /// may not.
    pub fn open<'a>(name: impl Into<Name<'a>>, access: Access) -> io::Result<Self> {
        Self::bind(abi::SHM_OPEN, &named(name.into(), access)?)
    }

    fn bind(call: u32, record: &abi::Region) -> io::Result<Self> {
        let device = File::open(DEVICE)?;
        sys::ioctl_open(device.as_fd(), call, &mut record.to_bytes())?.try_into()
    }

    /// Its bytes now.
    pub fn size(&self) -> io::Result<u64> {
        Ok(stat(self.as_fd())?.bytes)
    }

    /// What it is open for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// What there is to know of it now.
    pub fn stat(&self) -> io::Result<Stat> {
        let stat = stat(self.as_fd())?;
        Ok(Stat {
            name: record::text(&stat.name).to_owned(),
            bytes: stat.bytes,
            user: stat.user,
            group: stat.group,
            mode: stat.mode,
            owner: (stat.owner, stat.owner_life),
            is_orphan: stat.is_orphan != 0,
            readers: Vnodes(stat.readers as u16),
            writers: Vnodes(stat.writers as u16),
            notices: stat.notices,
            deaths: stat.deaths,
            moves: stat.moves,
            vnode: stat.own_vnode,
            users: stat.users,
        })
    }

    /// Maps all of it, as it is open.
    pub fn map(&self) -> io::Result<Memory> {
        self.map_as(0, self.size()?, self.access == Access::Write)
    }

    /// Maps all of it to be written. [`PermissionDenied`](io::ErrorKind::PermissionDenied) it is open for reading.
    pub fn map_writable(&self) -> io::Result<Memory> {
        self.map_as(0, self.size()?, true)
    }

    /// Maps a part of it, by whole pages, as it is open.
    pub fn map_part(&self, offset: u64, bytes: u64) -> io::Result<Memory> {
        self.map_as(offset, bytes, self.access == Access::Write)
    }

    fn map_as(&self, offset: u64, bytes: u64, is_writable: bool) -> io::Result<Memory> {
        let size = usize::try_from(bytes).map_err(io::Error::other)?;
        let mapping = sys::Mapping::new(self.as_fd(), offset, size, is_writable)?;
        Ok(Memory::new(mapping, offset, self.token))
    }

    /// Gives a notice: wakes all that wait for one, in every vnode.
    pub fn notify(&self) -> io::Result<()> {
        sys::ioctl(self.as_fd(), abi::SHM_NOTIFY, &mut [])
    }

    /// Waits until the region's notices are another number than `seen`: that one.
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut); EOWNERDEAD a vnode that may use it has died since this region was last told so.
    pub fn wait(&self, seen: u64, timeout: Option<Duration>) -> io::Result<u64> {
        let record = abi::Wait {
            size: size(abi::Wait::SIZE),
            reserved: 0,
            seen,
            timeout_ms: millis(timeout),
        };
        let mut bytes = record.to_bytes();
        sys::ioctl(self.as_fd(), abi::SHM_WAIT, &mut bytes)?;
        Ok(abi::Wait::from_bytes(&bytes).seen)
    }

    /// Sleeps while the word at an offset has a value, until somebody wakes who sleeps on it, or sooner.
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) it has another one; the other errors are those of [`wait`](Self::wait).
    pub fn wait_word(&self, offset: u64, value: u32, timeout: Option<Duration>) -> io::Result<()> {
        let record = abi::Word {
            size: size(abi::Word::SIZE),
            value,
            offset,
            timeout_ms: millis(timeout),
        };
        sys::ioctl(self.as_fd(), abi::SHM_WAIT_WORD, &mut record.to_bytes())
    }

    /// Wakes `count` of those that sleep on a word, or more.
    pub fn wake_word(&self, offset: u64, count: u32) -> io::Result<()> {
        let record = abi::Word {
            size: size(abi::Word::SIZE),
            value: count,
            offset,
            timeout_ms: 0,
        };
        sys::ioctl(self.as_fd(), abi::SHM_WAKE_WORD, &mut record.to_bytes())
    }

    /// What this region writes into the words of locks that it has.
    pub(crate) fn token(&self) -> u32 {
        self.token
    }

    /// Has the kernel free the lock at an offset if this region has it when it is closed.
    pub(crate) fn guard(&self, offset: u64) -> io::Result<()> {
        let record = abi::Guard {
            size: size(abi::Guard::SIZE),
            reserved: 0,
            offset,
        };
        sys::ioctl(self.as_fd(), abi::SHM_GUARD, &mut record.to_bytes())
    }

    /// Has the kernel keep it when nobody has it open any more, or do so no more. CAP_SYS_ADMIN
    /// ([`PermissionDenied`](io::ErrorKind::PermissionDenied)); [`NotFound`](io::ErrorKind::NotFound) it is not kept in this vnode.
    pub fn keep(&self, keep: bool) -> io::Result<()> {
        let record = abi::Keep {
            size: size(abi::Keep::SIZE),
            keep: keep.into(),
        };
        sys::ioctl(self.as_fd(), abi::SHM_KEEP, &mut record.to_bytes())
    }

    /// Has an eventfd signalled when there are notices, or a death: at once, if there are some. It is instead of the one that was said
    /// before; with `None` nothing is. [`InvalidInput`](io::ErrorKind::InvalidInput) it is no eventfd.
    pub fn signal(&self, event: Option<BorrowedFd<'_>>) -> io::Result<()> {
        // A descriptor is no negative number.
        let descriptor = event.map_or(abi::NO_DESCRIPTOR, |event| event.as_raw_fd() as u32);
        let record = abi::Signal {
            size: size(abi::Signal::SIZE),
            descriptor,
        };
        sys::ioctl(self.as_fd(), abi::SHM_SIGNAL, &mut record.to_bytes())
    }

    /// Gives it another size, a multiple of 2 MiB, in the vnode that owns it or in the root: what it has stays as far as there is room, and the
    /// rest is zeros. [`ResourceBusy`](io::ErrorKind::ResourceBusy) somebody has it mapped, or has locks in it.
    pub fn resize(&self, bytes: u64) -> io::Result<()> {
        let record = abi::Resize {
            size: size(abi::Resize::SIZE),
            reserved: 0,
            bytes,
        };
        sys::ioctl(self.as_fd(), abi::SHM_RESIZE, &mut record.to_bytes())
    }

    /// Says anew who may use it. What is open stays so.
    pub fn protect(&self, user: u32, group: u32, options: &Options) -> io::Result<()> {
        let record = abi::Protect {
            size: size(abi::Protect::SIZE),
            mode: options.mode,
            user,
            group,
            readers: options.readers.0.into(),
            writers: options.writers.0.into(),
            reserved: 0,
        };
        sys::ioctl(self.as_fd(), abi::SHM_PROTECT, &mut record.to_bytes())
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Region> for OwnedFd {
    fn from(region: Region) -> Self {
        region.file
    }
}

impl TryFrom<OwnedFd> for Region {
    type Error = io::Error;

    /// ENOTTY it is the descriptor of something else, which is closed.
    fn try_from(file: OwnedFd) -> io::Result<Self> {
        let stat = stat(file.as_fd())?;
        let access = match stat.access {
            2 => Access::Write,
            _ => Access::Read,
        };
        Ok(Self {
            file,
            token: stat.token,
            access,
        })
    }
}

/// What the kernel tells of a region.
fn stat(file: BorrowedFd<'_>) -> io::Result<abi::Stat> {
    let record = abi::Stat {
        size: size(abi::Stat::SIZE),
        ..abi::Stat::default()
    };
    let mut bytes = record.to_bytes();
    sys::ioctl(file, abi::SHM_STAT, &mut bytes)?;
    Ok(abi::Stat::from_bytes(&bytes))
}

/// The record of a name, with nothing else in it.
fn named(name: Name<'_>, access: Access) -> io::Result<abi::Region> {
    let (scope, vnode, text) = match name {
        Name::Global(text) => (1, 0, text),
        Name::Own(text) => (2, u32::MAX, text),
        Name::Local(vnode, text) => (2, vnode, text),
    };
    if text.is_empty() || text.len() > adeos_proto::shm::MAX_NAME || text.contains('\0') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a region's name has 1 to {} characters",
                adeos_proto::shm::MAX_NAME
            ),
        ));
    }
    Ok(abi::Region {
        size: size(abi::Region::SIZE),
        access: if access == Access::Write { 2 } else { 1 },
        scope,
        vnode,
        name: record::set_text(text),
        ..abi::Region::default()
    })
}
