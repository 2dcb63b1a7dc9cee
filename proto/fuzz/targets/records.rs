// SPDX-License-Identifier: GPL-2.0

//! What a vnode says of itself: its status, its beats, its boot block, and names in records
//! (docs/control-area.md, sections 3.1 to 3.3).

#![no_main]

use adeos_proto::id::VnodeName;
use adeos_proto::layout::{cause, BootBlock, Header, Status};
use adeos_proto::lifecycle::{Action, Cause, Event, State};
use adeos_proto::liveness::{Monitor, Verdict};
use adeos_proto::record;
use hostile::Input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    match input.byte() % 4 {
        0 => status(&Status::from_bytes(&input.array())),
        1 => blocks(&input),
        2 => beats(&input),
        _ => lives(&input),
    }
});

/// CA-42, CA-44: no cause that is the root's is taken, and text is shown as far as it is text.
fn status(status: &Status) {
    assert_eq!(Status::from_bytes(&status.to_bytes()), *status);
    let claimed = Cause::claimed(status.cause).map(Cause::number);
    assert!(claimed.is_none_or(|number| number == status.cause && number < cause::HANG));
    for field in [&status.release[..], &status.message[..]] {
        let text = record::text(field);
        assert!(field.starts_with(text.as_bytes()));
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    }
}

fn blocks(input: &Input<'_>) {
    let block = BootBlock::from_bytes(&input.array());
    assert_eq!(BootBlock::from_bytes(&block.to_bytes()), block);
    if let Ok(name) = VnodeName::from_field(&block.name) {
        assert_eq!(VnodeName::new(name.as_str()), Ok(name));
        assert_eq!(name.field(), block.name);
    }
    let header = Header::from_bytes(&input.array());
    assert_eq!(Header::from_bytes(&header.to_bytes()), header);
}

/// CA-51, CA-52: whatever the beats say, silence is not more than the time that was looked at, and
/// who is called silent takes part.
fn beats(input: &Input<'_>) {
    const CPUS: usize = 4;
    let mut monitor = Monitor::<CPUS>::new();
    let (mut now_ms, limit_ms) = (0u64, u32::from(input.u16()));
    while !input.is_over() {
        now_ms = now_ms.wrapping_add(u64::from(input.u16()));
        let beats: [u8; CPUS] = input.array();
        let cpus = input.below(CPUS + 2);
        let beat = |position: usize| beats.get(position).copied().map_or(0, u32::from);
        match monitor.tick(now_ms, limit_ms, cpus, beat) {
            Verdict::Unknown => {}
            Verdict::Alive { silent_ms } => {
                assert!(silent_ms < u64::from(limit_ms) && silent_ms <= now_ms);
            }
            Verdict::Silent {
                position,
                silent_ms,
            } => {
                assert!(silent_ms >= u64::from(limit_ms) && silent_ms <= now_ms);
                assert!(limit_ms == 0 || (position < cpus && beat(position) != 0));
            }
        }
    }
}

/// Whatever is told of a vnode, what it had is given back only after its CPUs have been stopped.
fn lives(input: &Input<'_>) {
    const EVENTS: [Event; 8] = [
        Event::Assigned,
        Event::Loaded,
        Event::Started,
        Event::SignOfLife,
        Event::StopAsked,
        Event::Died(Cause::Panic),
        Event::NoSign,
        Event::Reclaimed,
    ];
    let (mut state, mut may_run) = (State::Empty, false);
    for choice in input.take(64) {
        let Some(event) = EVENTS.get(usize::from(choice % 8)) else {
            return;
        };
        let Ok((next, action)) = state.on(*event) else {
            continue;
        };
        may_run |= next == State::Loaded;
        match action {
            Action::StopCpus => may_run = false,
            Action::Release => assert!(!may_run),
            Action::None => {}
        }
        assert!(!next.is_alive() || may_run);
        state = next;
    }
}
