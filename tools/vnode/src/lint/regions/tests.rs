// SPDX-License-Identifier: GPL-2.0

//! What is found about regions, one mistake at a time.

use std::path::Path;

use proptest::collection::btree_set;
use proptest::prelude::*;

use crate::bridge::region::{Listed, Settings};
use crate::finding::Finding;
use crate::lint::{has_errors, lint};

const GOOD: &str = "\
[[vnode]]
name = \"db\"
cpus = \"1\"
memory = \"512M\"

[[vnode]]
name = \"web\"
cpus = \"2\"
memory = \"512M\"

[[region]]
name = \"queue\"
size = \"4M\"
mode = \"0660\"
user = \"1000\"
group = \"2000\"
vnodes = \"db,web\"

[[region]]
name = \"table\"
size = \"2M\"
readers = \"web\"
writers = \"db\"
";

fn findings(text: &str) -> Vec<Finding> {
    lint(text, Path::new("")).1
}

/// The good file with something in it replaced.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    GOOD.replacen(from, to, 1)
}

/// The code of the only finding, and the text that each of its labels underlines.
fn only(text: &str) -> (&'static str, Vec<&str>) {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(has_errors(&found));
    let labels = found[0].labels.iter();
    let underlined = labels.map(|label| &text[label.span.clone()]);
    (found[0].code, underlined.collect())
}

fn settings(text: &str) -> Vec<Settings> {
    let (cluster, found) = lint(text, Path::new(""));
    assert!(found.is_empty(), "{found:?}");
    let regions = cluster.regions.iter();
    regions.map(|region| region.settings().unwrap()).collect()
}

#[test]
fn what_stands_there_is_read() {
    let said: Vec<_> = settings(GOOD).iter().map(Settings::to_string).collect();
    assert_eq!(
        said,
        [
            "mode 0660, user 1000, group 2000, vnodes db,web",
            "mode 0600, user 0, group 0, readers db,web, writers db"
        ]
    );
    assert_eq!(settings(GOOD)[0].size_bytes, 4 << 20);
    let silent = settings("[[region]]\nname = \"queue\"\nsize = \"2M\"\n");
    assert_eq!(
        silent[0].to_string(),
        "mode 0600, user 0, group 0, vnodes all"
    );
}

#[test]
fn one_name_for_two_regions_names_both() {
    let text = with("\"table\"", "\"queue\"");
    assert_eq!(only(&text), ("same-name", vec!["\"queue\""; 2]));
    // A vnode and a region are two things.
    assert!(findings(&with("\"table\"", "\"db\"")).is_empty());
}

#[test]
fn each_value_is_checked_where_it_stands() {
    for (from, to, code, word) in [
        ("\"queue\"", "\"a+b\"", "name", "no region can be called"),
        ("\"queue\"", "\"\"", "name", "1 to 27"),
        ("\"4M\"", "\"3M\"", "size", "the next larger one is 4M"),
        ("\"4M\"", "\"0\"", "size", "without memory"),
        ("\"4M\"", "\"much\"", "size", "not a size"),
        ("\"0660\"", "\"0755\"", "mode", "no region has"),
        ("\"0660\"", "\"rw\"", "mode", "octal"),
        ("\"1000\"", "\"eve\"", "user", "number"),
        ("\"2000\"", "\"-1\"", "group", "number"),
        ("\"db,web\"", "\"db,db\"", "vnodes", "twice"),
        (
            "\"web\"\nwriters",
            "\"\"\nwriters",
            "readers",
            "needs a name",
        ),
        (
            "writers = \"db\"",
            "writers = \"d b\"",
            "writers",
            "is not a name",
        ),
    ] {
        let text = with(from, to);
        assert_eq!(only(&text).0, code, "{to}");
        let message = &findings(&text)[0].message;
        assert!(message.contains(word), "{to}: {message}");
    }
}

#[test]
fn a_number_without_quotes_is_told_how_to_be_written() {
    let found = findings(&with("\"0660\"", "660"));
    assert_eq!(found[0].help.as_deref(), Some("write mode = \"660\""));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(only(&with("size = \"4M\"\n", "")).0, "missing-key");
    let codes: Vec<_> = findings("[[region]]\n").iter().map(|f| f.code).collect();
    assert_eq!(codes, ["missing-key"; 2]);
}

#[test]
fn vnodes_are_those_of_the_file() {
    let text = with("\"db,web\"", "\"db,mail\"");
    assert_eq!(only(&text), ("no-guest", vec!["\"db,mail\""]));
    assert!(findings(&text)[0].message.contains("`mail`"));
    // What number a vnode gets nobody knows before it is there.
    assert_eq!(only(&with("\"db,web\"", "\"1\"")).0, "no-guest");
    assert_eq!(
        only(&with("readers = \"web\"", "readers = \"mail\"")).0,
        "no-guest"
    );
    for good in ["all", "none", "root", "root, db"] {
        let text = with("\"db,web\"", &format!("\"{good}\""));
        assert!(findings(&text).is_empty(), "{good}: {:?}", findings(&text));
    }
}

#[test]
fn who_may_is_said_once() {
    let text = with("readers = \"web\"", "vnodes = \"web\"");
    assert_eq!(only(&text), ("vnodes", vec!["\"db\"", "\"web\""]));
    let text = with("readers = \"web\"", "readers = \"web\"\nvnodes = \"all\"");
    assert_eq!(
        only(&text),
        ("vnodes", vec!["\"web\"", "\"db\"", "\"all\""])
    );
}

#[test]
fn keys_stand_where_they_belong() {
    let found = findings(&with("size = \"4M\"", "size = \"4M\"\ncpus = \"1\""));
    assert_eq!(found[0].code, "misplaced-key");
    assert_eq!(
        found[0].help.as_deref(),
        Some("each `[[vnode]]` has its own")
    );
    let found = findings(&with("cpus = \"1\"", "cpus = \"1\"\nmode = \"660\""));
    assert_eq!(found[0].code, "misplaced-key");
    assert_eq!(
        found[0].help.as_deref(),
        Some("each `[[region]]` has its own")
    );
    let found = findings(&with("mode", "moed"));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `mode`?"));
    let found = findings(&GOOD.replace("[[region]]", "[[regions]]"));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `region`?"));
    assert_eq!(only("[region]\nname = \"queue\"\n").0, "type");
}

/// What a list can say in a file with these vnodes.
fn any_list() -> impl Strategy<Value = Listed> {
    prop_oneof![
        Just(Listed::All),
        btree_set("(db|web|root)", 0..4).prop_map(Listed::These),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        name in "[a-z0-9._-]{1,27}",
        granules in 1..1u64 << 20,
        mode in 0..0o1000u32,
        user in 0..u32::MAX,
        group in 0..u32::MAX,
        readers in any_list(),
        writers in any_list(),
    ) {
        let (readers, writers) = Listed::who(None, Some(readers), Some(writers));
        let written = Settings {
            name,
            size_bytes: granules << 21,
            mode: mode & 0o666,
            user,
            group,
            readers,
            writers,
        };
        let Settings { name, size_bytes, mode, readers, writers, .. } = &written;
        let text = format!(
            "{}[[region]]\nname = \"{name}\"\nsize = \"{size_bytes}\"\nmode = \"{mode:o}\"\n\
             user = \"{user}\"\ngroup = \"{group}\"\nreaders = \"{readers}\"\nwriters = \"{writers}\"\n",
            GOOD.split("[[region]]").next().unwrap()
        );
        prop_assert_eq!(settings(&text), vec![written]);
    }
}
