// SPDX-License-Identifier: GPL-2.0

//! Cluster files: which vnodes and regions there are to be, as TOML. docs/cluster-toml.md is the reference.
//!
//! This reads a file key by key and remembers where each value stood, so that whatever is wrong
//! with it can be shown there. All mistakes are found in one go. How values fit together is not
//! looked at here but in [`crate::lint`].

mod region;

use std::ops::Range;
use std::path::{Path, PathBuf};

use adeos_proto::cpuset::CpuSet;
use adeos_proto::id::VnodeName;
use toml::de::{DeTable, DeValue};
use toml::Spanned;

use crate::console::allow::Guests;
use crate::failure::Result;
use crate::finding::Finding;
use crate::limits;
use crate::network::wiring::Segments;
use crate::policy::{Policy, Terms};
use crate::settings::{self, Entry, Placement, Settings};
use crate::size;
pub(crate) use region::Region;

/// The word of a vnode's command line by which its first program loads `vnet`, and the module makes no devices by itself.
const NO_DEVICES: &str = "vnet.devices=0";

/// A value and where in the file it stands, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// What a file says of one vnode; what it does not say, or says wrongly, is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Where the vnode's table begins.
    pub(crate) span: Range<usize>,
    pub(crate) name: Option<Value<String>>,
    pub(crate) cpus: Option<Value<CpuSet>>,
    pub(crate) memory: Option<Value<u64>>,
    pub(crate) memory_base: Option<Value<u64>>,
    pub(crate) placement: Option<Value<Placement>>,
    pub(crate) kernel: Option<Value<PathBuf>>,
    pub(crate) initrd: Option<Value<PathBuf>>,
    pub(crate) append: Option<Value<String>>,
    pub(crate) entry: Option<Value<Entry>>,
    pub(crate) restart: Option<Value<Policy>>,
    pub(crate) restart_limit: Option<Value<u32>>,
    pub(crate) console: Option<Value<Guests>>,
    pub(crate) segments: Option<Value<Segments>>,
    /// Only the root has one.
    pub(crate) console_group: Option<Value<String>>,
    /// Keys that stand there, but wrongly: they are not missing as well.
    pub(crate) wrong: Vec<&'static str>,
}

/// What a file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// CPUs that the root keeps, besides CPU 0.
    pub(crate) root_cpus: Option<Value<CpuSet>>,
    /// The group that may use consoles in the root, as root may; a name or a number.
    pub(crate) console_group: Option<Value<String>>,
    /// The vnodes, in the file's order, defaults filled in.
    pub(crate) vnodes: Vec<Wanted>,
    /// The regions, in the file's order.
    pub(crate) regions: Vec<Region>,
}

/// A table of a file, of which each value is checked and taken when it is read.
trait Table: Default {
    /// All keys that one of this kind can have, of which some may not stand in every table.
    const KEYS: &'static [&'static str];

    /// Checks one value and takes it; why it is none.
    fn take(
        &mut self,
        key: &str,
        text: &str,
        span: Range<usize>,
    ) -> std::result::Result<(), String>;

    /// Where it begins.
    fn span(&mut self) -> &mut Range<usize>;

    /// Keys that stand there, but wrongly.
    fn wrong(&mut self) -> &mut Vec<&'static str>;
}

/// Keys of a `[[vnode]]`.
const VNODE_KEYS: [&str; 13] = [
    "name",
    "cpus",
    "memory",
    "memory-base",
    "placement",
    "kernel",
    "initrd",
    "append",
    "entry",
    "restart",
    "restart-limit",
    "console",
    "segments",
];
/// Keys of `[defaults]`: all that several vnodes can have alike.
const DEFAULT_KEYS: [&str; 8] = [
    "memory",
    "placement",
    "kernel",
    "initrd",
    "append",
    "entry",
    "restart",
    "restart-limit",
];
/// Keys of `[root]`.
const ROOT_KEYS: [&str; 2] = ["cpus", "console-group"];
/// Values of `placement`.
const PLACEMENTS: [Placement; 3] = [Placement::Any, Placement::Below4g, Placement::Above4g];
/// Values of `entry`.
const ENTRIES: [Entry; 2] = [Entry::Image, Entry::Sipi];
/// What has keys of its own.
const OWNERS: [(&str, &[&str]); 2] = [("[[vnode]]", &VNODE_KEYS), ("[[region]]", &region::KEYS)];
/// Tables of a file.
const TABLES: [&str; 4] = ["defaults", "root", "vnode", "region"];

impl Cluster {
    /// Reads a file's text; adds what is wrong with it to `findings`.
    pub(crate) fn parse(text: &str, findings: &mut Vec<Finding>) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        findings.extend(errors.iter().map(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            Finding::error("syntax", error.message()).at(span, "")
        }));
        // After a mistake of syntax, what is read may be nonsense that nobody wrote.
        if !errors.is_empty() {
            return Self::default();
        }

        let mut cluster = Self::default();
        let mut defaults = Wanted::default();
        for (key, value) in document.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("defaults", DeValue::Table(table)) => {
                    defaults = read_keys(table, "[defaults]", &DEFAULT_KEYS, findings);
                }
                ("root", DeValue::Table(table)) => {
                    let root: Wanted = read_keys(table, "[root]", &ROOT_KEYS, findings);
                    cluster.root_cpus = root.cpus;
                    cluster.console_group = root.console_group;
                }
                ("vnode", DeValue::Array(array)) => {
                    let vnodes = array
                        .iter()
                        .filter_map(|value| read_element(value, "vnode", &VNODE_KEYS, findings));
                    cluster.vnodes = vnodes.collect();
                }
                ("region", DeValue::Array(array)) => {
                    let regions = array
                        .iter()
                        .filter_map(|value| read_element(value, "region", &region::KEYS, findings));
                    cluster.regions = regions.collect();
                }
                (name, other) => findings.push(no_table(name, key.span(), other)),
            }
        }
        for vnode in &mut cluster.vnodes {
            vnode.fill_in(&defaults);
        }
        cluster
    }
}

/// What is wrong with something at the top of a file that is none of its tables.
fn no_table(name: &str, span: Range<usize>, found: &DeValue<'_>) -> Finding {
    match name {
        "vnode" | "region" => Finding::error("type", format!("{name}s are a list of tables"))
            .at(span, "")
            .help(format!("begin each with `[[{name}]]`, in double brackets")),
        "defaults" | "root" => wrong_type(name, "a table", found, span),
        _ => unknown(name, span, "a cluster file", &TABLES),
    }
}

impl Wanted {
    /// What messages call the vnode.
    pub(crate) fn label(&self) -> String {
        self.name
            .as_ref()
            .map_or("a vnode without a name".into(), |name| {
                format!("`{}`", name.value)
            })
    }

    /// Takes from the defaults what the vnode does not say itself.
    fn fill_in(&mut self, defaults: &Self) {
        self.wrong.extend(&defaults.wrong);
        self.memory = self.memory.take().or_else(|| defaults.memory.clone());
        // An address is a place already.
        if self.memory_base.is_none() {
            self.placement = self.placement.take().or_else(|| defaults.placement.clone());
        }
        self.kernel = self.kernel.take().or_else(|| defaults.kernel.clone());
        self.initrd = self.initrd.take().or_else(|| defaults.initrd.clone());
        self.append = self.append.take().or_else(|| defaults.append.clone());
        self.entry = self.entry.take().or_else(|| defaults.entry.clone());
        // Who says that there are to be no restarts does not want to limit them.
        if self.restart.is_none() || self.terms().policy != Policy::Never {
            let limit = &defaults.restart_limit;
            self.restart_limit = self.restart_limit.take().or_else(|| limit.clone());
        }
        self.restart = self.restart.take().or_else(|| defaults.restart.clone());
    }

    /// On what terms a supervisor restarts it.
    pub(crate) fn terms(&self) -> Terms {
        let policy = self.restart.as_ref().map(|policy| policy.value);
        Terms {
            policy: policy.unwrap_or_default(),
            limit: self.restart_limit.as_ref().map(|limit| limit.value),
        }
    }

    /// The settings to start it with; nothing when a value that it needs is missing, which is
    /// a finding already. Files are looked for from `folder`, the one that the cluster file is in.
    pub(crate) fn settings(&self, folder: &Path) -> Result<Option<Settings>> {
        let (Some(name), Some(cpus), Some(memory)) = (&self.name, &self.cpus, &self.memory) else {
            return Ok(None);
        };
        let file = |path: &Option<Value<PathBuf>>| {
            path.as_ref().map(|path| match path.value.as_path() {
                none if none == Path::new("none") => none.to_path_buf(),
                path => folder.join(path),
            })
        };
        Ok(Some(Settings {
            name: name.value.clone(),
            cpus: cpus.value.to_string(),
            memory: memory.value,
            memory_base: self.memory_base.as_ref().map(|base| base.value),
            placement: self
                .placement
                .as_ref()
                .map(|place| place.value)
                .unwrap_or_default(),
            kernel: settings::kernel(file(&self.kernel).as_deref())?,
            initrd: settings::initrd(file(&self.initrd).as_deref())?,
            append: self.arguments(),
            entry: self
                .entry
                .as_ref()
                .map(|entry| entry.value)
                .unwrap_or_default(),
        }))
    }
}

impl Wanted {
    /// What is added to its kernel's command line: what the file says, and, for a vnode that is on segments, a word by which
    /// it loads `vnet`, unless there is one. Devices are made on its segments and on no others.
    pub(crate) fn arguments(&self) -> String {
        let said = self.append.as_ref().map_or("", |text| &text.value);
        let is_said = said
            .split_ascii_whitespace()
            .any(|word| word.starts_with("vnet."));
        let has_segments = self
            .segments
            .as_ref()
            .is_some_and(|on| !on.value.0.is_empty());
        match (has_segments && !is_said, said.is_empty()) {
            (false, _) => said.to_owned(),
            (true, true) => NO_DEVICES.to_owned(),
            (true, false) => format!("{said} {NO_DEVICES}"),
        }
    }
}

/// Reads a table of a list.
fn read_element<T: Table>(
    value: &Spanned<DeValue<'_>>,
    name: &str,
    allowed: &[&'static str],
    findings: &mut Vec<Finding>,
) -> Option<T> {
    let span = value.span();
    let DeValue::Table(table) = value.get_ref() else {
        findings.push(wrong_type(name, "a list of tables", value.get_ref(), span));
        return None;
    };
    let mut read: T = read_keys(table, &format!("[[{name}]]"), allowed, findings);
    *read.span() = span;
    Some(read)
}

/// Reads the keys of one table, of which some are allowed there.
fn read_keys<T: Table>(
    table: &DeTable<'_>,
    place: &str,
    allowed: &[&'static str],
    findings: &mut Vec<Finding>,
) -> T {
    let mut wanted = T::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let finding = if !allowed.contains(&name) {
            match OWNERS.iter().find(|(_, keys)| keys.contains(&name)) {
                Some((owner, _)) => misplaced(name, key.span(), place, owner),
                None => unknown(name, key.span(), place, allowed),
            }
        } else if let DeValue::String(text) = value.get_ref() {
            match set(&mut wanted, name, text, value.span()) {
                Ok(()) => continue,
                Err(finding) => finding,
            }
        } else {
            wrong_type(name, "text in quotes", value.get_ref(), value.span())
        };
        wanted.wrong().extend(nearest(name, T::KEYS));
        findings.push(finding);
    }
    wanted
}

/// Checks one value and takes it.
fn set<T: Table>(
    table: &mut T,
    key: &str,
    text: &str,
    span: Range<usize>,
) -> std::result::Result<(), Finding> {
    table.take(key, text, span.clone()).map_err(|why| {
        let finding = Finding::error(key_code(key), why).at(span, "");
        suggest(finding, nearest(text, &words(key)))
    })
}

impl Table for Wanted {
    const KEYS: &'static [&'static str] = &VNODE_KEYS;

    fn take(
        &mut self,
        key: &str,
        text: &str,
        span: Range<usize>,
    ) -> std::result::Result<(), String> {
        match key {
            "name" => {
                VnodeName::new(text).map_err(|error| limits::name_error(text, error))?;
                self.name = at(span, text.to_owned());
            }
            "cpus" => {
                let cpus = CpuSet::parse(text).map_err(|error| limits::cpu_error(text, error))?;
                self.cpus = at(span, cpus);
            }
            "memory" => self.memory = at(span, size::parse_memory(text)?),
            "memory-base" => self.memory_base = at(span, size::parse_base(text)?),
            "placement" => self.placement = at(span, choose(text, &PLACEMENTS, Placement::word)?),
            "kernel" => self.kernel = at(span, text.into()),
            "initrd" => self.initrd = at(span, text.into()),
            "append" => self.append = at(span, limits::parse_append(text)?),
            "entry" => self.entry = at(span, choose(text, &ENTRIES, Entry::word)?),
            "restart" => self.restart = at(span, choose(text, &Policy::ALL, Policy::word)?),
            "restart-limit" => self.restart_limit = at(span, limits::parse_restarts(text)?),
            "console" => self.console = at(span, Guests::parse(text)?),
            "segments" => self.segments = at(span, Segments::parse(text)?),
            "console-group" => self.console_group = at(span, limits::parse_group(text)?),
            _ => return Err(format!("`{key}` is no key")),
        }
        Ok(())
    }

    fn span(&mut self) -> &mut Range<usize> {
        &mut self.span
    }

    fn wrong(&mut self) -> &mut Vec<&'static str> {
        &mut self.wrong
    }
}

fn at<T>(span: Range<usize>, value: T) -> Option<Value<T>> {
    Some(Value { value, span })
}

/// The word that marks findings about a key.
fn key_code(key: &str) -> &'static str {
    VNODE_KEYS
        .iter()
        .chain(&ROOT_KEYS)
        .chain(&region::KEYS)
        .find(|known| **known == key)
        .copied()
        .unwrap_or("value")
}

/// The words that a key can have as its value; none for a key of which they cannot be told.
fn words(key: &str) -> Vec<&'static str> {
    match key {
        "placement" => PLACEMENTS.map(Placement::word).into(),
        "entry" => ENTRIES.map(Entry::word).into(),
        "restart" => Policy::ALL.map(Policy::word).into(),
        _ => Vec::new(),
    }
}

/// Picks the value that a word stands for.
fn choose<T: Copy>(
    text: &str,
    values: &[T],
    word: fn(T) -> &'static str,
) -> std::result::Result<T, String> {
    let found = values.iter().find(|value| word(**value) == text);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = values
            .iter()
            .map(|value| format!("`{}`", word(*value)))
            .collect();
        format!("`{text}` is not one of {}", known.join(", "))
    })
}

fn unknown(key: &str, span: Range<usize>, place: &str, known: &[&str]) -> Finding {
    let finding = Finding::error("unknown-key", format!("{place} has no key `{key}`")).at(span, "");
    match nearest(key, known) {
        None => finding.help(format!("there are {}", known.join(", "))),
        near => suggest(finding, near),
    }
}

/// Says what was meant, if that can be guessed.
fn suggest(finding: Finding, near: Option<&str>) -> Finding {
    match near {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    }
}

/// The known word that somebody meant, if a slip of the pen is all that lies between.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), *known));
    let (distance, near) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= near.len().div_ceil(3)).then_some(near)
}

fn misplaced(key: &str, span: Range<usize>, place: &str, owner: &str) -> Finding {
    Finding::error("misplaced-key", format!("`{key}` cannot stand in {place}"))
        .at(span, "")
        .help(format!("each `{owner}` has its own"))
}

fn wrong_type(key: &str, wanted: &str, found: &DeValue<'_>, span: Range<usize>) -> Finding {
    let finding = Finding::error(
        "type",
        format!("`{key}` is {wanted}, not {}", article(found.type_str())),
    );
    match found {
        DeValue::Integer(number) if wanted == "text in quotes" => finding
            .at(span, "")
            .help(format!("write {key} = \"{}\"", number.as_str())),
        _ => finding.at(span, ""),
    }
}

fn article(noun: &str) -> String {
    let is_vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if is_vowel { "an" } else { "a" })
}
