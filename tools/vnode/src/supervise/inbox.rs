// SPDX-License-Identifier: GPL-2.0

//! What wakes a supervisor: changes of vnodes, and signals.
//!
//! Both are waited for in threads of their own and meet in one queue, so that a signal is never
//! lost between a look at a flag and a wait, and nothing has to be looked at from time to time.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::device::Kmb;
use crate::failure::{Context, Failure, Result};

/// Longest single wait for a change, in ms: the longest that the record can say.
const FOR_EVER: u32 = u32::MAX;

/// What has happened.
pub(super) enum Notice {
    /// Something about some vnode has changed since the last such notice was sent.
    Change,
    /// SIGHUP: the file is to be read anew.
    Reload,
    /// Another signal: the supervisor is to end.
    Leave(&'static str),
    /// The modules do not answer any more.
    Failed(Failure),
}

/// Begins to wait. What changes from now on is told of; so the first look has to come after this.
pub(super) fn open() -> Result<Receiver<Notice>> {
    let (notices, inbox) = mpsc::channel();
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context(|| "signals".into())?;
    let kmb = Kmb::open()?;
    let count = kmb
        .info()
        .context(|| "the modules do not answer".into())?
        .count;

    let to = notices.clone();
    thread::Builder::new().spawn(move || pass_signals(signals, &to))?;
    thread::Builder::new().spawn(move || pass_changes(&kmb, count, &notices))?;
    Ok(inbox)
}

fn pass_signals(mut signals: Signals, notices: &Sender<Notice>) {
    for signal in &mut signals {
        let notice = match signal {
            SIGHUP => Notice::Reload,
            SIGINT => Notice::Leave("SIGINT"),
            _ => Notice::Leave("SIGTERM"),
        };
        if notices.send(notice).is_err() {
            return;
        }
    }
}

fn pass_changes(kmb: &Kmb, mut count: u64, notices: &Sender<Notice>) {
    loop {
        let notice = match kmb.wait(count, FOR_EVER) {
            // The time may be over: however long that was, nothing has changed.
            Ok(now) if now == count => continue,
            Ok(now) => {
                count = now;
                Notice::Change
            }
            Err(error) => Notice::Failed(Failure::failed(format!(
                "the modules do not answer: {error}"
            ))),
        };
        let is_last = matches!(notice, Notice::Failed(_));
        if notices.send(notice).is_err() || is_last {
            return;
        }
    }
}
