// SPDX-License-Identifier: GPL-2.0

//! The same by what one kernel has: a futex in memory of shm_open, eventfds, and pipes. Who follows is a process of its own, which has
//! that as its standard input and output.

use super::memory::Shared;
use super::turns::{number_of, Bell, Bells, Line, Lines, Side, Sleep, Words, PATIENCE};
use super::{Turns, What};
use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::Timespec;
use rustix::thread::futex;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU32;

/// Bytes of the memory that a word lies in.
const PAGE: usize = 4096;

/// Starts the process that follows.
fn start(turns: &Turns, cpu: usize, input: Stdio, output: Stdio) -> Result<Child> {
    let what = turns.what.to_possible_value().context("it has a name")?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["bench", "second", what.get_name()]);
    command.arg(turns.count.to_string());
    command.arg(format!("--cpu={cpu}"));
    command.arg(format!("--bytes={}", turns.bytes));
    command.stdin(input).stdout(output);
    command.spawn().context("nobody follows")
}

/// Leads, and ends who follows if that fails.
fn lead_with(side: &mut dyn Side, turns: &Turns, mut child: Child) -> Result<u128> {
    let told = super::lead(side, turns);
    if told.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let nanos = told?;
    ensure!(status.success(), "who follows has failed: {status}");
    Ok(nanos)
}

/// Leads; nanoseconds of a turn.
pub(super) fn lead(turns: &Turns, other_cpu: usize) -> Result<u128> {
    match turns.what {
        What::Word => {
            let file = Shared::file(PAGE)?;
            let input = file.try_clone()?.into();
            let shared = Shared::map(file, PAGE)?;
            let child = start(turns, other_cpu, input, Stdio::null())?;
            lead_with(&mut Words(Futex(shared)), turns, child)
        }
        What::Notice => {
            let to = eventfd(0, EventfdFlags::CLOEXEC)?;
            let from = eventfd(0, EventfdFlags::CLOEXEC)?;
            let (input, output) = (to.try_clone()?, from.try_clone()?);
            let child = start(turns, other_cpu, input.into(), output.into())?;
            lead_with(&mut Bells(Ends::new(to, from)), turns, child)
        }
        What::Message => {
            let mut child = start(turns, other_cpu, Stdio::piped(), Stdio::piped())?;
            let to = child.stdin.take().context("it has an input")?;
            let from = child.stdout.take().context("it has an output")?;
            let ends = Ends::new(to.into(), from.into());
            lead_with(&mut Lines::new(ends, turns.bytes), turns, child)
        }
    }
}

/// Follows who has started this.
pub(super) fn follow(turns: &Turns) -> Result<()> {
    let from = io::stdin().as_fd().try_clone_to_owned()?;
    let to = io::stdout().as_fd().try_clone_to_owned()?;
    let mut side: Box<dyn Side> = match turns.what {
        What::Word => Box::new(Words(Futex(Shared::map(from, PAGE)?))),
        What::Notice => Box::new(Bells(Ends::new(to, from))),
        What::Message => Box::new(Lines::new(Ends::new(to, from), turns.bytes)),
    };
    super::follow(&mut *side, turns)
}

/// The first word of shared memory, which is a futex of several processes.
struct Futex(Shared);

impl Sleep for Futex {
    fn word(&self) -> &AtomicU32 {
        self.0.word()
    }

    fn sleep(&self, value: u32) -> io::Result<()> {
        let time = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        Ok(futex::wait(
            self.word(),
            futex::Flags::empty(),
            value,
            Some(&time),
        )?)
    }

    fn wake(&self) -> io::Result<()> {
        futex::wake(self.word(), futex::Flags::empty(), 1)?;
        Ok(())
    }
}

/// Two descriptors, one for each way.
struct Ends {
    to: File,
    from: File,
    came: Vec<u8>,
}

impl Ends {
    fn new(to: OwnedFd, from: OwnedFd) -> Self {
        Self {
            to: to.into(),
            from: from.into(),
            came: Vec::new(),
        }
    }
}

/// Eventfds.
impl Bell for Ends {
    fn ring(&mut self) -> Result<()> {
        Ok(self.to.write_all(&1_u64.to_ne_bytes())?)
    }

    fn wait(&mut self) -> Result<()> {
        let mut count = [0; 8];
        self.from.read_exact(&mut count)?;
        ensure!(u64::from_ne_bytes(count) == 1, "it was told more than once");
        Ok(())
    }
}

/// Pipes.
impl Line for Ends {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.to.write_all(message)?)
    }

    fn receive(&mut self, bytes: usize) -> Result<u64> {
        self.came.resize(bytes, 0);
        self.from.read_exact(&mut self.came)?;
        number_of(&self.came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench;
    use std::thread;

    fn turns(what: What) -> Turns {
        Turns {
            what,
            count: 200,
            cpu: 0,
            bytes: 64,
        }
    }

    #[test]
    fn a_futex_wakes_who_sleeps() {
        let turns = turns(What::Word);
        let file = Shared::file(PAGE).unwrap();
        let again = file.try_clone().unwrap();
        let word = |file| Words(Futex(Shared::map(file, PAGE).unwrap()));
        thread::scope(|scope| {
            scope.spawn(|| bench::follow(&mut word(again), &turns).unwrap());
            assert!(bench::lead(&mut word(file), &turns).unwrap() > 0);
        });
    }

    #[test]
    fn eventfds_wake_who_reads() {
        let turns = turns(What::Notice);
        let [there, back] = [(); 2].map(|()| eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let other = Ends::new(back.try_clone().unwrap(), there.try_clone().unwrap());
        thread::scope(|scope| {
            scope.spawn(|| bench::follow(&mut Bells(other), &turns).unwrap());
            let mut one = Bells(Ends::new(there, back));
            assert!(bench::lead(&mut one, &turns).unwrap() > 0);
        });
    }

    #[test]
    fn pipes_carry_each_message() {
        let turns = turns(What::Message);
        let (from, there) = io::pipe().unwrap();
        let (to, back) = io::pipe().unwrap();
        let other = Ends::new(back.into(), from.into());
        thread::scope(|scope| {
            scope.spawn(|| bench::follow(&mut Lines::new(other, 64), &turns).unwrap());
            let mut one = Lines::new(Ends::new(there.into(), to.into()), 64);
            assert!(bench::lead(&mut one, &turns).unwrap() > 0);
        });
    }
}
