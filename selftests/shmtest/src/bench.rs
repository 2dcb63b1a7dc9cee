// SPDX-License-Identifier: GPL-2.0

//! What memory costs that programs share, for scripts/bench-regions: that of a region, and what one would use instead within one
//! kernel. Both are measured by the same code, after as much of it has been done before, and on CPUs of their own.

mod memory;
mod region;
mod turns;
mod unix;

use anyhow::{ensure, Result};
use clap::{Args, Subcommand, ValueEnum};
use rustix::thread::{sched_setaffinity, CpuSet};
use std::time::Instant;
use turns::Side;

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Nanoseconds for a MiB that is read, written and copied: in a region, and in memory of shm_open
    Memory {
        /// The region, which is written over
        region: String,
        /// MiB that are used of it
        mib: usize,
        /// How often
        passes: usize,
        /// The CPU on which it is done
        #[arg(long)]
        cpu: usize,
    },
    /// Nanoseconds until each page of a new region and of new memory of shm_open has been touched, and the same from before it was made
    Touch {
        /// MiB of them
        mib: usize,
        /// How often
        passes: usize,
        /// The CPU on which it is done
        #[arg(long)]
        cpu: usize,
    },
    /// Leads what two programs do with a region of zeros; nanoseconds of a turn
    Lead {
        #[command(flatten)]
        turns: Turns,
        /// The region
        region: String,
    },
    /// Follows, in another process
    Follow {
        #[command(flatten)]
        turns: Turns,
        /// The region
        region: String,
    },
    /// Leads the same of what one kernel has: a futex, two eventfds, two pipes; with a process that follows. Nanoseconds of a turn
    Alone {
        #[command(flatten)]
        turns: Turns,
        /// The CPU of the process that follows
        #[arg(long)]
        other_cpu: usize,
    },
    /// Follows that one, by its standard input and output
    #[command(hide = true)]
    Second {
        #[command(flatten)]
        turns: Turns,
    },
}

/// What two programs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// They count a word up in turn, and sleep on it meanwhile
    Word,
    /// They answer each other's notices
    Notice,
    /// One sends messages, the other one takes them
    Message,
}

/// How it is done.
#[derive(Args, Clone, Debug)]
pub(crate) struct Turns {
    /// What
    what: What,
    /// How often
    count: u32,
    /// The CPU on which it is done
    #[arg(long)]
    cpu: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65536))]
    bytes: u32,
}

/// Has this thread run on a CPU, and on no other.
fn pin(cpu: usize) -> Result<()> {
    ensure!(cpu < CpuSet::MAX_CPU, "there is no CPU {cpu}");
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Turns that are done before time is taken.
fn before(turns: &Turns) -> u32 {
    turns.count.div_ceil(10)
}

/// Leads; nanoseconds of a turn.
fn lead(side: &mut dyn Side, turns: &Turns) -> Result<u128> {
    ensure!(turns.count > 0, "there is nothing to measure");
    side.lead(before(turns))?;
    let begun = Instant::now();
    side.lead(turns.count)?;
    Ok(begun.elapsed().as_nanos() / u128::from(turns.count))
}

/// Follows.
fn follow(side: &mut dyn Side, turns: &Turns) -> Result<()> {
    side.follow(before(turns))?;
    side.follow(turns.count)
}

/// Measures, and prints what came out.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Memory {
            region,
            mib,
            passes,
            cpu,
        } => {
            pin(*cpu)?;
            memory::passes(region, *mib, *passes)?;
        }
        Bench::Touch { mib, passes, cpu } => {
            pin(*cpu)?;
            memory::touches(*mib, *passes)?;
        }
        Bench::Lead { turns, region } => {
            pin(turns.cpu)?;
            println!("{}", region::lead(region, turns)?);
        }
        Bench::Follow { turns, region } => {
            pin(turns.cpu)?;
            region::follow(region, turns)?;
        }
        Bench::Alone { turns, other_cpu } => {
            pin(turns.cpu)?;
            println!("{}", unix::lead(turns, *other_cpu)?);
        }
        Bench::Second { turns } => {
            pin(turns.cpu)?;
            unix::follow(turns)?;
        }
    }
    Ok(())
}
