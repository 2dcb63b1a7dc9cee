// SPDX-License-Identifier: GPL-2.0

//! How fast portals may interrupt, and what comes without an interrupt.
//!
//! Senders that raise without end can keep a receiver's CPU in interrupts for ever. So interrupts
//! are counted. After some of them Linux is asked for its *turn*, which is a piece of work in the
//! CPU's own queue of work; after many, without a turn, what is raised is left in the inbox. Then no sender
//! interrupts any more, for its word is not empty, and Linux comes to run. Its turn starts the
//! count anew and takes what was left. There is no clock in this: who gets interrupted often and
//! has time for its turns is never held up.
//!
//! A sender that dies after it has set its bit and before it has interrupted leaves a word that is
//! not empty, so that no later life of it interrupts either. The receiver has a *look* now and
//! then.

use super::statistics::{add, count};
use super::{local, senders};
use crate::window::Window;

/// Interrupts since the last turn after which Linux is asked for the next.
pub const ASK_AFTER: u64 = 256;
/// Interrupts since the last turn after which portals are left to the next.
pub const LEAVE_AFTER: u64 = 1024;
/// An interrupt that has not come after this time, in ms, does not come.
pub const LOOK_MS: u64 = 190;

/// What to do in an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Take what was raised.
    Take,
    /// Ask Linux for its turn, then take.
    AskAndTake,
    /// Leave everything as it is: Linux has been asked, and takes it in its turn.
    Leave,
}

/// Receiver, in the interrupt. Each `AskAndTake` is followed by a turn: [`turn`], then
/// [`super::take`], by whoever can only run when Linux does.
pub fn enter<L: Window>(local: &L) -> Pace {
    // Counted by a full barrier, what is left too: a turn that comes after it takes what the
    // interrupt was for, and one that came before it has started the count anew.
    let since_turn = count(local, local::SINCE_TURN);
    if since_turn >= LEAVE_AFTER {
        count(local, local::LEFT);
        Pace::Leave
    } else if since_turn == ASK_AFTER {
        Pace::AskAndTake
    } else {
        Pace::Take
    }
}

/// Receiver, in Linux's turn: interrupts take again from now on. The caller then takes as an
/// interrupt does, for interrupts before this may have left something.
pub fn turn<L: Window>(local: &L) {
    let since_turn = local.swap64(local::SINCE_TURN, 0);
    add(local, local::BEFORE_TURN, since_turn);
}

/// Receiver: all interrupts by portals. While a turn begins it may miss those since the last one.
pub fn interrupts<L: Window>(local: &L) -> u64 {
    let since_turn = local.load_acquire64(local::SINCE_TURN);
    since_turn.wrapping_add(local.load_acquire64(local::BEFORE_TURN))
}

/// Receiver, now and then, by one thread, with a clock of its own: whether something has waited in
/// the inbox since the last look though there was no interrupt and none of Linux's turns is due. The
/// caller takes it. Looks that follow one another in less than [`LOOK_MS`] are one.
pub fn look<W: Window, L: Window>(slot: &W, local: &L, now_ms: u64) -> bool {
    if now_ms.wrapping_sub(local.load_acquire64(local::LOOKED_MS)) < LOOK_MS {
        return false;
    }
    local.store_release64(local::LOOKED_MS, now_ms);
    let found = match senders(slot) {
        0 => 0,
        _ => interrupts(local).wrapping_add(1),
    };
    let is_left = local.load_acquire64(local::SINCE_TURN) >= LEAVE_AFTER;
    let has_waited = local.swap64(local::LOOKED, found) == found && found != 0 && !is_left;
    if has_waited {
        count(local, local::FOUND);
    }
    has_waited
}

const _: () = assert!(ASK_AFTER < LEAVE_AFTER);
