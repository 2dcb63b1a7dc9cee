// SPDX-License-Identifier: GPL-2.0

//! The C header that the kernel patch adds says the same as proto/layout.rs.
//!
//! The header is taken out of the patch and compiled by the host's C compiler with nothing else
//! of the kernel.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

use adeos_proto::layout::{self, cause, feature, state, BootBlock, ConsoleHeader, Status};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const HEADER: &str = "arch/x86/include/asm/adeos.h";

/// A record as both languages know it: its C name, its bytes, and each field's offset.
struct Record {
    c_name: &'static str,
    rust_name: &'static str,
    size: usize,
    fields: Vec<(&'static str, usize)>,
}

macro_rules! record {
    ($c_name:literal, $size:literal, $rust:ident: $($field:ident)*) => {
        Record {
            c_name: $c_name,
            rust_name: stringify!($rust),
            size: $size,
            fields: vec![$((stringify!($field), $rust::OFFSETS.$field)),*],
        }
    };
}

/// The records, with the bytes that C gives them: there they end with what Rust accesses apart.
fn records() -> [Record; 4] {
    [
        Record {
            c_name: "adeos_boot_block",
            rust_name: "slot",
            size: 2048,
            fields: vec![("apic_ids", layout::slot::APIC_IDS - layout::slot::BOOT)],
        },
        record!("adeos_boot_block", 2048, BootBlock: magic version vnode generation nr_cpus control
            status console console_data console_size portal_vector tsc_khz lapic_khz bsp_apic_id
            root_apic_id root_inbox low wall_tsc wall_ns memory_base memory_size name
            request_count request entry go reserved2),
        record!("adeos_status", 1024, Status: magic version generation state cause cause_apic_id
            features nr_cpus request_taken reserved release message reserved2),
        record!("adeos_console", 64, ConsoleHeader: magic version size written reserved unused),
    ]
}

/// Numbers that both languages have a name for.
fn constants() -> Vec<(&'static str, u64)> {
    vec![
        ("ADEOS_BOOT_MAGIC", layout::BOOT_MAGIC),
        ("ADEOS_STATUS_MAGIC", layout::STATUS_MAGIC),
        ("ADEOS_CONSOLE_MAGIC", layout::CONSOLE_MAGIC),
        ("ADEOS_VERSION", layout::PLATFORM_VERSION.into()),
        ("ADEOS_MAX_CPUS", layout::MAX_CPUS as u64),
        ("ADEOS_STATE_KERNEL", state::KERNEL.into()),
        ("ADEOS_STATE_DEAD", state::DEAD.into()),
        ("ADEOS_CAUSE_PANIC", cause::PANIC.into()),
        ("ADEOS_CAUSE_RESTART", cause::RESTART.into()),
        (
            "ADEOS_CAUSE_EMERGENCY_RESTART",
            cause::EMERGENCY_RESTART.into(),
        ),
        ("ADEOS_CAUSE_POWER_OFF", cause::POWER_OFF.into()),
        ("ADEOS_CAUSE_HALT", cause::HALT.into()),
        ("ADEOS_FEATURE_PATCHED", feature::PATCHED.into()),
        ("ADEOS_FEATURE_EARLY_DEATH", feature::EARLY_DEATH.into()),
    ]
}

/// The lines that a patch adds to a file, if it adds any.
fn added(patch: &str, file: &str) -> Option<String> {
    let start = format!("+++ b/{file}");
    let mut lines = patch
        .lines()
        .skip_while(|line| line.trim_end() != start)
        .skip(1);
    let mut found = String::new();
    let mut is_empty = true;
    for line in lines.by_ref() {
        if line.starts_with("diff --git") || line.starts_with("--- ") || line == "-- " {
            break;
        }
        if let Some(text) = line.strip_prefix('+') {
            found.push_str(text);
            found.push('\n');
            is_empty = false;
        }
    }
    (!is_empty).then_some(found)
}

fn header() -> String {
    let patches = Path::new(env!("CARGO_MANIFEST_DIR")).join("../patches");
    let entries = std::fs::read_dir(&patches).expect("patches/ is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let found: Vec<String> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "patch"))
        .filter_map(|path| added(&std::fs::read_to_string(path).unwrap(), HEADER))
        .collect();
    match found.as_slice() {
        [header] => header.clone(),
        _ => panic!("{} patches add {HEADER}, not one", found.len()),
    }
}

/// A C program that prints a line `name value` for each thing that is compared.
fn program(header: &str) -> String {
    let mut text = String::from("#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
    text.push_str("#include <stdbool.h>\n");
    for (bits, bytes) in [
        (8, "uint8_t"),
        (16, "uint16_t"),
        (32, "uint32_t"),
        (64, "uint64_t"),
    ] {
        text.push_str(&format!("typedef {bytes} u{bits}, __u{bits};\n"));
    }
    let own = header
        .lines()
        .filter(|line| !line.trim_start().starts_with("#include"));
    for line in own {
        text.push_str(line);
        text.push('\n');
    }

    text.push_str("int main(void) {\n");
    let mut print = |name: &str, value: &str| {
        text.push_str(&format!(
            "printf(\"{name} %llu\\n\", (unsigned long long)({value}));\n"
        ));
    };
    for record in records() {
        let c_name = record.c_name;
        print(c_name, &format!("sizeof(struct {c_name})"));
        for (field, _) in &record.fields {
            let value = format!("offsetof(struct {c_name}, {field})");
            print(&format!("{c_name}.{field}"), &value);
        }
    }
    for (name, _) in constants() {
        print(name, name);
    }
    text.push_str("return 0;\n}\n");
    text
}

/// Compiles and runs the program.
fn run(program: &str) -> BTreeMap<String, u64> {
    let folder = std::env::temp_dir().join(format!("adeos-c-layout-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, binary) = (folder.join("layout.c"), folder.join("layout"));
    std::fs::write(&source, program).unwrap();
    let compiler = Command::new("cc")
        .args([
            "-std=gnu11",
            "-Wall",
            "-Wno-unused-function",
            "-Werror",
            "-o",
        ])
        .args([&binary, &source])
        .output()
        .expect("a C compiler is there");
    let complaints = String::from_utf8_lossy(&compiler.stderr);
    assert!(compiler.status.success(), "{complaints}");
    let output = Command::new(&binary).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, value)| (name.to_string(), value.parse().unwrap()))
        .collect()
}

/// The tables of sections 3.1, 3.2 and 3.5, and CA-1: the offsets are those of whole numbers.
#[test]
fn the_kernel_patch_and_the_records_agree() {
    let mut expected = BTreeMap::new();
    for record in records() {
        expected.insert(record.c_name.to_string(), record.size as u64);
        for (field, offset) in record.fields {
            expected.insert(format!("{}.{field}", record.c_name), offset as u64);
        }
    }
    for (name, value) in constants() {
        expected.insert(name.to_string(), value);
    }
    assert_eq!(run(&program(&header())), expected);
}

/// The lists of fields above are complete, and so are the records compared.
#[test]
fn no_field_is_left_out() {
    let source = include_str!("../layout.rs");
    for record in records() {
        if record.rust_name == "slot" {
            continue;
        }
        let start = format!("pub struct {}: ", record.rust_name);
        let (_, body) = source.split_once(&start).expect("the record is declared");
        let (_, body) = body.split_once("{\n").expect("its declaration has fields");
        let (body, _) = body.split_once("\n    }").expect("its declaration ends");
        let declared: Vec<&str> = body
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("//"))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        let listed: Vec<&str> = record.fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, declared, "{}", record.rust_name);
    }
}
