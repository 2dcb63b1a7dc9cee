// SPDX-License-Identifier: GPL-2.0

//! What the server can do. A region is known by the number that the caller gives it.

use crate::channels;
use crate::files::{self, Signalled};
use anyhow::{anyhow, bail, ensure, Context, Result};
use bridge::{pipe, Access, Lock, Memory, Name, Options, Queue, Region, Shape, Vnodes};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// An open region, and what it is mapped as.
struct Open {
    region: Region,
    memory: Mutex<Option<Arc<Memory>>>,
    signalled: Signalled,
}

/// All that are open.
#[derive(Default)]
pub(crate) struct Regions(Mutex<HashMap<u32, Arc<Open>>>);

fn number<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse()
        .map_err(|_| anyhow!("{word} is no number here"))
}

fn access(word: &str) -> Result<Access> {
    match word {
        "r" => Ok(Access::Read),
        "w" => Ok(Access::Write),
        _ => bail!("access is r or w"),
    }
}

fn name(word: &str) -> Result<Name<'_>> {
    Ok(match word.split_once('/') {
        None => Name::Global(word),
        Some(("own", name)) => Name::Own(name),
        Some((vnode, name)) => Name::Local(number(vnode)?, name),
    })
}

fn options(bytes: u64, mode: &str, readers: &str, writers: &str) -> Result<Options> {
    let mode = u32::from_str_radix(mode, 8)?;
    Ok(Options::new(bytes)
        .mode(mode)
        .readers(Vnodes(number(readers)?))
        .writers(Vnodes(number(writers)?)))
}

fn time(word: &str) -> Result<Option<Duration>> {
    match word {
        "ever" => Ok(None),
        ms => Ok(Some(Duration::from_millis(number(ms)?))),
    }
}

/// The word at a place of a pattern.
fn pattern(seed: u64, place: usize) -> u64 {
    (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place as u64
}

impl Regions {
    fn get(&self, word: &str) -> Result<Arc<Open>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(&number(word)?).cloned();
        found.with_context(|| format!("region {word} is not open"))
    }

    fn put(&self, word: &str, region: Region) -> Result<()> {
        let open = Open {
            region,
            memory: Mutex::new(None),
            signalled: Signalled::default(),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(number(word)?, Arc::new(open));
        Ok(())
    }

    /// Does one command; what it says.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        match *words {
            ["create", at, called, bytes, mode, readers, writers] => {
                let options = options(number(bytes)?, mode, readers, writers)?;
                self.put(at, Region::create(name(called)?, &options)?)?;
            }
            ["open", at, called, how] => {
                self.put(at, Region::open(name(called)?, access(how)?)?)?;
            }
            ["close", at] => {
                self.get(at)?;
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                all.remove(&number(at)?);
            }
            [command, at, ref rest @ ..] => return self.get(at)?.run(command, rest),
            _ => bail!("there is no such command"),
        }
        Ok(String::new())
    }
}

impl Open {
    fn memory(&self) -> Result<Arc<Memory>> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.clone().context("it is not mapped")
    }

    fn run(&self, command: &str, rest: &[&str]) -> Result<String> {
        let region = &self.region;
        match (command, rest) {
            ("map", []) => {
                let mapped = Arc::new(region.map()?);
                *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(mapped);
            }
            ("unmap", []) => {
                *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            ("size", []) => return Ok(region.size()?.to_string()),
            ("stat", []) => return Ok(format!("{:?}", region.stat()?)),
            ("notices", []) => return Ok(region.stat()?.notices.to_string()),
            ("notify", []) => region.notify()?,
            ("wait", [seen, ms]) => return Ok(region.wait(number(seen)?, time(ms)?)?.to_string()),
            ("poll", [ms]) => return polled(region, number(ms)?),
            ("read", []) => {
                let mut count = [0; 8];
                rustix::io::read(region, &mut count)?;
                return Ok(u64::from_ne_bytes(count).to_string());
            }
            ("signal", []) => self.signalled.begin(region)?,
            ("signalled", [ms]) => return Ok(self.signalled.wait(number(ms)?)?.to_string()),
            ("signal_no_more", []) => region.signal(None)?,
            ("resize", [bytes]) => region.resize(number(bytes)?)?,
            ("faults", []) => return Ok(files::faults(&*self.memory()?)?.to_string()),
            // What a pattern of so many bytes has become of, and what is behind it.
            ("load_all", [seed, bytes]) => {
                return kept(&*self.memory()?, number(seed)?, number(bytes)?)
            }
            ("fill", [seed]) => {
                let (memory, seed) = (self.memory()?, number(seed)?);
                for place in 0..memory.size() / 8 {
                    memory
                        .word64(place * 8)?
                        .store(pattern(seed, place), Ordering::Relaxed);
                }
            }
            ("churn", [ms]) => return Ok(churn(&*self.memory()?, number(ms)?)?.to_string()),
            ("verify", [seed]) => {
                let (memory, seed) = (self.memory()?, number(seed)?);
                for place in 0..memory.size() / 8 {
                    let found = memory.word64(place * 8)?.load(Ordering::Relaxed);
                    let wanted = if seed == u64::MAX {
                        0
                    } else {
                        pattern(seed, place)
                    };
                    ensure!(
                        found == wanted,
                        "{found:#x} at {:#x}, not {wanted:#x}",
                        place * 8
                    );
                }
            }
            ("store", [offset, value]) => {
                let word = number(value)?;
                self.memory()?
                    .word(number(offset)?)?
                    .store(word, Ordering::SeqCst);
            }
            ("load", [offset]) => {
                let found = self.memory()?.word(number(offset)?)?.load(Ordering::SeqCst);
                return Ok(found.to_string());
            }
            ("wait_word", [offset, value, ms]) => {
                region.wait_word(number(offset)?, number(value)?, time(ms)?)?;
            }
            // The one answers each notice of the other with one.
            ("ping", [rounds]) => return Ok(ping(region, number(rounds)?)?.to_string()),
            ("pong", [seen, rounds]) => pong(region, number(seen)?, number(rounds)?)?,
            // The same by a word, which counts up.
            ("ping_word", [offset, rounds]) => {
                let word = number(offset)?;
                return Ok(turns(region, &*self.memory()?, word, 0, number(rounds)?)?.to_string());
            }
            ("pong_word", [offset, rounds]) => {
                let word = number(offset)?;
                turns(region, &*self.memory()?, word, 1, number(rounds)?)?;
            }
            ("write", []) => {
                rustix::io::write(region, &1u64.to_ne_bytes())?;
            }
            ("read_now", []) => {
                let flags = rustix::fs::fcntl_getfl(region)?;
                rustix::fs::fcntl_setfl(region, flags | OFlags::NONBLOCK)?;
                let read = rustix::io::read(region, &mut [0; 8]);
                rustix::fs::fcntl_setfl(region, flags)?;
                return Ok(read?.to_string());
            }
            ("hold", [offset, ms]) => {
                let memory = self.memory()?;
                let lock = Lock::new(region, &memory, number(offset)?)?;
                let patience = Duration::from_secs(30);
                let mut held = lock.lock_within(patience)?.context("nobody frees it")?;
                let word = if held.is_inherited() {
                    "inherited"
                } else {
                    "had"
                };
                thread::sleep(Duration::from_millis(number(ms)?));
                held.recovered();
                return Ok(word.to_owned());
            }
            ("add", [offset, word, count]) => {
                let memory = self.memory()?;
                let lock = Lock::new(region, &memory, number(offset)?)?;
                let word = memory.word(number(word)?)?;
                for _ in 0..number::<u32>(count)? {
                    let held = lock.lock()?;
                    ensure!(!held.is_inherited(), "somebody has died with it");
                    // Two at once would lose some of it.
                    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                }
            }
            ("queue", [offset, slots, bytes]) => {
                let shape = Shape {
                    slots: number(slots)?,
                    bytes: number(bytes)?,
                };
                Queue::create(region, &*self.memory()?, number(offset)?, shape)?;
            }
            ("queue_send", [offset, sender, count]) => {
                let (sender, count) = (number(sender)?, number(count)?);
                channels::queue_send(region, &*self.memory()?, number(offset)?, sender, count)?;
            }
            ("queue_end", [offset, count]) => {
                channels::queue_end(region, &*self.memory()?, number(offset)?, number(count)?)?;
            }
            ("queue_receive", [offset]) => {
                let came = channels::queue_receive(region, &*self.memory()?, number(offset)?)?;
                return Ok(came.to_string());
            }
            ("pipe", [offset, slots, bytes]) => {
                let shape = Shape {
                    slots: number(slots)?,
                    bytes: number(bytes)?,
                };
                pipe::create(&*self.memory()?, number(offset)?, shape)?;
            }
            ("pipe_send", [offset, bytes, count]) => {
                let (bytes, count) = (number(bytes)?, number(count)?);
                channels::pipe_send(region, &*self.memory()?, number(offset)?, bytes, count)?;
            }
            ("pipe_receive", [offset, bytes, count]) => {
                let (bytes, count) = (number(bytes)?, number(count)?);
                return channels::pipe_receive(
                    region,
                    &*self.memory()?,
                    number(offset)?,
                    bytes,
                    count,
                );
            }
            ("wake_word", [offset, count]) => region.wake_word(number(offset)?, number(count)?)?,
            ("protect", [user, group, mode, readers, writers]) => {
                let options = options(0, mode, readers, writers)?;
                region.protect(number(user)?, number(group)?, &options)?;
            }
            _ => bail!("there is no command {command}"),
        }
        Ok(String::new())
    }
}

/// Sees that a region begins with so many bytes of a pattern, and what is behind them.
fn kept(memory: &Memory, seed: u64, bytes: usize) -> Result<String> {
    for place in 0..memory.size() / 8 {
        let found = memory.word64(place * 8)?.load(Ordering::Relaxed);
        let wanted = if place * 8 < bytes {
            pattern(seed, place)
        } else {
            0
        };
        ensure!(found == wanted, "{found:#x} at {:#x}", place * 8);
    }
    let more = if memory.size() > bytes { " zeros" } else { "" };
    Ok(format!("kept{more}"))
}

/// Gives a notice, and waits for the answer, so many times; how many ms it took.
fn ping(region: &Region, rounds: u64) -> Result<u128> {
    let begun = Instant::now();
    let mut seen = region.stat()?.notices;
    for _ in 0..rounds {
        region.notify()?;
        seen = told(region, seen + 1)?;
    }
    Ok(begun.elapsed().as_millis())
}

/// The other one, which begins when `seen` notices are there.
fn pong(region: &Region, mut seen: u64, rounds: u64) -> Result<()> {
    for _ in 0..rounds {
        seen = told(region, seen)? + 1;
        region.notify()?;
    }
    Ok(())
}

/// Waits for the notice after `seen`.
fn told(region: &Region, seen: u64) -> Result<u64> {
    let now = region.wait(seen, Some(Duration::from_secs(20)))?;
    ensure!(now == seen + 1, "{now} notices after {seen}");
    Ok(now)
}

/// Counts a word up each time that it is this one's turn: that of 0 when it is even. How many ms it took.
fn turns(region: &Region, memory: &Memory, offset: u64, turn: u32, rounds: u32) -> Result<u128> {
    let begun = Instant::now();
    let word = memory.word(usize::try_from(offset)?)?;
    for _ in 0..rounds {
        loop {
            let seen = word.load(Ordering::SeqCst);
            if seen % 2 == turn {
                break;
            }
            match region.wait_word(offset, seen, Some(Duration::from_secs(20))) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => result?,
            }
        }
        word.fetch_add(1, Ordering::SeqCst);
        region.wake_word(offset, 1)?;
    }
    Ok(begun.elapsed().as_millis())
}

/// Writes all of a region, and looks at all that it has written, for some time; how often.
fn churn(memory: &Memory, ms: u64) -> Result<u64> {
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < Duration::from_millis(ms) {
        round += 1;
        for place in 0..memory.size() / 8 {
            memory
                .word64(place * 8)?
                .store(pattern(round, place), Ordering::Relaxed);
        }
        for place in 0..memory.size() / 8 {
            let found = memory.word64(place * 8)?.load(Ordering::Relaxed);
            ensure!(
                found == pattern(round, place),
                "{found:#x} at {:#x} in round {round}",
                place * 8
            );
        }
        ensure!(
            files::child_finds(memory, |place| pattern(round, place))?,
            "a child of round {round} finds something else"
        );
    }
    Ok(round)
}

/// Makes a region, sees that it is zeros, writes into it, and closes it, again and again.
pub(crate) fn rounds(name: &str, count: u32) -> Result<()> {
    for round in 1..=count {
        let region = Region::create(name, &Options::new(2 << 20).vnodes(Vnodes::ALL))?;
        let memory = region.map()?;
        for page in 0..memory.size() / 4096 {
            let word = memory.word(page * 4096)?;
            ensure!(
                word.swap(round, Ordering::Relaxed) == 0,
                "page {page} is used in round {round}"
            );
        }
        region.notify()?;
        // Now and then the mapping is the last that is left of it.
        if round % 2 == 0 {
            drop(region);
            drop(memory);
        }
    }
    Ok(())
}

/// What a poll of the region tells: letters in, out, urgent.
fn polled(region: &Region, ms: i64) -> Result<String> {
    let flags = PollFlags::IN | PollFlags::OUT | PollFlags::PRI;
    // What can be written at any time would end it at once.
    let wanted = if ms == 0 {
        flags
    } else {
        flags - PollFlags::OUT
    };
    let mut files = [PollFd::new(region, wanted)];
    let time = Timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    };
    poll(&mut files, Some(&time)).map_err(io::Error::from)?;
    let [file] = files;
    let letters = [
        (PollFlags::IN, "i"),
        (PollFlags::OUT, "o"),
        (PollFlags::PRI, "u"),
    ];
    let told = letters
        .iter()
        .filter(|(flag, _)| file.revents().contains(*flag));
    Ok(told.map(|(_, letter)| *letter).collect())
}
