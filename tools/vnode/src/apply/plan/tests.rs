// SPDX-License-Identifier: GPL-2.0

//! Plans for a machine with one vnode on it.

use super::*;
use adeos_proto::abi::{state, Query};
use adeos_proto::record::set_text;

fn cpus(list: &str) -> [u64; 4] {
    CpuSet::parse(list).unwrap().words()
}

fn info() -> Info {
    Info {
        max_vnodes: 16,
        pool_size: 2 << 30,
        pool_free: 1 << 30,
        pool_largest: 1 << 30,
        lendable: cpus("3-5"),
        lent: cpus("1-2"),
        ..Default::default()
    }
}

fn running(name: &str, list: &str, state: u32) -> Vnode {
    Vnode::from(Query {
        vnode: 1,
        generation: 1,
        state,
        cpus: cpus(list),
        memory_base: 1 << 30,
        memory_size: 1 << 30,
        name: set_text(name),
        ..Default::default()
    })
}

fn wanted(name: &str, list: &str, memory: u64) -> Settings {
    let json = serde_json::json!({
        "name": name, "cpus": list, "memory": memory, "memory_base": null,
        "placement": "any", "kernel": "/k", "initrd": "/i", "append": "", "entry": "image",
    });
    serde_json::from_value(json).unwrap()
}

fn plan(there: &Vnode, wanted: Settings, note: Option<Note>, on_difference: OnDifference) -> Plan {
    let same = Some(there).filter(|vnode| vnode.name() == wanted.name);
    let steps = vec![step(wanted, same, note)];
    let there = std::slice::from_ref(there);
    Plan::compare(&info(), there, steps, Vec::new(), on_difference)
}

#[test]
fn what_runs_as_it_should_is_kept() {
    let a = running("a", "1-2", state::RUNNING);
    let plan = plan(&a, wanted("a", "1-2", 1 << 30), None, OnDifference::Refuse);
    assert_eq!(plan.steps[0].action, Action::Keep);
    assert!(plan.conflicts.is_empty());
}

#[test]
fn what_differs_is_replaced_only_when_told_so() {
    let a = running("a", "1-2", state::RUNNING);
    let refused = plan(&a, wanted("a", "1-3", 1 << 30), None, OnDifference::Refuse);
    assert_eq!(refused.steps[0].action, Action::Replace);
    assert!(refused.conflicts[0].contains("its CPU list is 1-2, wanted is 1-3"));
    // Its own CPUs and memory come back first, and so are not in its way.
    let told = plan(&a, wanted("a", "1-3", 2 << 30), None, OnDifference::Replace);
    assert!(told.conflicts.is_empty(), "{:?}", told.conflicts);
}

#[test]
fn another_command_line_is_a_difference() {
    let a = running("a", "1-2", state::RUNNING);
    let old = Settings {
        append: "quiet".into(),
        ..wanted("a", "1-2", 1 << 30)
    };
    let note = Note {
        vnode: 1,
        generation: 1,
        settings: old,
    };
    let plan = plan(
        &a,
        wanted("a", "1-2", 1 << 30),
        Some(note),
        OnDifference::Refuse,
    );
    assert!(plan.conflicts[0].contains("its command line is `quiet`, wanted is ``"));
}

#[test]
fn the_dead_are_revived() {
    let a = running("a", "1-2", state::DEAD);
    let plan = plan(&a, wanted("a", "1-2", 1 << 30), None, OnDifference::Refuse);
    assert_eq!(plan.steps[0].action, Action::Revive);
    assert!(plan.conflicts.is_empty(), "{:?}", plan.conflicts);
}

#[test]
fn neighbours_are_in_the_way_by_name() {
    let a = running("a", "1-2", state::RUNNING);
    let plan_b = plan(
        &a,
        wanted("b", "2-3", 512 << 20),
        None,
        OnDifference::Refuse,
    );
    assert_eq!(plan_b.conflicts.len(), 1);
    assert!(plan_b.conflicts[0].contains("CPU 2 belongs to a (running)"));

    let there = Settings {
        memory_base: Some(1 << 30),
        ..wanted("b", "3", 512 << 20)
    };
    let plan_b = plan(&a, there, None, OnDifference::Refuse);
    assert!(plan_b.conflicts[0].contains("the memory of b overlaps that of a"));
}

#[test]
fn more_memory_than_is_free_is_a_conflict() {
    let a = running("a", "1-2", state::RUNNING);
    let plan = plan(&a, wanted("b", "3", 3 << 29), None, OnDifference::Refuse);
    assert!(plan.conflicts[0].contains("want 1536M of memory, the pool has 1G free"));
}

#[test]
fn regions_take_memory_too() {
    let a = running("a", "1-2", state::RUNNING);
    let plan = |size| {
        let steps = vec![step(wanted("b", "3", 512 << 20), None, None)];
        let regions = vec![regions::tests::to_make("queue", size)];
        let there = std::slice::from_ref(&a);
        Plan::compare(&info(), there, steps, regions, OnDifference::Refuse)
    };
    assert!(plan(512 << 20).conflicts.is_empty());
    assert_eq!(
        plan(514 << 20).conflicts,
        ["the vnodes to start and the regions to make want 1026M of memory, the pool has 1G free"]
    );
}

#[test]
fn a_region_of_another_size_is_in_the_way() {
    let a = running("a", "1-2", state::RUNNING);
    let steps = vec![step(wanted("a", "1-2", 1 << 30), Some(&a), None)];
    let regions = vec![regions::tests::of_another_size()];
    let there = std::slice::from_ref(&a);
    let plan = Plan::compare(&info(), there, steps, regions, OnDifference::Replace);
    assert_eq!(plan.conflicts.len(), 1);
    assert!(plan.conflicts[0].contains("its size is 2M, wanted is 4M"));
}
