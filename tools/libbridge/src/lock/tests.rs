// SPDX-License-Identifier: GPL-2.0

//! Locks among threads, one of which may go without a word.

use super::*;
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

/// One of those that use it.
struct One<'a> {
    shared: &'a Shared,
    token: u32,
}

impl Place for One<'_> {
    fn word(&self, offset: u64) -> io::Result<&AtomicU32> {
        let at = usize::try_from(offset / 4).unwrap();
        self.shared
            .words
            .get(at)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn wait(&self, offset: u64, value: u32, timeout: Duration) -> io::Result<()> {
        let turn = self.shared.turn.lock().unwrap();
        if self.word(offset)?.load(Ordering::SeqCst) != value {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (_turn, over) = self.shared.woken.wait_timeout(turn, timeout).unwrap();
        match over.timed_out() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }

    fn wake(&self, _: u64, _: u32) -> io::Result<()> {
        *self.shared.turn.lock().unwrap() += 1;
        self.shared.woken.notify_all();
        Ok(())
    }

    fn token(&self) -> u32 {
        self.token
    }

    fn is_alive(&self, word: u32) -> io::Result<bool> {
        Ok(!self.shared.dead.lock().unwrap().contains(&(word & HOLDER)))
    }
}

#[test]
fn sh_62_no_two_have_it() {
    let shared = Shared::default();
    const TURNS: u32 = 2000;
    thread::scope(|scope| {
        for token in 1..=4 {
            let one = One {
                shared: &shared,
                token,
            };
            scope.spawn(move || {
                for _ in 0..TURNS {
                    assert_eq!(take(&one, 0, None).unwrap(), Some(Taken::Had));
                    // Two at once would lose some of it.
                    let word = one.word(4).unwrap();
                    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    free(&one, 0, false).unwrap();
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
    let one = |token| One {
        shared: &shared,
        token,
    };
    assert_eq!(take(&one(1), 0, None).unwrap(), Some(Taken::Had));
    assert_eq!(
        take(&one(2), 0, Some(Duration::from_millis(20))).unwrap(),
        None
    );
    shared.dead.lock().unwrap().push(1);
    assert_eq!(take(&one(2), 0, None).unwrap(), Some(Taken::Inherited));
    free(&one(2), 0, true).unwrap();
    assert_eq!(take(&one(3), 0, None).unwrap(), Some(Taken::Inherited));
    free(&one(3), 0, false).unwrap();
    assert_eq!(take(&one(4), 0, None).unwrap(), Some(Taken::Had));
    // The kernel has freed it for one that has gone.
    shared.words[0].store(DIED | WAITERS, Ordering::SeqCst);
    assert_eq!(take(&one(5), 0, None).unwrap(), Some(Taken::Inherited));
    assert_eq!(shared.words[0].load(Ordering::SeqCst), 5 | WAITERS);
}

#[test]
fn sh_62_a_time_that_is_over_leaves_it_to_who_has_it() {
    let shared = Shared::default();
    let one = |token| One {
        shared: &shared,
        token,
    };
    assert_eq!(
        take(&one(1), 0, Some(Duration::ZERO)).unwrap(),
        Some(Taken::Had)
    );
    assert_eq!(take(&one(2), 0, Some(Duration::ZERO)).unwrap(), None);
    assert_eq!(shared.words[0].load(Ordering::SeqCst) & HOLDER, 1);
    assert!(take(&one(1), 8, None).is_err());
}
