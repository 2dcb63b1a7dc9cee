// SPDX-License-Identifier: GPL-2.0

//! Locks in regions, as kernels look at them. Numbers are those of docs/bridge-shm.md.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;

use adeos_proto::id::{Generation, Life, VnodeId};
use adeos_proto::shm::lock::{free, is_alive, Token, DIED, FILES, HOLDER, WAITERS};
use adeos_proto::window::Window;
use cells::Cells;
use proptest::prelude::*;

fn life(vnode: u32, generation: u32) -> Life {
    Life {
        vnode: VnodeId::new(vnode).unwrap(),
        generation: Generation(generation),
    }
}

proptest! {
    #[test]
    fn sh_60_a_token_tells_who_is_dead(vnode in 0..16u32, generation in 1..1000u32, file in 1..FILES, other: [u32; 16]) {
        let token = Token::new(life(vnode, generation), file).unwrap().word();
        prop_assert!(token != 0 && token & !HOLDER == 0);
        let mut users = other;
        users[vnode as usize] = generation;
        for flags in [0, WAITERS, DIED, WAITERS | DIED] {
            prop_assert!(is_alive(token | flags, &users));
            for life in [0, generation + 1, generation.wrapping_sub(1) & 0xff] {
                users[vnode as usize] = life;
                prop_assert!(!is_alive(token | flags, &users) || life == generation);
            }
            users[vnode as usize] = generation;
        }
    }
}

#[test]
fn sh_61_only_the_holders_lock_is_freed() {
    let mine = Token::new(life(3, 7), 9).unwrap();
    let other = Token::new(life(3, 7), 10).unwrap();
    for offset in [0, 4] {
        for (flags, left) in [(0, DIED), (WAITERS, WAITERS | DIED), (DIED, DIED)] {
            let memory = Cells::new(16);
            let neighbour = 4 - offset;
            memory.store_release(neighbour as usize, 0x1234_5678);
            memory.store_release(offset as usize, other.word() | flags);
            assert!(!free(&memory, offset, mine));
            assert_eq!(memory.load_acquire(offset as usize), other.word() | flags);
            memory.store_release(offset as usize, mine.word() | flags);
            assert!(free(&memory, offset, mine));
            assert_eq!(memory.load_acquire(offset as usize), left);
            assert_eq!(memory.load_acquire(neighbour as usize), 0x1234_5678);
            assert!(!free(&memory, offset, mine));
        }
    }
}

#[test]
fn there_is_no_token_of_no_file() {
    assert_eq!(Token::new(life(0, 0), 0), None);
    assert_eq!(Token::new(life(0, 0), FILES), None);
}
