// SPDX-License-Identifier: GPL-2.0

//! What a region is to be: the words and checks that `vnode bridge create` and cluster files share.

use std::collections::BTreeSet;
use std::fmt;

use adeos_proto::id::{NameError, VnodeName, MAX_VNODES};
use adeos_proto::shm::label::MODE_BITS;
use adeos_proto::shm::{region_name, MAX_NAME};
use bridge::Vnodes;
use serde::{Serialize, Serializer};

use crate::limits;
use crate::size;

/// What only its user may do, if nobody says otherwise.
pub(crate) const DEFAULT_MODE: u32 = 0o600;

/// What a region is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Settings {
    /// What programs call it.
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    #[serde(serialize_with = "octal")]
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Other vnodes whose programs may use it; the writers are among them.
    pub(crate) readers: Listed,
    /// Other vnodes whose programs may write.
    pub(crate) writers: Listed,
}

/// Who may, in words: `mode 0660, user 0, group 100, vnodes db,web`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mode,
            user,
            group,
            readers,
            writers,
            ..
        } = self;
        write!(f, "mode {mode:04o}, user {user}, group {group}, ")?;
        if readers == writers {
            write!(f, "vnodes {readers}")
        } else {
            write!(f, "readers {readers}, writers {writers}")
        }
    }
}

fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{mode:04o}"))
}

/// Vnodes as a list names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Whoever is there or comes.
    All,
    /// These, and perhaps none.
    These(BTreeSet<String>),
}

impl Listed {
    /// No vnode.
    const NONE: Self = Self::These(BTreeSet::new());

    /// Reads a list as `db,web`, `all` or `none`.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        match list {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        let mut names = BTreeSet::new();
        for name in list.split(',').map(str::trim) {
            check_vnode(name)?;
            if !names.insert(name.to_owned()) {
                return Err(format!("`{name}` is named twice"));
            }
        }
        Ok(Self::These(names))
    }

    /// Who may read and who may write, as `vnodes`, or `readers` and `writers` say: who writes reads as well.
    pub(crate) fn who(
        vnodes: Option<Self>,
        readers: Option<Self>,
        writers: Option<Self>,
    ) -> (Self, Self) {
        if readers.is_none() && writers.is_none() {
            let vnodes = vnodes.unwrap_or(Self::All);
            return (vnodes.clone(), vnodes);
        }
        let writers = writers.unwrap_or(Self::NONE);
        (readers.unwrap_or(Self::NONE).and(&writers), writers)
    }

    /// Those in either list.
    fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::These(mut names), Self::These(others)) => {
                names.extend(others.iter().cloned());
                Self::These(names)
            }
            _ => Self::All,
        }
    }

    /// The names that stand there.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::All => None,
            Self::These(names) => Some(names),
        };
        names.into_iter().flatten().map(String::as_str)
    }

    /// The list without those for which `is_there` does not hold.
    pub(super) fn only(&self, is_there: impl Fn(&str) -> bool) -> Self {
        match self {
            Self::All => Self::All,
            Self::These(_) => {
                let names = self.names().filter(|name| is_there(name));
                Self::These(names.map(str::to_owned).collect())
            }
        }
    }

    /// The set that the kernel knows them by; fails with the first name that has no number.
    pub(super) fn numbers(&self, number: impl Fn(&str) -> Option<u32>) -> Result<Vnodes, &str> {
        if *self == Self::All {
            return Ok(Vnodes::ALL);
        }
        self.names().try_fold(Vnodes::NONE, |set, name| {
            let bit = number(name).and_then(|number| 1u16.checked_shl(number));
            Ok(Vnodes(set.0 | bit.ok_or(name)?))
        })
    }

    /// The list of a set, by what the vnodes are called.
    pub(super) fn of(vnodes: Vnodes, name: impl Fn(u32) -> String) -> Self {
        if vnodes == Vnodes::ALL {
            return Self::All;
        }
        let numbers = (0..u16::BITS).filter(|number| vnodes.0 & 1u16.wrapping_shl(*number) != 0);
        Self::These(numbers.map(name).collect())
    }
}

const _: () = assert!(MAX_VNODES == u16::BITS as usize);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::These(names) if names.is_empty() => f.write_str("none"),
            Self::These(_) => f.write_str(&self.names().collect::<Vec<_>>().join(",")),
        }
    }
}

impl Serialize for Listed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Checks what a list calls a vnode: a name, also the root's, or a number (`2` or `#2`).
fn check_vnode(name: &str) -> Result<(), String> {
    let digits = name.strip_prefix('#').unwrap_or("");
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    match VnodeName::new(name) {
        Ok(_) | Err(NameError::Reserved) => Ok(()),
        Err(_) if is_number => Ok(()),
        Err(error) => Err(limits::name_error(name, error)),
    }
}

/// Checks what programs are to call a region.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    region_name(text).map_err(|_| {
        format!(
            "no region can be called `{text}`: take 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`"
        )
    })?;
    Ok(text.to_owned())
}

/// Checks the size of a region.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    match size::parse(text)? {
        0 => Err("a region without memory is none".into()),
        bytes => size::whole(bytes),
    }
}

/// Checks a mode: octal, and bits that regions have.
pub(crate) fn parse_mode(text: &str) -> Result<u32, String> {
    let mode =
        u32::from_str_radix(text, 8).map_err(|_| format!("`{text}` is not an octal number"))?;
    if mode & !u32::from(MODE_BITS) != 0 {
        return Err(format!(
            "`{text}` has bits that no region has: it is read and written, by user, group and others"
        ));
    }
    Ok(mode)
}

/// Checks the number of a user or group. Names do not do: a number is the same one in all vnodes.
pub(crate) fn parse_owner(text: &str) -> Result<u32, String> {
    match text.parse() {
        // Linux takes this one for none.
        Ok(u32::MAX) | Err(_) => Err(format!(
            "`{text}` is not the number of a user or group: names can mean another one in each vnode"
        )),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> Listed {
        Listed::parse(text).unwrap()
    }

    #[test]
    fn names_are_those_that_programs_can_say() {
        for right in ["queue", ".", "-a_b.c", "root", &"x".repeat(27)] {
            assert!(parse_name(right).is_ok(), "{right}");
        }
        for wrong in ["", "a+b", "a b", "a/b", "caf\u{e9}", &"x".repeat(28)] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_are_octal_and_have_no_other_bits() {
        assert_eq!(parse_mode("640"), Ok(0o640));
        assert_eq!(parse_mode("0666"), Ok(0o666));
        assert_eq!(parse_mode("0"), Ok(0));
        for wrong in ["700", "1000", "661", "010000000660"] {
            assert!(parse_mode(wrong).unwrap_err().contains("no region has"));
        }
        for wrong in ["8", "", "rw", "0o660"] {
            assert!(parse_mode(wrong).unwrap_err().contains("octal"), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_whole_granules() {
        assert_eq!(parse_size("4M"), Ok(4 << 20));
        assert!(parse_size("1M").unwrap_err().contains("multiple of 2M"));
        assert!(parse_size("5M").unwrap_err().contains("6M"));
        assert!(parse_size("0").is_err());
        assert!(parse_size("18446744073709551615").is_err());
    }

    #[test]
    fn owners_are_numbers() {
        assert_eq!(parse_owner("0"), Ok(0));
        assert_eq!(parse_owner("4294967294"), Ok(u32::MAX - 1));
        for wrong in ["4294967295", "4294967296", "-1", "", "postgres"] {
            assert!(parse_owner(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_name_vnodes_once_each() {
        assert_eq!(list("all"), Listed::All);
        assert_eq!(list("none"), Listed::NONE);
        assert_eq!(list("web, db").to_string(), "db,web");
        assert_eq!(list("root,#5,7").to_string(), "#5,7,root");
        for wrong in ["", "a,,b", "a,a", "-a", "a b", "#", "#x", "##1"] {
            assert!(Listed::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_a_set_of_numbers() {
        let number = |name: &str| match name {
            "root" => Some(0),
            "db" => Some(3),
            "sixteenth" => Some(16),
            _ => None,
        };
        assert_eq!(list("all").numbers(number), Ok(Vnodes::ALL));
        assert_eq!(list("none").numbers(number), Ok(Vnodes::NONE));
        assert_eq!(list("db,root").numbers(number), Ok(Vnodes(0b1001)));
        for unknown in ["web", "sixteenth"] {
            assert_eq!(list(&format!("db,{unknown}")).numbers(number), Err(unknown));
        }
        let there = list("db,web").only(|name| number(name).is_some());
        assert_eq!(there, list("db"));
        assert_eq!(Listed::All.only(|_| false), Listed::All);
    }

    #[test]
    fn who_writes_reads_as_well_and_what_is_not_said_is_nobody() {
        let who = |vnodes: Option<&str>, readers: Option<&str>, writers: Option<&str>| {
            let (readers, writers) =
                Listed::who(vnodes.map(list), readers.map(list), writers.map(list));
            format!("{readers} {writers}")
        };
        assert_eq!(who(None, None, None), "all all");
        assert_eq!(who(Some("a,b"), None, None), "a,b a,b");
        assert_eq!(who(None, Some("a"), None), "a none");
        assert_eq!(who(None, None, Some("b")), "b b");
        assert_eq!(who(None, Some("a"), Some("b,a")), "a,b a,b");
        assert_eq!(who(None, Some("all"), Some("b")), "all b");
        assert_eq!(who(None, Some("a"), Some("all")), "all all");
    }

    proptest! {
        #[test]
        fn a_set_comes_back_from_its_list(bits: u16) {
            let listed = Listed::of(Vnodes(bits), |number| format!("v{number}"));
            prop_assert_eq!(&list(&listed.to_string()), &listed);
            let number = |name: &str| name.strip_prefix('v')?.parse().ok();
            prop_assert_eq!(listed.numbers(number), Ok(Vnodes(bits)));
        }

        #[test]
        fn no_text_is_read_as_more_than_it_names(text in "[a-c#0-9,]{0,12}|all|none|.{0,12}") {
            if let Ok(listed) = Listed::parse(&text) {
                let words: Vec<_> = text.split(',').map(str::trim).collect();
                prop_assert!(listed.names().all(|name| words.contains(&name)));
                prop_assert!(listed != Listed::All || text == "all");
            }
        }
    }
}
