// SPDX-License-Identifier: GPL-2.0

//! `kmb-fuzz SECONDS THREADS SEED KERNEL INITRD`: asks `/dev/kmb` and `/dev/adeos` for what no
//! honest program would, and for vnodes that are started, stopped and killed by all threads at once.
//! One vnode runs already; it is left alone.
//!
//! Every answer has to be one that docs/kmb-ioctl.md allows. Each thread's requests follow from the
//! seed and the thread's number alone; how far they come, and what they meet, is the run's. At the
//! end all vnodes are taken back. What else went wrong shows in the kernel's log and in what the
//! kernel has left: that is for the caller.

mod book;
mod files;
mod hand;
mod kmsg;
mod model;
mod plan;
mod start;
mod verify;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use adeos_proto::abi::state;
use adeos_proto::id::MAX_VNODES;
use fuzzing::{Arena, Device};

use book::{Book, Shared};
use files::Originals;
use hand::Hand;
use kmsg::{Fired, Log};
use plan::{Planner, KNOWN};
use world::World;

/// Requests that are sent to one open file.
const SESSION: u64 = 32;

/// What the command line says.
struct Options {
    seconds: u64,
    threads: u64,
    seed: u64,
    originals: Arc<Originals>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kmb-fuzz: {why}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [seconds, threads, seed, kernel, initrd] = words.as_slice() else {
        return Err("usage: kmb-fuzz SECONDS THREADS SEED KERNEL INITRD".into());
    };
    let number = |word: &String| word.parse().map_err(|_| format!("{word} is no number"));
    Ok(Options {
        seconds: number(seconds)?,
        threads: number(threads)?,
        seed: number(seed)?,
        originals: Originals::read(kernel, initrd)?,
    })
}

fn run() -> Result<(), String> {
    let options = options()?;
    let kmb = Device::open("/dev/kmb").map_err(|error| format!("/dev/kmb: {error}"))?;
    let arena = Arena::new().map_err(|error| error.to_string())?;
    let world = World::look(&kmb, &arena, options.originals.needs()?)?;
    let log = Log::open()?;
    let book = Arc::new(Shared::default());
    let done = Arc::new(AtomicBool::new(false));
    let counter = thread::spawn({
        let done = done.clone();
        move || log.count(&done)
    });

    let hammered = hammer(&options, &book, world);
    let mut book = book.open();
    // What threads have found tells more than what came of it, and is told with it.
    let taken_back = take_back(&kmb, &arena, world, &mut book);
    book.wrong
        .extend(hammered.err().into_iter().chain(taken_back.err()));
    done.store(true, Ordering::Release);
    let fired = counter.join().map_err(|_| "a thread has panicked")??;
    report(options.seed, &book, &fired)
}

/// Sends requests from all threads until the time is over, or something is wrong.
fn hammer(options: &Options, book: &Arc<Shared>, world: World) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut workers = Vec::new();
    for thread in 0..options.threads {
        let hand = Hand::new(thread, options.originals.clone(), book.clone(), world)
            .map_err(|error| format!("a thread cannot begin: {error}"))?;
        let planner = Planner::new(options.seed, thread, world);
        let (seed, book) = (options.seed, book.clone());
        workers.push(thread::spawn(move || {
            let result = work(hand, planner, end, &book);
            result.map_err(|what| format!("seed {seed}, thread {thread}, {what}"))
        }));
    }
    for worker in workers {
        if let Err(what) = worker.join().map_err(|_| "a thread has panicked")? {
            book.open().wrong.push(what);
        }
    }
    Ok(())
}

fn work(mut hand: Hand, mut planner: Planner, end: Instant, book: &Shared) -> Result<(), String> {
    let mut count = 0u64;
    while Instant::now() < end && book.open().wrong.is_empty() {
        if count % SESSION == 0 {
            hand.reopen().map_err(|error| error.to_string())?;
        }
        let request = planner.next();
        if let Err(what) = hand.carry_out(&request) {
            return Err(format!("request {count}: {what}\n{request:?}"));
        }
        count += 1;
    }
    Ok(())
}

/// Takes back what the threads have left.
fn take_back(kmb: &Device, arena: &Arena, world: World, book: &mut Book) -> Result<(), String> {
    let said = |what, errno| format!("{what} at the end: error {errno}");
    world::disarm(kmb, arena).map_err(|errno| said("KMB_FAULT", errno))?;
    for vnode in (1..MAX_VNODES as u32).filter(|vnode| *vnode != world.one) {
        let ask = || world::query(kmb, arena, vnode).map_err(|errno| said("KMB_QUERY", errno));
        let facts = ask()?;
        if facts.state == state::EMPTY {
            continue;
        }
        if !book.is_ours((vnode, facts.generation)) {
            let life = facts.generation;
            book.wrong
                .push(format!("nobody was told of vnode {vnode}, life {life}"));
        }
        world::kill(kmb, arena, vnode, facts.generation)
            .map_err(|errno| said("KMB_KILL", errno))?;
        if let Err(what) = book.note_kill((vnode, facts.generation)) {
            book.wrong.push(what);
        }
        if ask()?.state != state::EMPTY {
            book.wrong
                .push(format!("vnode {vnode} was killed and is there"));
        }
    }
    if let Err(what) = book.balance() {
        book.wrong.push(what);
    }
    Ok(())
}

/// Prints a line for each request that means something, with its answers; 0 is success. Then a
/// line of what was reached, and what was wrong.
fn report(seed: u64, book: &Book, fired: &Fired) -> Result<(), String> {
    let total: u64 = book.answers.values().sum();
    println!("seed {seed}: {total} requests");
    for (name, number) in KNOWN {
        let mut line = format!("{name}:");
        let asked = book.answers.iter();
        for ((_, _, errno), times) in asked.filter(|((_, asked, _), _)| *asked == number) {
            line += &format!(" {times}x{errno}");
        }
        println!("{line}");
    }
    let reached = &book.reached;
    println!(
        "reached: past_image={} started={} untold={} killed={} killed_any={} stopped={} stale={} \
         fired={} steps={}",
        reached.past_image,
        reached.started,
        reached.untold,
        reached.killed,
        reached.killed_any,
        reached.stopped,
        reached.stale,
        fired.iter().sum::<u64>(),
        fired.iter().filter(|count| **count > 0).count()
    );
    if book.wrong.is_empty() {
        return Ok(());
    }
    Err(book.wrong.join("\n"))
}
