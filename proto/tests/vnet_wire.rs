// SPDX-License-Identifier: GPL-2.0

//! A wire that stations share, when somebody dies at it, writes over it, or begins it anew. Numbers are those of docs/vnet.md.

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::vnet::wire::{Arrived, Sensed, Wire};
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;

proptest! {
    /// VN-30: whoever dies between any two stores of a send leaves a wire on which others send, and nothing that is half.
    #[test]
    fn who_dies_at_the_wire_leaves_it_free(stores in 0usize..3, before in 0u64..20) {
        let memory = Cells::new(0x100);
        let wire = Wire { head: 0, places: 8, count: 8 };
        let mut receiver = wire.begin(&memory);
        for word in 0..before {
            prop_assert_eq!(wire.send(&memory, word), Sensed::Sent);
            prop_assert_eq!(receiver.take(&memory), Some(Arrived::Word(word)));
        }
        let dying = Dying::new(&memory, stores);
        let _ = wire.send(&dying, 77);
        let mut tries = 0;
        while wire.send(&memory, 88) != Sensed::Sent {
            tries += 1;
            prop_assert!(tries < 3);
        }
        if stores > 0 {
            prop_assert_eq!(receiver.take(&memory), Some(Arrived::Word(77)));
        }
        prop_assert_eq!(receiver.take(&memory), Some(Arrived::Word(88)));
        prop_assert_eq!(receiver.take(&memory), None);
    }

    /// VN-51: whatever somebody writes over a wire, it works again once its station has looked, and that within
    /// as many looks as there are places.
    #[test]
    fn a_wire_mends(scribbles in prop::collection::vec((0usize..9, any::<u64>()), 0..30), before in 0u64..20) {
        let memory = Cells::new(0x100);
        let wire = Wire { head: 0, places: 8, count: 8 };
        let mut receiver = wire.begin(&memory);
        for word in 0..before {
            prop_assert_eq!(wire.send(&memory, word), Sensed::Sent);
            prop_assert_eq!(receiver.take(&memory), Some(Arrived::Word(word)));
        }
        for (place, value) in scribbles {
            memory.store_release64(8 * place, value);
            let _ = wire.send(&memory, 5);
        }
        let mut looks = 0;
        while receiver.take(&memory).is_some() {
            looks += 1;
            prop_assert!(looks <= 64, "it never ends");
        }
        for word in 100..130 {
            let mut tries = 0;
            loop {
                match wire.send(&memory, word) {
                    Sensed::Sent => break,
                    _ => {
                        tries += 1;
                        prop_assert!(tries < 20, "it is not mended");
                        while let Some(arrived) = receiver.take(&memory) {
                            prop_assert!(arrived != Arrived::Word(word));
                        }
                    }
                }
            }
            let mut taken = Vec::new();
            while let Some(arrived) = receiver.take(&memory) {
                taken.push(arrived);
            }
            prop_assert!(taken.contains(&Arrived::Word(word)), "{:?}", taken);
        }
    }
}

/// VN-20: who looked at a wire before its station joined anew does not send on it.
#[test]
fn a_wire_begins_anew() {
    let memory = Cells::new(0x100);
    let wire = Wire {
        head: 0,
        places: 8,
        count: 8,
    };
    let _ = wire.begin(&memory);
    let free = memory.load_acquire64(8);
    let mut receiver = wire.begin(&memory);
    assert!(memory.compare_exchange64(8, free, 1 << 63 | free).is_err());
    assert_eq!(wire.send(&memory, 3), Sensed::Sent);
    assert_eq!(receiver.take(&memory), Some(Arrived::Word(3)));
}
