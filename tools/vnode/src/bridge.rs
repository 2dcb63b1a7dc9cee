// SPDX-License-Identifier: GPL-2.0

//! Telling what bridges there are: `vnode bridge list`, `show` and `stat`; making those of programs: `create` and `remove`.

mod kept;
pub(crate) mod region;
pub(crate) mod regions;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::Duration;

use adeos_proto::abi;
use adeos_proto::bridge::entry::state;
use adeos_proto::bridge::BRIDGES;
use rustix::io::Errno;
use serde::Serialize;

use crate::cli::{BridgeArgs, BridgeCommand, JsonArgs};
use crate::device::{Adeos, Kmb};
use crate::failure::{Failure, Kind, Result};
use crate::say;
use crate::show::{pairs, table};
use crate::size;
use crate::vnode::Vnode;
pub(crate) use report::Report;

/// Columns of `list`.
const COLUMNS: [&str; 8] = [
    "ID", "NAME", "STATE", "SIZE", "OWNER", "USERS", "MAPPED", "PINNED",
];

/// How often an entry that is being written is looked at, 10 ms apart.
const TRIES: u32 = 50;

/// Does what a subcommand says.
pub(crate) fn run(command: &BridgeCommand) -> Result<()> {
    match command {
        BridgeCommand::List(args) => list(args),
        BridgeCommand::Show(args) => show(args),
        BridgeCommand::Stat(args) => stat(args),
        BridgeCommand::Create(args) => kept::create(args),
        BridgeCommand::Remove(args) => kept::remove(args),
    }
}

fn list(args: &JsonArgs) -> Result<()> {
    let reports = all(&Adeos::open()?)?;
    if args.json {
        return say::json(&reports);
    }
    let names = Names::known();
    let rows: Vec<_> = reports.iter().map(|report| row(report, &names)).collect();
    say::out(&table(&COLUMNS, &rows))
}

fn row(report: &Report, names: &Names) -> [String; 8] {
    let mapped = report.users.iter().filter(|user| user.mapped);
    [
        format!("#{}", report.index),
        names.of_bridge(report),
        report.state.to_owned(),
        size::show(report.size_bytes),
        names.owner(report),
        names.list(report.users.iter().map(|user| user.vnode)),
        names.list(mapped.map(|user| user.vnode)),
        names.list(report.pinned_by.iter().copied()),
    ]
}

fn show(args: &BridgeArgs) -> Result<()> {
    let names = Names::known();
    let all = all(&Adeos::open()?)?;
    let report = find(all, &args.name, &names)?;
    if args.json {
        return say::json(&report);
    }
    let users = report.users.iter().map(|user| {
        let mapped = if user.mapped { ", mapped" } else { "" };
        let name = names.of(user.vnode);
        format!("{name} (life {}{mapped})", user.generation)
    });
    let users: Vec<_> = users.collect();
    let movable = if report.movable { "yes" } else { "no" };
    let pinned = match report.pinned_by.as_slice() {
        [] => String::new(),
        by => format!(", but pinned by {}", names.list(by.iter().copied())),
    };
    say::out(&pairs(&[
        ("name", names.of_bridge(&report)),
        (
            "number",
            format!("#{} (serial {})", report.index, report.serial),
        ),
        ("state", report.state.to_owned()),
        ("size", size::show(report.size_bytes)),
        ("memory", format!("{:#x}", report.base)),
        ("owner", names.owner(&report)),
        ("owner may", report.owner_may.to_owned()),
        ("readers", names.list(report.readers.iter().copied())),
        ("writers", names.list(report.writers.iter().copied())),
        ("users", users.join(", ")),
        ("open here", report.openers.to_string()),
        ("movable", format!("{movable}{pinned}")),
        ("moves", report.moves.to_string()),
        ("freezes", report.freezes.to_string()),
    ]))
}

/// Finds a bridge: `NAME`, `VNODE/NAME`, or `#N`.
fn find(all: Vec<Report>, name: &str, names: &Names) -> Result<Report> {
    let number: Option<u32> = name.strip_prefix('#').and_then(|text| text.parse().ok());
    let local = name
        .split_once('/')
        .map(|(vnode, name)| (names.number(vnode), name));
    let count = all.len();
    let found = all.into_iter().find(|report| match (number, local) {
        (Some(number), _) => report.index == number,
        (None, Some((vnode, name))) => {
            report.vnode == vnode && report.name == name && vnode.is_some()
        }
        (None, None) => report.vnode.is_none() && report.name == name,
    });
    found.ok_or_else(|| {
        let help = match count {
            0 => "there is no bridge at all now".to_owned(),
            _ => "`vnode bridge list` shows all; a local one is VNODE/NAME".to_owned(),
        };
        Failure::new(Kind::NoBridge, format!("there is no bridge `{name}`")).help(help)
    })
}

/// What `stat --json` prints.
#[derive(Serialize)]
struct Totals {
    bridges: u32,
    places: u32,
    created: u64,
    destroyed: u64,
    moved: u64,
    refused_freezes: u64,
    timed_out_freezes: u64,
    longest_freeze_us: u64,
    freeze_timeout_ms: u32,
    requests_served_by_moves: u64,
    requests_without_room: u64,
    delayed_events: u64,
    unanswered_requests: u64,
    strange_messages: u64,
    owned: Vec<Owned>,
}

/// What counts for one vnode.
#[derive(Serialize)]
struct Owned {
    vnode: u32,
    bridges: u32,
    bytes: u64,
}

fn stat(args: &JsonArgs) -> Result<()> {
    let stat = Adeos::open()?
        .bridge_stat()
        .map_err(|error| explain(&error))?;
    let totals = totals(&stat);
    if args.json {
        return say::json(&totals);
    }
    let names = Names::known();
    let owned = totals.owned.iter().map(|owned| {
        let name = names.of(owned.vnode);
        format!("{name} {} ({})", owned.bridges, size::show(owned.bytes))
    });
    let owned: Vec<_> = owned.collect();
    let or_none = |text: String| if text.is_empty() { "none".into() } else { text };
    say::out(&pairs(&[
        (
            "bridges",
            format!("{} of {}", totals.bridges, totals.places),
        ),
        ("of each vnode", or_none(owned.join(", "))),
        ("created", totals.created.to_string()),
        ("destroyed", totals.destroyed.to_string()),
        ("moves", totals.moved.to_string()),
        (
            "freezes",
            format!(
                "longest {} us; {} refused, {} not answered in {} ms",
                totals.longest_freeze_us,
                totals.refused_freezes,
                totals.timed_out_freezes,
                totals.freeze_timeout_ms
            ),
        ),
        (
            "requests",
            format!(
                "{} that moves made room for, {} without room though enough was free",
                totals.requests_served_by_moves, totals.requests_without_room
            ),
        ),
        (
            "messages",
            format!(
                "{} events delayed, {} answers undelivered, {} not understood",
                totals.delayed_events, totals.unanswered_requests, totals.strange_messages
            ),
        ),
    ]))
}

fn totals(stat: &abi::BridgeStat) -> Totals {
    let owned = (0..).zip(stat.owned).zip(stat.owned_bytes);
    let owned = owned.map(|((vnode, bridges), bytes)| Owned {
        vnode,
        bridges,
        bytes,
    });
    Totals {
        bridges: stat.bridges,
        places: stat.places,
        created: stat.created,
        destroyed: stat.destroyed,
        moved: stat.moved,
        refused_freezes: stat.refused,
        timed_out_freezes: stat.timed_out,
        longest_freeze_us: stat.longest_freeze_us,
        freeze_timeout_ms: stat.freeze_timeout_ms,
        requests_served_by_moves: stat.served,
        requests_without_room: stat.unserved,
        delayed_events: stat.delayed,
        unanswered_requests: stat.unanswered,
        strange_messages: stat.strange,
        owned: owned.filter(|owned| owned.bridges != 0).collect(),
    }
}

/// All bridges, by number.
pub(crate) fn all(adeos: &Adeos) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for index in 0..BRIDGES as u32 {
        let bridge = read(adeos, index).map_err(|error| explain(&error))?;
        if bridge.state != state::NONE {
            reports.push(Report::new(&bridge));
        }
    }
    Ok(reports)
}

/// Reads one entry, again while it is being written.
fn read(adeos: &Adeos, index: u32) -> io::Result<abi::Bridge> {
    let mut tries = 1;
    loop {
        match adeos.bridge(index) {
            Err(error) if is(&error, Errno::AGAIN) && tries < TRIES => {
                tries += 1;
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

/// Why the kernel does not tell.
fn explain(error: &io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => Failure::failed("only the root knows what bridges have come to")
            .help("run it there; `vnode bridge list` and `show` work in every vnode"),
        Some(Errno::NOTTY | Errno::INVAL) => Failure::new(
            Kind::NotSupported,
            "the loaded adeos_core.ko knows no bridges, or other ones than this tool",
        )
        .help("install the tool and the modules from the same build"),
        Some(Errno::AGAIN) => {
            Failure::failed("an entry of the registry is being written all the time")
                .help("has the root stopped while it wrote? `vnode list` tells, in the root")
        }
        Some(Errno::PROTO) => Failure::failed("an entry of the registry makes no sense")
            .help("some vnode has written over it; the next change of that bridge mends it"),
        _ => Failure::failed(format!("the bridges cannot be asked about: {error}")),
    }
}

/// What vnodes are called, as far as this kernel knows: only the root does.
pub(crate) struct Names(BTreeMap<u32, String>);

impl Names {
    pub(crate) fn known() -> Self {
        let vnodes = Kmb::open().and_then(|kmb| Vnode::all(&kmb));
        Self::of_all(&vnodes.unwrap_or_default())
    }

    /// What the root and these are called.
    fn of_all(vnodes: &[Vnode]) -> Self {
        let mut names: BTreeMap<_, _> = vnodes
            .iter()
            .map(|vnode| (vnode.number(), vnode.name().to_owned()))
            .collect();
        names.insert(0, "root".into());
        Self(names)
    }

    fn of(&self, vnode: u32) -> String {
        self.0
            .get(&vnode)
            .map_or_else(|| format!("#{vnode}"), Clone::clone)
    }

    /// The vnode of a name, or number.
    fn number(&self, name: &str) -> Option<u32> {
        let digits = name.strip_prefix('#').unwrap_or(name);
        self.named(name).or_else(|| digits.parse().ok())
    }

    /// The vnode of a name.
    fn named(&self, name: &str) -> Option<u32> {
        let mut named = self.0.iter().filter(|(_, known)| *known == name);
        named.next().map(|(number, _)| *number)
    }

    pub(crate) fn list(&self, vnodes: impl Iterator<Item = u32>) -> String {
        let names: Vec<_> = vnodes.map(|vnode| self.of(vnode)).collect();
        if names.is_empty() {
            "-".into()
        } else {
            names.join(",")
        }
    }

    fn of_bridge(&self, report: &Report) -> String {
        match report.vnode {
            Some(vnode) => format!("{}/{}", self.of(vnode), report.name),
            None => report.name.clone(),
        }
    }

    fn owner(&self, report: &Report) -> String {
        let name = self.of(report.owner);
        let dead = if report.orphan { ", dead" } else { "" };
        format!("{name} (life {}{dead})", report.owner_generation)
    }
}
