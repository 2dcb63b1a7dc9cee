// SPDX-License-Identifier: GPL-2.0

//! The promises about restarts, one case at a time.

use super::*;

const A: Life = life(1);
const B: Life = life(2);

pub(super) const fn life(generation: u32) -> Life {
    Life {
        number: 3,
        generation,
    }
}

pub(super) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn restarts(policy: Policy, limit: Option<u32>) -> Restarts {
    Restarts::new(Terms { policy, limit })
}

/// A vnode of which life A runs.
pub(super) fn running(policy: Policy, limit: Option<u32>) -> Restarts {
    let mut restarts = restarts(policy, limit);
    assert_eq!(restarts.on(s(0), Event::Runs(A)), Action::Watch);
    restarts
}

#[test]
fn each_cause_has_its_end() {
    for cause in [cause::POWER_OFF, cause::HALT] {
        assert_eq!(End::new(cause, false), End::Orderly);
    }
    for cause in [
        cause::NONE,
        cause::PANIC,
        cause::RESTART,
        cause::EMERGENCY_RESTART,
        cause::HANG,
        cause::NO_START,
        u32::MAX,
    ] {
        assert_eq!(End::new(cause, false), End::Failure);
        assert_eq!(End::new(cause, true), End::Asked);
    }
    assert_eq!(End::new(cause::KILLED, false), End::Asked);
    assert_eq!(End::new(cause::POWER_OFF, true), End::Asked);
}

#[test]
fn each_policy_has_its_ends() {
    use Action::{Leave, Wait};
    for (policy, end, action) in [
        (Policy::Never, End::Orderly, Leave(Why::Never)),
        (Policy::Never, End::Failure, Leave(Why::Never)),
        (Policy::Never, End::Asked, Leave(Why::Asked)),
        (Policy::OnFailure, End::Orderly, Leave(Why::Orderly)),
        (Policy::OnFailure, End::Failure, Wait(s(1))),
        (Policy::OnFailure, End::Asked, Leave(Why::Asked)),
        (Policy::Always, End::Orderly, Wait(s(1))),
        (Policy::Always, End::Failure, Wait(s(1))),
        (Policy::Always, End::Asked, Leave(Why::Asked)),
    ] {
        let mut restarts = running(policy, None);
        let ended = Event::Ended(A, end, s(5));
        assert_eq!(restarts.on(s(5), ended), action, "{policy:?} {end:?}");
        assert_eq!(restarts.on(s(6), ended), Action::None, "the second look");
        let starts = restarts.on(s(6), Event::Tick) == Action::Start(Some(A));
        assert_eq!(starts, action == Wait(s(1)));
    }
}

/// Fails over and over, after having run for `ran` each time; the delays.
fn delays(restarts: &mut Restarts, ran: Duration, count: u32) -> Vec<u64> {
    let (mut now, mut seen) = (s(0), Vec::new());
    for generation in 1..=count {
        now += ran;
        let ended = Event::Ended(life(generation), End::Failure, ran);
        let Action::Wait(delay) = restarts.on(now, ended) else {
            break;
        };
        seen.push(delay.as_secs());
        let early = now + delay - Duration::from_nanos(1);
        assert_eq!(restarts.on(early, Event::Tick), Action::None);
        now += delay;
        assert_eq!(restarts.due(), Some(now));
        assert_eq!(
            restarts.on(now, Event::Tick),
            Action::Start(Some(life(generation)))
        );
        assert_eq!(restarts.on(now, Event::Tick), Action::None);
        restarts.on(now, Event::Started(life(generation + 1)));
    }
    seen
}

#[test]
fn delays_double_up_to_a_minute() {
    let mut restarts = running(Policy::OnFailure, None);
    assert_eq!(
        delays(&mut restarts, s(59), 9),
        [1, 2, 4, 8, 16, 32, 60, 60, 60]
    );
    assert_eq!(restarts.in_a_row(), 9);
    // However long it goes on, no number overflows.
    assert_eq!(delay(u32::MAX), s(60));
}

#[test]
fn a_minute_of_life_begins_the_count_anew() {
    assert_eq!(delays(&mut running(Policy::Always, None), s(60), 3), [1; 3]);
    // Nor does a limit count lives that went well.
    assert_eq!(
        delays(&mut running(Policy::Always, Some(1)), s(60), 3),
        [1; 3]
    );
}

#[test]
fn a_limit_is_one_of_restarts_in_a_row() {
    let mut limited = running(Policy::OnFailure, Some(2));
    assert_eq!(delays(&mut limited, s(1), 9), [1, 2]);
    // The third end was the last one.
    assert_eq!(limited.state, State::Rest(Some(life(3))));
    let mut limited = running(Policy::OnFailure, Some(1));
    assert_eq!(delays(&mut limited, s(1), 1), [1]);
    assert_eq!(
        limited.on(s(9), Event::Ended(life(2), End::Failure, s(1))),
        Action::Leave(Why::Limit)
    );
}

#[test]
fn a_start_that_fails_is_a_failure() {
    let mut restarts = restarts(Policy::OnFailure, Some(2));
    assert_eq!(restarts.on(s(0), Event::Wanted), Action::None);
    assert_eq!(restarts.on(s(0), Event::Tick), Action::Start(None));
    assert_eq!(
        restarts.on(s(1), Event::StartFailed(None)),
        Action::Wait(s(1))
    );
    // That there is none of that name is no news now.
    assert_eq!(restarts.on(s(1), Event::Gone), Action::None);
    assert_eq!(restarts.on(s(2), Event::Tick), Action::Start(None));
    // What a start leaves behind when it cannot be undone is not another end.
    assert_eq!(
        restarts.on(s(3), Event::StartFailed(Some(A))),
        Action::Wait(s(2))
    );
    let left = Event::Ended(A, End::Asked, s(0));
    assert_eq!(restarts.on(s(3), left), Action::None);
    assert_eq!(restarts.on(s(5), Event::Tick), Action::Start(Some(A)));
    assert_eq!(
        restarts.on(s(5), Event::StartFailed(Some(A))),
        Action::Leave(Why::Limit)
    );
}

#[test]
fn the_file_starts_also_what_is_never_restarted() {
    let mut restarts = restarts(Policy::Never, None);
    restarts.on(s(0), Event::Wanted);
    assert_eq!(restarts.on(s(0), Event::Tick), Action::Start(None));
    assert_eq!(
        restarts.on(s(0), Event::StartFailed(None)),
        Action::Leave(Why::Never)
    );
}

#[test]
fn who_takes_it_back_wants_it_gone() {
    let mut living = running(Policy::Always, None);
    assert_eq!(living.on(s(1), Event::Gone), Action::Leave(Why::Asked));
    assert_eq!(living.on(s(1), Event::Gone), Action::None);

    // Also when it waits, dead, to be started.
    let mut waiting = running(Policy::Always, None);
    waiting.on(s(1), Event::Ended(A, End::Failure, s(1)));
    assert_eq!(waiting.on(s(1), Event::Gone), Action::Leave(Why::Asked));
    assert_eq!(waiting.on(s(9), Event::Tick), Action::None);
}

#[test]
fn a_word_that_comes_in_the_last_moment_counts() {
    let mut restarts = running(Policy::Always, None);
    restarts.on(s(1), Event::Ended(A, End::Failure, s(1)));
    assert_eq!(restarts.on(s(2), Event::Tick), Action::Start(Some(A)));
    assert_eq!(restarts.on(s(2), Event::Asked), Action::Leave(Why::Asked));
    assert_eq!(restarts.on(s(9), Event::Tick), Action::None);
}

#[test]
fn who_starts_it_first_spares_the_supervisor_the_start() {
    let mut restarts = running(Policy::Always, None);
    restarts.on(s(1), Event::Ended(A, End::Failure, s(1)));
    assert_eq!(restarts.on(s(1), Event::Runs(B)), Action::Watch);
    assert_eq!(restarts.on(s(9), Event::Tick), Action::None);
    // It counts from the beginning.
    assert_eq!(restarts.in_a_row(), 0);
    // A life that came and went between two looks counts as well.
    assert_eq!(
        restarts.on(s(9), Event::Ended(life(3), End::Failure, s(1))),
        Action::Wait(s(1))
    );
}

#[test]
fn other_terms_count_from_the_next_end_on() {
    let mut waiting = running(Policy::Always, None);
    waiting.on(s(1), Event::Ended(A, End::Failure, s(1)));
    let limited = Terms {
        policy: Policy::OnFailure,
        limit: Some(1),
    };
    assert_eq!(waiting.set_terms(limited), Action::None);
    assert_eq!(waiting.due(), Some(s(2)));
    assert_eq!(
        waiting.set_terms(Terms::default()),
        Action::Leave(Why::Never)
    );
    assert_eq!(waiting.on(s(9), Event::Tick), Action::None);

    // What was left alone stays so.
    assert_eq!(waiting.set_terms(limited), Action::None);
    let ended = Event::Ended(A, End::Failure, s(1));
    assert_eq!(waiting.on(s(9), ended), Action::None);
}
