// SPDX-License-Identifier: GPL-2.0

//! Starting vnodes: `start` and `restart`.

use std::fs::File;
use std::time::Duration;

use adeos_proto::id::VnodeName;

use crate::asked;
use crate::cli::{BootArgs, RestartArgs, StartArgs};
use crate::device::Kmb;
use crate::explain;
use crate::failure::{Context, Failure, Kind, Result};
use crate::settings::{self, Note, Settings};
use crate::stop;
use crate::vnode::{self, Vnode};
use crate::{say, watch};

/// Starts the vnode that the command line describes.
pub(crate) fn start(args: &StartArgs) -> Result<()> {
    let settings = settings(args)?;
    let kmb = Kmb::open()?;
    let vnode = load(&kmb, &settings)?;
    boot(&kmb, vnode, &args.boot)
}

/// Ends a vnode, if it runs, and starts it as it was started before.
pub(crate) fn restart(args: &RestartArgs) -> Result<()> {
    let kmb = Kmb::open()?;
    let (running, name) = match Vnode::find(&kmb, &args.name) {
        Ok(vnode) => (Some(vnode), vnode.name().to_owned()),
        Err(failure) if failure.kind == Kind::NoVnode => {
            // Only a checked name may become a part of a path.
            VnodeName::new(&args.name).map_err(|_| failure)?;
            (None, args.name.clone())
        }
        Err(failure) => return Err(failure),
    };
    let note = match &running {
        Some(vnode) => Note::of(vnode),
        None => Note::read(&name),
    };
    let settings = note
        .map(|note| note.settings)
        .ok_or_else(|| no_note(&name, running.as_ref()))?;

    // What cannot be started again is better left running.
    open(&settings)?;
    if let Some(vnode) = running {
        // A supervisor leaves the start to us.
        let vnode = asked::note(&kmb, vnode)?;
        if args.force {
            stop::take_back(&kmb, &vnode)?;
        } else {
            stop::shut_down(&kmb, &vnode, Duration::from_secs(args.stop_timeout))?;
        }
    }
    let vnode = load(&kmb, &settings)?;
    boot(&kmb, vnode, &args.boot)
}

fn no_note(name: &str, running: Option<&Vnode>) -> Failure {
    let kind = if running.is_some() {
        Kind::Failed
    } else {
        Kind::NoVnode
    };
    Failure::new(
        kind,
        format!("how {name} was started is not known, so it cannot be restarted"),
    )
    .help(format!(
        "start it with `vnode start {name} ...` or `vnode apply`"
    ))
}

/// Loads a vnode and sets its first CPU off, and tells of it; it has not said anything yet when this
/// returns.
pub(crate) fn load(kmb: &Kmb, settings: &Settings) -> Result<Vnode> {
    let (vnode, took) = load_silently(kmb, settings)?;
    say::progress(
        &settings.name,
        &format!(
            "loaded in {:.1} ms: vnode {}, CPUs {}, memory {}",
            took.as_secs_f64() * 1000.0,
            vnode.number(),
            vnode.cpus(),
            vnode::memory_words(&vnode)
        ),
    );
    Ok(vnode)
}

/// Does the same without a word; tells how long the kernel took to load it.
pub(crate) fn load_silently(kmb: &Kmb, settings: &Settings) -> Result<(Vnode, Duration)> {
    let (kernel, initrd) = open(settings)?;
    let started = kmb
        .start(
            &settings.record()?,
            &kernel,
            initrd.as_ref(),
            &settings.append,
        )
        .map_err(|error| explain::start(kmb, settings, &error))?;

    let note = Note {
        vnode: started.vnode,
        generation: started.generation,
        settings: settings.clone(),
    };
    if let Err(failure) = note.keep() {
        say::warning(&format!(
            "{} will not be able to restart: {failure}",
            settings.name
        ));
    }

    let vnode = Vnode::query(kmb, started.vnode)?
        .filter(|vnode| vnode.generation() == started.generation)
        .ok_or_else(|| Failure::failed(format!("{} was taken back at once", settings.name)))?;
    Ok((vnode, Duration::from_micros(started.load_us)))
}

/// Waits for a loaded vnode as the command line asks.
fn boot(kmb: &Kmb, vnode: Vnode, args: &BootArgs) -> Result<()> {
    if !args.no_wait {
        boot_all(kmb, vec![vnode], args)?;
    }
    if args.json {
        let report = vnode.refresh(kmb)?.map(|vnode| vnode.report());
        say::json(&report)?;
    }
    Ok(())
}

/// Waits until all of some loaded vnodes are ready; fails with the first that will not be, after
/// having told about all of them.
pub(crate) fn boot_all(kmb: &Kmb, vnodes: Vec<Vnode>, args: &BootArgs) -> Result<()> {
    let timeout = Duration::from_secs(args.timeout);
    let mut failures = Vec::new();
    for (vnode, outcome) in watch::until_ready(kmb, vnodes, timeout)? {
        let Some(failure) = watch::explain_unready(kmb, &vnode, &outcome, timeout) else {
            continue;
        };
        if args.kill_on_failure {
            stop::take_back(kmb, &vnode)?;
            failures.push(Failure {
                help: None,
                ..failure
            });
        } else {
            failures.push(failure);
        }
    }
    let mut failures = failures.into_iter();
    let first = failures.next();
    failures.for_each(|failure| say::failure(&failure));
    first.map_or(Ok(()), Err)
}

fn open(settings: &Settings) -> Result<(File, Option<File>)> {
    let open = |path: &std::path::Path| File::open(path).context(|| path.display().to_string());
    let kernel = open(&settings.kernel)?;
    let initrd = settings.initrd.as_deref().map(open).transpose()?;
    Ok((kernel, initrd))
}

fn settings(args: &StartArgs) -> Result<Settings> {
    Ok(Settings {
        name: args.name.clone(),
        cpus: args.cpus.to_string(),
        memory: args.memory,
        memory_base: args.memory_base,
        placement: args.placement(),
        kernel: settings::kernel(args.kernel.as_deref())?,
        initrd: settings::initrd(args.initrd.as_deref())?,
        append: args.append.clone(),
        entry: args.entry,
    })
}
