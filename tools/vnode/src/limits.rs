// SPDX-License-Identifier: GPL-2.0

//! What a vnode may be called and given: the checks that the command line and cluster files share.

use adeos_proto::abi::MAX_CMDLINE;
use adeos_proto::boot::cmdline;
use adeos_proto::cpuset::{self, ParseError};
use adeos_proto::id::{NameError, VnodeName, NAME_SIZE};
use adeos_proto::vnet::PREFIX;

/// What is wrong with a name.
pub(crate) fn name_error(name: &str, error: NameError) -> String {
    match error {
        NameError::Empty => "a vnode needs a name".into(),
        NameError::TooLong => format!(
            "`{name}` has {} characters, {} are the most",
            name.len(),
            NAME_SIZE.saturating_sub(1)
        ),
        NameError::BadCharacter => format!(
            "`{name}` is not a name: take letters, digits, `-`, `_` and `.`, a letter or digit first"
        ),
        NameError::Reserved => format!("`{}` is what vnode 0 is called", VnodeName::ROOT),
    }
}

/// What is wrong with a list of CPUs.
pub(crate) fn cpu_error(list: &str, error: ParseError) -> String {
    match error {
        ParseError::Empty => format!("`{list}` lacks a number: write for example 2-4,7"),
        ParseError::NotANumber => {
            format!("`{list}` is not a list of CPUs: write for example 2-4,7")
        }
        ParseError::Backwards => format!("`{list}` has a range that runs backwards"),
        ParseError::TooLarge => {
            format!(
                "`{list}` names a CPU beyond {}",
                cpuset::MAX.saturating_sub(1)
            )
        }
        ParseError::Twice(cpu) => format!("`{list}` names CPU {cpu} twice"),
    }
}

/// Checks text for a kernel's command line.
pub(crate) fn parse_append(text: &str) -> Result<String, String> {
    if let Some(odd) = text.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(format!(
            "{odd:?} has no place on a kernel command line: take printable ASCII"
        ));
    }
    if let Some(word) = cmdline::reserved(text) {
        return Err(format!(
            "{word} is not yours to say: with it a kernel could reach what is not its own"
        ));
    }
    // The closing zero is counted.
    if text.len() >= MAX_CMDLINE {
        return Err(format!(
            "{} characters are too many: {} are the most",
            text.len(),
            MAX_CMDLINE.saturating_sub(1)
        ));
    }
    Ok(text.to_owned())
}

/// Checks a limit of restarts.
pub(crate) fn parse_restarts(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("a limit of 0 restarts is written restart = \"never\"".into()),
        Ok(restarts) => Ok(restarts),
        Err(_) => Err(format!(
            "`{text}` is not a number of restarts: write for example 5"
        )),
    }
}

/// Checks a name or number of a group. Whether there is one is for the machine to say.
pub(crate) fn parse_group(text: &str) -> Result<String, String> {
    let is_odd = |c: char| c == ':' || !c.is_ascii_graphic();
    if text.is_empty() || text.contains(is_odd) {
        return Err(format!(
            "`{text}` is no group: write its name, as /etc/group has it, or its number"
        ));
    }
    Ok(text.to_owned())
}

/// Bytes that Linux lets a network device's name have.
const MAX_DEVICE: usize = 15;

/// Checks the name of a network device.
pub(crate) fn parse_device(text: &str) -> Result<String, String> {
    let is_odd = |c: char| !c.is_ascii_graphic() || matches!(c, '/' | ':' | '%');
    if text.is_empty() || text.len() > MAX_DEVICE || text == "." || text == ".." {
        return Err(format!("a device has a name of 1 to {MAX_DEVICE} letters"));
    }
    if text.contains(is_odd) {
        return Err(format!(
            "`{text}` is no name of a device: it has no blanks, and none of / : %"
        ));
    }
    Ok(text.to_owned())
}

/// Checks the name of a segment: one that a bridge can have, with what stands before it.
pub(crate) fn parse_segment(text: &str) -> Result<String, String> {
    let most = NAME_SIZE.saturating_sub(1).saturating_sub(PREFIX.len());
    if text.len() > most {
        return Err(format!("a segment has a name of at most {most} letters"));
    }
    // `root` is no name of a bridge, but one behind a prefix is another one.
    let is_first = |c: char| c.is_ascii_alphanumeric();
    let is_other = |c: char| is_first(c) || matches!(c, '-' | '_' | '.');
    if !text.starts_with(is_first) || !text.chars().all(is_other) {
        return Err(format!(
            "`{text}` is no name of a segment: use a-z A-Z 0-9 - _ . and begin with a letter or digit"
        ));
    }
    Ok(text.to_owned())
}

/// Checks the address of a station: six bytes, and not a group's.
pub(crate) fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let bytes = text
        .split(':')
        .map(|byte| {
            let is_whole = byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(byte, 16).ok().filter(|_| is_whole)
        })
        .collect::<Option<Vec<_>>>()
        .unwrap_or_default();
    let mac = <[u8; 6]>::try_from(bytes).ok();
    let mac = mac
        .ok_or_else(|| format!("`{text}` is no address: write six bytes like 02:00:00:00:00:01"))?;
    if mac.first().is_some_and(|byte| byte & 1 != 0) || mac == [0; 6] {
        return Err(format!("`{text}` cannot be the address of one device"));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_word() {
        assert_eq!(parse_group("dialout").unwrap(), "dialout");
        for wrong in ["", "a:b", "a b", "caf\u{e9}"] {
            assert!(parse_group(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_and_segments_have_names() {
        for right in ["vnet0", "a-b.c", "0123456789abcde"] {
            assert!(parse_device(right).is_ok(), "{right}");
        }
        for wrong in ["", "0123456789abcdef", "a b", "a/b", "..", "v%d"] {
            assert!(parse_device(wrong).is_err(), "{wrong}");
        }
        for right in ["0", "storage", "a_b-c.d", &"x".repeat(26)] {
            assert!(parse_segment(right).is_ok(), "{right}");
        }
        for wrong in ["", "-a", "a b", "caf\u{e9}", &"x".repeat(27)] {
            assert!(parse_segment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_those_of_one_device() {
        assert_eq!(parse_mac("02:ad:00:0A:ff:01"), Ok([2, 0xad, 0, 10, 255, 1]));
        for wrong in [
            "",
            "02:ad:00:0a:ff",
            "02:ad:00:0a:ff:01:02",
            "2:ad:00:0a:ff:1",
            "02-ad-00-0a-ff-01",
            "03:00:00:00:00:01",
            "00:00:00:00:00:00",
            "+2:00:00:00:00:01",
        ] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_line_is_printable_and_bounded() {
        assert!(parse_append("quiet init=/bin/sh").is_ok());
        assert!(parse_append("a\nb").is_err());
        assert!(parse_append("quiet no-ipi-broadcast=0").is_err());
        assert!(parse_append("caf\u{e9}").is_err());
        assert!(parse_append(&"x".repeat(MAX_CMDLINE - 1)).is_ok());
        assert!(parse_append(&"x".repeat(MAX_CMDLINE)).is_err());
    }
}
