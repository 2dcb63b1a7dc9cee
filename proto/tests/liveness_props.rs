// SPDX-License-Identifier: GPL-2.0

//! When a vnode counts as alive.

use adeos_proto::liveness::{Boot, Monitor, Verdict, MAX_STEP_MS, SILENT_AFTER_MS};
use proptest::prelude::*;

const TICK_MS: u64 = 100;
const LIMIT_MS: u64 = SILENT_AFTER_MS as u64;

/// A monitor of two CPUs that has seen both of them beat, at time 0.
fn watching() -> Monitor<4> {
    let mut monitor = Monitor::new();
    assert_eq!(monitor.tick(0, SILENT_AFTER_MS, 2, |_| 7), Verdict::Unknown);
    assert_eq!(
        monitor.tick(0, SILENT_AFTER_MS, 2, |_| 8),
        Verdict::Alive { silent_ms: 0 }
    );
    monitor
}

/// CA-52: silence counts from the first beat on.
#[test]
fn nothing_is_known_before_the_first_beat() {
    let mut monitor = Monitor::<4>::new();
    for now in 0..100 {
        // Whatever an earlier life has left in the memory is no beat.
        assert_eq!(
            monitor.tick(now * TICK_MS, SILENT_AFTER_MS, 2, |_| 99),
            Verdict::Unknown
        );
    }
    // From the first beat of one CPU on, the others are expected to beat as well.
    let first = monitor.tick(100 * TICK_MS, SILENT_AFTER_MS, 2, |cpu| 99 + cpu as u32);
    assert_eq!(first, Verdict::Alive { silent_ms: TICK_MS });
}

/// CA-53: before the first beat whoever says something lives, and who says nothing more does not.
#[test]
fn a_kernel_that_boots_is_watched_by_what_it_says() {
    let limit_ms = 5000;
    let mut boot = Boot::new();
    // It speaks now and then, and its console's count need not grow.
    for (round, said) in [10, 400, 3, 4].into_iter().enumerate() {
        for tick in 0..50 {
            let now_ms = (round as u64 * 50 + tick) * TICK_MS;
            assert!(!boot.tick(now_ms, limit_ms, said), "at {now_ms} ms");
        }
    }
    // Its last word was heard at 15 s.
    assert!(boot.tick(20_000, limit_ms, 4));
    assert!(!boot.tick(20_100, limit_ms, 5));
}

/// CA-53: what one look adds at most.
#[test]
fn an_observer_that_did_not_run_does_not_count_against_a_kernel_that_boots() {
    let mut boot = Boot::new();
    assert!(!boot.tick(0, 1000, 7));
    assert!(!boot.tick(1_000_000, 1000, 7));
    assert!(!boot.tick(2_000_000, 1000, 7));
    assert!(!boot.tick(3_000_000, 1000, 7));
    assert!(boot.tick(4_000_000, 1000, 7));
}

/// CA-52: a change counts, not the value; 1200 ms.
#[test]
fn the_cpu_that_stops_is_named_in_time() {
    let mut monitor = watching();
    for tick in 1..=LIMIT_MS / TICK_MS {
        let silent_ms = tick * TICK_MS;
        let beat = |cpu: usize| if cpu == 1 { 8 } else { 8 + tick as u32 };
        let right = if silent_ms < LIMIT_MS {
            Verdict::Alive { silent_ms }
        } else {
            Verdict::Silent {
                position: 1,
                silent_ms,
            }
        };
        assert_eq!(
            monitor.tick(tick * TICK_MS, SILENT_AFTER_MS, 2, beat),
            right
        );
    }
}

/// CA-52: what one look adds at most.
#[test]
fn an_observer_that_was_held_up_blames_nobody() {
    let mut monitor = watching();
    let verdict = monitor.tick(3_600_000, SILENT_AFTER_MS, 2, |_| 8);
    assert_eq!(
        verdict,
        Verdict::Alive {
            silent_ms: MAX_STEP_MS
        }
    );
    // Nor does a clock that runs backwards.
    assert_eq!(monitor.tick(0, SILENT_AFTER_MS, 2, |_| 8), verdict);
}

/// CA-51.
#[test]
fn a_cpu_that_takes_no_part_is_not_missed() {
    let mut monitor = watching();
    for tick in 1..=40 {
        // CPU 1 was taken offline by its own kernel, which says so by 0.
        let beat = |cpu: usize| if cpu == 1 { 0 } else { 8 + tick as u32 };
        let verdict = monitor.tick(tick * TICK_MS, SILENT_AFTER_MS, 2, beat);
        assert_eq!(verdict, Verdict::Alive { silent_ms: 0 });
    }
}

/// CA-53: who says of all its CPUs that they take no part is not thereby rid of its watch.
#[test]
fn a_vnode_without_a_cpu_that_takes_part_is_unknown() {
    let mut monitor = watching();
    let gone = monitor.tick(TICK_MS, SILENT_AFTER_MS, 2, |_| 0);
    assert_eq!(gone, Verdict::Unknown);
    let back = monitor.tick(2 * TICK_MS, SILENT_AFTER_MS, 2, |_| 1);
    assert_eq!(back, Verdict::Alive { silent_ms: 0 });
}

#[test]
fn a_cpu_that_joins_has_the_full_time() {
    let mut monitor = watching();
    let mut now = 0;
    for tick in 0..20 {
        now += TICK_MS;
        monitor.tick(now, SILENT_AFTER_MS, 1, |_| 100 + tick);
    }
    let verdict = monitor.tick(now + TICK_MS, SILENT_AFTER_MS, 2, |cpu| {
        if cpu == 0 {
            1
        } else {
            8
        }
    });
    assert_eq!(verdict, Verdict::Alive { silent_ms: 0 });
}

#[test]
fn a_new_life_starts_unknown() {
    let mut monitor = watching();
    monitor.reset();
    assert_eq!(
        monitor.tick(TICK_MS, SILENT_AFTER_MS, 2, |_| 1),
        Verdict::Unknown
    );
}

proptest! {
    /// No CPU that beats at each look is ever called silent, and one that has stopped always is
    /// once enough time has passed, however irregular the looks.
    /// CA-52.
    #[test]
    fn verdicts_follow_the_beats(
        steps in prop::collection::vec(0..2 * MAX_STEP_MS, 1..60), stopped in 0..3usize,
        limit_ms in 1..20_000u32,
    ) {
        let mut monitor = Monitor::<3>::new();
        monitor.tick(0, limit_ms, 3, |_| 1);
        monitor.tick(0, limit_ms, 3, |_| 2);
        let (mut now, mut silent_ms) = (0, 0);
        for (beat, step) in (3..).zip(steps) {
            now += step;
            silent_ms += step.min(MAX_STEP_MS);
            let verdict = monitor.tick(now, limit_ms, 3, |cpu| if cpu == stopped { 2 } else { beat });
            if silent_ms < u64::from(limit_ms) {
                prop_assert_eq!(verdict, Verdict::Alive { silent_ms });
            } else {
                prop_assert_eq!(verdict, Verdict::Silent { position: stopped, silent_ms });
            }
        }
    }

    /// CA-4: numbers, and how many there are.
    #[test]
    fn claims_never_panic(
        ticks in prop::collection::vec((any::<u64>(), any::<usize>(), any::<u32>()), 1..40)
    ) {
        let mut monitor = Monitor::<2>::new();
        for (now, online, beat) in ticks {
            monitor.tick(now, SILENT_AFTER_MS, online, |cpu| {
                assert!(cpu < 2);
                beat
            });
        }
    }
}
