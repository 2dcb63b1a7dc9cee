// SPDX-License-Identifier: GPL-2.0

//! The device tree, read back by a parser of its own and, where it is installed, by dtc.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

use adeos_proto::boot::fdt::{self, Full, SetupData, SETUP_DTB};
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

const LAPIC: u64 = 0xfee0_0000;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().unwrap())
}

fn text(bytes: &[u8], at: usize) -> String {
    let end = bytes[at..].iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(bytes[at..at + end].to_vec()).unwrap()
}

/// Every property of the tree, as `/path/of/node:name` and its bytes, in the tree's order.
fn properties(tree: &[u8]) -> Vec<(String, Vec<u8>)> {
    assert_eq!(word(tree, 0), 0xd00d_feed);
    assert_eq!(word(tree, 4) as usize, tree.len());
    let (structure, strings) = (word(tree, 8) as usize, word(tree, 12) as usize);
    assert_eq!(strings + word(tree, 32) as usize, tree.len());
    assert_eq!(structure + word(tree, 36) as usize, strings);
    assert_eq!((word(tree, 20), word(tree, 24)), (17, 16));
    assert_eq!(tree[word(tree, 16) as usize..][..16], [0; 16]);

    let (mut at, mut path, mut found) = (structure, Vec::new(), Vec::new());
    loop {
        let token = word(tree, at);
        at += 4;
        match token {
            1 => {
                path.push(text(tree, at));
                at += path.last().unwrap().len() + 1;
            }
            2 => drop(path.pop().unwrap()),
            3 => {
                let (size, name) = (word(tree, at) as usize, word(tree, at + 4) as usize);
                at += 8;
                let name = format!("{}:{}", path.join("/"), text(tree, strings + name));
                found.push((name, tree[at..at + size].to_vec()));
                at += size;
            }
            9 => break,
            _ => panic!("no such token: {token}"),
        }
        at = at.next_multiple_of(4);
    }
    assert!(path.is_empty() && at == strings);
    found
}

fn build(bsp: u32, cpus: &[u32], lapic: u64) -> Vec<u8> {
    let mut tree = vec![0xff; fdt::max_size(cpus.len())];
    let size = fdt::build(&mut tree, bsp, cpus, lapic).unwrap();
    tree.truncate(size);
    tree
}

#[test]
fn the_tree_is_what_the_kernel_reads() {
    let found = properties(&build(0, &[2, 3, 0x1f], 0x1_fee0_0000));
    let cpu = |apic: u32| {
        let path = format!("/cpus/cpu@{apic:x}");
        [
            (format!("{path}:device_type"), b"cpu\0".to_vec()),
            (format!("{path}:reg"), apic.to_be_bytes().to_vec()),
        ]
    };
    let mut right = vec![
        (":#address-cells".to_string(), vec![0, 0, 0, 2]),
        (":#size-cells".to_string(), vec![0, 0, 0, 2]),
        (":compatible".to_string(), b"adeos,vnode\0".to_vec()),
        ("/cpus:#address-cells".to_string(), vec![0, 0, 0, 1]),
        ("/cpus:#size-cells".to_string(), vec![0; 4]),
    ];
    right.extend([0, 2, 3, 0x1f].into_iter().flat_map(cpu));
    let lapic = "/lapic@1fee00000";
    let reg = [[0, 0, 0, 1], [0xfe, 0xe0, 0, 0], [0; 4], [0, 0, 0x10, 0]];
    right.extend([
        (
            format!("{lapic}:compatible"),
            b"intel,ce4100-lapic\0".to_vec(),
        ),
        (format!("{lapic}:reg"), reg.concat()),
        (format!("{lapic}:intel,virtual-wire-mode"), vec![]),
    ]);
    assert_eq!(found, right);
}

#[test]
fn the_record_around_it_names_its_kind_and_length() {
    let mut record = vec![0; fdt::max_size(1)];
    let size = fdt::build_setup_data(&mut record, 0, &[1], LAPIC).unwrap();
    let head = SetupData::from_bytes(record.first_chunk().unwrap());
    assert_eq!((head.next, head.kind), (0, SETUP_DTB));
    assert_eq!(head.len as usize, size - SetupData::SIZE);
    assert_eq!(record[SetupData::SIZE..size], build(0, &[1], LAPIC));
}

#[test]
fn dtc_takes_the_tree_without_a_complaint() {
    let dtc = Command::new("dtc")
        .args(["-I", "dtb", "-O", "dts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // The parser above has the say; dtc is a second opinion where there is one.
    let Ok(mut dtc) = dtc else {
        return;
    };
    let tree = build(0, &[2, 3, 255], LAPIC);
    dtc.stdin.take().unwrap().write_all(&tree).unwrap();
    let output = dtc.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(String::from_utf8_lossy(&output.stdout).contains("cpu@ff {"));
}

proptest! {
    #[test]
    fn every_tree_reads_back_and_fits_its_bound(
        bsp in any::<u32>(), cpus in prop::collection::vec(any::<u32>(), 0..256),
        lapic in any::<u64>()
    ) {
        let mut record = vec![0; fdt::max_size(cpus.len())];
        prop_assert!(fdt::build_setup_data(&mut record, bsp, &cpus, lapic).is_ok());
        let apics: Vec<u32> = properties(&build(bsp, &cpus, lapic))
            .iter()
            .filter(|(name, _)| name.starts_with("/cpus/") && name.ends_with(":reg"))
            .map(|(_, value)| word(value, 0))
            .collect();
        prop_assert_eq!(apics[0], bsp);
        prop_assert_eq!(&apics[1..], &cpus[..]);
    }

    #[test]
    fn too_little_room_is_an_error(size in 0..600usize) {
        let right = build(0, &[1, 2, 3], LAPIC);
        let mut tree = vec![0; size];
        let result = fdt::build(&mut tree, 0, &[1, 2, 3], LAPIC);
        let expected = if size < right.len() { Err(Full) } else { Ok(right.len()) };
        prop_assert_eq!(result, expected);
    }
}
