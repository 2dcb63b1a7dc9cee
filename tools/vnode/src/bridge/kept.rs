// SPDX-License-Identifier: GPL-2.0

//! Regions that are there whether a program uses them or not: `vnode bridge create` and `remove`.

use std::io;
use std::path::Path;

use adeos_proto::shm::MAX_NAME;
use bridge::{Access, Options, Region, Stat, Vnodes};
use rustix::io::Errno;

use super::region::{Listed, Settings};
use super::Names;
use crate::cli::{BridgeCreateArgs, BridgeRemoveArgs};
use crate::failure::{Failure, Kind, Result};
use crate::say;
use crate::size;

/// Where regions come from.
const DEVICE: &str = "/dev/bridge_shm";

/// Makes a region and has the kernel keep it.
pub(super) fn create(args: &BridgeCreateArgs) -> Result<()> {
    let settings = args.settings();
    let rights = Rights::new(&settings, &Names::known())?;
    make(&settings, &rights)?;
    say::out(&format!(
        "{}: {}, {settings}\n",
        settings.name,
        size::show(settings.size_bytes)
    ))
}

/// Who may use a region, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    mode: u32,
    user: u32,
    group: u32,
    readers: Vnodes,
    writers: Vnodes,
}

impl Rights {
    /// What settings say. Fails with [`Kind::NoVnode`].
    pub(super) fn new(settings: &Settings, names: &Names) -> Result<Self> {
        Ok(Self {
            mode: settings.mode,
            user: settings.user,
            group: settings.group,
            readers: vnodes(&settings.readers, names)?,
            writers: vnodes(&settings.writers, names)?,
        })
    }

    /// What the kernel tells of a region for which this was said.
    #[cfg(test)]
    pub(super) fn stat(self, stat: Stat) -> Stat {
        Stat {
            mode: self.mode,
            user: self.user,
            group: self.group,
            readers: self.readers,
            writers: self.writers,
            ..stat
        }
    }

    /// What the kernel tells.
    fn of(stat: &Stat) -> Self {
        Self {
            mode: stat.mode,
            user: stat.user,
            group: stat.group,
            readers: stat.readers,
            writers: stat.writers,
        }
    }

    fn options(&self, size_bytes: u64) -> Options {
        Options::new(size_bytes)
            .mode(self.mode)
            .readers(self.readers)
            .writers(self.writers)
    }

    /// Says so of a region, unless it is so already, and has the kernel keep it.
    fn settle(&self, region: &Region) -> io::Result<()> {
        if Self::of(&region.stat()?) != *self {
            region.protect(self.user, self.group, &self.options(region.size()?))?;
        }
        region.keep(true)
    }
}

/// Makes a region that the kernel keeps.
pub(super) fn make(settings: &Settings, rights: &Rights) -> Result<()> {
    let name = settings.name.as_str();
    let made = Region::create(name, &rights.options(settings.size_bytes));
    // Until it is kept it goes by itself if anything fails.
    made.and_then(|region| rights.settle(&region))
        .map_err(|error| explain(name, &error))
}

/// Says who may use a region that is there, and has the kernel keep it.
pub(super) fn settle(name: &str, region: &Region, rights: &Rights) -> Result<()> {
    rights.settle(region).map_err(|error| explain(name, &error))
}

/// The region of a name, if there is one.
pub(super) fn find(name: &str) -> io::Result<Option<Region>> {
    match Region::open(name, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && has_device() => Ok(None),
        found => found.map(Some),
    }
}

fn has_device() -> bool {
    Path::new(DEVICE).exists()
}

/// Has the kernel keep a region no more.
pub(super) fn remove(args: &BridgeRemoveArgs) -> Result<()> {
    let name = args.name.as_str();
    let region = Region::open(name, Access::Read).map_err(|error| explain(name, &error))?;
    region.keep(false).map_err(|error| {
        if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) {
            Failure::failed(format!("`{name}` is not kept here")).help(
                "a program has made it, or another vnode keeps it: it goes with its last user",
            )
        } else {
            explain(name, &error)
        }
    })?;
    drop(region);
    say::out(&format!("{name} goes, with its last user\n"))
}

/// The set of vnodes that a list names.
fn vnodes(list: &Listed, names: &Names) -> Result<Vnodes> {
    list.numbers(|name| names.number(name)).map_err(|name| {
        Failure::new(Kind::NoVnode, format!("there is no vnode `{name}`"))
            .help("write names or numbers, `all` or `none`: `vnode list` shows who runs")
    })
}

/// What the kernel says, for a person.
pub(super) fn explain(name: &str, error: &io::Error) -> Failure {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    match (error.kind(), number) {
        (_, Some(Errno::NOENT)) if !has_device() => Failure::new(
            Kind::NotSupported,
            format!("there is no {DEVICE}: programs cannot share memory with other vnodes"),
        )
        .help("insmod bridge_shm.ko, in the root first"),
        (_, Some(Errno::NOTCONN)) => {
            Failure::new(Kind::NotSupported, "the root has no bridges for programs")
                .help("insmod bridge_shm.ko in the root")
        }
        (io::ErrorKind::NotFound, _) => {
            Failure::new(Kind::NoBridge, format!("there is no region `{name}`"))
                .help("`vnode bridge list` shows them, as shm.NAME")
        }
        (io::ErrorKind::AlreadyExists, _) => {
            Failure::failed(format!("there is a region `{name}` already"))
        }
        (io::ErrorKind::InvalidInput, _) => {
            Failure::new(Kind::Usage, format!("no region can be called `{name}`"))
                .help(format!("1 to {MAX_NAME} letters, digits, `-`, `_` and `.`"))
        }
        (io::ErrorKind::OutOfMemory, _) => Failure::failed(format!(
            "there is no memory for `{name}`"
        ))
        .help("`vnode info` shows what is free; what is pinned keeps it from being moved together"),
        (_, Some(Errno::DQUOT)) => Failure::failed("this vnode has as many bridges as it may have")
            .help("`vnode bridge stat` shows how many, in the root"),
        (_, Some(Errno::NOSPC)) => Failure::failed("there are as many bridges as there can be"),
        (_, Some(Errno::PERM | Errno::ACCESS)) => {
            Failure::failed(format!("`{name}`: you may not do this"))
                .help("administrators of the vnode may (CAP_SYS_ADMIN)")
        }
        _ => Failure::failed(format!("`{name}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_vnodes_are_names_and_numbers() {
        let names = Names([(0, "root".to_owned()), (3, "db".to_owned())].into());
        let set = |list: &str| vnodes(&Listed::parse(list).unwrap(), &names);
        assert_eq!(set("all").unwrap(), Vnodes::ALL);
        assert_eq!(set("none").unwrap(), Vnodes::NONE);
        assert_eq!(set("db, root,#5").unwrap(), Vnodes(0b10_1001));
        assert_eq!(set("nobody").unwrap_err().kind, Kind::NoVnode);
        assert_eq!(set("16").unwrap_err().kind, Kind::NoVnode);
    }
}
