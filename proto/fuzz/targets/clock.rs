// SPDX-License-Identifier: GPL-2.0

//! Readers of the common time against a line that changes under their eyes, and estimates of
//! offsets from a peer that lies (docs/pipeline.md, section 9).

#![no_main]

use adeos_proto::clock::exchange::{self, Answering, Asked, Look, PLACE_SIZE, QUESTIONS};
use adeos_proto::clock::{self, Estimate, Line, Publisher, Rate, Sample};
use hostile::{at, Input, Memory, Part};

/// So often a reader tries, with five loads each.
const MOST: usize = 256 * 5;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    match input.byte() % 4 {
        0 => read(&input),
        1 => estimate(&input),
        2 => exchange(&input),
        _ => line(&input),
    }
});

fn read<'a>(input: &'a Input<'a>) {
    let mut memory = Memory::quiet(clock::SIZE);
    if let Some(rate) = Rate::from_khz(input.u32() % (2 * clock::MAX_KHZ)) {
        let _ = Publisher::start(&memory, rate, input.u64(), || input.u64());
    }
    let hot = vec![clock::SEQUENCE, clock::RATE];
    memory.disturb(input, vec![at(0, clock::SIZE)], hot);
    memory.role(&[at(0, clock::SIZE)], &[]);
    while !input.is_over() {
        memory.accesses();
        let _ = clock::read(&memory, || input.u64());
        assert!(memory.accesses() <= MOST);
    }
}

/// The offset stays in what every sample that was taken allows, and a refused one changes nothing.
fn estimate(input: &Input<'_>) {
    let mut estimate = Estimate::new();
    while !input.is_over() {
        let sample = Sample {
            sent: input.u64(),
            received: input.u64(),
            replied: input.u64(),
            returned: input.u64(),
        };
        let before = estimate.offset();
        let taken = estimate.add(&sample);
        let after = estimate.offset();
        match (taken, before, after) {
            (Err(_), before, after) => assert_eq!(before, after),
            (Ok(()), Some(before), Some(after)) => {
                assert!(after.error_ticks <= before.error_ticks);
            }
            (Ok(()), before, after) => assert!(before.is_none() && after.is_some()),
        }
    }
}

/// The root answers a question once, and no more than there are, whatever stands in the asker's
/// place; an asker takes an answer to its question only.
fn exchange<'a>(input: &'a Input<'a>) {
    let (asker, root) = (at(0, PLACE_SIZE), at(PLACE_SIZE, PLACE_SIZE));
    let mut memory = Memory::quiet(root.end);
    let peer_is_asker = input.yes();
    let (own, reach) = match peer_is_asker {
        true => (root.clone(), asker.clone()),
        false => (asker.clone(), root.clone()),
    };
    memory.disturb(input, vec![reach.clone()], vec![reach.start]);
    memory.role(&[reach], &[own]);
    let (asker, root) = (Part(&memory, asker.start), Part(&memory, root.start));

    let mut answered = 0;
    let mut root_end = peer_is_asker.then(|| Answering::new(&root, input.u64()));
    while !input.is_over() {
        match &mut root_end {
            Some(end) => match end.look(&asker, &root, || input.u64()) {
                Look::Answered => answered += 1,
                Look::Nothing => {}
                Look::Over => return,
            },
            None => {
                exchange::clear(&asker);
                let asked = Asked::new(&asker, input.u64(), || 7);
                if let Some(sample) = asked.look(&root, || 9) {
                    assert_eq!((sample.sent, sample.returned), (7, 9));
                    let _ = Estimate::new().add(&sample);
                }
            }
        }
        assert!(answered < QUESTIONS);
    }
}

/// Time does not go back on a line, wherever that starts.
fn line(input: &Input<'_>) {
    let Some(rate) = Rate::from_raw(input.u64() % (1 << 60)) else {
        return;
    };
    let line = Line {
        tsc: input.u64(),
        ns: input.u64(),
        rate,
    };
    // Short of the end of all counters a line is where it comes from.
    let mut passed = 0u64;
    while !input.is_over() {
        let step = input.u64() >> (input.byte() % 64);
        let now = passed.saturating_add(step).min(u64::MAX - (1 << 56));
        let ns_at = |ticks| line.ns_at(line.tsc.wrapping_add(ticks));
        assert!(ns_at(now) >= ns_at(passed));
        passed = now;
    }
}
