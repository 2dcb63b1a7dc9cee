// SPDX-License-Identifier: GPL-2.0

//! What stations get of a wire that they contend for, up to 256 of them. Numbers are those of docs/vnet.md.

#![expect(
    clippy::indexing_slicing,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/csma_world.rs"]
mod csma_world;

use adeos_proto::csma::RULES;
use csma_world::{simulate, EXCHANGE_NS, FRAME_NS};

const TIME_NS: u64 = 20_000_000;

/// VN-33: nobody is left out, however many there are, and nobody stands before the wire for longer than is allowed.
#[test]
fn all_get_their_share() {
    for stations in [2, 3, 4, 8, 16, 32, 64, 128, 256] {
        let outcome = simulate(stations, TIME_NS);
        assert!(outcome.fairness() > 0.9, "{stations}: {outcome:?}");
        assert!(outcome.sent.iter().all(|sent| *sent > 0), "{stations}");
        let longest = RULES.limit_ns + stations as u64 * EXCHANGE_NS;
        assert!(outcome.longest_ns <= longest, "{stations}");
    }
}

/// With 16 stations, which is all that there are, the wire is used well and next to nothing is given up.
#[test]
fn the_wire_is_used() {
    let alone = simulate(1, TIME_NS);
    let right = TIME_NS / (FRAME_NS + EXCHANGE_NS);
    assert!(alone.sent[0].abs_diff(right) <= 1 && alone.collisions == 0);
    let all = simulate(16, TIME_NS);
    assert!(all.utilisation() > 0.35, "{}", all.utilisation());
    assert!(all.collisions_per_frame() < 1.0, "{all:?}");
    let sent: u64 = all.sent.iter().sum();
    assert!(all.given_up * 1000 < sent, "{} of {sent}", all.given_up);
    // Sixteen times as many do not make it fall apart.
    let many = simulate(256, TIME_NS);
    assert!(many.utilisation() > 0.1, "{}", many.utilisation());
}
