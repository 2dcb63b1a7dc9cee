// SPDX-License-Identifier: GPL-2.0

//! A program that has regions open, and does with them what it is told: `serve` takes commands at a socket, each in a thread of
//! its own, and `ask` gives it one, prints the answer, and fails if that is an error.

mod bench;
mod callers;
mod channels;
mod commands;
mod endure;
mod files;
mod fuzz;
mod litmus;
mod mapping;
mod passing;
mod scribble;
mod signals;

use anyhow::{bail, Context, Result};
use clap::{Parser, Subcommand};
use commands::Regions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

#[derive(Parser)]
#[command(about, disable_version_flag = true)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Does what it is asked, for ever; "ready" on standard output once it does
    Serve {
        /// Where it is asked
        socket: PathBuf,
    },
    /// Has a server do something
    Ask {
        /// Where the server is
        socket: PathBuf,
        /// What it is to do: see commands.rs
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Has users and groups of all kinds try a region of user 1000 and group 2000; the number of them, if all can what they may
    Callers {
        /// The region
        name: String,
        /// Its mode
        mode: String,
        /// What this vnode may do: none, r or w
        vnode: String,
        /// Each caller is in a user namespace of its own
        #[arg(long)]
        apart: bool,
    },
    /// Passes a region on, maps one that gets smaller, waits for one as Linux waits; how many of them were as they are to be
    Passing {
        /// What the regions are called
        name: String,
    },
    /// Has signals come to who waits for a region of zeros; how many ways of waiting were as they are to be
    Signals {
        /// The region
        name: String,
    },
    /// Makes, fills, maps and closes a region, again and again
    Rounds {
        /// What it is called
        name: String,
        /// How often
        count: u32,
    },
    /// Measures what shared memory costs
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Plays a role of a litmus test with others; the first one tells what was seen how often, and fails if that must not be
    Litmus {
        /// The test: see litmus/catalogue.rs
        name: String,
        /// Which role, from 0 on
        role: usize,
        /// A region of zeros, 2 MiB at least
        region: String,
        /// How often it is played
        rounds: u32,
        /// How many roles there are
        #[arg(long, default_value_t = 2)]
        roles: usize,
    },
    /// Tries to map more of a region than it may; how many tries were refused, or were as they are to be
    Mapping {
        /// The region, which it may write
        name: String,
    },
    /// Uses a region as one of two, whatever wakes them: turns, locks and notices that it had, and its longest wait in ms
    Endure {
        /// The region, zeros at first
        name: String,
        /// Which one of the two: 0 or 1
        role: u32,
        /// How long
        seconds: u64,
    },
    /// Writes over the board what it likes; how many words
    Scribble {
        /// Where it is, as `vnode bridge show shm. --json` says
        address: u64,
        /// How long
        seconds: u64,
        /// What repeats it
        seed: u64,
    },
    /// Does with regions what no honest program would, and checks each answer; what was reached
    Fuzz {
        /// How long
        seconds: u64,
        /// How many threads do so at once
        threads: u64,
        /// What repeats each thread's steps; another one for each program that runs at the same time
        seed: u64,
    },
    /// Tries a region: r, w it can be opened so; m, n what is open so can be mapped; x, z it can be mapped to write; k it can be kept
    Try {
        /// The region
        name: String,
        /// Tries to have it kept as well, and keeps it if that is possible
        #[arg(long)]
        keep: bool,
    },
}

fn answer(regions: &Regions, stream: &UnixStream) -> Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let text = match regions.run(&words) {
        Ok(text) => format!("ok {text}"),
        Err(error) => format!("error {error:#}"),
    };
    Ok((&*stream).write_all(text.as_bytes())?)
}

fn serve(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    let regions = Arc::new(Regions::default());
    println!("ready");
    for stream in listener.incoming() {
        let stream = stream?;
        let regions = regions.clone();
        // Who has asked may have gone meanwhile.
        thread::spawn(move || answer(&regions, &stream));
    }
    Ok(())
}

fn ask(socket: &Path, words: &[String]) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("nobody serves there")?;
    writeln!(stream, "{}", words.join(" "))?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text)?;
    match text.split_once(' ') {
        Some(("ok", rest)) => println!("{rest}"),
        Some((_, rest)) => bail!("{rest}"),
        None => bail!("the server has gone"),
    }
    Ok(())
}

fn main() -> Result<()> {
    match Options::parse().command {
        Command::Serve { socket } => serve(&socket),
        Command::Ask { socket, words } => ask(&socket, &words),
        Command::Callers {
            name,
            mode,
            vnode,
            apart,
        } => {
            println!("{}", callers::check(&name, &mode, &vnode, apart)?);
            Ok(())
        }
        Command::Passing { name } => {
            println!("{}", passing::check(&name)?);
            Ok(())
        }
        Command::Signals { name } => {
            println!("{}", signals::check(&name)?);
            Ok(())
        }
        Command::Bench(bench) => bench::run(&bench),
        Command::Litmus {
            name,
            role,
            region,
            rounds,
            roles,
        } => litmus::run(&name, role, roles, &region, rounds),
        Command::Mapping { name } => {
            println!("{}", mapping::check(&name)?);
            Ok(())
        }
        Command::Endure {
            name,
            role,
            seconds,
        } => {
            println!("{}", endure::endure(&name, role, seconds)?);
            Ok(())
        }
        Command::Scribble {
            address,
            seconds,
            seed,
        } => {
            println!("{}", scribble::scribble(address, seconds, seed)?);
            Ok(())
        }
        Command::Fuzz {
            seconds,
            threads,
            seed,
        } => fuzz::run(seconds, threads, seed),
        Command::Rounds { name, count } => commands::rounds(&name, count),
        Command::Try { name, keep } => {
            println!("{}", callers::attempt(&name, keep));
            Ok(())
        }
    }
}
