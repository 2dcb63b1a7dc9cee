// SPDX-License-Identifier: GPL-2.0

//! What it takes to get from what runs to what a cluster file asks for, and what is in the way.

#[cfg(test)]
mod tests;

use std::fmt;

use adeos_proto::abi::Info;
use adeos_proto::cpuset::CpuSet;
use serde::Serialize;

use crate::bridge::regions::{self, Regions};
use crate::device::Kmb;
use crate::explain;
use crate::failure::{Context, Result};
use crate::settings::{Note, Settings};
use crate::size;
use crate::vnode::{self, Vnode};

/// What is done about one vnode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// It runs as it should.
    Keep,
    /// It is not there, and is started.
    Start,
    /// It has ended, is taken back and started.
    Revive,
    /// It runs otherwise than it should, is taken back and started.
    Replace,
}

/// What to do about a vnode that runs otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDifference {
    /// That is a conflict.
    Refuse,
    /// It is replaced.
    Replace,
}

impl OnDifference {
    /// What `--replace` says.
    pub(crate) fn new(replace: bool) -> Self {
        if replace {
            Self::Replace
        } else {
            Self::Refuse
        }
    }
}

/// One vnode of the file.
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) settings: Settings,
    /// The one of that name that is there now.
    pub(crate) running: Option<Vnode>,
    /// In what it differs from the file.
    pub(crate) differences: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            name, cpus, memory, ..
        } = &self.settings;
        let what = match self.action {
            Action::Keep => return write!(f, "keep     {name}: it runs as it should"),
            Action::Start => "start   ",
            Action::Revive => "revive  ",
            Action::Replace => "replace ",
        };
        write!(
            f,
            "{what} {name}: CPUs {cpus}, memory {}",
            size::show(*memory)
        )?;
        if let Some(base) = self.settings.memory_base {
            write!(f, " at {base:#x}")?;
        }
        if !self.differences.is_empty() {
            write!(f, " ({})", self.differences.join("; "))?;
        }
        Ok(())
    }
}

/// What is to be done, and why it cannot be.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) regions: Vec<regions::Step>,
    pub(crate) conflicts: Vec<String>,
}

impl Plan {
    /// Asks what is there and compares it with what is wanted.
    pub(crate) fn make(
        kmb: &Kmb,
        wanted: Vec<Settings>,
        regions: &Regions,
        on_difference: OnDifference,
    ) -> Result<Self> {
        let info = kmb.info().context(|| "the modules do not answer".into())?;
        let all = Vnode::all(kmb)?;
        let steps = wanted.into_iter().map(|settings| {
            let running = all.iter().find(|vnode| vnode.name() == settings.name);
            step(settings, running, running.and_then(Note::of))
        });
        let (steps, regions) = (steps.collect(), regions.plan(&all)?);
        Ok(Self::compare(&info, &all, steps, regions, on_difference))
    }

    /// The steps that start a vnode, in the order in which they are taken: the fixed addresses
    /// first, so that no other takes their place.
    pub(crate) fn starts(&self) -> Vec<&Step> {
        let mut starts: Vec<_> = self
            .steps
            .iter()
            .filter(|step| step.action != Action::Keep)
            .collect();
        starts.sort_by_key(|step| step.settings.memory_base.is_none());
        starts
    }

    /// Finds what is in the way of some steps.
    fn compare(
        info: &Info,
        all: &[Vnode],
        steps: Vec<Step>,
        regions: Vec<regions::Step>,
        on_difference: OnDifference,
    ) -> Self {
        let mut conflicts = Vec::new();
        if on_difference == OnDifference::Refuse {
            let differing = steps.iter().filter(|step| step.action == Action::Replace);
            conflicts.extend(differing.map(|step| {
                format!(
                    "{} runs, but not as the file says: {}; `--replace` starts it anew",
                    step.settings.name,
                    step.differences.join("; ")
                )
            }));
        }
        // What stays: neighbours of the file's vnodes, and those of them that run as they should.
        let goes = |vnode: &&Vnode| {
            let mut ended = steps.iter().filter(|step| step.action != Action::Keep);
            ended.any(|step| {
                step.running
                    .as_ref()
                    .is_some_and(|r| r.number() == vnode.number())
            })
        };
        let (going, staying): (Vec<_>, Vec<_>) = all.iter().partition(goes);
        let machine = Machine {
            info,
            going,
            staying: staying.into_iter().copied().collect(),
        };
        for step in steps.iter().filter(|step| step.action != Action::Keep) {
            machine.conflicts(&step.settings, &mut conflicts);
        }
        machine.total(&steps, &regions, &mut conflicts);
        conflicts.extend(regions.iter().filter_map(regions::Step::conflict));
        Self {
            steps,
            regions,
            conflicts,
        }
    }
}

fn step(settings: Settings, running: Option<&Vnode>, note: Option<Note>) -> Step {
    let (action, differences) = match running {
        None => (Action::Start, Vec::new()),
        Some(vnode) if vnode.is_over() => (
            Action::Revive,
            vec![format!("it {}", explain::ended(vnode))],
        ),
        Some(vnode) => match differences(vnode, note, &settings) {
            none if none.is_empty() => (Action::Keep, none),
            some => (Action::Replace, some),
        },
    };
    Step {
        action,
        settings,
        running: running.copied(),
        differences,
    }
}

/// In what a running vnode differs from what is wanted. Of its files and command line only the
/// note of its start knows.
fn differences(vnode: &Vnode, note: Option<Note>, wanted: &Settings) -> Vec<String> {
    let mut pairs = vec![
        ("CPU list", vnode.cpus().to_string(), wanted.cpus.clone()),
        (
            "memory",
            size::show(vnode.memory_size()),
            size::show(wanted.memory),
        ),
    ];
    if let Some(base) = wanted.memory_base {
        let now = format!("{:#x}", vnode.memory_base());
        pairs.push(("address", now, format!("{base:#x}")));
    }
    if let Some(note) = note {
        let [now, then] = [&note.settings, wanted].map(origin);
        let names = ["placement", "kernel", "initrd", "command line", "entry"];
        let values = now.into_iter().zip(then);
        pairs.extend(
            names
                .into_iter()
                .zip(values)
                .map(|(name, (now, then))| (name, now, then)),
        );
    }
    let differing = pairs.into_iter().filter(|(_, now, then)| now != then);
    differing
        .map(|(what, now, then)| format!("its {what} is {now}, wanted is {then}"))
        .collect()
}

/// What only the note of a start tells, in the order in which it is compared.
fn origin(settings: &Settings) -> [String; 5] {
    let initrd = settings
        .initrd
        .as_ref()
        .map(|path| path.display().to_string());
    [
        settings.placement.word().into(),
        settings.kernel.display().to_string(),
        initrd.unwrap_or_else(|| "none".into()),
        format!("`{}`", settings.append),
        settings.entry.word().into(),
    ]
}

/// What the machine can give once the vnodes that go have gone.
struct Machine<'a> {
    info: &'a Info,
    going: Vec<&'a Vnode>,
    staying: Vec<Vnode>,
}

impl Machine<'_> {
    /// Why one vnode cannot have what it wants.
    fn conflicts(&self, settings: &Settings, conflicts: &mut Vec<String>) {
        let name = &settings.name;
        let lendable = CpuSet::from_words(self.info.lendable);
        let is_coming = |cpu| self.going.iter().any(|vnode| vnode.cpus().contains(cpu));
        for cpu in settings
            .cpu_set()
            .iter()
            .filter(|cpu| !lendable.contains(*cpu))
        {
            if !is_coming(cpu) {
                let why = explain::why_not(cpu, &self.staying);
                conflicts.push(format!("{name} cannot have all of its CPUs: {why}"));
            }
        }
        if let Some(owner) = settings
            .range()
            .and_then(|range| explain::holder(range, &self.staying))
        {
            conflicts.push(format!(
                "the memory of {name} overlaps that of {} ({})",
                owner.name(),
                vnode::memory_words(owner)
            ));
        }
        if settings.memory > self.info.pool_size {
            conflicts.push(format!(
                "{name} wants {} of memory, the whole pool has {}",
                size::show(settings.memory),
                size::show(self.info.pool_size)
            ));
        }
    }

    /// Whether memory and places suffice for all together. Whether each piece is in one, the
    /// kernel tells when it is taken: that depends on what goes first.
    fn total(&self, steps: &[Step], regions: &[regions::Step], conflicts: &mut Vec<String>) {
        let starts = || steps.iter().filter(|step| step.action != Action::Keep);
        let vnodes: u64 = starts().fold(0, |sum, step| sum.saturating_add(step.settings.memory));
        let made = regions
            .iter()
            .fold(0, |sum: u64, step| sum.saturating_add(step.takes()));
        let wanted = vnodes.saturating_add(made);
        let coming = self
            .going
            .iter()
            .fold(0, |sum: u64, vnode| sum.saturating_add(vnode.memory_size()));
        let free = self.info.pool_free.saturating_add(coming);
        if wanted > free {
            let who = if made == 0 {
                "the vnodes to start want"
            } else {
                "the vnodes to start and the regions to make want"
            };
            conflicts.push(format!(
                "{who} {} of memory, the pool has {} free",
                size::show(wanted),
                size::show(free)
            ));
        }

        let most = usize::try_from(self.info.max_vnodes)
            .unwrap_or(0)
            .saturating_sub(1);
        let there = self.staying.len().saturating_add(starts().count());
        if there > most {
            conflicts.push(format!(
                "there would be {there} vnodes; the machine holds {most}"
            ));
        }
    }
}
