// SPDX-License-Identifier: GPL-2.0

//! What the command line takes and refuses.

use super::*;
use clap::CommandFactory;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_command_keeps_its_own_options() {
    let line = ["vnode", "exec", "a", "ls", "-l", "--json"];
    let Some(Command::Exec(args)) = Cli::try_parse_from(line).unwrap().command else {
        panic!("not an exec")
    };
    assert_eq!(args.command, ["ls", "-l", "--json"]);
    let line = ["vnode", "exec", "a", "--", "-x"];
    let Some(Command::Exec(args)) = Cli::try_parse_from(line).unwrap().command else {
        panic!("not an exec")
    };
    assert_eq!(args.command, ["-x"]);
}

#[test]
fn the_root_keeps_cpu_0_and_places_exclude_each_other() {
    let start = |extra: &[&str]| {
        let line = ["vnode", "start", "a", "--memory", "64M"]
            .iter()
            .chain(extra);
        Cli::try_parse_from(line.copied()).is_ok()
    };
    assert!(start(&["--cpus", "1-2"]));
    assert!(!start(&["--cpus", "0-2"]));
    assert!(!start(&["--cpus", "1", "--below-4g", "--above-4g"]));
    assert!(!start(&[
        "--cpus",
        "1",
        "--below-4g",
        "--memory-base",
        "1G"
    ]));
}

#[test]
fn a_region_is_for_vnodes_or_for_readers_and_writers() {
    let create = |extra: &[&str]| {
        let line = ["vnode", "bridge", "create", "queue", "--size", "2M"];
        let command = Cli::try_parse_from(line.iter().chain(extra)).ok()?.command;
        let Some(Command::Bridge(BridgeCommand::Create(args))) = command else {
            panic!("not a create")
        };
        Some(args.settings().to_string())
    };
    let said = |extra: &[&str]| create(extra).unwrap();
    assert_eq!(said(&[]), "mode 0600, user 0, group 0, vnodes all");
    assert_eq!(
        said(&["--mode", "660", "--group", "100", "--vnodes", "db,2"]),
        "mode 0660, user 0, group 100, vnodes 2,db"
    );
    assert_eq!(
        said(&["--readers", "all", "--writers", "db"]),
        "mode 0600, user 0, group 0, readers all, writers db"
    );
    for wrong in [
        &["--vnodes", "db", "--readers", "web"][..],
        &["--vnodes", "all", "--writers", "db"],
        &["--vnodes", "db,db"],
        &["--mode", "755"],
        &["--user", "postgres"],
    ] {
        assert_eq!(create(wrong), None, "{wrong:?}");
    }
}
