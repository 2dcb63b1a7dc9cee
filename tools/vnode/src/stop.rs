// SPDX-License-Identifier: GPL-2.0

//! Ending vnodes: `stop` asks, `kill` takes.

use std::time::{Duration, Instant};

use crate::asked;
use crate::cli::{Goal, StopArgs, WaitArgs};
use crate::device::Kmb;
use crate::explain;
use crate::failure::{Failure, Kind, Result};
use crate::say;
use crate::vnode::Vnode;
use crate::watch::{self, Outcome};

/// Asks a vnode to shut down and takes it back once it has.
pub(crate) fn stop(args: &StopArgs) -> Result<()> {
    let kmb = Kmb::open()?;
    let vnode = asked::note(&kmb, Vnode::find(&kmb, &args.name)?)?;
    shut_down(&kmb, &vnode, Duration::from_secs(args.timeout))
}

/// Takes a vnode back whatever it does.
pub(crate) fn kill(name: &str) -> Result<()> {
    let kmb = Kmb::open()?;
    let vnode = asked::note(&kmb, Vnode::find(&kmb, name)?)?;
    take_back(&kmb, &vnode).inspect_err(|_| asked::withdraw(&vnode))
}

/// Waits for what the command line asks.
pub(crate) fn wait(args: &WaitArgs) -> Result<()> {
    let kmb = Kmb::open()?;
    let vnode = Vnode::find(&kmb, &args.name)?;
    let timeout = Duration::from_secs(args.timeout);
    match args.goal {
        Goal::Ready => {
            let outcomes = watch::until_ready(&kmb, vec![vnode], timeout)?;
            let failure = outcomes.into_iter().find_map(|(vnode, outcome)| {
                watch::explain_unready(&kmb, &vnode, &outcome, timeout)
            });
            failure.map_or(Ok(()), Err)
        }
        Goal::Dead => match watch::until_over(&kmb, &vnode, timeout)? {
            Outcome::Timeout => Err(Failure::new(
                Kind::Timeout,
                format!("{} still lives after {} s", vnode.name(), args.timeout),
            )),
            _ => {
                if let Some(now) = vnode.refresh(&kmb)? {
                    say::progress(now.name(), &explain::ended(&now));
                }
                Ok(())
            }
        },
    }
}

/// The way of `stop`: a request, patience, and then the CPUs and the memory. The end is noted as
/// asked for.
pub(crate) fn shut_down(kmb: &Kmb, vnode: &Vnode, timeout: Duration) -> Result<()> {
    if !vnode.is_over() {
        ask(kmb, vnode).inspect_err(|_| asked::withdraw(vnode))?;
        if let Outcome::Timeout = watch::until_over(kmb, vnode, timeout)? {
            return Err(stubborn(vnode, timeout));
        }
    }
    if let Some(now) = vnode.refresh(kmb)? {
        say::progress(now.name(), &explain::ended(&now));
        take_back(kmb, &now)?;
    }
    Ok(())
}

fn ask(kmb: &Kmb, vnode: &Vnode) -> Result<()> {
    let Err(error) = kmb.stop(vnode.number(), vnode.generation()) else {
        return Ok(());
    };
    let now = vnode.refresh(kmb)?;
    match now {
        // It ended, or somebody else took it back, between the look and the request.
        None => Ok(()),
        Some(now) if now.is_over() => Ok(()),
        Some(now) if explain::is_not_connected(&error) => Err(Failure::failed(format!(
            "{} cannot be asked to shut down: its adeos_core has not joined (it is {})",
            now.name(),
            now.state()
        ))
        .help(format!(
            "`vnode kill {}` takes it back whatever its state",
            now.name()
        ))),
        Some(now) => Err(explain::target("stopped", &now, &error)),
    }
}

/// How long somebody else may take to take a vnode back.
const OTHERS: Duration = Duration::from_secs(30);
/// Time between two looks whether that is done, in ms, when nothing tells of it.
const LOOK_MS: u32 = 100;

/// Takes a vnode's CPUs and memory back, and tells of it. That somebody else has done so already,
/// or is about it, is no failure.
pub(crate) fn take_back(kmb: &Kmb, vnode: &Vnode) -> Result<()> {
    if let Reclaimed::ByUs = reclaim(kmb, vnode)? {
        let what = crate::vnode::memory_words(vnode);
        say::progress(
            vnode.name(),
            &format!("taken back: CPUs {}, {what}", vnode.cpus()),
        );
    }
    Ok(())
}

/// Who took a vnode's CPUs and memory back.
pub(crate) enum Reclaimed {
    ByUs,
    ByOthers,
}

/// Takes a vnode's CPUs and memory back without a word.
pub(crate) fn reclaim(kmb: &Kmb, vnode: &Vnode) -> Result<Reclaimed> {
    let end = Instant::now() + OTHERS;
    loop {
        let count = kmb.info().map_or(0, |info| info.count);
        let Err(error) = kmb.kill(vnode.number(), vnode.generation()) else {
            return Ok(Reclaimed::ByUs);
        };
        if explain::is_no_vnode(&error) {
            return Ok(Reclaimed::ByOthers);
        }
        let is_ending = explain::is_busy(&error)
            && vnode
                .refresh(kmb)?
                .is_none_or(|now| !now.is_being_started());
        if !is_ending || Instant::now() >= end {
            return Err(explain::target("taken back", vnode, &error));
        }
        // That it fails is no news: the next look tells.
        let _ = kmb.wait(count, LOOK_MS);
    }
}

fn stubborn(vnode: &Vnode, timeout: Duration) -> Failure {
    let name = vnode.name();
    Failure::new(
        Kind::Timeout,
        format!("{name} has not shut down within {} s", timeout.as_secs()),
    )
    .help(format!(
        "`vnode console {name}` shows what it does; `vnode kill {name}` takes it back by force"
    ))
}
