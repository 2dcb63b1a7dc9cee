// SPDX-License-Identifier: GPL-2.0

//! What a file says of regions: `[[region]]`.

use std::ops::Range;

use super::{at, Table, Value};
use crate::bridge::region::{self, Listed, Settings};

/// Keys of a `[[region]]`.
pub(super) const KEYS: [&str; 8] = [
    "name", "size", "mode", "user", "group", "vnodes", "readers", "writers",
];

/// What a file says of one region; what it does not say, or says wrongly, is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Region {
    /// Where the region's table begins.
    pub(crate) span: Range<usize>,
    pub(crate) name: Option<Value<String>>,
    pub(crate) size: Option<Value<u64>>,
    pub(crate) mode: Option<Value<u32>>,
    pub(crate) user: Option<Value<u32>>,
    pub(crate) group: Option<Value<u32>>,
    pub(crate) vnodes: Option<Value<Listed>>,
    pub(crate) readers: Option<Value<Listed>>,
    pub(crate) writers: Option<Value<Listed>>,
    /// Keys that stand there, but wrongly: they are not missing as well.
    pub(crate) wrong: Vec<&'static str>,
}

impl Region {
    /// What messages call the region.
    pub(crate) fn label(&self) -> String {
        self.name
            .as_ref()
            .map_or("a region without a name".into(), |name| {
                format!("the region `{}`", name.value)
            })
    }

    /// What it is to be; nothing when a value that it needs is missing, which is a finding already.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let list = |list: &Option<Value<Listed>>| list.as_ref().map(|list| list.value.clone());
        let number = |number: &Option<Value<u32>>| number.as_ref().map(|number| number.value);
        let (readers, writers) =
            Listed::who(list(&self.vnodes), list(&self.readers), list(&self.writers));
        Some(Settings {
            name: self.name.as_ref()?.value.clone(),
            size_bytes: self.size.as_ref()?.value,
            mode: number(&self.mode).unwrap_or(region::DEFAULT_MODE),
            user: number(&self.user).unwrap_or(0),
            group: number(&self.group).unwrap_or(0),
            readers,
            writers,
        })
    }
}

impl Table for Region {
    const KEYS: &'static [&'static str] = &KEYS;

    fn take(&mut self, key: &str, text: &str, span: Range<usize>) -> Result<(), String> {
        match key {
            "name" => self.name = at(span, region::parse_name(text)?),
            "size" => self.size = at(span, region::parse_size(text)?),
            "mode" => self.mode = at(span, region::parse_mode(text)?),
            "user" => self.user = at(span, region::parse_owner(text)?),
            "group" => self.group = at(span, region::parse_owner(text)?),
            "vnodes" => self.vnodes = at(span, Listed::parse(text)?),
            "readers" => self.readers = at(span, Listed::parse(text)?),
            "writers" => self.writers = at(span, Listed::parse(text)?),
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
