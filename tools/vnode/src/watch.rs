// SPDX-License-Identifier: GPL-2.0

//! Waiting for vnodes: until they are ready, until they have ended.

use std::time::{Duration, Instant};

use adeos_proto::layout::state;

use crate::device::Kmb;
use crate::explain;
use crate::failure::{Context, Failure, Kind, Result};
use crate::vnode::{self, Vnode};
use crate::{console, say};

/// Longest sleep between two looks. The kernel wakes us at each change; this bounds what a
/// missed one would cost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Lines of a console that are shown when its vnode does not come up.
const LAST_LINES: usize = 20;

/// What became of a vnode that was waited for.
pub(crate) enum Outcome {
    /// Its user space takes commands.
    Ready,
    /// It has ended.
    Over,
    /// Somebody took it back.
    Gone,
    /// None of these, in time.
    Timeout,
}

/// Waits until `done` says so about what the kernel tells; `false` when time ran out first.
pub(crate) fn until(
    kmb: &Kmb,
    timeout: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<bool> {
    let deadline = Instant::now().checked_add(timeout);
    // The count is taken before the look, so that a change in between is not slept through.
    let mut count = kmb
        .info()
        .context(|| "the modules do not answer".into())?
        .count;
    loop {
        if done()? {
            return Ok(true);
        }
        let left = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => LOOK_AGAIN,
        };
        if left.is_zero() {
            return Ok(false);
        }
        let sleep_ms = left.min(LOOK_AGAIN).as_millis().max(1);
        let sleep_ms = u32::try_from(sleep_ms).unwrap_or(u32::MAX);
        count = kmb
            .wait(count, sleep_ms)
            .context(|| "the modules do not answer".into())?;
    }
}

/// Waits until a vnode has ended or is gone.
pub(crate) fn until_over(kmb: &Kmb, vnode: &Vnode, timeout: Duration) -> Result<Outcome> {
    let mut outcome = Outcome::Timeout;
    until(kmb, timeout, || {
        outcome = match vnode.refresh(kmb)? {
            None => Outcome::Gone,
            Some(now) if now.is_over() => Outcome::Over,
            Some(_) => return Ok(false),
        };
        Ok(true)
    })?;
    Ok(outcome)
}

/// A vnode on its way up.
struct Boot {
    vnode: Vnode,
    seen: u32,
    outcome: Option<Outcome>,
}

/// Waits until each of some vnodes is ready or will not be, telling how far they come.
pub(crate) fn until_ready(
    kmb: &Kmb,
    vnodes: Vec<Vnode>,
    timeout: Duration,
) -> Result<Vec<(Vnode, Outcome)>> {
    let mut boots: Vec<_> = vnodes
        .into_iter()
        .map(|vnode| Boot {
            vnode,
            seen: state::SILENT,
            outcome: None,
        })
        .collect();
    until(kmb, timeout, || {
        for boot in boots.iter_mut().filter(|boot| boot.outcome.is_none()) {
            look(kmb, boot)?;
        }
        Ok(boots.iter().all(|boot| boot.outcome.is_some()))
    })?;
    let outcomes = boots.into_iter();
    Ok(outcomes
        .map(|boot| (boot.vnode, boot.outcome.unwrap_or(Outcome::Timeout)))
        .collect())
}

fn look(kmb: &Kmb, boot: &mut Boot) -> Result<()> {
    let Some(now) = boot.vnode.refresh(kmb)? else {
        boot.outcome = Some(Outcome::Gone);
        return Ok(());
    };
    boot.vnode = now;

    // Stages that were passed between two looks are told all the same.
    let furthest = now.progress().min(state::READY);
    while boot.seen < furthest && !now.is_over() {
        boot.seen = boot.seen.saturating_add(1);
        say::progress(now.name(), &stage(&now, boot.seen));
    }

    if now.is_over() {
        boot.outcome = Some(Outcome::Over);
    } else if now.is_ready() {
        boot.outcome = Some(Outcome::Ready);
    }
    Ok(())
}

fn stage(vnode: &Vnode, progress: u32) -> String {
    let after = vnode.uptime(vnode::now_ns()).as_secs_f64();
    let word = vnode::progress_word(progress);
    if progress == state::KERNEL && !vnode.release().is_empty() {
        return format!("{word} {} after {after:.2} s", vnode.release());
    }
    format!("{word} after {after:.2} s")
}

/// Makes a failure of an outcome that is not the wanted readiness, and shows the evidence.
pub(crate) fn explain_unready(
    kmb: &Kmb,
    vnode: &Vnode,
    outcome: &Outcome,
    timeout: Duration,
) -> Option<Failure> {
    let name = vnode.name();
    let failure = match outcome {
        Outcome::Ready => return None,
        Outcome::Gone => {
            return Some(Failure::failed(format!("{name} was taken back before it was ready")))
        }
        Outcome::Over => {
            Failure::failed(format!("{name} did not get ready: it {}", explain::ended(vnode)))
                .help(format!("`vnode console {name}` shows all it said, `vnode kill {name}` takes it back"))
        }
        Outcome::Timeout => Failure::new(
            Kind::Timeout,
            format!(
                "{name} is not ready after {} s: its state is {}, it has come to `{}`",
                timeout.as_secs(),
                vnode.state(),
                vnode::progress_word(vnode.progress())
            ),
        )
        .help(format!("it still runs: `vnode console -f {name}` watches it, `vnode kill {name}` takes it back")),
    };
    show_console(kmb, vnode);
    Some(failure)
}

fn show_console(kmb: &Kmb, vnode: &Vnode) {
    let lines = match console::tail(kmb, vnode.number(), LAST_LINES) {
        Ok(lines) => lines,
        Err(failure) => return say::warning(&failure.message),
    };
    if lines.is_empty() {
        return say::progress(vnode.name(), "its console is empty");
    }
    say::progress(vnode.name(), "the last lines of its console:");
    for line in lines.lines() {
        say::err(&format!("  | {line}\n"));
    }
}
