// SPDX-License-Identifier: GPL-2.0

//! When a vnode that has ended is started again: a supervisor's decisions, without its deeds.
//!
//! Nothing here looks at a clock or at the kernel. Time comes in as an argument, what was seen as
//! an [`Event`], and what is to be done goes out as an [`Action`]. docs/cluster-toml.md is the
//! reference for what the policies mean.

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::time::Duration;

use adeos_proto::layout::cause;
use serde::Serialize;

/// A moment: how long some fixed one lies back. It never runs backwards.
pub(crate) type Time = Duration;

/// Delay before the first restart; each further one doubles it.
pub(crate) const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Longest delay.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A vnode that has run for so long counts as well: delays and restarts are counted anew.
pub(crate) const SETTLED: Duration = Duration::from_secs(60);

/// Which ends of a vnode are followed by a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// None.
    #[default]
    Never,
    /// Those that nobody wanted.
    OnFailure,
    /// All but those that an administrator asked for.
    Always,
}

impl Policy {
    /// All policies.
    pub(crate) const ALL: [Self; 3] = [Self::Never, Self::OnFailure, Self::Always];

    /// The word for it in files.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

/// On what terms a vnode is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// After which ends.
    pub(crate) policy: Policy,
    /// How many times in a row, if there is a limit.
    pub(crate) limit: Option<u32>,
}

/// One life of a vnode: its number, and which life of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    pub(crate) number: u32,
    pub(crate) generation: u32,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself and in good order: it powered off, or halted.
    Orderly,
    /// In any other way by itself.
    Failure,
    /// An administrator asked for it.
    Asked,
}

impl End {
    /// Judges the cause that the kernel tells (`adeos_proto::layout::cause`). An administrator who
    /// `asked` for the end is why it ended, however it then did.
    pub(crate) fn new(cause: u32, asked: bool) -> Self {
        match cause {
            _ if asked => Self::Asked,
            cause::KILLED => Self::Asked,
            cause::POWER_OFF | cause::HALT => Self::Orderly,
            _ => Self::Failure,
        }
    }
}

/// What happens to a vnode, or to the supervisor's plans for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The cluster file asks for it, and it is not there.
    Wanted,
    /// This life is there and has not ended.
    Runs(Life),
    /// This life has ended, after having run for so long.
    Ended(Life, End, Duration),
    /// There is no vnode of that name.
    Gone,
    /// Time has passed.
    Tick,
    /// The start that was due is done.
    Started(Life),
    /// The start that was due has failed, and this life is what it left behind, dead.
    StartFailed(Option<Life>),
    /// The start that was due was not made: somebody wants the vnode to stay away, or has other
    /// things on hand with it.
    Asked,
}

/// What is to be done, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    None,
    /// It was started by somebody else; its end is waited for.
    Watch,
    /// It is started after this delay.
    Wait(Duration),
    /// Start it now: take back what is left of this life, if of any, and load it. The answer is
    /// `Started`, `StartFailed` or `Asked`.
    Start(Option<Life>),
    /// It is not started again.
    Leave(Why),
}

/// Why a vnode is not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// Its policy is never to do so.
    Never,
    /// It ended in good order.
    Orderly,
    /// An administrator stopped it, or took it back.
    Asked,
    /// It was restarted so many times in a row.
    Limit,
}

/// What the supervisor is about with one vnode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing. This life of it is known to have ended, and may still be there.
    Rest(Option<Life>),
    /// This life runs, and its end is waited for.
    Watch(Life),
    /// It is to be started at this time. That life is known to have ended, and is still there.
    Wait(Time, Option<Life>),
    /// It is being started. That life is known to have ended, and is there until the start.
    Start(Option<Life>),
}

/// The supervisor's mind about one vnode.
#[derive(Clone, Debug)]
pub(crate) struct Restarts {
    terms: Terms,
    state: State,
    /// Restarts that were granted since it last ran well, or was last started by somebody else.
    in_a_row: u32,
}

impl Restarts {
    /// Knows nothing of the vnode yet.
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            state: State::Rest(None),
            in_a_row: 0,
        }
    }

    /// The terms that count.
    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }

    /// Restarts that were granted since it last ran well, the last one among them.
    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// When it is to be started, if it is.
    pub(crate) fn due(&self) -> Option<Time> {
        match self.state {
            State::Wait(due, _) => Some(due),
            _ => None,
        }
    }

    /// Takes other terms. They count from its next end on; only a start that waits is given up
    /// when there are to be none any more.
    pub(crate) fn set_terms(&mut self, terms: Terms) -> Action {
        self.terms = terms;
        match self.state {
            State::Wait(_, ended) if terms.policy == Policy::Never => self.leave(ended, Why::Never),
            _ => Action::None,
        }
    }

    /// What an event makes of the state, and what is to be done.
    ///
    /// A life whose end was decided about is not decided about again, however often it is seen.
    pub(crate) fn on(&mut self, now: Time, event: Event) -> Action {
        match (event, self.state) {
            (Event::Wanted, _) => {
                self.state = State::Wait(now, None);
                Action::None
            }

            (Event::Runs(life), State::Watch(known)) if life == known => Action::None,
            (Event::Runs(life), _) => self.adopt(life),
            (Event::Ended(life, end, ran), state) => {
                let is_known = match state {
                    State::Rest(known) | State::Wait(_, known) | State::Start(known) => {
                        known == Some(life)
                    }
                    State::Watch(_) => false,
                };
                if is_known {
                    return Action::None;
                }
                // Somebody has started it, and it has ended, since the last look.
                if state != State::Watch(life) {
                    self.in_a_row = 0;
                }
                self.decide(now, Some(life), end, ran)
            }
            (Event::Gone, state) => self.gone(state),

            (Event::Tick, State::Wait(due, ended)) if due <= now => {
                self.state = State::Start(ended);
                Action::Start(ended)
            }
            (Event::Tick, _) => Action::None,
            (answer, State::Start(ended)) => self.answered(now, answer, ended),
            // Nothing was being started.
            (Event::Started(_) | Event::StartFailed(_) | Event::Asked, _) => Action::None,
        }
    }

    fn gone(&mut self, state: State) -> Action {
        match state {
            // What the supervisor has not taken back itself, somebody else has.
            State::Watch(_) | State::Wait(_, Some(_)) => self.leave(None, Why::Asked),
            State::Rest(_) => {
                self.state = State::Rest(None);
                Action::None
            }
            State::Wait(_, None) | State::Start(_) => Action::None,
        }
    }

    /// Takes the answer to `Action::Start`, which found that life of it, ended.
    fn answered(&mut self, now: Time, answer: Event, ended: Option<Life>) -> Action {
        match answer {
            Event::Started(life) => {
                self.state = State::Watch(life);
                Action::None
            }
            Event::StartFailed(left) => self.decide(now, left, End::Failure, Duration::ZERO),
            _ => self.leave(ended, Why::Asked),
        }
    }

    fn adopt(&mut self, life: Life) -> Action {
        self.state = State::Watch(life);
        self.in_a_row = 0;
        Action::Watch
    }

    fn leave(&mut self, ended: Option<Life>, why: Why) -> Action {
        self.state = State::Rest(ended);
        Action::Leave(why)
    }

    fn decide(&mut self, now: Time, ended: Option<Life>, end: End, ran: Duration) -> Action {
        if ran >= SETTLED {
            self.in_a_row = 0;
        }
        let why_not = match (end, self.terms.policy) {
            (End::Asked, _) => Some(Why::Asked),
            (_, Policy::Never) => Some(Why::Never),
            (End::Orderly, Policy::OnFailure) => Some(Why::Orderly),
            _ if self.terms.limit.is_some_and(|limit| self.in_a_row >= limit) => Some(Why::Limit),
            _ => None,
        };
        if let Some(why) = why_not {
            return self.leave(ended, why);
        }

        let delay = delay(self.in_a_row);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.state = State::Wait(now.saturating_add(delay), ended);
        Action::Wait(delay)
    }
}

/// The delay before a restart that has so many before it.
fn delay(before: u32) -> Duration {
    let factor = 2_u32.saturating_pow(before);
    FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY)
}
