// SPDX-License-Identifier: GPL-2.0

//! A vnode as its users see it: what the kernel tells about it, in words.

use std::fs;
use std::time::Duration;

use adeos_proto::abi::{state, Query};
use adeos_proto::cpuset::CpuSet;
use adeos_proto::id::{VnodeId, VnodeName};
use adeos_proto::layout::{self, cause, entry, feature};
use adeos_proto::record::text;
use adeos_proto::suspicion::Suspicion;
use serde::Serialize;

use crate::device::Kmb;
use crate::explain;
use crate::failure::{Failure, Kind, Result};
use crate::size;

/// What the kernel told about one vnode.
#[derive(Clone, Copy)]
pub(crate) struct Vnode {
    query: Query,
}

impl Vnode {
    /// Asks about one number; nothing when no vnode has it.
    pub(crate) fn query(kmb: &Kmb, number: u32) -> Result<Option<Self>> {
        match kmb.query(number) {
            Ok(query) if query.state == state::EMPTY => Ok(None),
            Ok(query) => Ok(Some(query.into())),
            Err(error) if explain::is_no_vnode(&error) => Ok(None),
            Err(error) => Err(explain::query(number, &error)),
        }
    }

    /// All vnodes but the root, by number.
    pub(crate) fn all(kmb: &Kmb) -> Result<Vec<Self>> {
        let numbers = VnodeId::all().filter(|id| !id.is_root());
        numbers
            .filter_map(|id| Self::query(kmb, id.number()).transpose())
            .collect()
    }

    /// Finds a vnode by its name, or by its number (`2` or `#2`) when no vnode has that name.
    pub(crate) fn find(kmb: &Kmb, name: &str) -> Result<Self> {
        let all = Self::all(kmb)?;
        if let Some(vnode) = all.iter().find(|vnode| vnode.name() == name) {
            return Ok(*vnode);
        }
        if is_root(name) {
            let why = "the root is this very kernel, not one of its vnodes";
            return Err(Failure::new(Kind::Usage, why));
        }
        let number = number(name);
        all.iter()
            .find(|vnode| Some(vnode.number()) == number)
            .copied()
            .ok_or_else(|| no_vnode(name, &all))
    }

    /// Asks again; nothing when that life of the vnode is over and taken back.
    pub(crate) fn refresh(&self, kmb: &Kmb) -> Result<Option<Self>> {
        let now = Self::query(kmb, self.number())?;
        Ok(now.filter(|vnode| vnode.generation() == self.generation()))
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.query.vnode
    }

    /// Which life of that number it is.
    pub(crate) fn generation(&self) -> u32 {
        self.query.generation
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        text(&self.query.name)
    }

    /// Its CPUs.
    pub(crate) fn cpus(&self) -> CpuSet {
        CpuSet::from_words(self.query.cpus)
    }

    /// Bytes of its memory.
    pub(crate) fn memory_size(&self) -> u64 {
        self.query.memory_size
    }

    /// Physical address of its memory.
    pub(crate) fn memory_base(&self) -> u64 {
        self.query.memory_base
    }

    /// How far it has come, one of [`layout::state`].
    pub(crate) fn progress(&self) -> u32 {
        self.query.progress
    }

    /// Release of its kernel; empty as long as it has not said so.
    pub(crate) fn release(&self) -> &str {
        text(&self.query.release)
    }

    /// How it was started, one of [`entry`].
    pub(crate) fn entry(&self) -> u32 {
        self.query.entry
    }

    /// Whether it has ended, well or not.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.query.state, state::DEAD | state::FAILED)
    }

    /// Whether its start has not come to the point where its CPUs may run.
    pub(crate) fn is_being_started(&self) -> bool {
        self.query.state == state::READY
    }

    /// Whether it takes commands.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_over() && self.progress() == layout::state::READY
    }

    /// Whether it was asked to shut down, and has not ended yet.
    pub(crate) fn is_stopping(&self) -> bool {
        self.query.state == state::STOPPING
    }

    /// Why it ended, one of [`cause`].
    pub(crate) fn cause(&self) -> u32 {
        self.query.cause
    }

    /// The same, in one word.
    pub(crate) fn cause_name(&self) -> &'static str {
        cause_name(self.query.cause)
    }

    /// When it was started, on the root's monotonic clock.
    pub(crate) fn started_ns(&self) -> u64 {
        self.query.started_ns
    }

    /// Its state, in one word.
    pub(crate) fn state(&self) -> &'static str {
        match self.query.state {
            state::EMPTY => "empty",
            state::READY => "ready",
            state::LOADED => "loaded",
            state::RUNNING => "running",
            state::STOPPING => "stopping",
            state::DEAD => "dead",
            state::FAILED => "failed",
            _ => "unknown",
        }
    }

    /// Why it ended, in a few words; nothing while it lives.
    pub(crate) fn reason(&self) -> Option<String> {
        let mut words = String::from(cause_words(self.query.cause)?);
        if self.query.cause_apic_id != layout::NO_APIC {
            words += &format!(" (APIC id {})", self.query.cause_apic_id);
        }
        let message = text(&self.query.message);
        if !message.is_empty() {
            words += ": ";
            words += message;
        }
        Some(words)
    }

    /// How long it has lived, or did.
    pub(crate) fn uptime(&self, now_ns: u64) -> Duration {
        let end = if self.query.ended_ns == 0 {
            now_ns
        } else {
            self.query.ended_ns
        };
        Duration::from_nanos(end.saturating_sub(self.query.started_ns))
    }

    /// All of it, as `--json` prints it.
    pub(crate) fn report(&self) -> Report {
        let suspicion = Suspicion::new(self.query.suspicion);
        Report {
            id: self.number(),
            generation: self.generation(),
            name: self.name().to_owned(),
            state: self.state(),
            progress: progress_word(self.progress()),
            cpus: self.cpus().to_string(),
            memory_bytes: self.memory_size(),
            memory_base: Some(self.memory_base()),
            uptime_s: self.uptime(now_ns()).as_secs_f64(),
            reason: self.reason(),
            cause: self.cause_name(),
            suspicion: suspicion.map(Suspicion::describe),
            quarantined: suspicion.is_some_and(Suspicion::is_hostile),
            release: self.release().to_owned(),
            entry: Some(entry_word(self.entry())),
            features: feature_words(self.query.features),
            silent_ms: Some(self.query.silent_ms).filter(|ms| *ms != u32::MAX),
            console_bytes: Some(self.query.console_written),
        }
    }
}

impl From<Query> for Vnode {
    fn from(query: Query) -> Self {
        Self { query }
    }
}

/// What `list` and `show` print about a vnode; the field names are those of `--json`.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) id: u32,
    pub(crate) generation: u32,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) progress: &'static str,
    pub(crate) cpus: String,
    pub(crate) memory_bytes: u64,
    pub(crate) memory_base: Option<u64>,
    pub(crate) uptime_s: f64,
    pub(crate) reason: Option<String>,
    pub(crate) cause: &'static str,
    pub(crate) suspicion: Option<&'static str>,
    pub(crate) quarantined: bool,
    pub(crate) release: String,
    pub(crate) entry: Option<&'static str>,
    pub(crate) features: Vec<&'static str>,
    pub(crate) silent_ms: Option<u32>,
    pub(crate) console_bytes: Option<u64>,
}

impl Report {
    /// The root, as this kernel knows itself.
    pub(crate) fn root() -> Self {
        Self {
            id: VnodeId::ROOT.number(),
            generation: 0,
            name: VnodeName::ROOT.to_owned(),
            state: "running",
            progress: progress_word(layout::state::READY),
            cpus: online_cpus().to_string(),
            memory_bytes: memory_total(),
            memory_base: None,
            uptime_s: Duration::from_nanos(now_ns()).as_secs_f64(),
            reason: None,
            cause: cause_name(cause::NONE),
            suspicion: None,
            quarantined: false,
            release: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            entry: None,
            features: Vec::new(),
            silent_ms: None,
            console_bytes: None,
        }
    }
}

/// Whether the root is meant.
pub(crate) fn is_root(name: &str) -> bool {
    name == VnodeName::ROOT || number(name) == Some(VnodeId::ROOT.number())
}

/// Reads `2` and `#2`.
pub(crate) fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits
        .parse()
        .ok()
        .and_then(VnodeId::new)
        .map(VnodeId::number)
}

/// Says that there is no such vnode, and which ones there are.
pub(crate) fn no_vnode(name: &str, all: &[Vnode]) -> Failure {
    let failure = Failure::new(Kind::NoVnode, format!("no vnode is called `{name}`"));
    let names: Vec<_> = all.iter().map(Vnode::name).collect();
    let near = names
        .iter()
        .find(|other| strsim::damerau_levenshtein(name, other) <= 2);
    match near {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => failure.help("there is none: `vnode start` makes one"),
        None => failure.help(format!("there are {}", names.join(", "))),
    }
}

/// CPUs that this kernel has online.
pub(crate) fn online_cpus() -> CpuSet {
    sysfs_cpus("online")
}

/// CPUs that the machine has.
pub(crate) fn present_cpus() -> CpuSet {
    sysfs_cpus("present")
}

fn sysfs_cpus(list: &str) -> CpuSet {
    fs::read_to_string(format!("/sys/devices/system/cpu/{list}"))
        .ok()
        .and_then(|cpus| CpuSet::parse(cpus.trim()).ok())
        .unwrap_or(CpuSet::EMPTY)
}

/// Bytes of memory that this kernel manages.
fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// The time in which the kernel dates starts and ends.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// How far a vnode has come, in one word.
pub(crate) fn progress_word(progress: u32) -> &'static str {
    match progress {
        layout::state::SILENT => "silent",
        layout::state::KERNEL => "kernel",
        layout::state::JOINED => "joined",
        layout::state::READY => "ready",
        layout::state::DEAD => "dead",
        _ => "unknown",
    }
}

/// How a vnode was started, in one word.
pub(crate) fn entry_word(entry: u32) -> &'static str {
    match entry {
        entry::IMAGE => "image",
        entry::SIPI => "sipi",
        _ => "unknown",
    }
}

fn cause_name(cause: u32) -> &'static str {
    match cause {
        cause::NONE => "none",
        cause::PANIC => "panic",
        cause::RESTART => "restart",
        cause::EMERGENCY_RESTART => "emergency-restart",
        cause::POWER_OFF => "power-off",
        cause::HALT => "halt",
        cause::HANG => "hang",
        cause::KILLED => "killed",
        cause::NO_START => "no-start",
        _ => "unknown",
    }
}

fn cause_words(cause: u32) -> Option<&'static str> {
    Some(match cause {
        cause::NONE => return None,
        cause::PANIC => "panic",
        cause::RESTART => "asked for a restart",
        cause::EMERGENCY_RESTART => "asked for an emergency restart",
        cause::POWER_OFF => "powered off",
        cause::HALT => "halted",
        cause::HANG => "hang: a CPU of it fell silent",
        cause::KILLED => "killed by the root",
        cause::NO_START => "its kernel never showed a sign of life",
        _ => "ended for a reason that this tool does not know",
    })
}

fn feature_words(features: u32) -> Vec<&'static str> {
    let words = [
        (feature::PATCHED, "patched"),
        (feature::PORTAL_INTERRUPT, "portal-interrupt"),
        (feature::EARLY_DEATH, "early-death"),
    ];
    words
        .iter()
        .filter(|(bit, _)| features & bit != 0)
        .map(|(_, word)| *word)
        .collect()
}

/// Where a vnode's memory lies, for people.
pub(crate) fn memory_words(vnode: &Vnode) -> String {
    format!(
        "{} at {:#x}",
        size::show(vnode.memory_size()),
        vnode.memory_base()
    )
}
