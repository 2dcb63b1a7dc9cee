// SPDX-License-Identifier: GPL-2.0

//! Sentences for what the kernel modules answer: what was wrong, with what, and what is right.
//!
//! The errors of each ioctl are those that `adeos_proto::abi` documents.

use std::io;
use std::path::Path;

use adeos_proto::abi;
use adeos_proto::cpuset::CpuSet;
use adeos_proto::id::{PhysRange, MAX_VNODES};
use rustix::io::Errno;

use crate::device::Kmb;
use crate::failure::{Failure, Kind};
use crate::kernel_file::{self, Unfit};
use crate::settings::Settings;
use crate::size;
use crate::vnode::{self, Vnode};

/// Whether the kernel says that there is no such vnode, or no longer that life of it.
pub(crate) fn is_no_vnode(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::STALE)
    )
}

/// Whether the kernel says that a vnode takes no requests, now.
pub(crate) fn is_not_connected(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOTCONN)
}

/// Whether the kernel says that somebody else has to do with a vnode at this moment.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BUSY)
}

/// Why a start failed.
pub(crate) fn start(kmb: &Kmb, settings: &Settings, error: &io::Error) -> Failure {
    let name = &settings.name;
    let failed = |why: String| Failure::failed(format!("{name} cannot start: {why}"));
    match Errno::from_io_error(error) {
        Some(Errno::EXIST) => failed("a vnode of that name is already there".into()).help(format!(
            "`vnode show {name}` tells about it, `vnode kill {name}` takes it back"
        )),
        Some(Errno::BUSY) => failed(busy(kmb, settings)),
        Some(Errno::NOSPC) => failed(format!(
            "all {} places for vnodes are taken",
            MAX_VNODES.saturating_sub(1)
        ))
        .help("`vnode list` shows them, `vnode kill NAME` frees one"),
        Some(Errno::NOMEM) => failed(no_memory(kmb, settings)),
        Some(Errno::NOEXEC) => failed(format!(
            "{} is not a kernel image that can be started{}",
            settings.kernel.display(),
            flaw(&settings.kernel)
        ))
        .help("it must be a relocatable x86-64 bzImage; `dmesg` says what is wrong with this one"),
        Some(Errno::NODATA) => failed(
            "its kernel or its initial RAM disk ends before the size that the file has".into(),
        )
        .help("was the file cut while it was read?"),
        Some(Errno::FBIG) => failed(format!(
            "the kernel and its initial RAM disk do not fit into {}",
            size::show(settings.memory)
        ))
        .help("give it more memory; `dmesg` says how much the two need"),
        Some(Errno::TOOBIG) => failed("its command line is too long".into()).help(format!(
            "it must be shorter than {} bytes, with the words that `vnode` and kmb.ko put before yours",
            abi::MAX_CMDLINE
        )),
        Some(Errno::INVAL) => failed("kmb.ko refuses one of the settings".into())
            .help("`dmesg` may say which; `vnode -V` compares the versions of tool and module"),
        _ => failed(error.to_string()).help("`dmesg` may say more"),
    }
}

/// What is wrong with a file that is no kernel, if that shows.
fn flaw(kernel: &Path) -> String {
    match kernel_file::needs(kernel) {
        Err(Unfit::Image(error)) => format!(": {}", error.describe()),
        _ => String::new(),
    }
}

/// Which CPU, or whose memory, is in the way.
fn busy(kmb: &Kmb, settings: &Settings) -> String {
    let (Ok(info), Ok(all)) = (kmb.info(), Vnode::all(kmb)) else {
        return "a CPU or the range of memory is in use".into();
    };
    let lendable = CpuSet::from_words(info.lendable);
    let refused: Vec<_> = settings
        .cpu_set()
        .iter()
        .filter(|cpu| !lendable.contains(*cpu))
        .map(|cpu| why_not(cpu, &all))
        .collect();
    if !refused.is_empty() {
        return format!(
            "{}; CPUs that can be lent now: {}",
            refused.join("; "),
            list(&lendable)
        );
    }
    match settings.range().and_then(|range| holder(range, &all)) {
        Some(owner) => format!(
            "the memory at {:#x} overlaps that of {} ({})",
            settings.memory_base.unwrap_or(0),
            owner.name(),
            vnode::memory_words(owner)
        ),
        None => "a CPU or the range of memory is in use".into(),
    }
}

/// Why a CPU that is not lendable is not.
pub(crate) fn why_not(cpu: u32, all: &[Vnode]) -> String {
    if let Some(owner) = all.iter().find(|vnode| vnode.cpus().contains(cpu)) {
        return format!("CPU {cpu} belongs to {} ({})", owner.name(), owner.state());
    }
    if !vnode::present_cpus().contains(cpu) {
        return format!(
            "CPU {cpu} is not there: the machine has {}",
            vnode::present_cpus()
        );
    }
    if !vnode::online_cpus().contains(cpu) {
        return format!("CPU {cpu} is offline in the root");
    }
    format!("CPU {cpu} must stay with the root")
}

/// Which vnode has a part of a range of memory.
pub(crate) fn holder(range: PhysRange, all: &[Vnode]) -> Option<&Vnode> {
    all.iter().find(|vnode| {
        PhysRange::new(vnode.memory_base(), vnode.memory_size())
            .is_some_and(|taken| taken.overlaps(range))
    })
}

fn no_memory(kmb: &Kmb, settings: &Settings) -> String {
    let wanted = size::show(settings.memory);
    let Ok(info) = kmb.info() else {
        return format!("the pool has no {wanted} in one piece");
    };
    if settings.memory_base.is_some() {
        return format!(
            "the pool does not hold {wanted} at {:#x}",
            settings.memory_base.unwrap_or(0)
        );
    }
    if settings.memory <= info.pool_largest {
        return format!(
            "the kernel found no memory for it, though the pool has {} in one piece: {}",
            size::show(info.pool_largest),
            "no such piece lies where it was asked for, or the root itself is short of memory"
        );
    }
    format!(
        "it wants {wanted}, and the largest piece of the pool that is free has {} (free: {} of {})",
        size::show(info.pool_largest),
        size::show(info.pool_free),
        size::show(info.pool_size)
    )
}

/// A list of CPUs, or the word for an empty one.
pub(crate) fn list(cpus: &CpuSet) -> String {
    if cpus.is_empty() {
        "none".into()
    } else {
        cpus.to_string()
    }
}

/// Why a query failed.
pub(crate) fn query(number: u32, error: &io::Error) -> Failure {
    Failure::failed(format!("vnode {number} cannot be asked about: {error}"))
}

/// Why stopping, killing or another request for a vnode failed.
pub(crate) fn target(what: &str, vnode: &Vnode, error: &io::Error) -> Failure {
    if is_no_vnode(error) {
        return Failure::new(
            Kind::NoVnode,
            format!("{} is no longer there", vnode.name()),
        );
    }
    if is_busy(error) {
        return Failure::failed(format!(
            "{} cannot be {what} now: it is being started or taken back by another program",
            vnode.name()
        ))
        .help("`vnode show` tells its state; try again when that is done, or interrupt the other");
    }
    Failure::failed(format!("{} cannot be {what}: {error}", vnode.name()))
        .help("`dmesg` may say more")
}

/// Why a connection to a vnode was refused.
pub(crate) fn connect(vnode: &Vnode, error: &io::Error) -> Failure {
    let name = vnode.name();
    let failed = |why: &str| Failure::failed(format!("{name} {why}"));
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::STALE) => {
            Failure::new(Kind::NoVnode, format!("{name} is no longer there"))
        }
        Some(Errno::NOTCONN) if vnode.is_over() => failed(&ended(vnode)),
        Some(Errno::NOTCONN) => failed(&format!(
            "takes no commands yet: it is {} ({})",
            vnode.state(),
            vnode::progress_word(vnode.progress())
        ))
        .help(format!(
            "`vnode wait {name} --for ready` waits until it does"
        )),
        Some(Errno::BUSY) => failed("has all of its channels in use").help(format!(
            "it can run {} commands at a time",
            adeos_proto::layout::channel::COUNT
        )),
        _ => failed(&format!("cannot be reached: {error}")),
    }
}

/// What became of a vnode that has ended.
pub(crate) fn ended(vnode: &Vnode) -> String {
    let reason = vnode
        .reason()
        .unwrap_or_else(|| "no reason is known".into());
    format!("is {}: {reason}", vnode.state())
}

/// Why a fault could not be planted.
pub(crate) fn fault(step: u32, error: &io::Error) -> Failure {
    let failure = Failure::failed(format!("step {step} cannot be made to fail: {error}"));
    failure.help(format!("steps are 1 to {}, 0 is none", abi::step::LAST))
}
