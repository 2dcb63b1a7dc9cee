// SPDX-License-Identifier: GPL-2.0

//! Options of `vnode network`.

use clap::{Args, Subcommand};

use super::JsonArgs;
use crate::limits;

/// What `network` is about, in full.
pub(super) const HELP: &str = "\
A segment is a cable that vnodes are plugged into: each kernel that has a device on it, and has set
that up, is there. Nobody has to make a segment, and it goes with the last who leaves. Devices are
ordinary ones of Linux: their addresses are given, and they are set up, by `ip`.

  vnode network add db0 --segment storage         in each vnode that is to be on it
  ip addr add 10.1.0.2/24 dev db0; ip link set db0 up
  vnode network list                              who is on which segment
  vnode network remove db0

A device that is up and not on its segment has no carrier, and its kernel's log says why. It tries
again each second.";

/// What can be done with segments and the devices on them.
#[derive(Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a device on a segment, in this vnode
    Add(NetworkAddArgs),
    /// Drop a device that is on a segment, in this vnode
    Remove(NetworkNameArgs),
    /// List segments: which vnodes are on them, to which they are open, and by which device this one is there
    List(JsonArgs),
}

/// Options of `network add`.
#[derive(Args)]
pub(crate) struct NetworkAddArgs {
    /// Name for the device
    #[arg(value_parser = limits::parse_device)]
    pub(crate) name: String,
    /// Name of the segment [default: that of the device]
    #[arg(long, value_parser = limits::parse_segment)]
    pub(crate) segment: Option<String>,
    /// Address of the device, like 02:00:00:00:00:01 [default: one made of the segment and the vnode's number]
    #[arg(long, value_name = "ADDRESS", value_parser = limits::parse_mac)]
    pub(crate) mac: Option<[u8; 6]>,
    /// Do nothing if this vnode has a device on the segment already, whatever it is called
    #[arg(long)]
    pub(crate) if_missing: bool,
}

/// Options of `network remove`.
#[derive(Args)]
pub(crate) struct NetworkNameArgs {
    /// Name of the device
    pub(crate) name: String,
}
