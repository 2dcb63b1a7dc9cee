// SPDX-License-Identifier: GPL-2.0

//! An Ethernet between vnodes (paper section 7.1; docs/vnet.md).
//!
//! The same module runs in each kernel. A device is a station on a segment, which is a bridge of this name: what one sends, it
//! puts on the wires of those that hear it; what is on its own wire, it receives. `vnet0` is there once the module is
//! loaded, and `ip link add` makes more.

use adeos_core::events::Subscription;
use adeos_core::{
    Core,
    Handler,
    Portal, //
};
use adeos_proto::layout::portal::NETWORK;
use adeos_proto::vnet::port::MAX_LANES;
use device::Device;
use kernel::prelude::*;
use kernel::str::CString;
use netdev::Registration;
use parameter::Parameter;

mod device;
mod ffi;
mod netdev;
mod packet;
mod parameter;
mod rights;
mod segment;
mod statics;

module! {
    type: Vnet,
    name: "vnet",
    authors: ["The Adeos cluster project"],
    description: "An Ethernet between vnodes",
    license: "GPL",
    params: {
        devices: u32 {
            default: 1,
            description: "Devices that there are at once: vnet0 on the segment 0, vnet1 on 1, and so on",
        },
    },
}

/// The loaded module. Fields go in this order: first the devices, then what says who may be on segments, then what tells both
/// that there is something.
struct Vnet {
    _devices: Registration<Device>,
    _parameter: Parameter,
    _subscription: Subscription,
    _portals: KVec<Portal>,
}

impl kernel::Module for Vnet {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        segment::init();
        rights::init();
        statics::init();
        let core = Core::get()?;
        let mut portals = KVec::with_capacity(MAX_LANES, GFP_KERNEL)?;
        for number in (NETWORK..).take(MAX_LANES) {
            let portal = Portal::take(number, "vnet", Handler::Interrupt(statics::on_portal))?;
            portals.push(portal, GFP_KERNEL)?;
        }
        let subscription = Subscription::new(statics::on_view)?;
        statics::take_view(&core);
        portals.iter().for_each(Portal::unmask);
        let devices = Registration::new()?;
        for number in 0..module_parameters::devices.value() {
            let segment = CString::try_from_fmt(fmt!("{number}"))?;
            devices.add(&segment).inspect_err(|error| {
                pr_err!("there is no segment {}: {:?}\n", number, error);
            })?;
        }
        Ok(Self {
            _devices: devices,
            _parameter: Parameter::new(),
            _subscription: subscription,
            _portals: portals,
        })
    }
}
