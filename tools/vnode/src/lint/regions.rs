// SPDX-License-Identifier: GPL-2.0

//! Regions: what is missing, what contradicts itself or another one, and vnodes that the file does not have.

#[cfg(test)]
mod tests;

use adeos_proto::id::VnodeName;

use crate::cluster::{Cluster, Region};
use crate::finding::Finding;

/// Looks at all regions.
pub(super) fn check(cluster: &Cluster, findings: &mut Vec<Finding>) {
    for (index, region) in cluster.regions.iter().enumerate() {
        complete(region, findings);
        who(region, findings);
        guests(cluster, region, findings);
        // Each pair once, told at the later one.
        for earlier in cluster.regions.iter().take(index) {
            if let (Some(first), Some(second)) = (&earlier.name, &region.name) {
                super::same_name("regions", first, second, findings);
            }
        }
    }
}

/// What a region cannot do without.
fn complete(region: &Region, findings: &mut Vec<Finding>) {
    let missing = [
        ("name", region.name.is_none(), "name = \"queue\""),
        ("size", region.size.is_none(), "size = \"4M\""),
    ];
    for (key, is_missing, example) in missing {
        if is_missing && !region.wrong.contains(&key) {
            let span = region.span.clone();
            findings.push(super::missing_key(key, &region.label(), span, example));
        }
    }
}

/// Who may use it is said in one way or the other.
fn who(region: &Region, findings: &mut Vec<Finding>) {
    let Some(vnodes) = &region.vnodes else { return };
    let mut finding = Finding::error(
        "vnodes",
        format!("{} says twice which vnodes may use it", region.label()),
    );
    let others = [
        (&region.readers, "these may read"),
        (&region.writers, "these may write"),
    ];
    for (list, what) in others {
        if let Some(list) = list {
            finding = finding.at(list.span.clone(), what);
        }
    }
    if !finding.labels.is_empty() {
        let finding = finding.at(vnodes.span.clone(), "these may do both");
        findings.push(finding.help("take `vnodes` away, or `readers` and `writers`"));
    }
}

/// Vnodes that may use it which the file does not have.
fn guests(cluster: &Cluster, region: &Region, findings: &mut Vec<Finding>) {
    let lists = [&region.vnodes, &region.readers, &region.writers];
    for list in lists.into_iter().flatten() {
        for name in list.value.names() {
            if name != VnodeName::ROOT && !super::has_vnode(cluster, name) {
                findings.push(
                    super::no_guest(name, list.span.clone(), "it is to use this region")
                        .help("name vnodes of this file, `all` or `none`"),
                );
            }
        }
    }
}
