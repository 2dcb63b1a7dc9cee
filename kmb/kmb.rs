// SPDX-License-Identifier: GPL-2.0

//! KMB: the kernel-mode bootloader (paper section 5). Starts, ends and shows vnodes on request of
//! `/dev/kmb`; the interface is `proto/abi.rs`.

use adeos_core::Core;
use kernel::miscdevice::{
    MiscDeviceOptions,
    MiscDeviceRegistration, //
};
use kernel::prelude::*;

mod command_line;
mod device;
mod fault;
mod ffi;
mod image_file;
mod load;
mod manager;
mod spec;
mod start;
mod vnode;

module! {
    type: Kmb,
    name: "kmb",
    authors: ["The Adeos cluster project"],
    description: "Kernel-mode bootloader: starts further Linux kernels on this machine",
    license: "GPL",
}

#[pin_data]
struct Kmb {
    #[pin]
    device: MiscDeviceRegistration<device::KmbFile>,
}

impl kernel::InPlaceModule for Kmb {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        manager::init_statics();
        pin_init::pin_init_scope(|| {
            if !Core::get()?.identity().is_root() {
                pr_err!("only the root starts vnodes\n");
                return Err(EPERM);
            }
            Ok(try_pin_init!(Self {
                device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"kmb" }),
            }))
        })
    }
}
