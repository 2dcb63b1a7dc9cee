// SPDX-License-Identifier: GPL-2.0

//! Who may use a console beside its own vnode and the root.

use adeos_proto::id::VnodeName;
use rustix::io::Errno;

use super::node::{Node, Wish};
use crate::device::Kmb;
use crate::failure::{Failure, Kind, Result};
use crate::limits;
use crate::vnode::Vnode;

/// One who may use a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Name of the vnode.
    pub(crate) name: String,
    /// Whether it may type.
    pub(crate) types: bool,
}

/// All who may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guests(pub(crate) Vec<Guest>);

impl Guests {
    /// Reads a list as `two,three:w`; `none` for nobody.
    pub(crate) fn parse(list: &str) -> std::result::Result<Self, String> {
        if list == "none" {
            return Ok(Self::default());
        }
        let guests = list.split(',').map(|word| {
            let word = word.trim();
            let (name, types) = match word.split_once(':') {
                None => (word, false),
                Some((name, "w")) => (name, true),
                Some((_, other)) => {
                    return Err(format!("`:{other}` says nothing; `:w` lets a vnode type"));
                }
            };
            VnodeName::new(name).map_err(|error| limits::name_error(name, error))?;
            Ok(Guest {
                name: name.to_owned(),
                types,
            })
        });
        Ok(Self(guests.collect::<std::result::Result<_, _>>()?))
    }

    /// Who may read, and who may type, as bits by the numbers that the vnodes have. Those that have none
    /// are left out.
    pub(super) fn bits(
        &self,
        mut number: impl FnMut(&str) -> Result<Option<u32>>,
    ) -> Result<(u32, u32)> {
        let (mut readers, mut writers) = (0, 0);
        for guest in &self.0 {
            let bit = number(&guest.name)?.and_then(|number| 1u32.checked_shl(number));
            let bit = bit.unwrap_or(0);
            readers |= bit;
            writers |= if guest.types { bit } else { 0 };
        }
        Ok((readers, writers))
    }
}

/// Says who may use the console of a vnode, and nobody else may.
pub(crate) fn run(name: &str, guests: &Guests) -> Result<()> {
    // Who names no vnode needs no numbers.
    let bits = guests.bits(|guest| Ok(Some(Vnode::find(&Kmb::open()?, guest)?.number())))?;
    say(name, &Node::open(name, Wish::Look)?, bits)
}

/// Says who may read and who may type, as bits.
pub(super) fn say(name: &str, node: &Node, (readers, writers): (u32, u32)) -> Result<()> {
    node.allow(readers, writers)
        .map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::PERM) => Failure::new(
                Kind::NotSupported,
                "only an administrator of the root says who may",
            ),
            _ => Failure::failed(format!("{name}: {error}")),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_vnodes_and_what_they_may() {
        let guest = |name: &str, types| Guest {
            name: name.into(),
            types,
        };
        assert_eq!(
            Guests::parse("two, three:w").unwrap().0,
            vec![guest("two", false), guest("three", true)]
        );
        assert_eq!(Guests::parse("none").unwrap().0, vec![]);
        assert_eq!(
            Guests::parse("none").unwrap().bits(|_| panic!()).unwrap(),
            (0, 0)
        );
        for wrong in ["two:x", "", "two,,three", "Two!", ":w"] {
            assert!(Guests::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bits_are_those_of_who_is_there() {
        let guests = Guests::parse("two,three:w,gone:w").unwrap();
        let number = |name: &str| {
            Ok(match name {
                "two" => Some(2),
                "three" => Some(3),
                _ => None,
            })
        };
        assert_eq!(guests.bits(number).unwrap(), (0b1100, 0b1000));
    }
}
