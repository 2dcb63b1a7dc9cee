// SPDX-License-Identifier: GPL-2.0

//! The life of a vnode as the root sees it: states, what moves it between them, and what the root
//! has to do then.

use crate::abi::state;
use crate::layout::cause;

/// Why a vnode ended (see [`crate::layout::cause`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its kernel panicked.
    Panic,
    /// It asked for a restart.
    Restart,
    /// It asked for a restart without any clean-up.
    EmergencyRestart,
    /// It powered off.
    PowerOff,
    /// It halted.
    Halt,
    /// A CPU of it fell silent.
    Hang,
    /// The root took it back by force.
    Killed,
    /// The root heard nothing of its kernel in time.
    NoStart,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 8] = [
        Self::Panic,
        Self::Restart,
        Self::EmergencyRestart,
        Self::PowerOff,
        Self::Halt,
        Self::Hang,
        Self::Killed,
        Self::NoStart,
    ];

    /// Takes the number of a cause.
    pub fn new(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.number() == number)
    }

    /// Takes the number of a cause that a vnode claims: those that only the root can know of
    /// are refused.
    pub fn claimed(number: u32) -> Option<Self> {
        Self::new(number)
            .filter(|cause| !matches!(cause, Self::Hang | Self::Killed | Self::NoStart))
    }

    /// Whether the kernel ended itself, in good order: others see such a life leave, and not die.
    pub const fn is_orderly(self) -> bool {
        matches!(self, Self::Restart | Self::PowerOff | Self::Halt)
    }

    /// The number that records hold.
    pub const fn number(self) -> u32 {
        match self {
            Self::Panic => cause::PANIC,
            Self::Restart => cause::RESTART,
            Self::EmergencyRestart => cause::EMERGENCY_RESTART,
            Self::PowerOff => cause::POWER_OFF,
            Self::Halt => cause::HALT,
            Self::Hang => cause::HANG,
            Self::Killed => cause::KILLED,
            Self::NoStart => cause::NO_START,
        }
    }

    /// The cause in words, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Restart => "restart",
            Self::EmergencyRestart => "emergency restart",
            Self::PowerOff => "power off",
            Self::Halt => "halt",
            Self::Hang => "hang",
            Self::Killed => "killed",
            Self::NoStart => "did not start",
        }
    }
}

/// Where a vnode is in its life (see [`crate::abi::state`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing there.
    Empty,
    /// CPUs and memory are set aside.
    Ready,
    /// The image is in place and its CPU may be on the way.
    Loaded,
    /// Its kernel runs.
    Running,
    /// It was asked to shut down.
    Stopping,
    /// It has ended; its memory is kept for a look.
    Dead,
    /// It never showed a sign of life.
    Failed,
}

/// What happens to a vnode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// CPUs and memory were set aside for it.
    Assigned,
    /// Its image is in place. Comes before its CPU is started.
    Loaded,
    /// Its CPU was started.
    Started,
    /// Its kernel has been heard of.
    SignOfLife,
    /// It is asked to shut down.
    StopAsked,
    /// It has ended, or is to end now.
    Died(Cause),
    /// Its kernel has not been heard of in time.
    NoSign,
    /// Its CPUs and memory go back to the root.
    Reclaimed,
}

/// What the root has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Stop its CPUs: INIT to each, the first one first.
    StopCpus,
    /// Scrub its memory and give CPUs and memory back.
    Release,
}

/// The event cannot happen in this state; nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl State {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Empty,
        Self::Ready,
        Self::Loaded,
        Self::Running,
        Self::Stopping,
        Self::Dead,
        Self::Failed,
    ];

    /// Takes the number of a state.
    pub fn new(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// The number that records hold.
    pub const fn number(self) -> u32 {
        match self {
            Self::Empty => state::EMPTY,
            Self::Ready => state::READY,
            Self::Loaded => state::LOADED,
            Self::Running => state::RUNNING,
            Self::Stopping => state::STOPPING,
            Self::Dead => state::DEAD,
            Self::Failed => state::FAILED,
        }
    }

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Ready => "ready",
            Self::Loaded => "loaded",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Dead => "dead",
            Self::Failed => "failed",
        }
    }

    /// Whether CPUs of the vnode may be executing its kernel.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Loaded | Self::Running | Self::Stopping)
    }

    /// What an event makes of the state, and what the root has to do.
    ///
    /// CPUs are stopped before anything is given back, whatever the order of events: `Reclaimed`
    /// is refused while the vnode may run, and a vnode that has ended does not come back.
    pub fn on(self, event: Event) -> Result<(Self, Action), Refused> {
        match (self, event) {
            (Self::Empty, Event::Assigned) => Ok((Self::Ready, Action::None)),
            (Self::Ready, Event::Loaded) => Ok((Self::Loaded, Action::None)),
            // The image's entry has done its part. A kernel that is quicker than the root to
            // say so has been heard of before, and may even have ended.
            (
                Self::Loaded | Self::Running | Self::Stopping | Self::Dead | Self::Failed,
                Event::Started,
            ) => Ok((self, Action::None)),
            (Self::Loaded, Event::SignOfLife) => Ok((Self::Running, Action::None)),
            (Self::Running | Self::Stopping, Event::SignOfLife) => Ok((self, Action::None)),
            (Self::Running | Self::Stopping, Event::StopAsked) => {
                Ok((Self::Stopping, Action::None))
            }
            // Ready: a start that failed at the jump, after which nobody knows what a CPU does.
            (Self::Ready | Self::Loaded | Self::Running | Self::Stopping, Event::Died(_)) => {
                Ok((Self::Dead, Action::StopCpus))
            }
            (Self::Loaded, Event::NoSign) => Ok((Self::Failed, Action::StopCpus)),
            // Ready: a start that failed before its CPU was on the way.
            (Self::Ready | Self::Dead | Self::Failed, Event::Reclaimed) => {
                Ok((Self::Empty, Action::Release))
            }
            _ => Err(Refused),
        }
    }
}
