// SPDX-License-Identifier: GPL-2.0

//! Leaving a console, and what else can be told its client: `~` at the beginning of a line
//! (docs/vcons.md, section 6).

/// What begins a command.
pub const ESCAPE: u8 = b'~';

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leaves the console.
    Leave,
    /// Sends a break.
    Break,
    /// Takes the keyboard from whoever has it.
    Take,
    /// Lists the consoles.
    List,
    /// Goes on to the next console.
    Next,
    /// Tells what commands there are.
    Help,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Leave,
        Self::Break,
        Self::Take,
        Self::List,
        Self::Next,
        Self::Help,
    ];

    /// The byte that stands for it.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Leave => b'.',
            Self::Break => b'b',
            Self::Take => b't',
            Self::List => b'l',
            Self::Next => b'n',
            Self::Help => b'?',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.byte() == byte)
    }
}

/// What becomes of a byte that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// It is passed on.
    Byte(u8),
    /// `~` and then this byte are passed on.
    Escaped(u8),
    /// Nothing yet: the next byte tells.
    Held,
    /// The client is told this, and the console nothing.
    Command(Command),
}

/// Where one is in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Beginning,
    Escaping,
    Within,
}

/// Finds commands in what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escape {
    place: Place,
}

impl Escape {
    /// At the beginning of a line.
    pub const fn new() -> Self {
        Self {
            place: Place::Beginning,
        }
    }

    /// Takes the next byte.
    pub fn on(&mut self, byte: u8) -> Typed {
        match self.place {
            Place::Beginning if byte == ESCAPE => {
                self.place = Place::Escaping;
                Typed::Held
            }
            Place::Beginning | Place::Within => {
                self.go_on(byte);
                Typed::Byte(byte)
            }
            Place::Escaping => self.on_escaped(byte),
        }
    }

    fn on_escaped(&mut self, byte: u8) -> Typed {
        if let Some(command) = Command::of(byte) {
            self.place = Place::Beginning;
            return Typed::Command(command);
        }
        self.go_on(byte);
        if byte == ESCAPE {
            Typed::Byte(byte)
        } else {
            Typed::Escaped(byte)
        }
    }

    /// Passes a byte on (VC-41).
    fn go_on(&mut self, byte: u8) {
        self.place = match byte {
            b'\r' | b'\n' => Place::Beginning,
            _ => Place::Within,
        };
    }
}

impl Default for Escape {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is passed on of a text, and the commands in it.
    fn typed(text: &[u8]) -> (Vec<u8>, Vec<Command>) {
        let (mut passed, mut commands) = (Vec::new(), Vec::new());
        let mut escape = Escape::new();
        for byte in text {
            match escape.on(*byte) {
                Typed::Byte(byte) => passed.push(byte),
                Typed::Escaped(byte) => passed.extend([ESCAPE, byte]),
                Typed::Held => {}
                Typed::Command(command) => commands.push(command),
            }
        }
        (passed, commands)
    }

    /// VC-40
    #[test]
    fn commands_are_found_at_the_beginning_of_lines_only() {
        assert_eq!(typed(b"~."), (vec![], vec![Command::Leave]));
        assert_eq!(typed(b"ls ~.\r"), (b"ls ~.\r".to_vec(), vec![]));
        assert_eq!(typed(b"ls\r~?"), (b"ls\r".to_vec(), vec![Command::Help]));
        assert_eq!(
            typed(b"ls\n~b~t"),
            (b"ls\n".to_vec(), vec![Command::Break, Command::Take])
        );
    }

    /// VC-40, VC-41
    #[test]
    fn what_is_no_command_is_passed_on_whole() {
        assert_eq!(typed(b"~~."), (b"~.".to_vec(), vec![]));
        assert_eq!(typed(b"~/bin\r"), (b"~/bin\r".to_vec(), vec![]));
        assert_eq!(typed(b"~\r~n"), (b"~\r".to_vec(), vec![Command::Next]));
    }

    #[test]
    fn no_two_commands_have_the_same_byte() {
        for command in Command::ALL {
            assert_eq!(Command::of(command.byte()), Some(command));
            assert_ne!(command.byte(), ESCAPE);
        }
    }

    /// What has to be typed so that a text arrives: `~` twice at the beginning of a line.
    fn protected(text: &[u8]) -> Vec<u8> {
        let mut is_beginning = true;
        let mut all = Vec::new();
        for byte in text {
            if is_beginning && *byte == ESCAPE {
                all.push(ESCAPE);
            }
            all.push(*byte);
            is_beginning = matches!(byte, b'\r' | b'\n');
        }
        all
    }

    proptest! {
        /// VC-40, VC-41: every text can be typed, and arrives as it is.
        #[test]
        fn every_text_can_be_typed(text in "[~.a\\r\\n?]{0,80}") {
            let (passed, commands) = typed(&protected(text.as_bytes()));
            prop_assert_eq!(passed, text.as_bytes());
            prop_assert_eq!(commands, vec![]);
        }
    }
}
