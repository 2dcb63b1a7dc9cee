// SPDX-License-Identifier: GPL-2.0

//! Litmus tests: what x86 lets programs of several kernels see of each other's stores, and what not (docs/bridge-shm.md, SH-36).
//!
//! Each role plays one part of a test, in turn another one. A round is played in a cell of two words, which no other round of its
//! block has, as litmus7 does it (Alglave and others, "Litmus: running tests against hardware", 2011). All wait for each other before a block and
//! behind it, and before each round as well, there no longer than some time for all rounds of a block: so most are played at the same time, and
//! who cannot run delays a block, not each round. Behind it the first role looks at what all have seen, and says whether there is another block.

mod catalogue;

use anyhow::{ensure, Context, Result};
use bridge::{Access, Memory, Region};
use catalogue::{Parts, Test, Told};
use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Roles of a test, at most.
const MOST: usize = 4;
/// Rounds of a block: a power of two.
const BLOCK: u32 = 4096;
/// Rounds that can be asked for: sums of all roles fit.
const MAX_ROUNDS: u32 = 100_000_000;
/// Blocks that are played in vain before one gives up, beside as many as are needed.
const VAIN: u32 = 64;

/// Where a role's words lie: two lines of a cache, for some CPUs fetch two at once.
const LINE: usize = 128;
/// In there: how often it has come to where all wait.
const ARRIVED: usize = 0;
/// In there: the round that it plays.
const PLAYS: usize = 4;
/// The word that all rounds have.
const COMMON: usize = MOST * LINE;
/// Whether there is no other block.
const ENDED: usize = (MOST + 1) * LINE;
/// What was seen, by part and round.
const SEEN: usize = 4096;
/// The cells.
const CELLS: usize = SEEN + MOST * BLOCK as usize * 8;
/// In there: the other word.
const OTHER: usize = 64;
/// Bytes of all that.
const BYTES: usize = CELLS + BLOCK as usize * LINE;

/// Looks at another role's word between two looks at the time.
const LOOKS: u32 = 1000;
/// How long one waits for others before the rounds of a block, before one goes on without them: some time slices of a machine that has others to
/// run.
const BLOCK_PATIENCE: Duration = Duration::from_millis(50);
/// The longest delay of a role in a round, in turns of a loop: about as long as it takes until another CPU sees a store.
const SKEW: u32 = 128;
/// Who does not come in this time does not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Memory that all roles have: words, zeros at first.
pub(crate) trait Words {
    /// The word at an offset.
    fn word(&self, offset: usize) -> io::Result<&AtomicU32>;
}

impl Words for Memory {
    fn word(&self, offset: usize) -> io::Result<&AtomicU32> {
        Memory::word(self, offset)
    }
}

/// Where a round is played.
struct Cell<'a> {
    x: &'a AtomicU32,
    y: &'a AtomicU32,
    /// The same one in all rounds.
    common: &'a AtomicU32,
    part: u32,
}

/// How long a test is.
#[derive(Clone, Copy, Debug)]
struct Length {
    /// Rounds in which another role is found: then it is over.
    met: u32,
    /// Blocks, at most.
    blocks: u32,
}

impl Length {
    /// That for so many rounds that meet.
    fn new(rounds: u32) -> Result<Self> {
        ensure!(
            (1..=MAX_ROUNDS).contains(&rounds),
            "there are 1 to {MAX_ROUNDS} rounds"
        );
        Ok(Self {
            met: rounds,
            blocks: 2 * rounds.div_ceil(BLOCK) + VAIN,
        })
    }
}

/// What came out of a test.
#[derive(Debug)]
struct Report {
    test: &'static Test,
    /// Rounds that were played.
    rounds: u32,
    /// Rounds in which another role was found.
    met: u32,
    /// How often was seen what.
    outcomes: BTreeMap<Vec<u32>, u32>,
    /// Outcomes that must not be.
    forbidden: u32,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, rounds, met) = (self.test.name, self.rounds, self.met);
        write!(f, "{name}: {rounds} rounds, {met} of them met")?;
        for (told, count) in &self.outcomes {
            let told: Vec<_> = told.iter().map(u32::to_string).collect();
            write!(f, ", {count} saw {}", told.join(" "))?;
        }
        Ok(())
    }
}

impl Report {
    fn new(test: &'static Test) -> Self {
        Self {
            test,
            rounds: 0,
            met: 0,
            outcomes: BTreeMap::new(),
            forbidden: 0,
        }
    }

    fn note(&mut self, told: &[u32]) {
        self.rounds += 1;
        if (self.test.is_forbidden)(told) {
            self.forbidden += 1;
        }
        match self.outcomes.get_mut(told) {
            Some(count) => *count += 1,
            None => drop(self.outcomes.insert(told.to_vec(), 1)),
        }
    }
}

/// A role of a test.
struct Player<'a, M> {
    memory: &'a M,
    test: &'static Test,
    role: usize,
    roles: usize,
    /// How often it has waited for all.
    gathered: u32,
}

impl<'a, M: Words> Player<'a, M> {
    /// A word of a role.
    fn of(&self, role: usize, word: usize) -> io::Result<&'a AtomicU32> {
        self.memory.word(role * LINE + word)
    }

    /// The part that a role plays in a block.
    fn part(&self, role: usize, block: u32) -> usize {
        (role + block as usize) % self.roles
    }

    /// The cell of a round: not the next one, which a CPU would fetch by itself.
    fn cell(&self, block: u32, round: u32, part: usize) -> io::Result<Cell<'a>> {
        let stride = 2 * block + 1;
        let at = CELLS + (round.wrapping_mul(stride) % BLOCK) as usize * LINE;
        Ok(Cell {
            x: self.memory.word(at)?,
            y: self.memory.word(at + OTHER)?,
            common: self.memory.word(COMMON)?,
            part: part as u32,
        })
    }

    /// Where it stands what a part has seen in a round.
    fn seen(&self, part: usize, round: u32, which: usize) -> io::Result<&'a AtomicU32> {
        let at = part * BLOCK as usize + round as usize;
        self.memory.word(SEEN + at * 8 + which * 4)
    }

    /// Plays all rounds; what came out, for the first role.
    fn play(mut self, length: Length) -> Result<Option<Report>> {
        let mut report = Report::new(self.test);
        let ended = self.memory.word(ENDED)?;
        for block in 0.. {
            self.gather()?;
            if ended.load(Ordering::Relaxed) != 0 {
                break;
            }
            let mut left = BLOCK_PATIENCE;
            for round in 0..BLOCK {
                if self.round(block, round, &mut left)? {
                    report.met += 1;
                }
            }
            self.gather()?;
            if self.role == 0 {
                self.look(&mut report, block)?;
                let is_over = report.met >= length.met || block + 1 >= length.blocks;
                ended.store(is_over.into(), Ordering::Relaxed);
            }
        }
        if self.role != 0 {
            return Ok(None);
        }
        if let Parts::Same(_) = self.test.parts {
            let sum = self.memory.word(COMMON)?.load(Ordering::Relaxed);
            let wanted = self.roles as u32 * report.rounds;
            ensure!(sum == wanted, "{report}; but they count {sum}");
        }
        Ok(Some(report))
    }

    /// Waits until all have come as often as this one. What they did before is seen behind it.
    fn gather(&mut self) -> Result<()> {
        self.gathered += 1;
        self.of(self.role, ARRIVED)?
            .store(self.gathered, Ordering::Release);
        let begun = Instant::now();
        for other in 0..self.roles {
            let word = self.of(other, ARRIVED)?;
            while reached(word, self.gathered) < self.gathered {
                let waited = begun.elapsed();
                ensure!(waited < PATIENCE, "role {other} does not come");
                thread::yield_now();
            }
        }
        Ok(())
    }

    /// Plays a round; whether another role played it at the same time.
    fn round(&self, block: u32, round: u32, left: &mut Duration) -> io::Result<bool> {
        let part = self.part(self.role, block);
        let act = self.test.parts.act(part);
        let cell = self.cell(block, round, part)?;
        let seen = [self.seen(part, round, 0)?, self.seen(part, round, 1)?];

        let met = self.meet(block * BLOCK + round + 1, left)?;
        // Who has come last would always be the first one.
        let mixed = round.wrapping_mul(0x9e37_79b9) ^ (part as u32 + 1).wrapping_mul(0x85eb_ca6b);
        for turn in 0..(mixed >> 16) % SKEW {
            black_box(turn);
        }
        for (word, number) in seen.into_iter().zip(act(&cell)) {
            word.store(number, Ordering::Relaxed);
        }
        Ok(met)
    }

    /// Waits for the others, for as long as is left; whether one of them is in the same round then.
    fn meet(&self, number: u32, left: &mut Duration) -> io::Result<bool> {
        self.of(self.role, PLAYS)?.store(number, Ordering::Release);
        let mut met = false;
        for other in (0..self.roles).filter(|other| *other != self.role) {
            let word = self.of(other, PLAYS)?;
            let mut plays = reached(word, number);
            // It does not let others run: they would play while this one does not.
            while plays < number && !left.is_zero() {
                let begun = Instant::now();
                plays = reached(word, number);
                *left = left.saturating_sub(begun.elapsed());
            }
            met = met || plays == number;
        }
        Ok(met)
    }

    /// Looks at what all have seen in a block, and makes its cells as they were.
    fn look(&self, report: &mut Report, block: u32) -> io::Result<()> {
        let mut told = Vec::new();
        for round in 0..BLOCK {
            let cell = self.cell(block, round, 0)?;
            told.clear();
            for what in self.test.told {
                told.push(match *what {
                    Told::Seen(part, _) if part >= self.roles => continue,
                    Told::Seen(part, which) => {
                        self.seen(part, round, which)?.load(Ordering::Relaxed)
                    }
                    Told::X => cell.x.load(Ordering::Relaxed),
                    Told::Y => cell.y.load(Ordering::Relaxed),
                });
            }
            report.note(&told);
            cell.x.store(0, Ordering::Relaxed);
            cell.y.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Waits until a word has come to a number, for some looks only; where it is.
fn reached(word: &AtomicU32, number: u32) -> u32 {
    let mut found = word.load(Ordering::Acquire);
    for _ in 0..LOOKS {
        if found >= number {
            break;
        }
        found = word.load(Ordering::Acquire);
    }
    found
}

/// Plays a role of a test in memory that all of them have; what came out, for the first one.
fn play(
    memory: &impl Words,
    test: &'static Test,
    role: usize,
    roles: usize,
    length: Length,
) -> Result<Option<Report>> {
    ensure!(
        test.parts.are_for(roles) && role < roles,
        "{} has no role {role} of {roles}",
        test.name
    );
    let player = Player {
        memory,
        test,
        role,
        roles,
        gathered: 0,
    };
    player.play(length)
}

/// Plays a role of a test in a region of zeros. The first one prints what came out, and fails if that must not be.
pub(crate) fn run(name: &str, role: usize, roles: usize, region: &str, rounds: u32) -> Result<()> {
    let test = catalogue::find(name).with_context(|| format!("there is no test {name}"))?;
    let memory = Region::open(region, Access::Write)?.map()?;
    ensure!(memory.size() >= BYTES, "the region has no {BYTES} bytes");
    let Some(report) = play(&memory, test, role, roles, Length::new(rounds)?)? else {
        return Ok(());
    };
    println!("{report}");
    let forbidden = report.forbidden;
    ensure!(forbidden == 0, "{forbidden} outcomes are forbidden");
    Ok(())
}

#[cfg(test)]
mod tests;
