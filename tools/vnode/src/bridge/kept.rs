// SPDX-License-Identifier: GPL-2.0

//! Regions that are there whether a program uses them or not: `vnode bridge create` and `remove`.

use std::io;

use adeos_proto::layout::GRANULE;
use adeos_proto::shm::MAX_NAME;
use bridge::{Access, Options, Region, Vnodes};
use rustix::io::Errno;

use super::Names;
use crate::cli::{BridgeCreateArgs, BridgeRemoveArgs};
use crate::failure::{Failure, Kind, Result};
use crate::say;
use crate::size;

/// Makes a region and has the kernel keep it.
pub(super) fn create(args: &BridgeCreateArgs) -> Result<()> {
    let names = Names::known();
    let writers = args.writers.as_deref().unwrap_or(&args.vnodes);
    let options = Options::new(args.size)
        .mode(args.mode)
        .readers(vnodes(&args.vnodes, &names)?)
        .writers(vnodes(writers, &names)?);
    let name = args.name.as_str();
    let region = Region::create(name, &options).map_err(|error| explain(name, &error))?;
    // From here on it goes by itself if anything fails.
    let is_done = || {
        if (args.user, args.group) != (0, 0) {
            region.protect(args.user, args.group, &options)?;
        }
        region.keep(true)
    };
    is_done().map_err(|error| explain(name, &error))?;
    say::out(&format!(
        "{name}: {}, for programs of user {} and group {}, mode {:04o}\n",
        size::show(args.size),
        args.user,
        args.group,
        args.mode
    ))
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
fn vnodes(list: &str, names: &Names) -> Result<Vnodes> {
    match list {
        "all" => return Ok(Vnodes::ALL),
        "none" => return Ok(Vnodes::NONE),
        _ => {}
    }
    let mut set = 0;
    for name in list.split(',').map(str::trim) {
        let number = names.number(name).filter(|number| *number < u16::BITS);
        let number = number.ok_or_else(|| {
            Failure::new(Kind::NoVnode, format!("there is no vnode `{name}`"))
                .help("write names or numbers, `all` or `none`: `vnode list` shows who runs")
        })?;
        set |= 1 << number;
    }
    Ok(Vnodes(set))
}

/// Checks a mode: octal, and bits that regions have.
pub(crate) fn parse_mode(text: &str) -> std::result::Result<u32, String> {
    let mode =
        u32::from_str_radix(text, 8).map_err(|_| format!("`{text}` is not an octal number"))?;
    if mode & !0o666 != 0 {
        return Err(format!(
            "`{text}` has bits that no region has: it is read and written, by user, group and others"
        ));
    }
    Ok(mode)
}

/// Checks the size of a region.
pub(crate) fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let bytes = size::parse(text)?;
    if bytes == 0 || bytes % GRANULE != 0 {
        return Err(format!(
            "{} is not a multiple of {}",
            size::show(bytes),
            size::show(GRANULE)
        ));
    }
    Ok(bytes)
}

/// What the kernel says, for a person.
fn explain(name: &str, error: &io::Error) -> Failure {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    match (error.kind(), number) {
        (_, Some(Errno::NOENT)) if !std::path::Path::new("/dev/bridge_shm").exists() => {
            Failure::new(
                Kind::NotSupported,
                "there is no /dev/bridge_shm: programs cannot share memory with other vnodes",
            )
            .help("insmod bridge_shm.ko, in the root first")
        }
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
    fn modes_are_octal_and_have_no_other_bits() {
        assert_eq!(parse_mode("640"), Ok(0o640));
        assert_eq!(parse_mode("0666"), Ok(0o666));
        assert!(parse_mode("700").unwrap_err().contains("no region has"));
        assert!(parse_mode("8").unwrap_err().contains("octal"));
    }

    #[test]
    fn sizes_are_whole_granules() {
        assert_eq!(parse_size("4M"), Ok(4 << 20));
        assert!(parse_size("1M").unwrap_err().contains("multiple of 2M"));
        assert!(parse_size("0").is_err());
    }

    #[test]
    fn sets_of_vnodes_are_names_and_numbers() {
        let names = Names([(0, "root".to_owned()), (3, "db".to_owned())].into());
        assert_eq!(vnodes("all", &names).unwrap(), Vnodes::ALL);
        assert_eq!(vnodes("none", &names).unwrap(), Vnodes::NONE);
        assert_eq!(vnodes("db, root,#5", &names).unwrap(), Vnodes(0b10_1001));
        assert_eq!(vnodes("nobody", &names).unwrap_err().kind, Kind::NoVnode);
        assert_eq!(vnodes("16", &names).unwrap_err().kind, Kind::NoVnode);
    }
}
