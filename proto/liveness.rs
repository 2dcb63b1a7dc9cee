// SPDX-License-Identifier: GPL-2.0

//! Tells from the beats of a vnode's CPUs whether they still run.
//!
//! Each CPU of a vnode counts a number up; the root looks at the numbers now and then. Only
//! whether a number changes counts, not its value, for it is a claim; but 0 says that the CPU does
//! not take part, because its kernel has taken it offline or has no beat yet. Time is the observer's
//! and comes in as an argument; when the observer itself was held up, that is not held against
//! the vnode.

/// How long a CPU may be silent, in ms of the observer's time, unless the administrator says
/// otherwise.
pub const SILENT_AFTER_MS: u32 = 1200;

/// The most that one look may add to a silence, in ms: when more has passed since the last look,
/// it was the observer that did not run, and on a loaded machine most likely the vnode neither.
pub const MAX_STEP_MS: u64 = 300;

/// What the beats tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No CPU beats: none has yet, or none takes part any more. [`Boot`] is for such a vnode.
    Unknown,
    /// All CPUs beat.
    Alive {
        /// The longest present silence of a CPU, in ms.
        silent_ms: u64,
    },
    /// A CPU has been silent for too long.
    Silent {
        /// Its position in the boot block.
        position: usize,
        /// For how long, in ms.
        silent_ms: u64,
    },
}

/// What is known of one CPU.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    beat: u32,
    silent_ms: u64,
}

/// Watches up to `N` CPUs of one vnode.
#[derive(Clone, Copy, Debug)]
pub struct Monitor<const N: usize> {
    /// CPUs that were looked at before, by position; `None` for those that did not take part.
    cpus: [Option<Cpu>; N],
    has_beaten: bool,
    last_ms: Option<u64>,
}

impl<const N: usize> Monitor<N> {
    /// A monitor that has seen nothing.
    pub const fn new() -> Self {
        Self {
            cpus: [None; N],
            has_beaten: false,
            last_ms: None,
        }
    }

    /// Forgets everything, for a new life of the vnode.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Looks at the beats of a vnode's `cpus` CPUs. A CPU that joins has the full time for its
    /// first beat. A CPU that is silent for `limit_ms` is dead.
    pub fn tick(
        &mut self,
        now_ms: u64,
        limit_ms: u32,
        cpus: usize,
        beat: impl Fn(usize) -> u32,
    ) -> Verdict {
        let passed_ms = now_ms.saturating_sub(self.last_ms.unwrap_or(now_ms));
        let step_ms = passed_ms.min(MAX_STEP_MS);
        self.last_ms = Some(now_ms);

        for (position, cpu) in self.cpus.iter_mut().enumerate() {
            let now = if position < cpus { beat(position) } else { 0 };
            if now == 0 {
                *cpu = None;
                continue;
            }
            let silent_ms = match *cpu {
                Some(before) if before.beat == now => before.silent_ms.saturating_add(step_ms),
                Some(_) => {
                    self.has_beaten = true;
                    0
                }
                None => 0,
            };
            *cpu = Some(Cpu {
                beat: now,
                silent_ms,
            });
        }
        self.verdict(limit_ms)
    }

    fn verdict(&mut self, limit_ms: u32) -> Verdict {
        if !self.has_beaten || self.cpus.iter().all(Option::is_none) {
            // Time before the first beat is time to start, which somebody else measures.
            for cpu in self.cpus.iter_mut().flatten() {
                cpu.silent_ms = 0;
            }
            return Verdict::Unknown;
        }
        let (mut position, mut silent_ms) = (0, 0);
        for (place, cpu) in self.cpus.iter().enumerate() {
            match cpu {
                Some(cpu) if cpu.silent_ms > silent_ms => {
                    (position, silent_ms) = (place, cpu.silent_ms);
                }
                _ => {}
            }
        }
        if silent_ms >= u64::from(limit_ms) {
            Verdict::Silent {
                position,
                silent_ms,
            }
        } else {
            Verdict::Alive { silent_ms }
        }
    }
}

/// Watches a vnode whose kernel has been heard of and does not beat, not yet or not any more: what it
/// says on its console is the sign of its life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boot {
    said: u64,
    silent_ms: u64,
    last_ms: Option<u64>,
}

impl Boot {
    /// One that has seen nothing.
    pub const fn new() -> Self {
        Self {
            said: 0,
            silent_ms: 0,
            last_ms: None,
        }
    }

    /// Looks at how much the kernel has said so far, in bytes or any other count that moves. Whether
    /// it has said nothing more for `limit_ms`, of which one look adds [`MAX_STEP_MS`] at most.
    pub fn tick(&mut self, now_ms: u64, limit_ms: u32, said: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.last_ms.unwrap_or(now_ms));
        self.last_ms = Some(now_ms);
        if said == self.said {
            self.silent_ms = self.silent_ms.saturating_add(passed_ms.min(MAX_STEP_MS));
        } else {
            (self.said, self.silent_ms) = (said, 0);
        }
        self.silent_ms >= u64::from(limit_ms)
    }
}

impl<const N: usize> Default for Monitor<N> {
    fn default() -> Self {
        Self::new()
    }
}
