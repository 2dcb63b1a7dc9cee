// SPDX-License-Identifier: GPL-2.0

//! Options of `vnode bridge`.

use clap::{Args, Subcommand};

use super::JsonArgs;

/// What can be done with bridges.
#[derive(Subcommand)]
pub(crate) enum BridgeCommand {
    /// List the bridges of the machine
    List(JsonArgs),
    /// Tell all about one bridge
    Show(BridgeArgs),
    /// Tell what bridges and moves have come to, and what counts for each vnode; only in the root
    Stat(JsonArgs),
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
