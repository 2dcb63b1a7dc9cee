// SPDX-License-Identifier: GPL-2.0

//! Who may use consoles, as a cluster file has it: `console` of each vnode, and `console-group`.
//!
//! Rights are by number, and a console comes anew with each number: so it is all said again whenever
//! a vnode has come.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::allow::{self, Guests};
use super::node::{self, Node, Wish};
use crate::cluster::Cluster;
use crate::device::Kmb;
use crate::failure::{Context, Failure, Kind, Result};
use crate::say;
use crate::vnode::Vnode;

/// How long the console of a vnode that runs may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often one looks for it.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// The groups of this machine.
const GROUPS: &str = "/etc/group";
/// The parameter of `vcons` that says whose devices are.
const PARAMETER: &str = "/sys/module/vcons/parameters/group";

/// What a file says of consoles.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    group: Option<u32>,
    guests: Vec<(String, Guests)>,
}

impl Sharing {
    /// What a file without mistakes says.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let group = cluster.console_group.as_ref();
        let group = group.map(|group| find_group(&group.value)).transpose()?;
        let guests = cluster.vnodes.iter().filter_map(|vnode| {
            let (name, guests) = (vnode.name.as_ref()?, vnode.console.as_ref()?);
            Some((name.value.clone(), guests.value.clone()))
        });
        Ok(Self {
            group,
            guests: guests.collect(),
        })
    }

    /// Says whose the devices are, and waits until those that there are have become so: meanwhile they
    /// may be away for a moment.
    pub(crate) fn set_group(&self) -> Result<()> {
        let Some(group) = self.group else {
            return Ok(());
        };
        let before = match fs::read_to_string(PARAMETER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                say::warning("consoles have no group: vcons.ko is not loaded");
                return Ok(());
            }
            before => before.context(|| PARAMETER.into())?,
        };
        if before.trim() == group.to_string() {
            return Ok(());
        }
        fs::write(PARAMETER, group.to_string()).context(|| PARAMETER.into())?;
        let end = Instant::now() + PATIENCE;
        while !node::are_of(group) {
            if Instant::now() >= end {
                say::warning("the devices of consoles have not become the group's: does udev say whose they are?");
                break;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Says who may use which console, as far as that can be said now; which have not come yet, of vnodes
    /// that run.
    pub(crate) fn carry_out(&self, kmb: &Kmb) -> Result<Vec<&str>> {
        let all = Vnode::all(kmb)?;
        let number = |name: &str| {
            let mut running = all.iter().filter(|vnode| !vnode.is_over());
            let vnode = running.find(|vnode| vnode.name() == name);
            vnode.map(Vnode::number)
        };
        let mut missing = Vec::new();
        for (name, guests) in &self.guests {
            let Some(own) = number(name) else { continue };
            match self.open(name, own)? {
                Some(node) => allow::say(name, &node, guests.bits(|guest| Ok(number(guest)))?)?,
                None => missing.push(name.as_str()),
            }
        }
        Ok(missing)
    }

    /// Whether those that are missing may come yet, some time after they were to.
    pub(crate) fn is_worth_waiting(waited: Duration) -> bool {
        // Where there are none at all the module is not loaded.
        waited < PATIENCE && !node::names().is_empty()
    }

    /// Warns of consoles that have not come.
    pub(crate) fn warn_of(missing: &[&str]) {
        for name in missing {
            say::warning(&format!(
                "{name} has no console that others could use: vcons.ko is not loaded there, or not in the root"
            ));
        }
    }

    /// Opens the console that a vnode has now, if it has come.
    fn open(&self, name: &str, vnode: u32) -> Result<Option<Node>> {
        match Node::open(name, Wish::Look) {
            // One of an earlier number may be there still.
            Ok(node) => Ok((node.status()?.vnode == vnode).then_some(node)),
            Err(failure) if matches!(failure.kind, Kind::NoVnode | Kind::NotSupported) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// The number of a group of this machine.
fn find_group(name: &str) -> Result<u32> {
    // With a number one need not look.
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string(GROUPS).context(|| GROUPS.into())?;
    number_of(name, &groups).ok_or_else(|| {
        Failure::failed(format!("there is no group `{name}`"))
            .help("`console-group` is a name of /etc/group, or a number")
    })
}

/// The number of a group in the text of such a file.
fn number_of(name: &str, groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_their_names() {
        let groups = "root:x:0:\nbad:x\ndialout:x:20:eve,adam\ndial:x:21:\n";
        assert_eq!(number_of("dialout", groups), Some(20));
        assert_eq!(number_of("dial", groups), Some(21));
        assert_eq!(number_of("root", groups), Some(0));
        for absent in ["bad", "x", "eve", ""] {
            assert_eq!(number_of(absent, groups), None, "{absent}");
        }
        assert_eq!(find_group("4000").unwrap(), 4000);
    }
}
