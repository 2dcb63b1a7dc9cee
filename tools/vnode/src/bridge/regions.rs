// SPDX-License-Identifier: GPL-2.0

//! Regions as a cluster file has them: `[[region]]` (docs/bridge-shm.md, section 3.2).
//!
//! The root makes them, and keeps them. It knows the vnodes that may use them by number: so that is said anew when a vnode
//! has come.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::io;

use bridge::{Region, Stat};
use serde::Serialize;

use super::kept::{self, Rights};
use super::region::{Listed, Settings};
use super::Names;
use crate::cluster::{self, Cluster};
use crate::device::Kmb;
use crate::failure::{Failure, Result};
use crate::say;
use crate::size;
use crate::vnode::Vnode;

/// What is done about a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// It is as it should be.
    Keep,
    /// It is not there, and is made.
    Make,
    /// Who may use it is said anew.
    Change,
    /// It is there, and cannot become what it should be.
    Refuse,
}

/// One region of the file.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// In what the one that is there differs from the file.
    differences: Vec<String>,
    pub(crate) settings: Settings,
    /// What is to be done where nothing can be done here.
    #[serde(skip)]
    remedy: Option<String>,
}

impl Step {
    fn new(action: Action, differences: Vec<String>, settings: &Settings) -> Self {
        Self {
            action,
            differences,
            settings: settings.clone(),
            remedy: None,
        }
    }

    fn refuse(difference: String, remedy: String, settings: &Settings) -> Self {
        Self {
            remedy: Some(remedy),
            ..Self::new(Action::Refuse, vec![difference], settings)
        }
    }

    /// Compares what is there with what is wanted.
    fn compare(settings: &Settings, there: Option<&Stat>, names: &Names) -> Self {
        let Some(there) = there else {
            return Self::new(Action::Make, Vec::new(), settings);
        };
        if there.bytes != settings.size_bytes {
            let [now, then] = [there.bytes, settings.size_bytes].map(size::show);
            let remedy = format!(
                "`vnode bridge remove {}`, and once nobody has it open it is made anew",
                settings.name
            );
            return Self::refuse(difference("size", &now, &then), remedy, settings);
        }
        let differences = differences(settings, there, names);
        let action = if differences.is_empty() {
            Action::Keep
        } else {
            Action::Change
        };
        Self::new(action, differences, settings)
    }

    /// What is in the way of it.
    pub(crate) fn conflict(&self) -> Option<String> {
        let remedy = self.remedy.as_ref()?;
        Some(format!(
            "the region {} is there, but not as the file says: {}; {remedy}",
            self.settings.name,
            self.differences.join("; ")
        ))
    }

    /// Bytes of memory that it takes.
    pub(crate) fn takes(&self) -> u64 {
        match self.action {
            Action::Make => self.settings.size_bytes,
            Action::Keep | Action::Change | Action::Refuse => 0,
        }
    }

    /// Tells that it was done.
    pub(crate) fn tell(&self) {
        let settings = &self.settings;
        let what = match self.action {
            Action::Make => format!("made: {}, {settings}", size::show(settings.size_bytes)),
            Action::Change => format!("who may use it is said anew: {settings}"),
            Action::Keep | Action::Refuse => "is there already".into(),
        };
        say::progress(&format!("region {}", settings.name), &what);
    }
}

/// What would be done, as plans show it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            name, size_bytes, ..
        } = &self.settings;
        let what = match self.action {
            Action::Keep => return write!(f, "keep     region {name}: it is as it should be"),
            Action::Make => "make    ",
            Action::Change => "change  ",
            Action::Refuse => "refuse  ",
        };
        let size = size::show(*size_bytes);
        write!(f, "{what} region {name}: {size}, {}", self.settings)?;
        if !self.differences.is_empty() {
            write!(f, " ({})", self.differences.join("; "))?;
        }
        Ok(())
    }
}

fn difference(what: &str, now: &str, then: &str) -> String {
    format!("its {what} is {now}, wanted is {then}")
}

/// In what a region's rights differ from what is wanted.
fn differences(settings: &Settings, there: &Stat, names: &Names) -> Vec<String> {
    let octal = |mode: u32| format!("{mode:04o}");
    let number = |number: u32| number.to_string();
    let values = [
        ("mode", octal(there.mode), octal(settings.mode)),
        ("user", number(there.user), number(settings.user)),
        ("group", number(there.group), number(settings.group)),
    ];
    let values = values.into_iter().filter(|(_, now, then)| now != then);
    let lists = [
        ("list of readers", there.readers, &settings.readers),
        ("list of writers", there.writers, &settings.writers),
    ];
    // A vnode without a number is to come, under one that nobody knows yet.
    let is_other = |now, then: &Listed| then.numbers(|name| names.named(name)).ok() != Some(now);
    let lists = lists
        .into_iter()
        .filter(|(_, now, then)| is_other(*now, then));
    let lists = lists.map(|(what, now, then)| {
        let now = Listed::of(now, |number| names.of(number));
        (what, now.to_string(), then.to_string())
    });
    let all = values.chain(lists);
    all.map(|(what, now, then)| difference(what, &now, &then))
        .collect()
}

/// What a file says of regions.
#[derive(Debug, Default)]
pub(crate) struct Regions(Vec<Settings>);

impl Regions {
    /// What a file without mistakes says.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let regions = cluster.regions.iter();
        Self(regions.filter_map(cluster::Region::settings).collect())
    }

    /// Compares what is there with what is wanted, while these vnodes are there.
    pub(crate) fn plan(&self, vnodes: &[Vnode]) -> Result<Vec<Step>> {
        let names = Names::of_all(vnodes);
        let steps = self.0.iter().map(|settings| {
            let (_, step) = look(settings, &names)?;
            Ok(step)
        });
        steps.collect()
    }

    /// Makes those that are missing, and says of the others who may use them, as far as those are there.
    pub(crate) fn carry_out(&self, kmb: &Kmb) -> Result<Vec<Result<Step>>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let names = Names::of_all(&Vnode::all(kmb)?);
        let done = self.0.iter().map(|settings| settle(settings, &names));
        Ok(done.collect())
    }
}

/// The region that there is, and what is to be done about it.
fn look(settings: &Settings, names: &Names) -> Result<(Option<Region>, Step)> {
    let name = settings.name.as_str();
    let found = kept::find(name).and_then(|region| {
        let stat = region.as_ref().map(Region::stat).transpose()?;
        Ok((region, stat))
    });
    match found {
        Ok((region, stat)) => Ok((region, Step::compare(settings, stat.as_ref(), names))),
        // Whoever is root here is refused only where the root as a vnode is (BR-30).
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let difference = "another vnode has made it, and not for the root".into();
            let remedy = format!("`vnode bridge show shm.{name}` tells whose it is");
            Ok((None, Step::refuse(difference, remedy, settings)))
        }
        Err(error) => Err(kept::explain(name, &error)),
    }
}

/// Brings one region to what it is to be.
fn settle(settings: &Settings, names: &Names) -> Result<Step> {
    let is_there = |name: &str| names.named(name).is_some();
    let settings = Settings {
        readers: settings.readers.only(is_there),
        writers: settings.writers.only(is_there),
        ..settings.clone()
    };
    let (region, step) = look(&settings, names)?;
    if let Some(conflict) = step.conflict() {
        return Err(Failure::failed(conflict));
    }
    let rights = Rights::new(&settings, names)?;
    match region {
        None => kept::make(&settings, &rights)?,
        Some(region) => kept::settle(&settings.name, &region, &rights)?,
    }
    Ok(step)
}
