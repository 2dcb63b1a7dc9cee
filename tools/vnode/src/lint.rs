// SPDX-License-Identifier: GPL-2.0

//! The linter: everything about a cluster file that can be known to be wrong before anything is
//! started. It needs no modules, and so runs on any machine; what the machine itself can give is
//! looked at by `apply`, with `--dry-run` too.

mod files;
mod regions;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use adeos_proto::id::{PhysRange, MAX_VNODES};

use crate::cli::CheckArgs;
use crate::cluster::{Cluster, Value, Wanted};
use crate::failure::{Context, Kind, Result};
use crate::finding::{Finding, Level, Source};
use crate::policy::Policy;
use crate::say;
use crate::settings::Placement;
use crate::size;

/// Where 32-bit addresses end.
const FOUR_GIB: u64 = 4 << 30;

/// Checks a file and shows what was found.
pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let text = read(&args.file)?;
    let (cluster, findings) = lint(&text, folder(&args.file));
    let source = Source {
        file: &args.file,
        text: &text,
    };
    if args.json {
        say::json(&source.json(&findings))?;
    } else {
        say::out(
            &findings
                .iter()
                .map(|finding| source.show(finding))
                .collect::<String>(),
        )?;
        say::out(&format!(
            "{}: {}\n",
            args.file.display(),
            summary(&findings, &cluster)
        ))?;
    }
    let status = if has_errors(&findings) {
        Kind::Failed.status()
    } else {
        0
    };
    Ok(ExitCode::from(status))
}

/// Reads a cluster file.
pub(crate) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).context(|| file.display().to_string())
}

/// The folder from which a cluster file names other files.
pub(crate) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// Whether a file with these findings cannot be applied.
pub(crate) fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Error)
}

/// What was found, in a few words.
pub(crate) fn summary(findings: &[Finding], cluster: &Cluster) -> String {
    let errors = findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .count();
    let warnings = findings.len().saturating_sub(errors);
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    if errors == 0 && warnings == 0 {
        let mut there = plural(cluster.vnodes.len(), "vnode");
        if !cluster.regions.is_empty() {
            there += &format!(", {}", plural(cluster.regions.len(), "region"));
        }
        return format!("{there}, nothing wrong");
    }
    format!(
        "{}, {}",
        plural(errors, "error"),
        plural(warnings, "warning")
    )
}

/// Reads a file's text and finds what is wrong with it, in the order of the file.
pub(crate) fn lint(text: &str, folder: &Path) -> (Cluster, Vec<Finding>) {
    let mut findings = Vec::new();
    let cluster = Cluster::parse(text, &mut findings);
    if findings.is_empty() && cluster.vnodes.is_empty() && cluster.regions.is_empty() {
        findings.push(
            Finding::warning("no-vnode", "the file has no vnode")
                .at(0..0, "")
                .help("add one that begins with `[[vnode]]`"),
        );
    }

    for (index, vnode) in cluster.vnodes.iter().enumerate() {
        complete(vnode, &mut findings);
        root_cpus(&cluster, vnode, &mut findings);
        place(vnode, &mut findings);
        // Each pair once, told at the later one.
        for earlier in cluster.vnodes.iter().take(index) {
            names(earlier, vnode, &mut findings);
            cpus(earlier, vnode, &mut findings);
            memory(earlier, vnode, &mut findings);
        }
    }
    number(&cluster, &mut findings);
    restart_limits(&cluster, &mut findings);
    consoles(&cluster, &mut findings);
    regions::check(&cluster, &mut findings);
    files::check(&cluster, folder, &mut findings);

    findings.sort_by_key(|finding| finding.labels.first().map(|label| label.span.start));
    (cluster, findings)
}

/// What a vnode cannot do without.
fn complete(vnode: &Wanted, findings: &mut Vec<Finding>) {
    let missing = [
        ("name", vnode.name.is_none(), "name = \"db\""),
        ("cpus", vnode.cpus.is_none(), "cpus = \"2-3\""),
        (
            "memory",
            vnode.memory.is_none(),
            "memory = \"512M\", here or in [defaults]",
        ),
    ];
    for (key, is_missing, example) in missing {
        if is_missing && !vnode.wrong.contains(&key) {
            findings.push(missing_key(
                key,
                &vnode.label(),
                vnode.span.clone(),
                example,
            ));
        }
    }
}

/// A key that something has to have, and how it is written.
fn missing_key(key: &str, label: &str, span: Range<usize>, example: &str) -> Finding {
    Finding::error("missing-key", format!("{label} has no `{key}`"))
        .at(span, "")
        .help(format!("add {example}"))
}

/// CPUs that the root cannot, or does not want to, do without.
fn root_cpus(cluster: &Cluster, vnode: &Wanted, findings: &mut Vec<Finding>) {
    let Some(cpus) = &vnode.cpus else { return };
    if cpus.value.contains(0) {
        findings.push(
            Finding::error(
                "root-cpu",
                format!("{} wants CPU 0, which is the root's", vnode.label()),
            )
            .at(cpus.span.clone(), "CPU 0 is among these")
            .help("the CPU that the firmware started cannot be lent"),
        );
    }
    let Some(kept) = &cluster.root_cpus else {
        return;
    };
    let both = cpus.value.intersection(&kept.value);
    if !both.is_empty() {
        findings.push(
            Finding::error(
                "root-cpu",
                format!("{} and the root both want CPU {both}", vnode.label()),
            )
            .at(
                cpus.span.clone(),
                format!("{} wants it here", vnode.label()),
            )
            .at(kept.span.clone(), "the root keeps it here"),
        );
    }
}

/// Where a vnode's memory is to lie, and whether it can.
fn place(vnode: &Wanted, findings: &mut Vec<Finding>) {
    if let (Some(base), Some(placement)) = (&vnode.memory_base, &vnode.placement) {
        findings.push(
            Finding::error("placement", "a fixed address leaves nothing to choose")
                .at(placement.span.clone(), "this chooses")
                .at(base.span.clone(), "this is the address")
                .help("take one of them away"),
        );
    }
    let Some(memory) = &vnode.memory else { return };
    if let Some(base) = vnode
        .memory_base
        .as_ref()
        .filter(|_| range(vnode).is_none())
    {
        findings.push(
            Finding::error(
                "memory-base",
                "the memory would reach beyond 64-bit addresses",
            )
            .at(base.span.clone(), "this address")
            .at(memory.span.clone(), "and this much"),
        );
    }
    let low = vnode
        .placement
        .as_ref()
        .filter(|place| place.value == Placement::Below4g);
    if let Some(low) = low.filter(|_| memory.value >= FOUR_GIB) {
        let size = size::show(memory.value);
        findings.push(
            Finding::error("placement", format!("{size} do not fit below 4 GiB"))
                .at(low.span.clone(), "this place is too small")
                .at(memory.span.clone(), "for this much"),
        );
    }
}

fn names(earlier: &Wanted, vnode: &Wanted, findings: &mut Vec<Finding>) {
    if let (Some(first), Some(second)) = (&earlier.name, &vnode.name) {
        same_name("vnodes", first, second, findings);
    }
}

/// Two of a kind that have one name.
fn same_name(
    kind: &str,
    first: &Value<String>,
    second: &Value<String>,
    findings: &mut Vec<Finding>,
) {
    if first.value == second.value {
        findings.push(
            Finding::error(
                "same-name",
                format!("two {kind} are called `{}`", first.value),
            )
            .at(second.span.clone(), "this one")
            .at(first.span.clone(), "and this one"),
        );
    }
}

fn cpus(earlier: &Wanted, vnode: &Wanted, findings: &mut Vec<Finding>) {
    let (Some(first), Some(second)) = (&earlier.cpus, &vnode.cpus) else {
        return;
    };
    let both = first.value.intersection(&second.value);
    if both.is_empty() {
        return;
    }
    let (one, other) = (vnode.label(), earlier.label());
    let noun = if both.len() == 1 { "CPU" } else { "CPUs" };
    findings.push(
        Finding::error(
            "same-cpu",
            format!("{one} and {other} both want {noun} {both}"),
        )
        .at(
            second.span.clone(),
            format!("{one} wants {noun} {both} here"),
        )
        .at(
            first.span.clone(),
            format!("{other} has {noun} {both} here"),
        )
        .help("a CPU belongs to one vnode only"),
    );
}

fn memory(earlier: &Wanted, vnode: &Wanted, findings: &mut Vec<Finding>) {
    let (Some(first), Some(second)) = (range(earlier), range(vnode)) else {
        return;
    };
    if !first.overlaps(second) {
        return;
    }
    let text = |range: PhysRange| format!("{:#x} to {:#x}", range.base(), range.end());
    let (one, other) = (vnode.label(), earlier.label());
    let mut finding = Finding::error(
        "same-memory",
        format!("the memory of {one} overlaps that of {other}"),
    );
    for (base, range, label) in [
        (&vnode.memory_base, second, &one),
        (&earlier.memory_base, first, &other),
    ] {
        let span = base.as_ref().map_or(0..0, |base| base.span.clone());
        finding = finding.at(span, format!("{label} has {}", text(range)));
    }
    findings.push(finding.help(format!("{one} could begin at {:#x}", first.end())));
}

fn range(vnode: &Wanted) -> Option<PhysRange> {
    PhysRange::new(
        vnode.memory_base.as_ref()?.value,
        vnode.memory.as_ref()?.value,
    )
}

/// Limits of restarts that nobody makes. A default one is told about once, and not if it limits
/// some vnode's.
fn restart_limits(cluster: &Cluster, findings: &mut Vec<Finding>) {
    let is_restarted = |vnode: &Wanted| vnode.terms().policy != Policy::Never;
    let mut told = HashSet::new();
    for vnode in cluster.vnodes.iter().filter(|vnode| !is_restarted(vnode)) {
        let Some(limit) = &vnode.restart_limit else {
            continue;
        };
        let mut same = cluster
            .vnodes
            .iter()
            .filter(|other| other.restart_limit.as_ref() == Some(limit));
        if same.any(is_restarted) || !told.insert(limit.span.start) {
            continue;
        }
        let mut finding =
            Finding::warning("restart-limit", "what is never restarted needs no limit")
                .at(limit.span.clone(), "this limits restarts")
                .help("add restart = \"on-failure\", or take the limit away");
        if let Some(restart) = &vnode.restart {
            finding = finding.at(restart.span.clone(), "of which there are none");
        }
        findings.push(finding);
    }
}

/// Consoles that vnodes may use which the file does not have.
fn consoles(cluster: &Cluster, findings: &mut Vec<Finding>) {
    for vnode in &cluster.vnodes {
        let Some(guests) = &vnode.console else {
            continue;
        };
        for guest in &guests.value.0 {
            if !has_vnode(cluster, &guest.name) {
                findings.push(
                    no_guest(
                        &guest.name,
                        guests.span.clone(),
                        "it is to use this console",
                    )
                    .help("name vnodes of this file, or `none`"),
                );
            }
        }
    }
}

fn has_vnode(cluster: &Cluster, name: &str) -> bool {
    let mut names = cluster
        .vnodes
        .iter()
        .filter_map(|vnode| vnode.name.as_ref());
    names.any(|known| known.value == name)
}

/// Somebody may do something who is not there.
fn no_guest(name: &str, span: Range<usize>, what: &str) -> Finding {
    Finding::error("no-guest", format!("there is no vnode `{name}`")).at(span, what)
}

fn number(cluster: &Cluster, findings: &mut Vec<Finding>) {
    let most = MAX_VNODES.saturating_sub(1);
    if let Some(beyond) = cluster.vnodes.get(most) {
        findings.push(
            Finding::error(
                "too-many",
                format!("{} vnodes are too many", cluster.vnodes.len()),
            )
            .at(beyond.span.clone(), "this one finds no place")
            .help(format!("a machine holds the root and {most} vnodes")),
        );
    }
}
