// SPDX-License-Identifier: GPL-2.0

//! Locks among threads, one of which may go without a word.

use super::*;
use std::sync::atomic::AtomicU32;
use std::sync::{Condvar, Mutex};
use std::thread;

/// Words, on which threads sleep as programs do on a region's.
#[derive(Default)]
struct Shared {
    words: [AtomicU32; 2],
    turn: Mutex<u64>,
    woken: Condvar,
    /// Tokens of those that have gone.
    dead: Mutex<Vec<u32>>,
}

/// A word of them, for one of those that use it.
struct One<'a> {
    shared: &'a Shared,
    word: &'a AtomicU32,
    token: u32,
}

impl Shared {
    /// The lock, for one of those that use it.
    fn lock(&self, token: u32) -> One<'_> {
        One {
            shared: self,
            word: &self.words[0],
            token,
        }
    }
}

impl Place for One<'_> {
    fn value(&self) -> &AtomicU32 {
        self.word
    }

    fn wait(&self, value: u32, timeout: Duration) -> io::Result<()> {
        let turn = self.shared.turn.lock().unwrap();
        if self.word.load(Ordering::SeqCst) != value {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (_turn, over) = self.shared.woken.wait_timeout(turn, timeout).unwrap();
        match over.timed_out() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }

    fn wake(&self, _: u32) -> io::Result<()> {
        *self.shared.turn.lock().unwrap() += 1;
        self.shared.woken.notify_all();
        Ok(())
    }

    fn token(&self) -> u32 {
        self.token
    }

    fn is_alive(&self, value: u32) -> io::Result<bool> {
        Ok(!self.shared.dead.lock().unwrap().contains(&(value & HOLDER)))
    }
}

#[test]
fn sh_62_no_two_have_it() {
    let shared = Shared::default();
    const TURNS: u32 = 2000;
    thread::scope(|scope| {
        for token in 1..=4 {
            let (lock, number) = (shared.lock(token), &shared.words[1]);
            scope.spawn(move || {
                for _ in 0..TURNS {
                    assert_eq!(take(&lock, None).unwrap(), Some(Taken::Had));
                    // Two at once would lose some of it.
                    number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    free(&lock, false).unwrap();
                }
            });
        }
    });
    assert_eq!(shared.words[1].load(Ordering::Relaxed), 4 * TURNS);
    assert_eq!(shared.words[0].load(Ordering::Relaxed), 0);
}

#[test]
fn sh_63_what_a_dead_one_had_is_inherited_and_in_doubt_until_it_is_said_to_be_whole() {
    let shared = Shared::default();
    let lock = |token| shared.lock(token);
    assert_eq!(take(&lock(1), None).unwrap(), Some(Taken::Had));
    let short = Some(Duration::from_millis(20));
    assert_eq!(take(&lock(2), short).unwrap(), None);
    shared.dead.lock().unwrap().push(1);
    assert_eq!(take(&lock(2), None).unwrap(), Some(Taken::Inherited));
    free(&lock(2), true).unwrap();
    assert_eq!(take(&lock(3), None).unwrap(), Some(Taken::Inherited));
    free(&lock(3), false).unwrap();
    assert_eq!(take(&lock(4), None).unwrap(), Some(Taken::Had));
    // The kernel has freed it for one that has gone.
    shared.words[0].store(DIED | WAITERS, Ordering::SeqCst);
    assert_eq!(take(&lock(5), None).unwrap(), Some(Taken::Inherited));
    assert_eq!(shared.words[0].load(Ordering::SeqCst), 5 | WAITERS);
}

#[test]
fn sh_63_who_does_not_wait_inherits_as_well() {
    let shared = Shared::default();
    assert_eq!(take(&shared.lock(1), None).unwrap(), Some(Taken::Had));
    let now = Some(Duration::ZERO);
    assert_eq!(take(&shared.lock(2), now).unwrap(), None);
    shared.dead.lock().unwrap().push(1);
    assert_eq!(take(&shared.lock(2), now).unwrap(), Some(Taken::Inherited));
}

#[test]
fn sh_62_a_time_that_is_over_leaves_it_to_who_has_it() {
    let shared = Shared::default();
    let now = Some(Duration::ZERO);
    assert_eq!(take(&shared.lock(1), now).unwrap(), Some(Taken::Had));
    assert_eq!(take(&shared.lock(2), now).unwrap(), None);
    assert_eq!(shared.words[0].load(Ordering::SeqCst) & HOLDER, 1);
}
