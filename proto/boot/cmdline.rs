// SPDX-License-Identifier: GPL-2.0

//! A kernel command line, put together in storage of a fixed size.

/// Why words are refused. The line is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmdlineError {
    /// A byte that is not printable ASCII.
    NotPrintable,
    /// The line would not fit, its closing zero included.
    TooLong,
}

/// A command line of at most `N - 1` bytes and a closing zero.
///
/// # Invariants
///
/// The first `len` bytes are printable ASCII, and those after them are zero; `len < N`, or both
/// are zero.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

/// Parameters that are not for the user to say, because with them a kernel reaches what is not its
/// own: all CPUs of the machine at once, others' memory, or the firmware's tables and the devices of a
/// PC.
pub const RESERVED: [&str; 11] = [
    "no_ipi_broadcast",
    "acpi=",
    "acpi_rsdp=",
    "pci=",
    "8250.",
    "earlyprintk",
    "earlycon",
    "console=uart",
    "memmap=",
    "pmtmr=",
    "apic_extnmi",
];

/// The reserved parameter that a line names, if it does.
pub fn reserved(line: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|name| mentions(line, name))
}

/// Whether a parameter's name stands anywhere in a line. The kernel takes `-` for `_` in names and
/// drops quotes around words (kernel/params.c), so no sharper look is safe.
fn mentions(line: &str, name: &str) -> bool {
    let same =
        |(a, b): (&u8, &u8)| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'));
    let (line, name) = (line.as_bytes(), name.as_bytes());
    name.is_empty()
        || line
            .windows(name.len())
            .any(|at| at.iter().zip(name).all(same))
}

impl<const N: usize> CommandLine<N> {
    /// An empty line.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Adds one or more words, with one space between them and what is there already. Spaces
    /// around the words are dropped, and nothing is added for no word.
    pub fn push(&mut self, words: &str) -> Result<(), CmdlineError> {
        let words = words.trim_matches(' ').as_bytes();
        if words.is_empty() {
            return Ok(());
        }
        if !words.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return Err(CmdlineError::NotPrintable);
        }
        let separator: &[u8] = if self.len == 0 { b"" } else { b" " };
        let len = self
            .len
            .saturating_add(separator.len())
            .saturating_add(words.len());
        if len >= N {
            return Err(CmdlineError::TooLong);
        }

        let new = separator.iter().chain(words);
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(new) {
            *to = *from;
        }
        self.len = len;
        Ok(())
    }

    /// The line with its closing zero.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..=self.len).unwrap_or(&[0])
    }

    /// The line as text.
    pub fn as_str(&self) -> &str {
        let line = self.bytes.get(..self.len).unwrap_or(&[]);
        core::str::from_utf8(line).unwrap_or("")
    }

    /// Bytes of the line, without the closing zero.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no word was added yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> Default for CommandLine<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_one_space_apart_and_end_in_zero() {
        let mut line = CommandLine::<16>::new();
        assert_eq!(line.as_bytes(), b"\0");
        line.push("").unwrap();
        line.push(" a=1 b ").unwrap();
        line.push("  ").unwrap();
        line.push("c").unwrap();
        assert_eq!(line.as_bytes(), b"a=1 b c\0");
        assert_eq!(line.as_str(), "a=1 b c");
    }

    #[test]
    fn a_name_is_found_however_it_is_written() {
        for line in ["a_b", "x a-b=1 y", "\"a_b=1\"", "xa_b"] {
            assert!(mentions(line, "a_b"), "{line}");
        }
        for line in ["", "a b", "ab", "a_", "A_B"] {
            assert!(!mentions(line, "a_b"), "{line}");
        }
    }

    #[test]
    fn what_reaches_beyond_the_vnode_is_reserved() {
        for line in [
            "quiet acpi=force",
            "\"pci=conf1\"",
            "8250.nr_uarts=4",
            "earlycon",
            "console=uart8250,io,0x3f8",
            "memmap=1G@0",
            "pmtmr=0x608",
            "apic-extnmi=all",
        ] {
            assert!(reserved(line).is_some(), "{line}");
        }
        assert_eq!(reserved("no-ipi_broadcast=0"), Some("no_ipi_broadcast"));
        let harmless = "quiet root=/dev/ram0 panic=5 pcie_ports=x console=ttyS0 mem=40M";
        assert_eq!(reserved(harmless), None);
    }

    #[test]
    fn what_is_refused_leaves_the_line_alone() {
        let mut line = CommandLine::<8>::new();
        line.push("abc").unwrap();
        assert_eq!(line.push("d\ne"), Err(CmdlineError::NotPrintable));
        assert_eq!(line.push("\u{e9}"), Err(CmdlineError::NotPrintable));
        assert_eq!(line.push("defg"), Err(CmdlineError::TooLong));
        assert_eq!(line.as_bytes(), b"abc\0");
        line.push("def").unwrap();
        assert_eq!(line.as_bytes(), b"abc def\0");
        assert_eq!(
            CommandLine::<0>::new().push("a"),
            Err(CmdlineError::TooLong)
        );
    }
}
