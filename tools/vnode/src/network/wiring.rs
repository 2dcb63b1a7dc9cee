// SPDX-License-Identifier: GPL-2.0

//! Which vnodes are on which segments, as a cluster file has it: `segments` of each vnode (docs/vnet.md, section 5.1).
//!
//! Who may be there the root's `vnet.ko` is told, by life: so it is said anew when a vnode has come. The devices are made in
//! the vnodes, once they take commands.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::device::Kmb;
use crate::failure::{Context, Failure, Kind, Result};
use crate::limits;
use crate::say;
use crate::vnode::Vnode;

/// The parameter of `vnet` that says who may be on which segment.
const PARAMETER: &str = "/sys/module/vnet/parameters/segments";

/// How long a vnode may take to make a device.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Bytes that are read of what it says.
const LONGEST: u64 = 4096;

/// The segments of one vnode, as a file names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments(pub(crate) Vec<String>);

impl Segments {
    /// Reads a list as `storage,web`. A device is called as its segment, so both can have the name.
    pub(crate) fn parse(list: &str) -> std::result::Result<Self, String> {
        let mut names: Vec<String> = Vec::new();
        for word in list.split(',') {
            let name = limits::parse_segment(word.trim())?;
            limits::parse_device(&name)?;
            if names.contains(&name) {
                return Err(format!("the segment `{name}` is named twice"));
            }
            names.push(name);
        }
        Ok(Self(names))
    }
}

/// What a file says of segments.
#[derive(Debug, Default)]
pub(crate) struct Wiring(Vec<(String, Segments)>);

impl Wiring {
    /// What a file without mistakes says.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let vnodes = cluster.vnodes.iter().filter_map(|vnode| {
            let (name, segments) = (vnode.name.as_ref()?, vnode.segments.as_ref()?);
            Some((name.value.clone(), segments.value.clone()))
        });
        Self(vnodes.collect())
    }

    /// Says who may be on the segments of the file, which are nobody else's from here on. A file that names none says nothing.
    pub(crate) fn allow(&self, kmb: &Kmb) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let line = self.line(&Vnode::all(kmb)?);
        let said = match fs::read_to_string(PARAMETER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::new(
                    Kind::NotSupported,
                    "nothing says who may be on a segment: vnet.ko is not loaded",
                )
                .help("load it in the root: insmod vnet.ko, with devices=0 if the root is to be on none"));
            }
            said => said.context(|| PARAMETER.into())?,
        };
        if said.trim() == line {
            return Ok(());
        }
        fs::write(PARAMETER, &line).context(|| format!("who may be on segments ({line})"))
    }

    /// A word for each segment, with the lives of those vnodes that run.
    fn line(&self, all: &[Vnode]) -> String {
        let life = |name: &str| {
            let mut running = all.iter().filter(|vnode| !vnode.is_over());
            let vnode = running.find(|vnode| vnode.name() == name)?;
            Some((vnode.number(), vnode.generation()))
        };
        line(&self.0, life)
    }

    /// Makes the devices of those vnodes that take commands, if they are not there. What cannot be made is warned of: its vnode
    /// runs all the same.
    pub(crate) fn plug(&self, kmb: &Kmb) -> Result<()> {
        for vnode in Vnode::all(kmb)?.iter().filter(|vnode| vnode.is_ready()) {
            let own = self.0.iter().find(|(name, _)| name == vnode.name());
            for segment in own.into_iter().flat_map(|(_, segments)| &segments.0) {
                let Err(unplugged) = plug(vnode.name(), segment) else {
                    continue;
                };
                say::warning(&format!(
                    "{} has no device on the segment `{segment}`: {unplugged}",
                    vnode.name()
                ));
                if matches!(unplugged, Unplugged::Silent) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A word for each segment: `storage=1.4,2.7`.
fn line(vnodes: &[(String, Segments)], life: impl Fn(&str) -> Option<(u32, u32)>) -> String {
    let mut lives: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, segments) in vnodes {
        for segment in &segments.0 {
            let list = lives.entry(segment).or_default();
            list.extend(life(name).map(|(number, life)| format!("{number}.{life}")));
        }
    }
    let words: Vec<_> = lives
        .iter()
        .map(|(segment, lives)| format!("{segment}={}", lives.join(",")))
        .collect();
    words.join(" ")
}

/// Why a vnode has not made a device.
enum Unplugged {
    /// It has said so.
    Refused(String),
    /// It does not answer.
    Silent,
}

impl fmt::Display for Unplugged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::Silent => write!(f, "it has not answered within {} s", PATIENCE.as_secs()),
        }
    }
}

impl From<io::Error> for Unplugged {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Has a vnode make a device; why it has not. A vnode may take the command and never end it, or say more than anybody wants
/// to read.
fn plug(vnode: &str, segment: &str) -> std::result::Result<(), Unplugged> {
    let own = env::current_exe()?;
    let mut child = Command::new(own)
        .args(["exec", "--no-stdin", vnode])
        .args(["vnode", "network", "add", "--if-missing", segment])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    match await_end(&mut child)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let said = first_line(child.stderr);
            Err(Unplugged::Refused(
                said.unwrap_or_else(|| status.to_string()),
            ))
        }
        None => Err(Unplugged::Silent),
    }
}

/// How a command has ended; one that does not in time is killed.
fn await_end(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// The first line that a command has said, if it is not longer than one of ours; fit for a terminal.
fn first_line(said: Option<ChildStderr>) -> Option<String> {
    let mut bytes = Vec::new();
    said?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    let said = String::from_utf8_lossy(&bytes);
    let line = said.lines().find(|line| !line.is_empty())?;
    Some(line.chars().filter(|char| !char.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use adeos_proto::vnet::members::parse;

    #[test]
    fn lists_name_segments() {
        let names = |list: &str| Segments::parse(list).unwrap().0;
        assert_eq!(names("storage, web"), ["storage", "web"]);
        assert_eq!(names("0"), ["0"]);
        for wrong in ["", "a,,b", "a,a", "-a", "a b", "0123456789abcdef"] {
            assert!(Segments::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_segment_is_said_with_those_who_run() {
        let of = |name: &str, list: &str| (name.to_owned(), Segments::parse(list).unwrap());
        let vnodes = [
            of("db", "storage"),
            of("web", "web,storage"),
            of("gone", "web,more"),
        ];
        let life = |name: &str| match name {
            "db" => Some((1, 4)),
            "web" => Some((2, 7)),
            _ => None,
        };
        let line = line(&vnodes, life);
        assert_eq!(line, "more= storage=1.4,2.7 web=2.7");
        // As the module reads it.
        assert_eq!(parse(&line).filter_map(|word| word.ok()).count(), 3);
    }
}
