// SPDX-License-Identifier: GPL-2.0

//! `vnode` starts, watches and ends the vnodes of a machine: independent Linux kernels beside the
//! one that the firmware booted.
//!
//! It knows the kernel modules through the ioctls of `adeos_proto::abi` only. The same program
//! runs in the root, for people, and as `vnode agent` in each vnode, for `vnode exec`. Results go
//! to stdout, words about them to stderr; `unsafe` is confined to `device.rs`.

#![deny(unsafe_code)]

mod apply;
mod asked;
mod bridge;
mod cli;
mod cluster;
mod console;
#[expect(unsafe_code, reason = "ioctls take addresses")]
mod device;
mod exec;
mod explain;
mod failure;
mod finding;
mod kernel_file;
mod limits;
mod lint;
mod network;
mod pages;
mod policy;
mod say;
mod settings;
mod show;
mod size;
mod start;
mod stop;
mod supervise;
mod vnode;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use device::Kmb;
use failure::Result;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(failure) => {
            say::failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        _ if cli.version => show::version()?,
        // Without a verb clap has printed the help; only `-V` gets here without one.
        None => show::version()?,
        Some(Command::Check(args)) => return lint::check(args),
        Some(Command::Apply(args)) => apply::run(args)?,
        Some(Command::Supervise(args)) => supervise::run(args)?,
        Some(Command::List(args)) => show::list(args)?,
        Some(Command::Show(args)) => show::show(args)?,
        Some(Command::Start(args)) => start::start(args)?,
        Some(Command::Stop(args)) => stop::stop(args)?,
        Some(Command::Kill(args)) => stop::kill(&args.name)?,
        Some(Command::Restart(args)) => start::restart(args)?,
        Some(Command::Wait(args)) => stop::wait(args)?,
        Some(Command::Exec(args)) => return Ok(exec::run(args)),
        Some(Command::Console(args)) => console::run(args)?,
        Some(Command::Info(args)) => show::info(args)?,
        Some(Command::Bridge(command)) => bridge::run(command)?,
        Some(Command::Network(command)) => network::run(command)?,
        Some(Command::Agent) => exec::agent::run()?,
        Some(Command::Completions { shell }) => pages::completions(*shell)?,
        Some(Command::Man { dir }) => pages::man(dir.as_deref())?,
        Some(Command::Fault { step }) => fault(*step)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn fault(step: u32) -> Result<()> {
    Kmb::open()?
        .fault(step)
        .map_err(|error| explain::fault(step, &error))
}
