// SPDX-License-Identifier: GPL-2.0

//! The promises of the linter, one mistake at a time.

use std::fs;
use std::path::Path;

use super::*;
use crate::policy::Terms;

const GOOD: &str = "\
[defaults]
memory = \"512M\"

[[vnode]]
name = \"a\"
cpus = \"1\"

[[vnode]]
name = \"b\"
cpus = \"2-3\"
memory = \"1G\"
memory-base = \"0x40000000\"
";

fn findings(text: &str) -> Vec<Finding> {
    lint(text, Path::new("")).1
}

fn codes(text: &str) -> Vec<&'static str> {
    findings(text).iter().map(|finding| finding.code).collect()
}

/// The good file with something in it replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    GOOD.replacen(from, to, 1)
}

/// The text that each label of the only finding underlines.
fn underlined(text: &str) -> Vec<&str> {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
        .labels
        .iter()
        .map(|label| &text[label.span.clone()])
        .collect()
}

#[test]
fn a_good_file_has_no_findings() {
    assert!(findings(GOOD).is_empty(), "{:?}", findings(GOOD));
}

#[test]
fn an_empty_file_is_worth_a_warning_only() {
    let found = findings("");
    assert_eq!(found[0].code, "no-vnode");
    assert!(!has_errors(&found));
}

#[test]
fn one_cpu_for_two_vnodes_names_both() {
    let text = with("\"2-3\"", "\"1-3\"");
    assert_eq!(codes(&text), ["same-cpu"]);
    assert_eq!(underlined(&text), ["\"1-3\"", "\"1\""]);
}

#[test]
fn one_name_for_two_vnodes_names_both() {
    let text = with("name = \"b\"", "name = \"a\"");
    assert_eq!(codes(&text), ["same-name"]);
    assert_eq!(findings(&text)[0].labels.len(), 2);
}

#[test]
fn overlapping_memory_names_both() {
    let text = with("name = \"a\"", "name = \"a\"\nmemory-base = \"0x30000000\"");
    assert_eq!(codes(&text), ["same-memory"]);
    assert_eq!(underlined(&text), ["\"0x40000000\"", "\"0x30000000\""]);
    let apart = with("name = \"a\"", "name = \"a\"\nmemory-base = \"0x20000000\"");
    assert!(findings(&apart).is_empty());
}

#[test]
fn the_roots_cpus_are_refused() {
    assert_eq!(codes(&with("\"1\"", "\"0-1\"")), ["root-cpu"]);
    let text = with("[defaults]", "[root]\ncpus = \"0-1\"\n[defaults]");
    assert_eq!(codes(&text), ["root-cpu"]);
    assert_eq!(underlined(&text), ["\"1\"", "\"0-1\""]);
}

#[test]
fn a_slip_of_the_pen_is_recognised() {
    let found = findings(&with("memory-base", "memory_base"));
    assert_eq!(
        found[0].help.as_deref(),
        Some("did you mean `memory-base`?")
    );
    let found = findings(&with("cpus", "cpu"));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `cpus`?"));
    let found = findings(&with("[defaults]", "[default]"));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `defaults`?"));
    let found = findings(&with("cpus = \"1\"", "cpus = \"1\"\ncolour = \"red\""));
    assert!(found[0]
        .help
        .as_deref()
        .unwrap()
        .starts_with("there are name, "));
}

#[test]
fn a_default_that_two_cannot_share_is_none() {
    assert_eq!(
        codes(&with("memory", "cpus = \"3\"\nmemory")),
        ["misplaced-key"]
    );
}

#[test]
fn each_value_is_checked_where_it_stands() {
    for (from, to, code) in [
        ("\"512M\"", "\"65M\"", "memory"),
        ("\"512M\"", "\"32M\"", "memory"),
        ("\"512M\"", "\"lots\"", "memory"),
        ("\"0x40000000\"", "\"0x40000001\"", "memory-base"),
        ("\"1\"", "\"3-1\"", "cpus"),
        ("\"1\"", "\"x\"", "cpus"),
        ("\"a\"", "\"-a\"", "name"),
        ("\"a\"", "\"root\"", "name"),
        (
            "cpus = \"1\"",
            "cpus = \"1\"\nappend = \"caf\u{e9}\"",
            "append",
        ),
        ("cpus = \"1\"", "cpus = \"1\"\nentry = \"jump\"", "entry"),
        (
            "cpus = \"1\"",
            "cpus = \"1\"\nplacement = \"low\"",
            "placement",
        ),
    ] {
        let text = with(from, to);
        assert!(codes(&text).contains(&code), "{to}: {:?}", findings(&text));
        assert!(has_errors(&findings(&text)));
    }
}

#[test]
fn restarts_are_per_vnode_or_by_default() {
    let text = with(
        "[defaults]",
        "[defaults]\nrestart = \"on-failure\"\nrestart-limit = \"7\"",
    );
    let text = text.replacen("\"2-3\"", "\"2-3\"\nrestart = \"always\"", 1);
    let text = text + "[[vnode]]\nname = \"c\"\ncpus = \"4\"\nrestart = \"never\"\n";
    let (cluster, found) = lint(&text, Path::new(""));
    assert!(found.is_empty(), "{found:?}");
    let terms = cluster.vnodes.iter().map(Wanted::terms);
    let expected = [
        (Policy::OnFailure, Some(7)),
        (Policy::Always, Some(7)),
        (Policy::Never, None),
    ]
    .map(|(policy, limit)| Terms { policy, limit });
    assert_eq!(terms.collect::<Vec<_>>(), expected);
    // Where nobody says anything, nothing is restarted.
    let silent = lint(GOOD, Path::new("")).0;
    assert_eq!(silent.vnodes[0].terms(), Terms::default());
}

#[test]
fn a_misspelled_value_is_recognised() {
    for (value, near) in [
        ("on_failure", Some("on-failure")),
        ("onfailure", Some("on-failure")),
        ("Always", Some("always")),
        ("nver", Some("never")),
        ("perhaps", None),
    ] {
        let text = with("\"1\"", &format!("\"1\"\nrestart = \"{value}\""));
        assert_eq!(codes(&text), ["restart"]);
        assert_eq!(underlined(&text), [format!("\"{value}\"")]);
        let found = findings(&text);
        assert!(found[0].message.contains("`never`, `on-failure`, `always`"));
        let help = near.map(|near| format!("did you mean `{near}`?"));
        assert_eq!(found[0].help, help, "{value}");
    }
    let found = findings(&with("\"1\"", "\"1\"\nplacement = \"below4g\""));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `below-4g`?"));
    let found = findings(&with("\"1\"", "\"1\"\nentry = \"spii\""));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `sipi`?"));
}

#[test]
fn a_limit_of_restarts_is_a_number_and_limits_some() {
    for value in ["0", "-1", "many", "4294967296", ""] {
        let text = with(
            "\"1\"",
            &format!("\"1\"\nrestart = \"always\"\nrestart-limit = \"{value}\""),
        );
        assert_eq!(codes(&text), ["restart-limit"], "{value}");
        assert!(has_errors(&findings(&text)));
    }
    let found = findings(&with(
        "\"1\"",
        "\"1\"\nrestart = \"always\"\nrestart-limit = 5",
    ));
    assert_eq!(
        found[0].help.as_deref(),
        Some("write restart-limit = \"5\"")
    );

    let text = with("\"1\"", "\"1\"\nrestart = \"never\"\nrestart-limit = \"5\"");
    assert_eq!(codes(&text), ["restart-limit"]);
    assert!(!has_errors(&findings(&text)));
    assert_eq!(underlined(&text), ["\"5\"", "\"never\""]);
    // A default that two vnodes have is told about once.
    let text = with("[defaults]", "[defaults]\nrestart-limit = \"5\"");
    assert_eq!(codes(&text), ["restart-limit"]);
    let used = text.replacen("\"1\"", "\"1\"\nrestart = \"always\"", 1);
    assert!(findings(&used).is_empty(), "{:?}", findings(&used));
}

#[test]
fn a_console_is_for_vnodes_of_the_file() {
    for good in ["b", "b:w", "none"] {
        let text = with("\"1\"", &format!("\"1\"\nconsole = \"{good}\""));
        assert!(findings(&text).is_empty(), "{good}: {:?}", findings(&text));
    }
    let text = with("\"1\"", "\"1\"\nconsole = \"b, c:w\"");
    assert_eq!(codes(&text), ["no-guest"]);
    assert_eq!(underlined(&text), ["\"b, c:w\""]);
    let text = with("\"1\"", "\"1\"\nconsole = \"b:x\"");
    assert_eq!(codes(&text), ["console"]);
}

#[test]
fn consoles_are_for_a_group_of_the_root() {
    let text = with(
        "[defaults]",
        "[root]\nconsole-group = \"dialout\"\n[defaults]",
    );
    assert!(findings(&text).is_empty(), "{:?}", findings(&text));
    let text = with("[defaults]", "[root]\nconsole-group = \"a b\"\n[defaults]");
    assert_eq!(codes(&text), ["console-group"]);
    assert_eq!(underlined(&text), ["\"a b\""]);
    let text = with("[defaults]", "[defaults]\nconsole-group = \"dialout\"");
    assert_eq!(codes(&text), ["unknown-key"]);
}

#[test]
fn segments_are_named_once_each() {
    for good in ["storage", "storage,web"] {
        let text = with("\"1\"", &format!("\"1\"\nsegments = \"{good}\""));
        assert!(findings(&text).is_empty(), "{good}: {:?}", findings(&text));
    }
    for bad in ["", "web,web", "-web", "a b", "a-name-too-long-for-a-device"] {
        let text = with("\"1\"", &format!("\"1\"\nsegments = \"{bad}\""));
        assert_eq!(codes(&text), ["segments"], "{bad}");
        assert_eq!(underlined(&text), [format!("\"{bad}\"")]);
    }
    let text = with("\"1\"", "\"1\"\nsegment = \"web\"");
    assert_eq!(codes(&text), ["unknown-key"]);
    assert_eq!(
        findings(&text)[0].help.as_deref(),
        Some("did you mean `segments`?")
    );
    let text = with("[defaults]", "[defaults]\nsegments = \"web\"");
    assert_eq!(codes(&text), ["misplaced-key"]);
}

#[test]
fn whoever_is_on_segments_loads_the_network() {
    for (said, arguments) in [
        ("", ""),
        ("append = \"quiet\"", "quiet"),
        ("segments = \"web\"", "vnet.devices=0"),
        (
            "segments = \"web\"\nappend = \"quiet\"",
            "quiet vnet.devices=0",
        ),
        (
            "segments = \"web\"\nappend = \"vnet.devices=2 quiet\"",
            "vnet.devices=2 quiet",
        ),
    ] {
        let text = with("\"1\"", &format!("\"1\"\n{said}"));
        assert_eq!(
            lint(&text, Path::new("")).0.vnodes[0].arguments(),
            arguments
        );
    }
}

#[test]
fn a_number_without_quotes_is_told_how_to_be_written() {
    let found = findings(&with("cpus = \"1\"", "cpus = 1"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].help.as_deref(), Some("write cpus = \"1\""));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(codes(&with("cpus = \"1\"\n", "")), ["missing-key"]);
    assert_eq!(codes("[[vnode]]\n"), ["missing-key"; 3]);
    // One vnode's mistake does not hide another's.
    let text = with("\"1\"", "\"x\"").replace("cpus = \"2-3\"\n", "");
    assert_eq!(codes(&text), ["cpus", "missing-key"]);
}

#[test]
fn a_place_below_4_gib_has_an_end() {
    let text = with(
        "cpus = \"1\"",
        "cpus = \"1\"\nmemory = \"4G\"\nplacement = \"below-4g\"",
    );
    assert_eq!(codes(&text), ["placement"]);
    let text = with("memory-base", "placement = \"any\"\nmemory-base");
    assert_eq!(codes(&text), ["placement"]);
    let text = with("\"0x40000000\"", "\"0xffffffffffe00000\"");
    assert_eq!(codes(&text), ["memory-base"]);
}

#[test]
fn a_default_place_yields_to_an_address() {
    assert!(findings(&with("[defaults]", "[defaults]\nplacement = \"below-4g\"")).is_empty());
}

#[test]
fn nothing_wrong_is_said_of_what_is_there() {
    let summary = |text: &str| {
        let (cluster, found) = lint(text, Path::new(""));
        summary(&found, &cluster)
    };
    assert_eq!(summary(GOOD), "2 vnodes, nothing wrong");
    let region = "[[region]]\nname = \"queue\"\nsize = \"2M\"\n";
    assert_eq!(
        summary(&format!("{GOOD}{region}")),
        "2 vnodes, 1 region, nothing wrong"
    );
    // Memory alone is something to ask for.
    assert_eq!(summary(region), "0 vnodes, 1 region, nothing wrong");
    assert_eq!(summary("[[region]]\n"), "2 errors, 0 warnings");
}

#[test]
fn sixteen_vnodes_are_one_too_many() {
    let vnode = |n: u32| format!("[[vnode]]\nname = \"v{n}\"\ncpus = \"{n}\"\nmemory = \"64M\"\n");
    let text = |count| (1..=count).map(vnode).collect::<String>();
    assert!(findings(&text(15)).is_empty());
    assert_eq!(codes(&text(16)), ["too-many"]);
}

#[test]
fn mistakes_of_syntax_are_placed_and_stop_the_rest() {
    let found = findings("[[vnode]]\nname = \n");
    assert!(found.iter().all(|finding| finding.code == "syntax"));
    assert!(found[0].labels[0].span.start > 10);
    assert_eq!(codes("[vnode]\nname = \"a\"\n"), ["type"]);
}

#[test]
fn files_are_looked_at_from_the_folder_of_the_cluster_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("junk"), b"not a kernel").unwrap();
    let check = |line: &str| {
        let text = with("[defaults]", &format!("[defaults]\n{line}"));
        let found = lint(&text, folder.path()).1;
        found
            .iter()
            .map(|finding| (finding.code, finding.message.clone()))
            .collect::<Vec<_>>()
    };

    // A default is told about once though two vnodes have it.
    let found = check("kernel = \"absent\"");
    assert_eq!(found.len(), 1);
    assert!(found[0].1.contains("No such file"));
    let found = check("kernel = \"junk\"");
    assert_eq!(found.len(), 1);
    assert!(found[0].1.contains("cannot be started"), "{found:?}");
    assert_eq!(check("initrd = \"absent\"")[0].0, "initrd");
    assert!(check("initrd = \"junk\"").is_empty());
    assert!(check("initrd = \"none\"").is_empty());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_linter_panic(text in "(\\[\\[(vnode|region)\\]\\]\n|[a-z]+ = |\"[0-9a-zA-Z-]*\"|[\\[\\]={}\n\".#]|\u{e9})*") {
        let (_, found) = lint(&text, Path::new(""));
        let source = Source { file: Path::new("f"), text: &text };
        for finding in &found {
            source.show(finding);
        }
    }
}
