// SPDX-License-Identifier: GPL-2.0

//! The common time against exact arithmetic, and offsets against counters that are known.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::clock::exchange::{self, Answering, Asked, Look, ANSWERED, PLACE_SIZE, QUESTIONS};
use adeos_proto::clock::{
    self, BadSample, Error, Estimate, Line, Offset, Publisher, Rate, Sample, MAX_KHZ, MIN_KHZ,
    SEQUENCE, SIZE,
};
use adeos_proto::window::Window;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;
use std::cell::Cell;

/// A hundred years of 365.25 days.
const CENTURY_NS: u64 = 3_155_760_000 * 1_000_000_000;

fn any_rate() -> impl Strategy<Value = Rate> {
    (MIN_KHZ..=MAX_KHZ).prop_map(|khz| Rate::from_khz(khz).unwrap())
}

fn any_line() -> impl Strategy<Value = Line> {
    (any::<u64>(), 0..CENTURY_NS, any_rate()).prop_map(|(tsc, ns, rate)| Line { tsc, ns, rate })
}

/// Something that can happen to the clock.
#[derive(Clone, Debug)]
enum Call {
    /// So many ticks pass.
    Pass(u64),
    Update(Rate),
    Read,
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (0..5u64).prop_map(Call::Pass),
        1 => (0..1u64 << 50).prop_map(Call::Pass),
        2 => any_rate().prop_map(Call::Update),
        4 => Just(Call::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// CK-10: the time is never ahead of the exact one, and behind it by what is stated.
    #[test]
    fn ticks_become_nanoseconds(khz in MIN_KHZ..=MAX_KHZ, ticks in any::<u64>()) {
        let rate = Rate::from_khz(khz).unwrap();
        prop_assert_eq!(Rate::from_raw(rate.raw()), Some(rate));
        let exact = u128::from(ticks) * 1_000_000 / u128::from(khz);
        let exact = u64::try_from(exact).unwrap_or(u64::MAX);
        let ns = rate.ns(ticks);
        prop_assert!(ns <= exact && exact - ns <= (ticks >> 48) + 1);
    }

    /// CK-11: nothing overflows in a hundred years, at any time of a machine's life.
    #[test]
    fn a_century_fits(
        start in any::<u64>(), khz in MIN_KHZ..=5_000_000, ns in 0..CENTURY_NS,
    ) {
        let rate = Rate::from_khz(khz).unwrap();
        let line = Line { tsc: start, ns, rate };
        let ticks = u128::from(CENTURY_NS) * u128::from(khz) / 1_000_000;
        let ticks = u64::try_from(ticks).unwrap();
        let passed = line.ns_at(start.wrapping_add(ticks)) - ns;
        // A tick, and what the rate cannot hold.
        let lost = 1_000_000 / u64::from(khz) + (ticks >> 48) + 2;
        prop_assert!(CENTURY_NS - passed <= lost);
    }

    /// CK-12: on one line, a later counter is never an earlier time.
    #[test]
    fn a_line_never_falls(
        line in any_line(), from in -(1i64 << 56)..1i64 << 56, ticks in prop_oneof![0..9u64, 0..1u64 << 56],
    ) {
        let near = from % 4;
        for from in [from, near] {
            let earlier = line.tsc.wrapping_add_signed(from);
            let later = earlier.wrapping_add(ticks);
            prop_assert!(line.ns_at(earlier) <= line.ns_at(later));
        }
        prop_assert_eq!(line.ns_at(line.tsc), line.ns);
    }

    /// CK-20: time never goes back, however often the rate changes.
    #[test]
    fn time_goes_on_over_updates(
        start in any::<u64>(), rate in any_rate(), calls in prop::collection::vec(any_call(), 1..80)
    ) {
        let memory = Cells::new(SIZE);
        let mut tsc = start;
        let mut publisher = Publisher::start(&memory, rate, 77, || tsc);
        let mut last = 77;
        for call in calls {
            match call {
                Call::Pass(ticks) => tsc = tsc.wrapping_add(ticks),
                Call::Update(rate) => {
                    publisher.update(&memory, rate, || tsc);
                    // Nor does it jump.
                    prop_assert_eq!(clock::read(&memory, || publisher.line().tsc), Ok(publisher.line().ns));
                }
                Call::Read => {
                    let now = clock::read(&memory, || tsc).unwrap();
                    prop_assert!(now >= last);
                    last = now;
                }
            }
        }
    }

    /// CK-21: two lines that meet differ by no more than their rates say, so a counter that is
    /// corrected imperfectly sees no jump at an update.
    #[test]
    fn an_update_is_no_jump_for_a_counter_that_is_a_little_off(
        line in any_line(), rate in any_rate(), passed in 0..1u64 << 50, off in -5000i64..5000,
    ) {
        let memory = Cells::new(SIZE);
        let mut publisher = Publisher::start(&memory, line.rate, line.ns, || line.tsc);
        let old = publisher.line();
        publisher.update(&memory, rate, || line.tsc.wrapping_add(passed));
        let at = publisher.line().tsc.wrapping_add_signed(off);
        let apart = old.ns_at(at).abs_diff(publisher.line().ns_at(at));
        let ticks = off.unsigned_abs();
        let rates = old.rate.ns(ticks).abs_diff(rate.ns(ticks));
        // Each of the four was rounded.
        prop_assert!(apart <= rates + 2);
    }

    /// CK-22: a root that dies in an update leaves the old line, the new one, or none; a reader
    /// comes to an end.
    #[test]
    fn an_update_that_dies_midway_is_not_seen(
        old in any_line(), rate in any_rate(), stores in 0..6usize, now in any::<u64>()
    ) {
        let memory = Cells::new(SIZE);
        let mut publisher = Publisher::start(&memory, old.rate, old.ns, || old.tsc);
        publisher.update(&Dying::new(&memory, stores), rate, || now);
        let expected = match stores {
            0 => Ok(old.ns_at(now)),
            5.. => Ok(publisher.line().ns_at(now)),
            _ => Err(Error::Busy),
        };
        let looks = Cell::new(0);
        let read = clock::read(&memory, || { looks.set(looks.get() + 1); now });
        prop_assert_eq!(read, expected);
        prop_assert!(looks.get() <= 1);
    }

    /// CK-23: whatever stands there, a reader neither panics nor waits.
    #[test]
    fn claims_never_panic(words in prop::array::uniform4(any::<u64>()), now in any::<u64>()) {
        let memory = Cells::new(SIZE);
        for (word, value) in words.into_iter().enumerate() {
            memory.store_release64(word * 8, value);
        }
        let is_rate = Rate::from_raw(words[3]).is_some();
        match clock::read(&memory, || now) {
            Ok(_) => prop_assert!(is_rate && words[0] % 2 == 0),
            Err(Error::Nonsense) => prop_assert!(!is_rate && words[0] % 2 == 0),
            Err(Error::Busy) => prop_assert_eq!(words[0] % 2, 1),
            Err(Error::Unpublished) => prop_assert_eq!(words[0], 0),
        }
    }
}

/// One exchange between counters that are `offset` apart, with these delays.
fn sample(at: u64, offset: i64, (there, held, back): (u64, u64, u64)) -> Sample {
    let arrived = at.wrapping_add(there);
    let left = arrived.wrapping_add(held);
    Sample {
        sent: at,
        received: arrived.wrapping_add_signed(offset),
        replied: left.wrapping_add_signed(offset),
        returned: left.wrapping_add(back),
    }
}

fn any_delay() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, 0..2_000u64, 0..1u64 << 40]
}

fn any_delays() -> impl Strategy<Value = (u64, u64, u64)> {
    (any_delay(), any_delay(), any_delay())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// CK-30, CK-31: the true offset is within the bound, whatever the delays and however
    /// unequal, and the bound is not worse than that of the shortest round trip.
    #[test]
    fn the_true_offset_lies_within_the_bound(
        start in any::<u64>(), offset in -(1i64 << 61)..1i64 << 61,
        exchanges in prop::collection::vec((any_delays(), any_delay()), 1..40)
    ) {
        let mut estimate = Estimate::new();
        prop_assert_eq!(estimate.offset(), None);
        let (mut at, mut shortest) = (start, u64::MAX);
        for (delays, pause) in exchanges {
            let sample = sample(at, offset, delays);
            prop_assert_eq!(estimate.add(&sample), Ok(()));
            shortest = shortest.min(delays.0 + delays.2);
            at = sample.returned.wrapping_add(pause);

            let Offset { ticks, error_ticks } = estimate.offset().unwrap();
            prop_assert!(ticks.abs_diff(offset) <= error_ticks);
            prop_assert!(error_ticks <= shortest.div_ceil(2));
        }
    }

    /// CK-32: a peer that lies is refused or believed, and a refusal changes nothing.
    #[test]
    fn lies_never_panic(
        samples in prop::collection::vec(prop::array::uniform4(any::<u64>()), 1..20)
    ) {
        let mut estimate = Estimate::new();
        for [sent, received, replied, returned] in samples {
            let before = estimate.offset();
            let sample = Sample { sent, received, replied, returned };
            match estimate.add(&sample) {
                Ok(()) => prop_assert!(estimate.offset().is_some()),
                Err(_) => prop_assert_eq!(estimate.offset(), before),
            }
        }
    }
}

#[test]
fn a_counter_that_was_set_is_a_contradiction() {
    let mut estimate = Estimate::new();
    assert_eq!(estimate.add(&sample(1000, 50, (100, 10, 100))), Ok(()));
    let moved = sample(9000, 400, (100, 10, 100));
    assert_eq!(estimate.add(&moved), Err(BadSample::Contradiction));
    let backwards = Sample {
        sent: 5,
        received: 9,
        replied: 8,
        returned: 7,
    };
    assert_eq!(estimate.add(&backwards), Err(BadSample::Impossible));
    let offset = estimate.offset().unwrap();
    assert_eq!((offset.ticks, offset.error_ticks), (50, 100));
}

#[test]
fn nothing_is_read_before_the_first_line() {
    let memory = Cells::new(SIZE);
    assert_eq!(clock::read(&memory, || 1), Err(Error::Unpublished));
    assert_eq!(memory.load_acquire64(SEQUENCE), 0);
    assert_eq!(Rate::from_khz(MIN_KHZ - 1), None);
    assert_eq!(Rate::from_khz(MAX_KHZ + 1), None);
}

/// A clock that goes on by so much at each look.
struct Counter<'a> {
    now: &'a Cell<u64>,
    ahead: i64,
}

impl Counter<'_> {
    fn read(&self) -> u64 {
        self.now.get().wrapping_add_signed(self.ahead)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// CK-30, CK-31, CK-34: whatever the ways take, the true offset is within the bound, and the bound
    /// is not more than half of the shortest way there and back.
    #[test]
    fn an_exchange_brackets_the_offset(
        start in any::<u64>(),
        first in 1..u64::MAX - QUESTIONS,
        ahead in -(1i64 << 62)..1i64 << 62,
        delays in prop::collection::vec((1..5_000u64, 1..500u64, 1..5_000u64), QUESTIONS as usize),
    ) {
        let now = Cell::new(start);
        let (mine, roots) = (Counter { now: &now, ahead: 0 }, Counter { now: &now, ahead });
        let (asker, root) = (Cells::new(PLACE_SIZE), Cells::new(PLACE_SIZE));
        exchange::clear(&asker);
        let mut answering = Answering::new(&root, first);
        let mut estimate = Estimate::new();
        let pass = |ticks: u64| now.set(now.get().wrapping_add(ticks));
        let mut shortest = u64::MAX;
        for (number, (there, held, back)) in (first..).zip(delays) {
            let asked = Asked::new(&asker, number, || mine.read());
            prop_assert!(asked.look(&root, || mine.read()).is_none());
            pass(there);
            let look = answering.look(&asker, &root, || {
                let read = roots.read();
                pass(held);
                read
            });
            let last = number == first + QUESTIONS - 1;
            prop_assert_eq!(look, if last { Look::Over } else { Look::Answered });
            prop_assert_eq!(answering.look(&asker, &root, || roots.read()), Look::Nothing);
            pass(back);
            let sample = asked.look(&root, || mine.read()).unwrap();
            prop_assert_eq!(estimate.add(&sample), Ok(()));
            shortest = shortest.min(there + held + back);
        }
        let offset = estimate.offset().unwrap();
        prop_assert!(offset.ticks.abs_diff(ahead) <= offset.error_ticks);
        prop_assert!(offset.error_ticks <= shortest.div_ceil(2));
    }

    /// CK-35: what is no next question ends the exchange, and the root has written nothing for it.
    #[test]
    fn a_question_out_of_turn_ends_it(
        first in 1..u64::MAX - QUESTIONS,
        answered in 0..QUESTIONS,
        question in any::<u64>(),
    ) {
        let latest = if answered == 0 { 0 } else { first + answered - 1 };
        prop_assume!(question != latest && question != first + answered);
        let (asker, root) = (Cells::new(PLACE_SIZE), Cells::new(PLACE_SIZE));
        let mut answering = Answering::new(&root, first);
        for number in first..first + answered {
            asker.store_release64(exchange::QUESTION, number);
            answering.look(&asker, &root, || 7);
        }
        asker.store_release64(exchange::QUESTION, question);
        prop_assert_eq!(answering.look(&asker, &root, || 7), Look::Over);
        prop_assert_eq!(root.load_acquire64(ANSWERED), latest);
    }

    /// CK-35: an answer that is left from an exchange before is not taken for one, wherever that
    /// ended.
    #[test]
    fn an_old_answer_is_none(
        before in 1..1u64 << 40,
        answered in 0..QUESTIONS,
        passed in QUESTIONS..1u64 << 40,
    ) {
        let (asker, root) = (Cells::new(PLACE_SIZE), Cells::new(PLACE_SIZE));
        root.store_release64(ANSWERED, before + answered);
        let asked = Asked::new(&asker, before + passed, || 5);
        prop_assert!(asked.look(&root, || 6).is_none());
        let mut answering = Answering::new(&root, before + passed);
        prop_assert_eq!(answering.look(&asker, &root, || 9), Look::Answered);
        let sample = asked.look(&root, || 10).unwrap();
        prop_assert_eq!((sample.sent, sample.received, sample.returned), (5, 9, 10));
    }

    /// The number of the first question is told as it is; what is none is refused.
    #[test]
    fn announcements_are_read_as_written(first in any::<u64>(), message in prop::collection::vec(any::<u8>(), 0..20)) {
        prop_assert_eq!(exchange::announced(&exchange::announce(first)), (first != 0).then_some(first));
        prop_assert!(exchange::announced(&message).is_none() || message.len() == 8);
    }
}

/// CA-21: what was written over the clock is mended, and the time goes on as if nothing had been.
#[test]
fn a_clock_that_was_scribbled_over_is_mended() {
    let memory = Cells::new(SIZE);
    let rate = Rate::from_khz(2_000_000).unwrap();
    let mut publisher = Publisher::start(&memory, rate, 1000, || 50);
    let before = clock::read(&memory, || 2050).unwrap();
    memory.write(0, &[0xff; SIZE]);
    publisher.mend(&memory);
    assert_eq!(clock::read(&memory, || 2050), Ok(before));
    publisher.update(&memory, rate, || 2050);
    assert_eq!(clock::read(&memory, || 2050), Ok(before));
}
