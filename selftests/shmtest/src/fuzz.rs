// SPDX-License-Identifier: GPL-2.0

//! `shmtest fuzz`: does with regions what no honest program would, in several threads at once: with the device, with files, and
//! with what they map. Other programs, in other vnodes too, may do the same on the same names.
//!
//! Every answer has to be one that docs/bridge-shm.md and `proto/abi/shm.rs` allow, or, where the call is none of ours, that
//! Linux gives of such a file. A thread has regions that nobody else knows: of these it knows all, every number that is in
//! them among it. In those that others use there may be what is marked with the region's name, and nothing else. Each thread's
//! steps follow from the seed and the thread's number alone; how far they come, and what they meet, is the run's.

mod book;
mod child;
mod field;
mod hand;
mod model;
mod plan;
mod probe;
mod sys;

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure, Context, Result};
use bridge::{Name, Region};

use hand::{Common, Hand};
use plan::Planner;

/// A step that takes as long as this does not end. To make a region may take a minute, and all that is opened waits for that.
const HANG: Duration = Duration::from_secs(300);
/// How often somebody looks for that.
const LOOK: Duration = Duration::from_millis(100);

/// What does not change while a run lasts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct World {
    /// This program's user and group.
    user: u32,
    group: u32,
    /// Whether it has all capabilities.
    is_admin: bool,
    /// This vnode.
    vnode: u32,
}

impl World {
    /// Looks by means of a region that nobody else has.
    fn look(seed: u64) -> Result<Self> {
        let name = format!("w{seed:x}");
        let region = Region::create(Name::Own(&name), &bridge::Options::new(2 << 20))
            .context("no region can be made")?;
        let stat = region.stat()?;
        ensure!(stat.name == name, "a region is called {}", stat.name);
        Ok(Self {
            user: stat.user,
            group: stat.group,
            is_admin: stat.user == 0,
            vnode: stat.vnode,
        })
    }
}

/// How far a thread has come.
struct Progress {
    begun: Instant,
    /// The step at which it is.
    step: AtomicU64,
    /// When that has begun, in ms since the run.
    since_ms: AtomicU64,
}

impl Progress {
    fn begin(&self, step: u64) {
        let now = self.begun.elapsed().as_millis() as u64;
        self.since_ms.store(now, Ordering::Relaxed);
        self.step.store(step, Ordering::Release);
    }

    fn hangs(&self) -> bool {
        let since = Duration::from_millis(self.since_ms.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(since) > HANG
    }
}

/// A thread of the run.
struct Worker {
    progress: Arc<Progress>,
    thread: JoinHandle<Result<(), String>>,
}

/// The steps of a thread until the time is over, or something is wrong anywhere.
fn work(
    mut hand: Hand,
    mut planner: Planner,
    end: Instant,
    common: &Common,
    progress: &Progress,
) -> Result<(), String> {
    let mut count = 0;
    while Instant::now() < end && common.book.open().wrong.is_empty() {
        let step = planner.next();
        progress.begin(count);
        hand.carry_out(&step)
            .map_err(|what| format!("step {count}: {what}\n{step:x?}"))?;
        count += 1;
    }
    progress.begin(count);
    hand.finish().map_err(|what| format!("in the end: {what}"))
}

/// The step of this number, by its seed.
fn step_of(seed: u64, thread: u64, world: World, number: u64) -> String {
    let mut planner = Planner::new(seed, thread, world);
    let mut step = planner.next();
    for _ in 0..number {
        step = planner.next();
    }
    format!("{step:x?}")
}

/// Has threads do it, and prints what they have come to.
pub(crate) fn run(seconds: u64, threads: u64, seed: u64) -> Result<()> {
    probe::install()?;
    let world = World::look(seed)?;
    let common = Common::default();
    let begun = Instant::now();
    let mut workers = Vec::new();
    for number in 0..threads {
        let hand = Hand::new(seed, number, world, common.clone())
            .map_err(|what| anyhow!("a thread cannot begin: {what}"))?;
        let planner = Planner::new(seed, number, world);
        let progress = Arc::new(Progress {
            begun,
            step: AtomicU64::new(0),
            since_ms: AtomicU64::new(0),
        });
        let (common, seen) = (common.clone(), progress.clone());
        let end = begun + Duration::from_secs(seconds);
        let thread = thread::spawn(move || {
            let result = work(hand, planner, end, &common, &seen);
            result.map_err(|what| {
                let what = format!("seed {seed}, thread {number}, {what}");
                common.book.open().wrong.push(what.clone());
                what
            })
        });
        workers.push(Worker { progress, thread });
    }
    await_all(&workers, seed, world);
    let mut steps = 0;
    for worker in workers {
        steps += worker.progress.step.load(Ordering::Acquire);
        if worker.thread.join().is_err() {
            bail!("a thread has panicked");
        }
    }
    let book = common.book.open();
    println!("seed {seed}: {steps} steps\n{book}");
    ensure!(book.wrong.is_empty(), "{}", book.wrong.join("\n"));
    Ok(())
}

/// Waits until all threads have ended. One that hangs ends the program, for it does not end itself.
fn await_all(workers: &[Worker], seed: u64, world: World) {
    while workers.iter().any(|worker| !worker.thread.is_finished()) {
        thread::sleep(LOOK);
        for (number, worker) in (0u64..).zip(workers) {
            let progress = &worker.progress;
            if worker.thread.is_finished() || !progress.hangs() {
                continue;
            }
            let at = progress.step.load(Ordering::Acquire);
            let step = step_of(seed, number, world, at);
            eprintln!("seed {seed}, thread {number}, step {at} does not end\n{step}");
            process::exit(1);
        }
    }
}
