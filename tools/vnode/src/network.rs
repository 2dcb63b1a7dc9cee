// SPDX-License-Identifier: GPL-2.0

//! Ethernets between vnodes: `vnode network add`, `remove` and `list`. In any vnode; what a segment is, docs/vnet.md says.

mod message;
mod netlink;
#[cfg(test)]
mod tests;
pub(crate) mod wiring;

use adeos_proto::vnet::PREFIX;
use rustix::io::Errno;
use serde::Serialize;

use crate::bridge::{self, Names, Report};
use crate::cli::{JsonArgs, NetworkAddArgs, NetworkCommand, NetworkNameArgs};
use crate::device::Adeos;
use crate::failure::{Failure, Kind, Result};
use crate::say;
use crate::show::table;
use message::Device;
use netlink::Refusal;

/// Columns of `list`.
const COLUMNS: [&str; 6] = ["SEGMENT", "VNODES", "OPEN TO", "DEVICE", "STATE", "ADDRESS"];

/// Does what a subcommand says.
pub(crate) fn run(command: &NetworkCommand) -> Result<()> {
    match command {
        NetworkCommand::Add(args) => add(args),
        NetworkCommand::Remove(args) => remove(args),
        NetworkCommand::List(args) => list(args),
    }
}

fn add(args: &NetworkAddArgs) -> Result<()> {
    let segment = args.segment.as_ref().unwrap_or(&args.name);
    if args.if_missing && here(segment).is_some() {
        return Ok(());
    }
    netlink::add(&args.name, segment, args.mac).map_err(|refusal| {
        let here = match refusal.errno {
            Errno::BUSY => here(segment),
            _ => None,
        };
        explain_add(&args.name, segment, here.as_deref(), &refusal)
    })
}

/// The device that this kernel has on a segment.
fn here(segment: &str) -> Option<String> {
    let mut devices = netlink::list().ok()?.into_iter();
    let device = devices.find(|device| device.segment == segment)?;
    Some(device.name)
}

/// Why there is no new device.
fn explain_add(name: &str, segment: &str, here: Option<&str>, refusal: &Refusal) -> Failure {
    match refusal.errno {
        Errno::EXIST => Failure::failed(format!("there is a device `{name}` already"))
            .help("give it another name, and the segment by --segment"),
        Errno::BUSY => Failure::failed(format!("this vnode is on the segment `{segment}` already"))
            .help(match here {
                Some(here) => format!("by the device `{here}`"),
                None => "a vnode has one device on a segment".into(),
            }),
        Errno::ACCESS => {
            Failure::failed(format!("this vnode may not be on the segment `{segment}`"))
                .help("the cluster file says which vnodes may: `segments` of a [[vnode]]")
        }
        _ => refused(&format!("`{name}` cannot be made"), refusal),
    }
}

/// Why the kernel did something of all this not.
fn refused(what: &str, refusal: &Refusal) -> Failure {
    match refusal.errno {
        Errno::OPNOTSUPP => Failure::new(Kind::NotSupported, "this kernel has no such devices")
            .help("load the module: insmod vnet.ko"),
        Errno::PERM => Failure::new(
            Kind::NotSupported,
            "only an administrator of the vnode changes its devices",
        ),
        errno => match &refusal.words {
            Some(words) => Failure::failed(format!("{what}: {words}")),
            None => Failure::failed(format!("{what}: {errno}")),
        },
    }
}

fn remove(args: &NetworkNameArgs) -> Result<()> {
    let what = || format!("`{}` cannot be dropped", args.name);
    let devices = netlink::list().map_err(|refusal| refused(&what(), &refusal))?;
    let device = find(&devices, &args.name)?;
    netlink::remove(device.index).map_err(|refusal| refused(&what(), &refusal))
}

/// The device of a name; no other device of Linux is any business of ours.
fn find<'a>(devices: &'a [Device], name: &str) -> Result<&'a Device> {
    let found = devices.iter().find(|device| device.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
        let help = match names.as_slice() {
            [] => "there is none at all in this kernel".into(),
            names => format!("there are: {}", names.join(", ")),
        };
        Failure::failed(format!("there is no device `{name}` on a segment")).help(help)
    })
}

/// What `list --json` prints of a segment. Vnodes are numbers.
#[derive(Debug, Serialize)]
struct Segment {
    segment: String,
    /// Those that have it open.
    vnodes: Vec<u32>,
    /// Those that may be on it, if it is there and not open to all.
    open_to: Option<Vec<u32>>,
    /// What this kernel has on it.
    device: Option<JsonDevice>,
}

/// What `list --json` prints of a device.
#[derive(Debug, Serialize)]
struct JsonDevice {
    name: String,
    address: String,
    state: &'static str,
}

impl JsonDevice {
    fn new(device: &Device) -> Self {
        Self {
            name: device.name.clone(),
            address: address(device.mac),
            state: match (device.is_up, device.has_carrier) {
                (false, _) => "down",
                (true, false) => "no-carrier",
                (true, true) => "joined",
            },
        }
    }
}

fn address(mac: [u8; 6]) -> String {
    let bytes: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

fn list(args: &JsonArgs) -> Result<()> {
    let bridges = bridge::all(&Adeos::open()?)?;
    let devices =
        netlink::list().map_err(|refusal| refused("the devices cannot be listed", &refusal))?;
    let segments = segments(&bridges, &devices);
    if args.json {
        return say::json(&segments);
    }
    let names = Names::known();
    let rows: Vec<_> = segments
        .iter()
        .map(|segment| row(segment, &names))
        .collect();
    say::out(&table(&COLUMNS, &rows))
}

/// The segments that there are, and those on which this kernel has a device that is down, by name.
fn segments(bridges: &[Report], devices: &[Device]) -> Vec<Segment> {
    let on = |segment: &str| {
        let mut devices = devices.iter();
        let device = devices.find(|device| device.segment == segment)?;
        Some(JsonDevice::new(device))
    };
    let there = bridges.iter().filter_map(|bridge| {
        let segment = bridge.name.strip_prefix(PREFIX)?;
        bridge.vnode.is_none().then(|| Segment {
            segment: segment.into(),
            vnodes: bridge.users.iter().map(|user| user.vnode).collect(),
            open_to: bridge.open_to(),
            device: on(segment),
        })
    });
    let mut segments: Vec<_> = there.collect();
    for device in devices {
        if !segments.iter().any(|known| known.segment == device.segment) {
            segments.push(Segment {
                segment: device.segment.clone(),
                vnodes: Vec::new(),
                open_to: None,
                device: Some(JsonDevice::new(device)),
            });
        }
    }
    segments.sort_by(|one, other| one.segment.cmp(&other.segment));
    segments
}

fn row(segment: &Segment, names: &Names) -> [String; 6] {
    let open_to = match &segment.open_to {
        Some(vnodes) => names.list(vnodes.iter().copied()),
        None => "all".into(),
    };
    let device = segment.device.as_ref();
    let told = |of: fn(&JsonDevice) -> String| device.map_or_else(|| "-".into(), of);
    [
        segment.segment.clone(),
        names.list(segment.vnodes.iter().copied()),
        open_to,
        told(|device| device.name.clone()),
        told(|device| device.state.into()),
        told(|device| device.address.clone()),
    ]
}
