// SPDX-License-Identifier: GPL-2.0

//! Bridges for programs, in every kernel of the machine (paper section 7.4; docs/bridge-shm.md).
//!
//! The same module runs in each. `/dev/bridge_shm` makes and opens regions, which are bridges with a user, a group and
//! mode bits beside the vnodes that may use them; the file of one is mapped, waited for, and passed on. The root's
//! module makes the board, in which kernels tell each other who sleeps.

use adeos_core::events::Subscription;
use adeos_core::{
    Core,
    Handler,
    Portal, //
};
use adeos_proto::layout::portal::REGIONS;
use files::Device;
use kernel::prelude::*;

mod areas;
mod board;
mod calls;
mod desk;
mod event_fd;
mod files;
mod hall;
mod handle;
mod opening;
mod pages;
mod statics;

module! {
    type: BridgeShm,
    name: "bridge_shm",
    authors: ["The Adeos cluster project"],
    description: "Memory that programs of several vnodes share",
    license: "GPL",
    params: {
        mode: u16 {
            default: 0o666,
            description: "Rights of /dev/bridge_shm, octal with a leading 0",
        },
        user_regions: u32 {
            default: 8,
            description: "Regions that a user of this vnode may have",
        },
        user_bytes: u64 {
            default: 64 << 20,
            description: "Bytes that they may have together",
        },
    },
}

/// The loaded module. Fields go in this order: first what brings work, then what does it.
struct BridgeShm {
    _device: Pin<KBox<Device>>,
    _subscription: Subscription,
    _portal: Portal,
    _kept: Forget,
    _hall: hall::Open,
}

/// Lets go of the regions that are kept.
struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        statics::forget_all();
    }
}

impl kernel::Module for BridgeShm {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        statics::init();
        let core = Core::get()?;
        let hall = hall::Open::new()?;
        let kept = Forget;
        if core.identity().is_root() {
            statics::board(&core)?;
        }
        let portal = Portal::take(REGIONS, "bridge_shm", Handler::Interrupt(hall::on_portal))?;
        let subscription = Subscription::new(statics::on_view)?;
        statics::take_view(&core);
        portal.unmask();
        let device = KBox::pin_init(Device::new(module_parameters::mode.value()), GFP_KERNEL)?;
        Ok(Self {
            _device: device,
            _subscription: subscription,
            _portal: portal,
            _kept: kept,
            _hall: hall,
        })
    }
}
