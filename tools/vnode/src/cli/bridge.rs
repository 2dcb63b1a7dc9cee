// SPDX-License-Identifier: GPL-2.0

//! Options of `vnode bridge`.

use clap::{Args, Subcommand};

use super::JsonArgs;
use crate::bridge::region::{self, Listed, Settings};

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
    /// or until this vnode ends. A cluster file says the same in `[[region]]`.
    Create(BridgeCreateArgs),
    /// Keep a bridge for programs no more: it goes with its last user
    Remove(BridgeRemoveArgs),
}

/// Options of `bridge create`.
#[derive(Args)]
pub(crate) struct BridgeCreateArgs {
    /// What programs call it
    #[arg(value_parser = region::parse_name)]
    name: String,
    /// Its size: a multiple of 2M
    #[arg(long, value_parser = region::parse_size)]
    size: u64,
    /// Who may read and write, as for a file [default: 600]
    #[arg(long, value_parser = region::parse_mode)]
    mode: Option<u32>,
    /// Number of the user whose it is, in all vnodes
    #[arg(long, default_value_t = 0, value_parser = region::parse_owner)]
    user: u32,
    /// Number of the group whose it is
    #[arg(long, default_value_t = 0, value_parser = region::parse_owner)]
    group: u32,
    /// Other vnodes whose programs may use it: names or numbers, `all` or `none` [default: all]
    #[arg(long, value_parser = Listed::parse, conflicts_with_all = ["readers", "writers"])]
    vnodes: Option<Listed>,
    /// Instead, those whose programs may read it [default: the writers]
    #[arg(long, value_name = "VNODES", value_parser = Listed::parse)]
    readers: Option<Listed>,
    /// And those whose programs may write, and so read [default: none]
    #[arg(long, value_name = "VNODES", value_parser = Listed::parse)]
    writers: Option<Listed>,
}

impl BridgeCreateArgs {
    /// What the region is to be.
    pub(crate) fn settings(&self) -> Settings {
        let [vnodes, readers, writers] =
            [&self.vnodes, &self.readers, &self.writers].map(Option::clone);
        let (readers, writers) = Listed::who(vnodes, readers, writers);
        Settings {
            name: self.name.clone(),
            size_bytes: self.size,
            mode: self.mode.unwrap_or(region::DEFAULT_MODE),
            user: self.user,
            group: self.group,
            readers,
            writers,
        }
    }
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
