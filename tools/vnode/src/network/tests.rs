// SPDX-License-Identifier: GPL-2.0

use adeos_proto::abi;
use adeos_proto::bridge::mode;

use super::*;

fn bridge(name: &str, scope: u32, users: &[usize], open_to: u32) -> Report {
    let mut bridge = abi::Bridge {
        scope,
        mode: mode::ALL.into(),
        readers: open_to,
        writers: open_to,
        ..Default::default()
    };
    for (place, byte) in bridge.name.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    for user in users {
        if let Some(place) = bridge.users.get_mut(*user) {
            *place = 1;
        }
    }
    Report::new(&bridge)
}

fn device(name: &str, segment: &str, is_up: bool) -> Device {
    Device {
        index: 3,
        name: name.into(),
        mac: [2, 0xad, 1, 2, 3, 4],
        segment: segment.into(),
        is_up,
        has_carrier: is_up,
    }
}

#[test]
fn segments_are_bridges_and_what_is_down() {
    let bridges = [
        bridge("vnet.web", 1, &[0, 2], 0xffff),
        bridge("vcons.1", 1, &[0], 0xffff),
        bridge("vnet.mine", 2, &[0], 0xffff),
        bridge("vnet.storage", 1, &[1], 0b0011),
    ];
    let devices = [device("web0", "web", true), device("vnet0", "0", false)];
    let segments = segments(&bridges, &devices);
    let names: Vec<_> = segments.iter().map(|one| one.segment.as_str()).collect();
    assert_eq!(names, ["0", "storage", "web"]);
    let json = serde_json::to_value(&segments).unwrap();
    assert_eq!(json.get(0).unwrap()["device"]["state"], "down");
    assert_eq!(json.get(1).unwrap()["open_to"], serde_json::json!([0, 1]));
    assert_eq!(json.get(1).unwrap()["device"], serde_json::Value::Null);
    assert_eq!(json.get(2).unwrap()["vnodes"], serde_json::json!([0, 2]));
    assert_eq!(json.get(2).unwrap()["open_to"], serde_json::Value::Null);
    let device = &json.get(2).unwrap()["device"];
    assert_eq!(device["state"], "joined");
    assert_eq!(device["address"], "02:ad:01:02:03:04");
}

#[test]
fn only_devices_of_ours_are_found() {
    let devices = [device("web0", "web", true)];
    assert_eq!(find(&devices, "web0").unwrap().segment, "web");
    let failure = find(&devices, "eth0").unwrap_err();
    assert_eq!(failure.help.as_deref(), Some("there are: web0"));
}

#[test]
fn refusals_tell_what_to_do() {
    let refusal = |errno| Refusal {
        errno,
        words: Some("what the kernel says".into()),
    };
    let explain = |errno| explain_add("db", "storage", Some("web0"), &refusal(errno));
    assert_eq!(
        explain(Errno::BUSY).help.as_deref(),
        Some("by the device `web0`")
    );
    assert!(explain(Errno::ACCESS).help.unwrap().contains("segments"));
    assert_eq!(explain(Errno::OPNOTSUPP).kind, Kind::NotSupported);
    assert_eq!(
        explain(Errno::INVAL).message,
        "`db` cannot be made: what the kernel says"
    );
}
