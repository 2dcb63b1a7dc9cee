// SPDX-License-Identifier: GPL-2.0

//! This kernel's end of a lock, and how its callers wait for it.
//!
//! Callers pass `turn` first, so that one of them at a time has to do with other kernels (IL-3).
//! `state` is held for one call of proto/lock.rs each time, a bounded number of accesses, with
//! interrupts off; nothing else is taken in it.

#![deny(unsafe_code)]

use crate::bridge::Mapped;
use crate::core_state::Core;
use crate::kthread::Event;
use crate::machine;
use crate::pipeline::InStage;
use crate::portal;
use crate::raw_spin_lock::RawSpinLock;
use crate::semaphore::Semaphore;
use adeos_proto::id::Life;
use adeos_proto::layout::portal::LOCK;
use adeos_proto::lock::{
    Entry,
    Error as Refused,
    Lives,
    Lock,
    Poll,
    Recovered,
    Standing, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::Arc;

/// How long a caller looks for its turn by itself before it sleeps.
const SPIN_NS: u64 = 10_000;
/// How long a caller sleeps at most before it looks again: what a hostile peer has scribbled over a
/// place, or over who is to be woken, costs that much.
const LOOK_AGAIN_MS: u32 = 100;
/// The same when others were faster, again and again.
const HURRY_MS: u32 = 1;

/// The end.
#[pin_data]
pub(super) struct End {
    memory: Arc<Mapped>,
    at: usize,
    me: Life,
    #[pin]
    state: RawSpinLock<State>,
    /// Passed by the caller that waits for the lock or holds it.
    #[pin]
    turn: Semaphore,
    /// Raised when that caller is to look again.
    #[pin]
    woken: Event,
    /// Not 0 once nobody is to wait any more.
    is_shut: Atomic<u32>,
}

/// What `state` guards.
struct State {
    lock: Lock,
    lives: Lives,
    counted: Counted,
}

/// What was counted of this end.
#[derive(Clone, Copy, Default)]
struct Counted {
    taken: u64,
    inconsistent: u64,
    slept: u64,
    /// Turns that were found by looking again, and not by being woken.
    unwoken: u64,
    given_up: u64,
    lost: u64,
}

impl End {
    /// The end of the lock at an offset.
    pub(super) fn new(memory: Arc<Mapped>, at: usize, me: Life, lives: Lives) -> Result<Arc<Self>> {
        let state = State {
            lock: Lock::new(at, me),
            lives,
            counted: Counted::default(),
        };
        Arc::pin_init(
            pin_init!(Self {
                memory,
                at,
                me,
                state <- RawSpinLock::new(state, c"adeos:lock", kernel::static_lock_class!()),
                turn <- Semaphore::new(),
                woken <- Event::new(),
                is_shut: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Physical address of the lock.
    pub(super) fn address(&self) -> u64 {
        // `Lock::open` has seen that the lock lies in the mapping.
        self.memory.range().base().wrapping_add(self.at as u64)
    }

    /// Takes the lock if that needs no waiting. Any context but NMIs. EBUSY, ENXIO, ESHUTDOWN.
    pub(super) fn try_lock(&self) -> Result<Entry> {
        if !self.turn.try_down() {
            return Err(EBUSY);
        }
        self.try_now().inspect_err(|_| self.turn.up())
    }

    /// Takes the lock, or gives up at a time. Process context.
    pub(super) fn lock(&self, core: &Core, timeout_ms: u32) -> Result<Entry> {
        let timeout_ns = u64::from(timeout_ms).saturating_mul(1_000_000);
        let deadline_ns = machine::now_ns().saturating_add(timeout_ns);
        self.turn.down_timeout_ms(timeout_ms)?;
        match self.try_now() {
            Err(EBUSY) => self.wait(core, deadline_ns),
            done => done,
        }
        .inspect_err(|_| self.turn.up())
    }

    /// Frees the lock. Any context but NMIs. EOWNERDEAD when it was lost.
    pub(super) fn unlock(&self, core: &Core) -> Result {
        let next = self.with(|state, memory| {
            let freed = state.lock.unlock(memory, &state.lives);
            state.note(freed)
        });
        let freed = next.map(|next| self.wake(core, next));
        self.turn.up();
        freed
    }

    /// Declares consistent what the lock guards. Any context but NMIs. EOWNERDEAD when it was lost.
    pub(super) fn declare_consistent(&self) -> Result {
        self.with(|state, memory| {
            let declared = state.lock.declare_consistent(memory);
            state.note(declared)
        })
    }

    /// Nobody waits any more. Any context.
    pub(super) fn shut(&self) {
        self.is_shut.store(1, Release);
        self.woken.raise();
    }

    /// Takes over what is known of lives, and no more.
    pub(super) fn set_lives(&self, lives: &Lives) {
        self.with(|state, _| state.lives = *lives);
    }

    /// Takes over what a view says, does what IL-35 asks for, and says what was broken.
    pub(super) fn follow(&self, core: &Core, lives: &Lives) {
        let (recovered, is_waiting) = self.with(|state, memory| {
            state.lives = *lives;
            let recovered = state.lock.recover(memory, lives);
            (recovered, state.lock.is_waiting())
        });
        self.wake(core, recovered.next);
        if is_waiting {
            self.woken.raise();
        }
        self.report(&recovered);
    }

    /// The same for an end that has just been made, of what an earlier one may have left.
    pub(super) fn recover(&self, core: &Core) {
        let recovered = self.with(|state, memory| state.lock.recover(memory, &state.lives));
        self.wake(core, recovered.next);
        self.report(&recovered);
    }

    /// Somebody has raised the portal of locks (IL-23).
    pub(super) fn on_wake(&self, stage: &InStage<'_>) {
        let (is_waiting, next) = self.with(|state, memory| {
            let next = if state.lock.is_misnamed(memory) {
                state.lock.recover(memory, &state.lives).next
            } else {
                None
            };
            (state.lock.is_waiting(), next)
        });
        self.wake(stage.core(), next);
        if is_waiting {
            stage.wake(&self.woken);
        }
    }

    /// Nobody uses the end any more. A lock whose guard was forgotten is still held: it is broken.
    pub(super) fn leave(&self, core: &Core) {
        let next = self.with(|state, memory| {
            if !state.lock.is_held() {
                return None;
            }
            state.lock = Lock::new(self.at, self.me);
            state.lock.recover(memory, &state.lives).next
        });
        self.wake(core, next);
    }

    /// A line of debugfs.
    pub(super) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, breaks, longest_wait, counted) = self.with(|state, _| {
            let lock = &state.lock;
            let what = match (lock.is_held(), lock.is_waiting()) {
                (true, _) => "held",
                (false, true) => "waiting",
                (false, false) => "idle",
            };
            (what, lock.breaks(), lock.longest_wait(), state.counted)
        });
        write!(f, "lock {:#x} {}", self.address(), what)?;
        for (name, count) in [
            ("taken", counted.taken),
            ("inconsistent", counted.inconsistent),
            ("slept", counted.slept),
            ("unwoken", counted.unwoken),
            ("longest_wait", longest_wait.into()),
            ("given_up", counted.given_up),
            ("lost", counted.lost),
            ("dead", breaks.dead.into()),
            ("forged", breaks.forged.into()),
        ] {
            write!(f, " {name} {count}")?;
        }
        writeln!(f)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State, &Mapped) -> T) -> T {
        change(&mut self.state.lock(), &self.memory)
    }

    fn wake(&self, core: &Core, next: Option<Life>) {
        if let Some(life) = next {
            portal::send(core.control(), self.me.vnode, life.vnode, LOCK);
        }
    }

    /// Why the lock is not to be asked for at all.
    fn check(&self, state: &State) -> Result {
        if self.is_shut.load(Acquire) != 0 {
            return Err(ESHUTDOWN);
        }
        // A life that the root takes for dead must not enter a lock that others break.
        match state.lives.standing(self.me) {
            Standing::Alive => Ok(()),
            Standing::Dead | Standing::Unknown => Err(ENXIO),
        }
    }

    /// Takes the lock now or not, for the caller whose turn it is.
    fn try_now(&self) -> Result<Entry> {
        self.with(|state, memory| {
            self.check(state)?;
            let entry = state.lock.try_lock(memory, &state.lives);
            let entry = entry.map_err(|_| EBUSY)?;
            state.enter(entry);
            Ok(entry)
        })
    }

    /// Waits for the lock behind those that wait already.
    fn wait(&self, core: &Core, deadline_ns: u64) -> Result<Entry> {
        self.with(|state, memory| {
            let announced = state.lock.announce(memory, &state.lives);
            state.note(announced)
        })?;
        let waited = self.poll_until(core, deadline_ns);
        if waited.is_err() {
            let next = self.with(|state, memory| {
                add_one(&mut state.counted.given_up);
                state.lock.withdraw(memory, &state.lives)
            });
            self.wake(core, next.ok().flatten());
        }
        self.woken.forget();
        waited
    }

    fn poll_until(&self, core: &Core, deadline_ns: u64) -> Result<Entry> {
        let spin_end_ns = machine::now_ns().saturating_add(SPIN_NS);
        // Who has been woken for a lock that is free, and need not be again at once.
        let mut told = None;
        // Whether the look that comes is one that nobody has asked for.
        let mut is_unasked = false;
        loop {
            let longest_ms = match self.poll()? {
                Poll::Acquired(entry) => {
                    if is_unasked {
                        self.with(|state, _| add_one(&mut state.counted.unwoken));
                    }
                    return Ok(entry);
                }
                Poll::Wait(next) => {
                    if next != told {
                        self.wake(core, next);
                        told = next;
                    }
                    LOOK_AGAIN_MS
                }
                Poll::Again => HURRY_MS,
            };
            let now_ns = machine::now_ns();
            if now_ns >= deadline_ns {
                return Err(ETIMEDOUT);
            }
            if now_ns < spin_end_ns {
                core::hint::spin_loop();
                continue;
            }
            let left_ms = deadline_ns.wrapping_sub(now_ns).div_ceil(1_000_000);
            let was_woken = self.sleep(left_ms.min(longest_ms.into()) as u32)?;
            is_unasked = !was_woken && longest_ms == LOOK_AGAIN_MS;
            told = None;
        }
    }

    fn poll(&self) -> Result<Poll> {
        self.with(|state, memory| {
            self.check(state)?;
            let poll = state.lock.poll(memory, &state.lives);
            let poll = state.note(poll)?;
            if let Poll::Acquired(entry) = poll {
                state.enter(entry);
            }
            Ok(poll)
        })
    }

    /// Sleeps; whether it was woken. EINTR.
    fn sleep(&self, longest_ms: u32) -> Result<bool> {
        self.with(|state, _| add_one(&mut state.counted.slept));
        let was_woken = self.woken.wait_killable_ms(longest_ms)?;
        // The look that follows finds what all raises so far have said.
        self.woken.forget();
        Ok(was_woken)
    }

    fn report(&self, recovered: &Recovered) {
        if let Some(broken) = recovered.broken {
            pr_warn!(
                "the lock at {:#x} is broken: {:?}\n",
                self.address(),
                broken
            );
        }
    }
}

fn add_one(count: &mut u64) {
    *count = count.wrapping_add(1);
}

impl State {
    fn enter(&mut self, entry: Entry) {
        add_one(&mut self.counted.taken);
        if entry == Entry::MaybeInconsistent {
            add_one(&mut self.counted.inconsistent);
        }
    }

    /// Why a call was refused, as an error number.
    fn note<T>(&mut self, result: Result<T, Refused>) -> Result<T> {
        result.map_err(|refused| match refused {
            Refused::Busy => EBUSY,
            // No caller that has passed `turn` gets here, but one whose guard was forgotten.
            Refused::WrongState => EINVAL,
            Refused::Lost => {
                add_one(&mut self.counted.lost);
                EOWNERDEAD
            }
        })
    }
}
