// SPDX-License-Identifier: GPL-2.0

//! Two ends of a network, for tests and benchmarks: what one sends, the other can tell to be right or wrong.
//!
//! All bytes follow from a seed and their position, so that whoever takes them knows them. `serve` answers on a port of
//! TCP and one of UDP, both of the same number; the other commands ask it, and print one line `WORD NUMBER...`.

#![expect(
    clippy::indexing_slicing,
    reason = "a slice that is out of bounds here is a failed test"
)]

mod datagrams;
mod pattern;
mod streams;

use anyhow::Result;
use clap::{Parser, Subcommand};
use rustix::time::{clock_gettime, ClockId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where `serve` listens.
const PORT: u16 = 5001;

#[derive(Parser)]
#[command(about, disable_version_flag = true)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers all others, for ever; "ready" on standard output once it does
    Serve {
        /// Groups to listen to as well
        #[arg(long)]
        group: Vec<Ipv4Addr>,
    },
    /// Sends a stream by TCP that the other end checks
    Stream {
        /// The other end
        to: IpAddr,
        /// Bytes of each flow
        #[arg(long, default_value_t = 1 << 20)]
        bytes: u64,
        /// Flows at once
        #[arg(long, default_value_t = 1)]
        flows: u64,
        /// Has the other end send
        #[arg(long)]
        reverse: bool,
        /// Sends zeros, at which nobody looks: to measure
        #[arg(long)]
        plain: bool,
    },
    /// Asks and is answered by TCP, one message each way at a time
    Rounds {
        /// The other end
        to: IpAddr,
        /// How often
        #[arg(long, default_value_t = 1000)]
        count: u64,
        /// Bytes of a message
        #[arg(long, default_value_t = 1)]
        size: usize,
    },
    /// Sends datagrams by UDP, and has each of these sizes sent back
    Echo {
        /// The other end
        to: IpAddr,
        /// Smallest size
        #[arg(long, default_value_t = 0)]
        from: usize,
        /// Largest size
        #[arg(long, default_value_t = 65507)]
        until: usize,
        /// From one size to the next
        #[arg(long, default_value_t = 1)]
        step: usize,
    },
    /// Sends numbered datagrams by UDP, so many ahead of the answers, and counts what is lost
    Numbered {
        /// The other end
        to: IpAddr,
        /// How many
        #[arg(long, default_value_t = 1000)]
        count: u64,
        /// Bytes of each, 16 at least
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Datagrams on their way at once
        #[arg(long, default_value_t = 32)]
        ahead: u64,
    },
    /// Sends one datagram to a group or to all, and counts who answers within a second
    Who {
        /// A group's address, or that of all
        to: Ipv4Addr,
        /// The address of the device to send from
        #[arg(long)]
        via: Ipv4Addr,
    },
    /// Tells this kernel's monotonic time in nanoseconds, for what takes less than a step of /proc/uptime
    Now,
}

fn main() -> Result<()> {
    let at = |to| SocketAddr::new(to, PORT);
    match Options::parse().command {
        Command::Serve { group } => {
            datagrams::serve(PORT, &group)?;
            streams::serve(PORT)
        }
        Command::Stream {
            to,
            bytes,
            flows,
            reverse,
            plain,
        } => streams::stream(at(to), bytes, flows, reverse, plain),
        Command::Rounds { to, count, size } => streams::rounds(at(to), count, size),
        Command::Echo {
            to,
            from,
            until,
            step,
        } => datagrams::echo(at(to), (from..=until).step_by(step.max(1))),
        Command::Numbered {
            to,
            count,
            size,
            ahead,
        } => datagrams::numbered(at(to), count, size, ahead),
        Command::Who { to, via } => datagrams::who(to, via, PORT),
        Command::Now => {
            let now = clock_gettime(ClockId::Monotonic);
            println!("now {}", now.tv_sec * 1_000_000_000 + now.tv_nsec);
            Ok(())
        }
    }
}
