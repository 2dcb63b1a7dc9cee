// SPDX-License-Identifier: GPL-2.0

//! An opener of a bridge, and what it does when the bridge is to be moved.

use crate::load::Load;
use adeos_core::bridge::{
    Bridge,
    Follow,
    Mapped,
    Watcher, //
};
use adeos_proto::bridge::Phase;
use adeos_proto::window::Window;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Relaxed, //
};
use kernel::sync::{
    Arc,
    CondVar,
    Mutex, //
};
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// Bytes that are written or compared at a time.
pub(crate) const CHUNK: usize = 512;

/// What a slot does when its bridge is to be moved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    LetsGo,
    Refuses,
    /// Lets go after so many milliseconds.
    Pauses(i64),
    /// Does not return before it is told to behave otherwise.
    Hangs,
}

/// How often who waits for a freeze looks, a millisecond apart.
const LOOKS: u32 = 60_000;

/// A slot. It is the watcher of its own bridge: closing it is what frees both.
#[pin_data]
pub(crate) struct Slot {
    #[pin]
    bridge: Mutex<Option<Bridge>>,
    #[pin]
    mapped: Mutex<Option<Mapped>>,
    #[pin]
    behaviour: Mutex<Behaviour>,
    #[pin]
    changed: CondVar,
    /// Whether it is to be mapped as soon as that can be.
    wants_mapping: Atomic<u32>,
    /// Commands that wait for something to happen to the bridge.
    waiting: Atomic<u32>,
    let_go: Atomic<u32>,
    settled: Atomic<u32>,
    mourned: Atomic<u32>,
    failed: Atomic<u32>,
    peeked: Atomic<u64>,
    load: Load,
}

impl Slot {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                bridge <- kernel::new_mutex!(None, "bridge_test:bridge"),
                mapped <- kernel::new_mutex!(None, "bridge_test:mapped"),
                behaviour <- kernel::new_mutex!(Behaviour::LetsGo, "bridge_test:behaviour"),
                changed <- kernel::new_condvar!("bridge_test:changed"),
                wants_mapping: Atomic::new(0),
                waiting: Atomic::new(0),
                let_go: Atomic::new(0),
                settled: Atomic::new(0),
                mourned: Atomic::new(0),
                failed: Atomic::new(0),
                peeked: Atomic::new(0),
                load: Load::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Puts a bridge here. EBUSY when there is one.
    pub(crate) fn keep(
        self: &Arc<Self>,
        get: impl FnOnce(Option<Arc<dyn Watcher>>) -> Result<Bridge>,
    ) -> Result {
        if self.bridge.lock().is_some() {
            return Err(EBUSY);
        }
        *self.behaviour.lock() = Behaviour::LetsGo;
        for counter in [&self.let_go, &self.settled, &self.mourned, &self.failed] {
            counter.store(0, Relaxed);
        }
        self.load.begin();
        let watcher: Arc<dyn Watcher> = self.clone();
        let bridge = get(Some(watcher))?;
        *self.bridge.lock() = Some(bridge);
        Ok(())
    }

    /// Unmaps and closes; whether there was anything to close.
    pub(crate) fn close(&self) -> bool {
        self.set_behaviour(Behaviour::LetsGo);
        self.load.stop();
        self.wants_mapping.store(0, Relaxed);
        let mapped = self.mapped.lock().take();
        drop(mapped);
        // Outside of the lock: this waits for a watcher that runs, which takes it.
        let bridge = self.bridge.lock().take();
        bridge.is_some()
    }

    pub(crate) fn map(&self) -> Result {
        let bridge = self.bridge.lock();
        let mapped = bridge.as_ref().ok_or(EBADF)?.map();
        if mapped.as_ref().is_err_and(|error| *error == EAGAIN) {
            self.wants_mapping.store(1, Relaxed);
        }
        let mapped = mapped?;
        let before = self.mapped.lock().replace(mapped);
        drop(before);
        Ok(())
    }

    /// Maps it as soon as it is being moved, which is too late: EAGAIN. ETIMEDOUT when nobody moves it.
    pub(crate) fn map_late(&self) -> Result {
        self.waiting.fetch_add(1, Relaxed);
        let is_moving = self.wait_for_freeze();
        self.waiting.fetch_sub(1, Relaxed);
        is_moving?;
        self.map()
    }

    fn wait_for_freeze(&self) -> Result {
        for _ in 0..LOOKS {
            let entry = self.bridge.lock().as_ref().ok_or(EBADF)?.entry()?;
            if entry.phase != Phase::Settled {
                return Ok(());
            }
            fsleep(Delta::from_millis(1));
        }
        Err(ETIMEDOUT)
    }

    /// Waits until it has been asked to let go so often. EINTR when a signal ends it.
    pub(crate) fn wait_until_asked(&self, times: u32) -> Result {
        self.waiting.fetch_add(1, Relaxed);
        let mut behaviour = self.behaviour.lock();
        let mut result = Ok(());
        while result.is_ok() && self.let_go.load(Relaxed) < times {
            if self.changed.wait_interruptible(&mut behaviour) {
                result = Err(EINTR);
            }
        }
        drop(behaviour);
        self.waiting.fetch_sub(1, Relaxed);
        result
    }

    pub(crate) fn unmap(&self) -> Result {
        let mapped = self.mapped.lock().take();
        mapped.map(drop).ok_or(EBADF)
    }

    pub(crate) fn follow(&self, follow: Follow) -> Result {
        let bridge = self.bridge.lock();
        bridge.as_ref().ok_or(EBADF)?.follow(follow)
    }

    pub(crate) fn behave(&self, how: &str) -> Result {
        self.set_behaviour(match how {
            "lets_go" => Behaviour::LetsGo,
            "refuses" => Behaviour::Refuses,
            "hangs" => Behaviour::Hangs,
            _ => return Err(EINVAL),
        });
        Ok(())
    }

    /// Lets go after so many milliseconds.
    pub(crate) fn pause(&self, ms: i64) {
        self.set_behaviour(Behaviour::Pauses(ms));
    }

    fn set_behaviour(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
        self.changed.notify_all();
    }

    pub(crate) fn fill(&self, seed: u64) -> Result {
        self.each_chunk(|mapped, offset| {
            mapped.write(offset, &pattern(seed, offset));
            Ok(())
        })
    }

    pub(crate) fn check(&self, seed: u64) -> Result {
        self.compare(|offset| pattern(seed, offset))
    }

    pub(crate) fn check_zeros(&self) -> Result {
        self.compare(|_| [0; CHUNK])
    }

    fn compare(&self, wanted: impl Fn(usize) -> [u8; CHUNK]) -> Result {
        self.each_chunk(|mapped, offset| {
            let mut found = [0; CHUNK];
            mapped.read(offset, &mut found);
            (found == wanted(offset)).then_some(()).ok_or(EILSEQ)
        })
    }

    fn each_chunk(&self, mut work: impl FnMut(&Mapped, usize) -> Result) -> Result {
        self.with_mapped(|mapped| {
            for offset in (0..mapped.size()).step_by(CHUNK) {
                work(mapped, offset)?;
            }
            Ok(())
        })
    }

    pub(crate) fn poke(&self, offset: usize, number: u64) -> Result {
        self.with_mapped(|mapped| {
            mapped.store_release64(offset, number);
            Ok(())
        })
    }

    pub(crate) fn peek(&self, offset: usize) -> Result {
        self.with_mapped(|mapped| {
            self.peeked.store(mapped.load_acquire64(offset), Relaxed);
            Ok(())
        })
    }

    /// Uses the bridge, which is not let go of meanwhile. EBADF when it is not mapped.
    pub(crate) fn with_mapped<T>(&self, work: impl FnOnce(&Mapped) -> Result<T>) -> Result<T> {
        let mapped = self.mapped.lock();
        work(mapped.as_ref().ok_or(EBADF)?)
    }

    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    pub(crate) fn show(&self, number: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bridge = self.bridge.lock();
        let Some(bridge) = bridge.as_ref() else {
            return Ok(());
        };
        let id = bridge.id();
        let at = self.mapped.lock().as_ref().map(|mapped| mapped.range());
        let (passes, lost) = self.load.counts();
        writeln!(
            f,
            "slot {} bridge {}.{} mapped {:#x} waiting {} let_go {} settled {} mourned {} failed {} peeked {} passes {} lost {}",
            number,
            id.index,
            id.serial,
            at.map_or(0, |range| range.base()),
            self.waiting.load(Relaxed),
            self.let_go.load(Relaxed),
            self.settled.load(Relaxed),
            self.mourned.load(Relaxed),
            self.failed.load(Relaxed),
            self.peeked.load(Relaxed),
            passes,
            lost
        )
    }
}

impl Watcher for Slot {
    fn let_go(&self) -> Result {
        let mut behaviour = self.behaviour.lock();
        count(&self.let_go);
        self.changed.notify_all();
        while *behaviour == Behaviour::Hangs {
            self.changed.wait(&mut behaviour);
        }
        let how = *behaviour;
        drop(behaviour);
        match how {
            Behaviour::Refuses => return Err(EBUSY),
            Behaviour::Pauses(ms) => fsleep(Delta::from_millis(ms)),
            Behaviour::LetsGo | Behaviour::Hangs => {}
        }
        let mapped = self.mapped.lock().take();
        if mapped.is_some() {
            self.wants_mapping.store(1, Relaxed);
        }
        drop(mapped);
        Ok(())
    }

    fn settled(&self) {
        count(&self.settled);
        if self.wants_mapping.xchg(0, Full) == 0 {
            return;
        }
        match self.map() {
            // The next freeze has begun: this is called again.
            Err(EAGAIN) | Ok(()) => {}
            Err(_) => count(&self.failed),
        }
    }

    fn owner_died(&self) {
        count(&self.mourned);
    }
}

/// What a chunk holds: each of its words says where it is, in a way that depends on the seed.
pub(crate) fn pattern(seed: u64, offset: usize) -> [u8; CHUNK] {
    let mut chunk = [0; CHUNK];
    for (word, bytes) in (offset as u64..).step_by(8).zip(chunk.chunks_exact_mut(8)) {
        let mixed = (word ^ seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes.copy_from_slice(&mixed.to_le_bytes());
    }
    chunk
}

/// Counts; only one thread at a time calls the watchers of a bridge.
fn count(counter: &Atomic<u32>) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}
