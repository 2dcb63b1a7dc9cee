// SPDX-License-Identifier: GPL-2.0

//! Options of `vnode bridge`.

use clap::{Args, Subcommand};

use super::JsonArgs;
use crate::bridge::{parse_mode, parse_size};

/// What can be done with bridges.
#[derive(Subcommand)]
pub(crate) enum BridgeCommand {
    /// List the bridges of the machine
    List(JsonArgs),
    /// Tell all about one bridge
    Show(BridgeArgs),
    /// Tell what bridges and moves have come to, and what counts for each vnode; only in the root
    Stat(JsonArgs),
    /// Make a bridge for programs and keep it, whether one uses it or not
    ///
    /// Programs open it by its name through /dev/bridge_shm (the library `bridge`); here it is listed as shm.NAME. It is kept until it is removed,
    /// or until this vnode ends.
    Create(BridgeCreateArgs),
    /// Keep a bridge for programs no more: it goes with its last user
    Remove(BridgeRemoveArgs),
}

/// Options of `bridge create`.
#[derive(Args)]
pub(crate) struct BridgeCreateArgs {
    /// What programs call it
    pub(crate) name: String,
    /// Its size: a multiple of 2M
    #[arg(long, value_parser = parse_size)]
    pub(crate) size: u64,
    /// Who may read and write, as for a file
    #[arg(long, default_value = "600", value_parser = parse_mode)]
    pub(crate) mode: u32,
    /// Number of the user whose it is, in all vnodes
    #[arg(long, default_value_t = 0)]
    pub(crate) user: u32,
    /// Number of the group whose it is
    #[arg(long, default_value_t = 0)]
    pub(crate) group: u32,
    /// Other vnodes whose programs may use it: names or numbers, `all` or `none`
    #[arg(long, default_value = "all")]
    pub(crate) vnodes: String,
    /// Those of them whose programs may write [default: all of them]
    #[arg(long)]
    pub(crate) writers: Option<String>,
}

/// Options of `bridge remove`.
#[derive(Args)]
pub(crate) struct BridgeRemoveArgs {
    /// What programs call it
    pub(crate) name: String,
}

/// Options of `bridge show`.
#[derive(Args)]
pub(crate) struct BridgeArgs {
    /// Name of a global bridge, VNODE/NAME of a local one, or #N for its number
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
