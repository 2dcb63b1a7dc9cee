// SPDX-License-Identifier: GPL-2.0

//! Prints the curves of docs/vnet.md: how many stations can have frames for one receiver, and what each gets.

#![expect(
    clippy::indexing_slicing,
    reason = "there are as many stations as it is asked for"
)]

#[path = "../tests/support/csma_world.rs"]
mod csma_world;

fn main() {
    println!("| stations | use | fairness | collisions per frame | given up | longest wait, us |");
    println!("|---------:|----:|---------:|---------------------:|---------:|-----------------:|");
    for stations in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let outcome = csma_world::simulate(stations, 20_000_000);
        println!(
            "| {stations} | {:.3} | {:.3} | {:.2} | {} | {} |",
            outcome.utilisation(),
            outcome.fairness(),
            outcome.collisions_per_frame(),
            outcome.given_up,
            outcome.longest_ns / 1000,
        );
    }
}
