// SPDX-License-Identifier: GPL-2.0

//! What a supervisor tells: each event one line, for people or as a JSON object.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::explain;
use crate::failure::Failure;
use crate::policy::Why;
use crate::say::{self, BAD, DOUBTFUL, GOOD, HEADING};
use crate::vnode::{self, Vnode};

/// An event. The names of events and of their fields are those of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    /// The supervisor has begun.
    Supervising {
        pid: u32,
        file: &'a Path,
        vnodes: usize,
    },
    /// A vnode runs that somebody else has started.
    Found(Which<'a>),
    /// A vnode was started.
    Started {
        #[serde(flatten)]
        which: Which<'a>,
        load_ms: f64,
    },
    /// A vnode takes commands.
    Ready {
        #[serde(flatten)]
        which: Which<'a>,
        after_s: f64,
    },
    /// A vnode has ended.
    Ended {
        #[serde(flatten)]
        which: Which<'a>,
        cause: &'static str,
        reason: String,
        ran_s: f64,
    },
    /// A start has failed.
    StartFailed {
        vnode: &'a str,
        error: &'a str,
        help: Option<&'a str>,
    },
    /// A vnode is to be started again.
    Waiting {
        vnode: &'a str,
        delay_s: f64,
        /// How many restarts in a row this one makes.
        restart: u32,
        limit: Option<u32>,
    },
    /// A vnode is not started again.
    Left { vnode: &'a str, why: Why },
    /// A vnode is no longer in the file.
    Dropped { vnode: &'a str },
    /// The file was read anew.
    Reloaded { file: &'a Path, vnodes: usize },
    /// The file was read anew and is no good; the old one counts.
    NotReloaded { file: &'a Path, error: &'a str },
    /// The supervisor ends.
    Leaving {
        signal: &'a str,
        running: Vec<&'a str>,
    },
}

/// Which life of which vnode.
#[derive(Serialize)]
pub(super) struct Which<'a> {
    vnode: &'a str,
    id: u32,
    generation: u32,
}

impl<'a> From<&'a Vnode> for Which<'a> {
    fn from(vnode: &'a Vnode) -> Self {
        Self {
            vnode: vnode.name(),
            id: vnode.number(),
            generation: vnode.generation(),
        }
    }
}

/// An event with its time.
#[derive(Serialize)]
struct Record<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// The form in which events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Tells of an event. That nobody listens any more is no reason to leave vnodes alone.
pub(super) fn tell(form: Form, event: &Event<'_>) {
    let _ = say::out(&line(form, event, SystemTime::now()));
}

fn line(form: Form, event: &Event<'_>, now: SystemTime) -> String {
    let time = humantime::format_rfc3339_millis(now).to_string();
    match form {
        Form::Text => format!("{time} {event}\n"),
        // Nothing in an event can fail to become JSON.
        Form::Json => serde_json::to_string(&Record { time, event })
            .map_or_else(|error| format!("{error}\n"), |json| json + "\n"),
    }
}

impl<'a> Event<'a> {
    pub(super) fn ended(vnode: &'a Vnode) -> Self {
        Self::Ended {
            which: vnode.into(),
            cause: vnode.cause_name(),
            reason: explain::ended(vnode),
            ran_s: vnode.uptime(vnode::now_ns()).as_secs_f64(),
        }
    }

    pub(super) fn started(vnode: &'a Vnode, took: Duration) -> Self {
        Self::Started {
            which: vnode.into(),
            load_ms: took.as_secs_f64() * 1000.0,
        }
    }

    pub(super) fn ready(vnode: &'a Vnode) -> Self {
        Self::Ready {
            which: vnode.into(),
            after_s: vnode.uptime(vnode::now_ns()).as_secs_f64(),
        }
    }

    pub(super) fn start_failed(vnode: &'a str, failure: &'a Failure) -> Self {
        Self::StartFailed {
            vnode,
            error: &failure.message,
            help: failure.help.as_deref(),
        }
    }

    /// Whom the event is about.
    fn subject(&self) -> &str {
        match self {
            Self::Supervising { .. }
            | Self::Reloaded { .. }
            | Self::NotReloaded { .. }
            | Self::Leaving { .. } => "supervisor",
            Self::Found(which)
            | Self::Started { which, .. }
            | Self::Ready { which, .. }
            | Self::Ended { which, .. } => which.vnode,
            Self::StartFailed { vnode, .. }
            | Self::Waiting { vnode, .. }
            | Self::Left { vnode, .. }
            | Self::Dropped { vnode } => vnode,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Supervising { pid, file, vnodes } => {
                format!("watches {}, process {pid}", amount(*vnodes, file))
            }
            Self::Found(which) => format!("runs already, as {}", which.words()),
            Self::Started { which, load_ms } => {
                format!("started as {}, loaded in {load_ms:.1} ms", which.words())
            }
            Self::Ready { after_s, .. } => format!("{GOOD}ready{GOOD:#} after {after_s:.2} s"),
            Self::Ended { reason, ran_s, .. } => {
                format!("{BAD}ended{BAD:#} after {ran_s:.2} s: it {reason}")
            }
            Self::StartFailed { error, help, .. } => {
                let help = help.map(|help| format!(" ({help})")).unwrap_or_default();
                format!("{BAD}start failed{BAD:#}: {error}{help}")
            }
            Self::Waiting {
                delay_s,
                restart,
                limit,
                ..
            } => {
                let of = limit
                    .map(|limit| format!(" of {limit}"))
                    .unwrap_or_default();
                format!("{DOUBTFUL}restart {restart}{of}{DOUBTFUL:#} in {delay_s} s")
            }
            Self::Left { why, .. } => format!("left alone: {}", left_words(*why)),
            Self::Dropped { .. } => "left alone: it is not in the file any more".into(),
            Self::Reloaded { file, vnodes } => format!("now watches {}", amount(*vnodes, file)),
            Self::NotReloaded { error, .. } => {
                format!("{BAD}goes on with the old file{BAD:#}: {error}")
            }
            Self::Leaving { signal, running } => {
                format!("ends on {signal}; {}", running_words(running))
            }
        }
    }
}

impl std::fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (subject, words) = (self.subject(), self.words());
        write!(f, "{HEADING}{subject}{HEADING:#}: {words}")
    }
}

impl Which<'_> {
    fn words(&self) -> String {
        format!("vnode {}, life {}", self.id, self.generation)
    }
}

fn left_words(why: Why) -> &'static str {
    match why {
        Why::Never => "it is never restarted",
        Why::Orderly => "it ended in good order",
        Why::Asked => "it was stopped, or taken back, on request",
        Why::Limit => "it was restarted too many times in a row",
    }
}

fn running_words(running: &[&str]) -> String {
    match running {
        [] => "no vnode of the file runs".into(),
        _ => format!("these run on, unwatched: {}", running.join(", ")),
    }
}

fn amount(vnodes: usize, file: &Path) -> String {
    let noun = if vnodes == 1 { "vnode" } else { "vnodes" };
    format!("{vnodes} {noun} of {}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use adeos_proto::abi::{state, Query};
    use adeos_proto::layout::cause;
    use adeos_proto::record::set_text;

    fn dead() -> Vnode {
        Vnode::from(Query {
            vnode: 2,
            generation: 5,
            state: state::DEAD,
            cause: cause::PANIC,
            cause_apic_id: 3,
            started_ns: 1_000_000_000,
            ended_ns: 2_500_000_000,
            name: set_text("db"),
            message: set_text("out of \"luck\"\n"),
            ..Default::default()
        })
    }

    fn text(event: &Event<'_>) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
        anstream::adapter::strip_str(&line(Form::Text, event, now)).to_string()
    }

    fn json(event: &Event<'_>) -> serde_json::Value {
        let text = line(Form::Json, event, SystemTime::UNIX_EPOCH);
        assert_eq!(text.matches('\n').count(), 1, "one object a line: {text}");
        assert!(!text.contains('\x1b'));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn people_get_a_line_with_time_and_name() {
        let limit = Some(5);
        let waiting = Event::Waiting {
            vnode: "db",
            delay_s: 4.0,
            restart: 3,
            limit,
        };
        assert_eq!(
            text(&waiting),
            "2023-11-14T22:13:20.042Z db: restart 3 of 5 in 4 s\n"
        );
        assert!(text(&Event::ended(&dead())).contains(" db: ended after 1.50 s: it is dead: panic"));
        let leaving = Event::Leaving {
            signal: "SIGTERM",
            running: vec!["db", "web"],
        };
        assert!(text(&leaving)
            .ends_with(" supervisor: ends on SIGTERM; these run on, unwatched: db, web\n"));
    }

    #[test]
    fn programs_get_an_object_with_fixed_names() {
        let value = json(&Event::ended(&dead()));
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(value["event"], "ended");
        assert_eq!(value["vnode"], "db");
        assert_eq!((&value["id"], &value["generation"]), (&2.into(), &5.into()));
        assert_eq!(value["cause"], "panic");
        assert_eq!(value["ran_s"], 1.5);

        assert_eq!(json(&Event::Found((&dead()).into()))["vnode"], "db");
        let failure = Failure::failed("no").help("yes");
        let value = json(&Event::start_failed("db", &failure));
        assert_eq!(value["event"], "start-failed");
        assert_eq!(
            (&value["error"], &value["help"]),
            (&"no".into(), &"yes".into())
        );
        let left = Event::Left {
            vnode: "db",
            why: Why::Asked,
        };
        assert_eq!(json(&left)["why"], "asked");
    }
}
