// SPDX-License-Identifier: GPL-2.0

//! Who types: one viewer at a time, by the root's decision (docs/vcons.md, section 5).

use super::Header;
use crate::id::{Life, VnodeId};
use crate::window::Window;

/// Who has the keyboard, as the header tells all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The viewer, if there is one.
    pub viewer: Option<VnodeId>,
    /// Counts the root's decisions.
    pub ticket: u32,
}

impl Holder {
    /// Nobody, before all decisions.
    pub const NOBODY: Self = Self {
        viewer: None,
        ticket: 0,
    };

    /// The word in which it is published.
    pub const fn word(self) -> u64 {
        let viewer = match self.viewer {
            Some(vnode) => vnode.number(),
            None => u32::MAX,
        };
        (self.ticket as u64) << 32 | viewer as u64
    }

    /// What a word says; a number that no vnode has is nobody.
    pub const fn from_word(word: u64) -> Self {
        Self {
            viewer: VnodeId::new(word as u32),
            ticket: (word >> 32) as u32,
        }
    }

    /// Reads the word.
    pub fn read<W: Window>(window: &W) -> Self {
        Self::from_word(window.load_acquire64(Header::OFFSETS.keyboard))
    }

    /// Publishes a decision. The root only.
    pub fn publish<W: Window>(self, window: &W) {
        window.store_release64(Header::OFFSETS.keyboard, self.word());
    }
}

/// Why somebody does not get the keyboard, or does not give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This life has it.
    Busy(Life),
    /// It is not the asker's, or under another ticket.
    Stale,
    /// There are no more tickets: nobody gets it until the console is made anew.
    Exhausted,
}

/// The root's decisions about one console's keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyboard {
    holder: Option<Life>,
    ticket: u32,
}

impl Keyboard {
    /// Nobody's.
    pub const fn new() -> Self {
        Self {
            holder: None,
            ticket: 0,
        }
    }

    /// Nobody's, after decisions up to a ticket.
    pub const fn after(ticket: u32) -> Self {
        Self {
            holder: None,
            ticket,
        }
    }

    /// What is to be published after each change.
    pub fn holder(&self) -> Holder {
        Holder {
            viewer: self.holder.map(|life| life.vnode),
            ticket: self.ticket,
        }
    }

    /// Takes it if it is nobody's, or the asker's already, which begins anew; the ticket.
    pub fn take(&mut self, asker: Life) -> Result<u32, Refused> {
        match self.holder {
            Some(holder) if holder != asker => Err(Refused::Busy(holder)),
            _ => self.decide(asker),
        }
    }

    /// Takes it from whoever has it; the ticket.
    pub fn steal(&mut self, asker: Life) -> Result<u32, Refused> {
        self.decide(asker)
    }

    /// Gives it back.
    pub fn give_back(&mut self, asker: Life, ticket: u32) -> Result<(), Refused> {
        if self.holder != Some(asker) || self.ticket != ticket {
            return Err(Refused::Stale);
        }
        self.free();
        Ok(())
    }

    /// Lets go of a viewer whose life has ended; whether it had it.
    pub fn let_go_of(&mut self, is_alive: impl Fn(Life) -> bool) -> bool {
        let has_ended = self.holder.is_some_and(|holder| !is_alive(holder));
        if has_ended {
            self.free();
        }
        has_ended
    }

    /// The speaker's life has ended (VC-34); whether somebody had it.
    pub fn speaker_ended(&mut self) -> bool {
        let was_held = self.holder.is_some();
        if was_held {
            self.free();
        }
        was_held
    }

    /// Makes it nobody's. There is always a ticket left for that.
    fn free(&mut self) {
        self.holder = None;
        self.ticket = self.ticket.saturating_add(1);
    }

    fn decide(&mut self, holder: Life) -> Result<u32, Refused> {
        // The last one is for giving back.
        if self.ticket >= u32::MAX - 1 {
            return Err(Refused::Exhausted);
        }
        self.holder = Some(holder);
        self.ticket = self.ticket.saturating_add(1);
        Ok(self.ticket)
    }
}

impl Default for Keyboard {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Generation;

    fn life(vnode: u32) -> Life {
        Life {
            vnode: VnodeId::new(vnode).unwrap(),
            generation: Generation(1),
        }
    }

    /// VC-30: the last tickets do not come again either, and what is had can be given back.
    #[test]
    fn tickets_run_out_rather_than_come_again() {
        let mut keyboard = Keyboard {
            holder: None,
            ticket: u32::MAX - 2,
        };
        assert_eq!(keyboard.take(life(1)), Ok(u32::MAX - 1));
        assert_eq!(keyboard.steal(life(2)), Err(Refused::Exhausted));
        assert_eq!(keyboard.give_back(life(1), u32::MAX - 1), Ok(()));
        assert_eq!(keyboard.holder().ticket, u32::MAX);
        assert_eq!(keyboard.take(life(1)), Err(Refused::Exhausted));
        assert_eq!(keyboard.holder().viewer, None);
    }

    #[test]
    fn the_word_tells_who_has_it() {
        for vnode in VnodeId::all() {
            let holder = Holder {
                viewer: Some(vnode),
                ticket: 7,
            };
            assert_eq!(holder.word(), 7 << 32 | u64::from(vnode.number()));
        }
        assert_eq!(Holder::NOBODY.word(), 0xffff_ffff);
    }
}
