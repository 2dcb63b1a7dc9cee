// SPDX-License-Identifier: GPL-2.0

//! Two vnodes' ends of a lock whose words a third one scribbles over (docs/inter-vnode-locks.md).
//!
//! Who excludes whom is lost then; what holds is that each end knows its own state, and frees and
//! declares as an owner only (IL-20, IL-21), that no call takes long (IL-14, IL-40), and that nobody
//! is woken who is known to be dead.

#![no_main]

use adeos_proto::id::{Life, MAX_VNODES};
use adeos_proto::lock::{layout, Error, Lives, Lock, Poll, Standing};
use hostile::{life, Input, Memory};

const AT: usize = 0x40;

/// Four tries of at most 24 accesses: the word, twice; who is first, 17; taking it, three.
const MOST: usize = 4 * 24;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    let lock = AT..AT + layout::SIZE;
    let mut memory = Memory::quiet(AT + 2 * layout::SIZE);
    let hot = vec![AT + layout::OWNER, AT + layout::SERVED];
    memory.disturb(&input, vec![lock.clone()], hot);
    memory.role(&[], &[lock]);

    let mut ends = [
        End::new(life(0, 1), Lives::of_root()),
        End::new(life(2, 1), Lives::of_vnode()),
    ];
    while !input.is_over() {
        let choice = input.byte();
        let Some(end) = ends.get_mut(usize::from(choice & 1)) else {
            return;
        };
        memory.accesses();
        end.step(choice >> 1, &memory, &input);
        assert!(memory.accesses() <= MOST);
    }
    ends.iter_mut().for_each(|end| end.leave(&memory));
    let [root, _] = &mut ends;
    root.inherit(&memory);
});

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    Waiting,
    Held,
}

struct End {
    me: Life,
    lives: Lives,
    lock: Lock,
    state: State,
}

impl End {
    fn new(me: Life, mut lives: Lives) -> Self {
        for number in 0..3 {
            lives.joined(life(number, 1));
        }
        Self {
            me,
            lives,
            lock: Lock::new(AT, me),
            state: State::Idle,
        }
    }

    fn step(&mut self, choice: u8, memory: &Memory<'_>, input: &Input<'_>) {
        let was = self.state;
        match choice % 8 {
            0 => {
                let result = self.lock.try_lock(memory, &self.lives);
                assert_eq!(result == Err(Error::WrongState), was != State::Idle);
                self.state = if result.is_ok() { State::Held } else { was };
            }
            1 => {
                let result = self.lock.announce(memory, &self.lives);
                assert_eq!(result.is_err(), was != State::Idle);
                self.state = if result.is_ok() { State::Waiting } else { was };
            }
            2 => self.poll(memory),
            3 => {
                let result = self.lock.withdraw(memory, &self.lives);
                assert_eq!(result.is_err(), was != State::Waiting);
                self.state = if result.is_ok() { State::Idle } else { was };
                self.check_woken(result.unwrap_or(None));
            }
            4 => {
                let result = self.lock.declare_consistent(memory);
                assert_eq!(result == Err(Error::WrongState), was != State::Held);
            }
            5 => {
                let result = self.lock.unlock(memory, &self.lives);
                assert_eq!(result == Err(Error::WrongState), was != State::Held);
                self.state = if was == State::Held { State::Idle } else { was };
                self.check_woken(result.unwrap_or(None));
            }
            6 => {
                let next = self.lock.recover(memory, &self.lives).next;
                assert!(next != Some(self.me) || was == State::Waiting);
                self.check_woken(next.filter(|next| *next != self.me));
            }
            _ => self.hear(input),
        }
        assert_eq!(self.lock.is_held(), self.state == State::Held);
    }

    fn poll(&mut self, memory: &Memory<'_>) {
        let result = self.lock.poll(memory, &self.lives);
        assert_eq!(result.is_err(), self.state != State::Waiting);
        match result {
            Ok(Poll::Acquired(_)) => self.state = State::Held,
            Ok(Poll::Wait(next)) => self.check_woken(next),
            Ok(Poll::Again) | Err(_) => {}
        }
    }

    /// A new view: a life joins or ends, though never this one.
    fn hear(&mut self, input: &Input<'_>) {
        let choice = u32::from(input.byte());
        let other = life(choice % 4, choice >> 4);
        if other.vnode == self.me.vnode {
            return;
        }
        if choice & 8 == 0 {
            self.lives.joined(other);
        } else {
            self.lives.ended(other);
        }
    }

    fn leave(&mut self, memory: &Memory<'_>) {
        let _ = self.lock.withdraw(memory, &self.lives);
        let _ = self.lock.unlock(memory, &self.lives);
    }

    /// IL-30 to IL-32: once the root knows that all others are dead, it gets the lock, whatever
    /// they have left in its words.
    fn inherit(&mut self, memory: &Memory<'_>) {
        for number in 1..MAX_VNODES as u32 {
            self.lives.ended(life(number, u32::MAX));
        }
        self.lock.recover(memory, &self.lives);
        assert!(self.lock.try_lock(memory, &self.lives).is_ok());
    }

    fn check_woken(&self, woken: Option<Life>) {
        let is_dead = |life: &Life| self.lives.standing(*life) == Standing::Dead;
        assert!(woken.is_none_or(|life| life != self.me && !is_dead(&life)));
    }
}
