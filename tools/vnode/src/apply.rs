// SPDX-License-Identifier: GPL-2.0

//! Applying a cluster file: what it asks for is compared with what runs, all that is in the way
//! is found before anything is touched, and then the rest is started.
//!
//! Vnodes that the file does not name are left alone. Images are loaded one after the other, the
//! ones with a fixed address first so that no other takes their place; the kernels then boot side
//! by side. What has been started stays when a later start fails. Regions are made in between, when all vnodes
//! have their numbers.

mod plan;

use std::path::Path;
use std::thread;
use std::time::Instant;

use serde::Serialize;

use crate::bridge::regions::{self, Regions};
use crate::cli::{ApplyArgs, BootArgs};
use crate::console::sharing::{self, Sharing};
use crate::device::Kmb;
use crate::failure::{Failure, Result};
use crate::finding::Source;
use crate::lint;
use crate::network::wiring::Wiring;
use crate::policy::Terms;
use crate::say;
use crate::settings::Settings;
use crate::start;
use crate::stop;
use crate::vnode::{self, Vnode};
pub(crate) use plan::{Action, OnDifference, Plan};

/// Applies the file that the command line names.
pub(crate) fn run(args: &ApplyArgs) -> Result<()> {
    let Aim {
        vnodes,
        sharing,
        wiring,
        regions,
    } = wanted(&args.file)?;
    let settings = vnodes.into_iter().map(|(settings, _)| settings).collect();
    let kmb = Kmb::open()?;
    let plan = Plan::make(&kmb, settings, &regions, OnDifference::new(args.replace))?;
    if args.dry_run {
        print(&plan, &args.boot)?;
    }
    refuse_conflicts(&plan)?;
    if args.dry_run {
        return Ok(());
    }

    sharing.set_group()?;
    wiring.allow(&kmb)?;
    let mut settled = Vec::new();
    let mut done = carry_out(&kmb, &plan, args, &wiring, || {
        settle(&kmb, &regions, &mut settled)
    });
    if done.is_ok() && !args.boot.no_wait {
        done = share_consoles(&kmb, &sharing).and_then(|()| wiring.plug(&kmb));
    }
    if args.boot.json {
        say::json(&JsonState {
            vnodes: Vnode::all(&kmb)?.iter().map(Vnode::report).collect(),
            regions: &settled,
        })?;
    }
    done
}

/// What a file asks for.
pub(crate) struct Aim {
    /// The vnodes, and on what terms they are restarted.
    pub(crate) vnodes: Vec<(Settings, Terms)>,
    /// Who may use their consoles.
    pub(crate) sharing: Sharing,
    /// Which of them are on which segments.
    pub(crate) wiring: Wiring,
    /// Memory for their programs.
    pub(crate) regions: Regions,
}

/// What a file asks for; fails with all that the linter finds.
pub(crate) fn wanted(file: &Path) -> Result<Aim> {
    let text = lint::read(file)?;
    let folder = lint::folder(file);
    let (cluster, findings) = lint::lint(&text, folder);
    let source = Source { file, text: &text };
    findings
        .iter()
        .for_each(|finding| say::err(&source.show(finding)));
    if lint::has_errors(&findings) {
        let summary = lint::summary(&findings, &cluster);
        return Err(
            Failure::failed(format!("{}: {summary}", file.display())).help("nothing was started")
        );
    }
    let settings = cluster.vnodes.iter().filter_map(|vnode| {
        let settings = vnode.settings(folder).transpose()?;
        Some(settings.map(|settings| (settings, vnode.terms())))
    });
    Ok(Aim {
        vnodes: settings.collect::<Result<_>>()?,
        sharing: Sharing::of(&cluster)?,
        wiring: Wiring::of(&cluster),
        regions: Regions::of(&cluster),
    })
}

/// Says who may use consoles, and waits for those that have not come yet.
fn share_consoles(kmb: &Kmb, sharing: &Sharing) -> Result<()> {
    let began = Instant::now();
    loop {
        let missing = sharing.carry_out(kmb)?;
        if missing.is_empty() || !Sharing::is_worth_waiting(began.elapsed()) {
            Sharing::warn_of(&missing);
            return Ok(());
        }
        thread::sleep(sharing::PAUSE);
    }
}

/// Fails with all that is in the way of a plan.
pub(crate) fn refuse_conflicts(plan: &Plan) -> Result<()> {
    let Some((last, others)) = plan.conflicts.split_last() else {
        return Ok(());
    };
    others
        .iter()
        .for_each(|conflict| say::failure(&Failure::failed(conflict)));
    say::failure(&Failure::failed(last));
    let count = plan.conflicts.len();
    let noun = if count == 1 { "conflict" } else { "conflicts" };
    Err(Failure::failed(format!(
        "{count} {noun} with what runs; nothing was started"
    )))
}

/// Takes back all that is to go, before anything is started: what it holds may be wanted by any of
/// the others.
pub(crate) fn make_way(kmb: &Kmb, plan: &Plan) -> Result<()> {
    for step in &plan.steps {
        if let (Action::Replace | Action::Revive, Some(vnode)) = (step.action, &step.running) {
            stop::take_back(kmb, vnode)?;
        }
    }
    Ok(())
}

/// Starts what is to be started; `settle` is for what the numbers of all vnodes are needed for.
fn carry_out(
    kmb: &Kmb,
    plan: &Plan,
    args: &ApplyArgs,
    wiring: &Wiring,
    settle: impl FnOnce() -> Result<()>,
) -> Result<()> {
    for step in plan.steps.iter().filter(|step| step.action == Action::Keep) {
        say::progress(&step.settings.name, "runs already");
    }
    make_way(kmb, plan)?;

    let mut loaded = Vec::new();
    let mut failed = None;
    for step in plan.starts() {
        match start::load(kmb, &step.settings) {
            Ok(vnode) => loaded.push(vnode),
            Err(failure) => failed = tell_earlier(failed, failure),
        }
    }
    // Before they have got far enough to want it.
    for allowed in [wiring.allow(kmb), settle()] {
        if let Err(failure) = allowed {
            failed = tell_earlier(failed, failure);
        }
    }
    if !args.boot.no_wait {
        if let Err(failure) = start::boot_all(kmb, loaded, &args.boot) {
            failed = tell_earlier(failed, failure);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Brings regions to what the file says, as far as that goes, and tells of each; adds it to `settled`.
fn settle(kmb: &Kmb, regions: &Regions, settled: &mut Vec<regions::Step>) -> Result<()> {
    let mut failed = None;
    for region in regions.carry_out(kmb)? {
        match region {
            Ok(step) => {
                step.tell();
                settled.push(step);
            }
            Err(failure) => failed = tell_earlier(failed, failure),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Tells of the failure before this one: the last of them ends the program.
fn tell_earlier(earlier: Option<Failure>, failure: Failure) -> Option<Failure> {
    if let Some(earlier) = earlier {
        say::failure(&earlier);
    }
    Some(failure)
}

/// What `apply --json` prints: all vnodes that there are, and what was done about the file's regions.
#[derive(Serialize)]
struct JsonState<'a> {
    vnodes: Vec<vnode::Report>,
    regions: &'a [regions::Step],
}

/// What `apply --dry-run --json` prints.
#[derive(Serialize)]
struct JsonPlan<'a> {
    steps: Vec<JsonStep<'a>>,
    regions: &'a [regions::Step],
    conflicts: &'a [String],
}

#[derive(Serialize)]
struct JsonStep<'a> {
    action: Action,
    differences: &'a [String],
    settings: &'a Settings,
}

fn print(plan: &Plan, args: &BootArgs) -> Result<()> {
    if args.json {
        let steps = plan.steps.iter().map(|step| JsonStep {
            action: step.action,
            differences: &step.differences,
            settings: &step.settings,
        });
        let steps = steps.collect();
        return say::json(&JsonPlan {
            steps,
            regions: &plan.regions,
            conflicts: &plan.conflicts,
        });
    }
    let vnodes = plan.steps.iter().map(|step| format!("{step}\n"));
    let regions = plan.regions.iter().map(|step| format!("{step}\n"));
    vnodes.chain(regions).try_for_each(|line| say::out(&line))
}
