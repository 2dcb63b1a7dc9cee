// SPDX-License-Identifier: GPL-2.0

//! What a vnode may be called and given: the checks that the command line and cluster files share.

use adeos_proto::abi::MAX_CMDLINE;
use adeos_proto::boot::cmdline;
use adeos_proto::cpuset::{self, ParseError};
use adeos_proto::id::{NameError, VnodeName, NAME_SIZE};

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
    fn a_command_line_is_printable_and_bounded() {
        assert!(parse_append("quiet init=/bin/sh").is_ok());
        assert!(parse_append("a\nb").is_err());
        assert!(parse_append("quiet no-ipi-broadcast=0").is_err());
        assert!(parse_append("caf\u{e9}").is_err());
        assert!(parse_append(&"x".repeat(MAX_CMDLINE - 1)).is_ok());
        assert!(parse_append(&"x".repeat(MAX_CMDLINE)).is_err());
    }
}
