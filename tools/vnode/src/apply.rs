// SPDX-License-Identifier: GPL-2.0

//! Applying a cluster file: what it asks for is compared with what runs, all that is in the way
//! is found before anything is touched, and then the rest is started.
//!
//! Vnodes that the file does not name are left alone. Images are loaded one after the other, the
//! ones with a fixed address first so that no other takes their place; the kernels then boot side
//! by side. What has been started stays when a later start fails.

mod plan;

use serde::Serialize;

use crate::cli::{ApplyArgs, BootArgs};
use crate::device::Kmb;
use crate::failure::{Failure, Result};
use crate::finding::Source;
use crate::lint;
use crate::say;
use crate::settings::Settings;
use crate::start;
use crate::stop;
use crate::vnode::Vnode;
use plan::{Action, OnDifference, Plan};

/// Applies the file that the command line names.
pub(crate) fn run(args: &ApplyArgs) -> Result<()> {
    let wanted = wanted(args)?;
    let kmb = Kmb::open()?;
    let on_difference = if args.replace {
        OnDifference::Replace
    } else {
        OnDifference::Refuse
    };
    let plan = Plan::make(&kmb, wanted, on_difference)?;
    if args.dry_run {
        print(&plan, &args.boot)?;
    }
    refuse_conflicts(&plan)?;
    if args.dry_run {
        return Ok(());
    }

    let done = carry_out(&kmb, &plan, args);
    if args.boot.json {
        let reports: Vec<_> = Vnode::all(&kmb)?.iter().map(Vnode::report).collect();
        say::json(&reports)?;
    }
    done
}

/// What the file asks for; fails with all that the linter finds.
fn wanted(args: &ApplyArgs) -> Result<Vec<Settings>> {
    let text = lint::read(&args.file)?;
    let folder = lint::folder(&args.file);
    let (cluster, findings) = lint::lint(&text, folder);
    let source = Source {
        file: &args.file,
        text: &text,
    };
    findings
        .iter()
        .for_each(|finding| say::err(&source.show(finding)));
    if lint::has_errors(&findings) {
        let summary = lint::summary(&findings, cluster.vnodes.len());
        return Err(
            Failure::failed(format!("{}: {summary}", args.file.display()))
                .help("nothing was started"),
        );
    }
    let settings = cluster
        .vnodes
        .iter()
        .filter_map(|vnode| vnode.settings(folder).transpose());
    settings.collect()
}

fn refuse_conflicts(plan: &Plan) -> Result<()> {
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

fn carry_out(kmb: &Kmb, plan: &Plan, args: &ApplyArgs) -> Result<()> {
    for step in plan.steps.iter().filter(|step| step.action == Action::Keep) {
        say::progress(&step.settings.name, "runs already");
    }
    // All that is to go goes first: what it holds may be wanted by any of the others.
    for step in &plan.steps {
        if let (Action::Replace | Action::Revive, Some(vnode)) = (step.action, &step.running) {
            stop::take_back(kmb, vnode)?;
        }
    }

    let mut starts: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| step.action != Action::Keep)
        .collect();
    starts.sort_by_key(|step| step.settings.memory_base.is_none());
    let mut loaded = Vec::new();
    let mut failed = None;
    for step in starts {
        match start::load(kmb, &step.settings) {
            Ok(vnode) => loaded.push(vnode),
            Err(failure) => failed = tell_earlier(failed, failure),
        }
    }
    if !args.boot.no_wait {
        if let Err(failure) = start::boot_all(kmb, loaded, &args.boot) {
            failed = tell_earlier(failed, failure);
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

/// What `apply --dry-run --json` prints.
#[derive(Serialize)]
struct JsonPlan<'a> {
    steps: Vec<JsonStep<'a>>,
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
            conflicts: &plan.conflicts,
        });
    }
    plan.steps
        .iter()
        .try_for_each(|step| say::out(&format!("{step}\n")))
}
