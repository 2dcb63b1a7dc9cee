// SPDX-License-Identifier: GPL-2.0

//! The program as a whole, as far as it goes without the kernel modules.

#![expect(clippy::unwrap_used, reason = "a helper of a test may end it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn vnode(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vnode"))
        .args(arguments)
        .output()
        .unwrap()
}

fn status(arguments: &[&str]) -> i32 {
    vnode(arguments).status.code().unwrap()
}

const CONFLICT: &str = "\
[defaults]
memory = \"512M\"
[[vnode]]
name = \"a\"
cpus = \"2-3\"
[[vnode]]
name = \"b\"
cpus = \"3\"
";

#[test]
fn statuses_are_those_that_the_help_promises() {
    let folder = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = folder.path().join("cluster.toml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    assert_eq!(
        status(&["check", &file(&CONFLICT.replace("\"3\"", "\"4\""))]),
        0
    );
    assert_eq!(status(&["check", &file(CONFLICT)]), 1);
    assert_eq!(status(&["check", "/no/such/file"]), 1);
    assert_eq!(status(&["start", "a", "--cpus", "0", "--memory", "64M"]), 2);
    assert_eq!(status(&["no-such-verb"]), 2);
    assert_eq!(status(&["--version"]), 0);
    if !Path::new("/dev/kmb").exists() {
        assert_eq!(status(&["list"]), 4);
        assert_eq!(status(&["exec", "a", "true"]), 255);
        assert_eq!(status(&["supervise", &file("")]), 4);
    }
    if !Path::new("/dev/adeos").exists() {
        for verb in [&["list"][..], &["show", "a"], &["stat"]] {
            assert_eq!(status(&[&["bridge"], verb].concat()), 4);
        }
    }
    assert_eq!(status(&["bridge"]), 2);
    assert_eq!(status(&["bridge", "show"]), 2);
    assert_eq!(status(&["supervise", &file(CONFLICT)]), 1);
    assert_eq!(status(&["supervise", "/no/such/file"]), 1);
    assert_eq!(status(&["supervise", "--no-such-option"]), 2);
}

#[test]
fn without_the_modules_the_tool_says_which_to_load() {
    if !Path::new("/dev/kmb").exists() {
        let said = String::from_utf8(vnode(&["list"]).stderr).unwrap();
        assert!(
            said.contains("insmod adeos_core.ko; insmod kmb.ko"),
            "{said}"
        );
        assert!(!said.contains('\x1b'), "no colours outside of terminals");
    }
}

#[test]
fn a_conflict_is_shown_with_both_places_to_people_and_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    fs::write(&path, CONFLICT).unwrap();
    let path = path.to_str().unwrap();

    let shown = String::from_utf8(vnode(&["check", path]).stdout).unwrap();
    assert!(shown.contains(&format!("--> {path}:8:8")), "{shown}");
    assert!(shown.contains(&format!("::: {path}:5:8")), "{shown}");

    let json: serde_json::Value =
        serde_json::from_slice(&vnode(&["check", "--json", path]).stdout).unwrap();
    assert_eq!(json[0]["code"], "same-cpu");
    assert_eq!(json[0]["labels"][0]["line"], 8);
    assert_eq!(json[0]["labels"][1]["line"], 5);
    assert_eq!(json[0]["labels"][1]["source"], "cpus = \"2-3\"");
}

#[test]
fn regions_that_contradict_each_other_are_shown_with_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    let region = "[[region]]\nname = \"queue\"\nsize = \"2M\"\n";
    fs::write(&path, [region, region].concat()).unwrap();
    let path = path.to_str().unwrap();
    for verb in ["check", "apply", "supervise"] {
        let output = vnode(&[verb, path]);
        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let message = "error[same-name]: two regions are called `queue`";
        assert!(shown.contains(message), "{shown}");
        assert!(shown.contains(&format!("--> {path}:5:8")), "{shown}");
        assert!(shown.contains(&format!("::: {path}:2:8")), "{shown}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_misspelled_policy_is_shown_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    let text = CONFLICT.replace("\"3\"", "\"4\"\nrestart = \"on-falure\"");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    for verb in ["check", "supervise"] {
        let output = vnode(&[verb, path]);
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains(&format!("--> {path}:9:11")), "{shown}");
        assert!(shown.contains("did you mean `on-failure`?"), "{shown}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn versions_name_every_interface() {
    let said = String::from_utf8(vnode(&["-V"]).stdout).unwrap();
    for word in [
        "vnode ",
        "ioctl ABI ",
        "control area ",
        "exec stream ",
        "kmb.ko",
    ] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn pages_and_completions_are_made() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(status(&["man", folder.path().to_str().unwrap()]), 0);
    let page = fs::read_to_string(folder.path().join("vnode.1")).unwrap();
    assert!(page.contains("Exit status"));
    assert!(folder.path().join("vnode-start.1").exists());
    let page = fs::read_to_string(folder.path().join("vnode-supervise.1")).unwrap();
    for word in ["SIGHUP", "Exit status", "another supervisor", "json"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let page = fs::read_to_string(folder.path().join("vnode-bridge-create.1")).unwrap();
    for word in ["readers", "writers", "[[region]]"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    for verb in ["list", "show", "stat"] {
        let page = folder.path().join(format!("vnode-bridge-{verb}.1"));
        assert!(fs::read_to_string(page).unwrap().contains("json"));
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(vnode(&["completions", shell]).stdout).unwrap();
        assert!(script.contains("supervise") && script.contains("bridge"));
    }
}
