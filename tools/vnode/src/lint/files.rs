// SPDX-License-Identifier: GPL-2.0

//! The files that a cluster file names: whether they are there, and whether a kernel is one.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, Value, Wanted};
use crate::finding::Finding;
use crate::kernel_file::{self, Unfit};
use crate::size;

/// Looks at all files. Those that are not named are looked for when they are needed: the machine
/// that lints need not be the one that starts.
pub(super) fn check(cluster: &Cluster, folder: &Path, findings: &mut Vec<Finding>) {
    // A default is told about once, not for each vnode that has it.
    let mut seen = HashSet::new();
    for vnode in &cluster.vnodes {
        let kernel = vnode.kernel.as_ref().and_then(|kernel| {
            let found = look_at_kernel(kernel, folder);
            keep(found, kernel, &mut seen, findings)
        });
        let initrd = vnode.initrd.as_ref().and_then(|initrd| {
            let found = look_at_initrd(initrd, folder);
            keep(found, initrd, &mut seen, findings)
        });
        room(vnode, kernel, initrd, findings);
    }
}

fn keep(
    found: Result<u64, Finding>,
    path: &Value<PathBuf>,
    seen: &mut HashSet<usize>,
    findings: &mut Vec<Finding>,
) -> Option<u64> {
    match found {
        Ok(size) => Some(size),
        Err(finding) => {
            if seen.insert(path.span.start) {
                findings.push(finding);
            }
            None
        }
    }
}

/// Whether the memory can hold what has to be in it at the start; not whether that is enough to
/// live on.
fn room(vnode: &Wanted, kernel: Option<u64>, initrd: Option<u64>, findings: &mut Vec<Finding>) {
    let (Some(memory), Some(kernel)) = (&vnode.memory, kernel) else {
        return;
    };
    let needed = kernel.saturating_add(initrd.unwrap_or(0));
    if needed > memory.value {
        let mut finding = Finding::error(
            "memory",
            format!(
                "{} is too little for the kernel of {}",
                size::show(memory.value),
                vnode.label()
            ),
        )
        .at(memory.span.clone(), "this much")
        .help(format!(
            "kernel and initial RAM disk need {} MiB to start",
            needed.div_ceil(1 << 20)
        ));
        if let Some(path) = &vnode.kernel {
            finding = finding.at(path.span.clone(), "for this kernel");
        }
        findings.push(finding);
    }
}

/// Bytes of memory that a kernel wants at its start, or what is wrong with its file.
fn look_at_kernel(kernel: &Value<PathBuf>, folder: &Path) -> Result<u64, Finding> {
    let path = folder.join(&kernel.value);
    kernel_file::needs(&path).map_err(|unfit| match unfit {
        Unfit::Unreadable(error) => missing("kernel", &path, kernel, &error),
        Unfit::Image(error) => Finding::error(
            "kernel",
            format!("{} cannot be started: {}", path.display(), error.describe()),
        )
        .at(kernel.span.clone(), "")
        .help("a vnode needs a relocatable x86-64 bzImage"),
    })
}

/// Bytes of an initial RAM disk, or what is wrong with its file.
fn look_at_initrd(initrd: &Value<PathBuf>, folder: &Path) -> Result<u64, Finding> {
    if initrd.value == Path::new("none") {
        return Ok(0);
    }
    let path = folder.join(&initrd.value);
    let (_, metadata) =
        kernel_file::open(&path).map_err(|error| missing("initrd", &path, initrd, &error))?;
    Ok(metadata.len())
}

fn missing(key: &'static str, path: &Path, value: &Value<PathBuf>, error: &io::Error) -> Finding {
    Finding::error(key, format!("{}: {error}", path.display()))
        .at(value.span.clone(), "")
        .help("paths are looked for from the folder of the cluster file")
}
