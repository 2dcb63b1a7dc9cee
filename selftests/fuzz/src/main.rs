// SPDX-License-Identifier: GPL-2.0

//! `kmb-fuzz SECONDS THREADS SEED`: throws requests at `/dev/kmb` and `/dev/adeos` that no honest
//! program would send: numbers that mean nothing, records with random and boundary fields, pointers
//! to memory that is not there. What it finds shows elsewhere, in the kernel's log and in what the
//! kernel has left; this program only counts what was answered and fails when it cannot work.
//!
//! Each thread's requests follow from the seed and the thread's number alone, so that a run can be
//! repeated as far as threads do not meet.

mod device;
mod requests;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use device::Device;
use requests::Random;

/// What one thread has seen: answers by device, request and error.
type Answers = BTreeMap<(&'static str, u32, i32), u64>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kmb-fuzz: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let (Some(Ok(seconds)), Some(Ok(threads)), Some(Ok(seed))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return Err("usage: kmb-fuzz SECONDS THREADS SEED".into());
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let workers: Vec<_> = (0..threads)
        .map(|number| thread::spawn(move || hammer(Random::new(seed, number), end)))
        .collect();

    let mut all = Answers::new();
    for worker in workers {
        let answers = worker.join().map_err(|_| "a thread has panicked")??;
        for (key, count) in answers {
            *all.entry(key).or_default() += count;
        }
    }
    report(seed, &all)
}

/// Sends requests until the time is over. Files are opened anew now and then, for a file of
/// `/dev/adeos` can become the end of a channel.
fn hammer(mut random: Random, end: Instant) -> Result<Answers, String> {
    let mut answers = Answers::new();
    while Instant::now() < end {
        for path in ["/dev/kmb", "/dev/adeos"] {
            let device = Device::open(path).map_err(|error| format!("{path}: {error}"))?;
            for _ in 0..random.below(64) {
                let request = requests::any(&mut random);
                let errno = device.ask(&request);
                *answers.entry((path, request.number, errno)).or_default() += 1;
            }
        }
    }
    Ok(answers)
}

/// Prints a line for each request that means something, with its answers; 0 is success.
fn report(seed: u64, all: &Answers) -> Result<(), String> {
    let total: u64 = all.values().sum();
    println!("seed {seed}: {total} requests");
    for (name, number) in requests::KNOWN {
        let mut line = format!("{name}:");
        let mut count = 0;
        for ((_, _, errno), times) in all.iter().filter(|((_, asked, _), _)| *asked == number) {
            line += &format!(" {times}x{errno}");
            count += times;
        }
        println!("{line}");
        if count == 0 {
            return Err(format!("{name} was never sent"));
        }
    }
    Ok(())
}
