// SPDX-License-Identifier: GPL-2.0

//! The services: echoes, one that does not answer, two that count what they are told, one that tries
//! what its thread must not do, and one that opens the gate.
//!
//! All that they are sent is a sequence of numbers, by sender; each notes whether it has missed one
//! or seen one twice.

use adeos_core::dsp::{
    Payload,
    Request, //
};
use adeos_core::Core;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// Numbers of the services.
pub(crate) mod number {
    /// Answers in the stage.
    pub(crate) const ECHO_STAGE: u16 = 0xff00;
    /// Answers in the DSP thread.
    pub(crate) const ECHO_THREAD: u16 = 0xff01;
    /// Does not answer.
    pub(crate) const SILENT: u16 = 0xff02;
    /// Counts, in the stage.
    pub(crate) const COUNT: u16 = 0xff03;
    /// Counts in the DSP thread, when the gate is open.
    pub(crate) const GATED: u16 = 0xff04;
    /// Asks back in the DSP thread, and answers like the echoes if that was refused.
    pub(crate) const NESTED: u16 = 0xff05;
    /// Opens the gate, in the stage.
    pub(crate) const OPEN: u16 = 0xff06;
}

/// What commands call the services, in the order of their numbers; nobody has the last one.
pub(crate) const NAMES: [&str; 8] = [
    "echo_stage",
    "echo_thread",
    "silent",
    "count",
    "gated",
    "nested",
    "open",
    "absent",
];

/// The service of a name.
pub(crate) fn named(name: &str) -> Option<u16> {
    let place = NAMES.iter().position(|other| *other == name)?;
    Some(number::ECHO_STAGE.wrapping_add(place as u16))
}

/// The place of a service among the names.
pub(crate) fn place(service: u16) -> usize {
    usize::from(service.wrapping_sub(number::ECHO_STAGE))
}

/// What is counted of one sender: messages, the last number, and those out of order.
struct Heard {
    count: Atomic<u64>,
    last: Atomic<u64>,
    misordered: Atomic<u64>,
}

/// By sender and service. A sender's messages to a service are handled one after the other, though
/// not all on the same CPU.
static HEARD: [[Heard; NAMES.len()]; MAX_VNODES] = [const {
    [const {
        Heard {
            count: Atomic::new(0),
            last: Atomic::new(0),
            misordered: Atomic::new(0),
        }
    }; NAMES.len()]
}; MAX_VNODES];

/// Whether the gated service may go on.
static GATE: Atomic<u32> = Atomic::new(1);

pub(crate) fn set_gate(is_open: bool) {
    GATE.store(is_open.into(), Release);
}

/// Opens the gate when it is dropped.
pub(crate) struct OpenAtEnd;

impl Drop for OpenAtEnd {
    fn drop(&mut self) {
        set_gate(true);
    }
}

/// A payload that says a number: the number, and as many bytes more as it says.
pub(crate) fn payload(number: u64) -> Payload {
    let mut bytes = [0; adeos_proto::dsp::MAX_PAYLOAD];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = number.wrapping_mul(31).wrapping_add(at as u64) as u8;
    }
    for (byte, of_number) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *byte = of_number;
    }
    let len = (number % 89) as usize;
    bytes
        .get(..len.wrapping_add(8))
        .and_then(Payload::new)
        .unwrap_or(Payload::EMPTY)
}

/// What the echoes make of a payload.
pub(crate) fn echoed(payload: &Payload) -> Payload {
    let mut bytes = [0; adeos_proto::dsp::MAX_PAYLOAD];
    let from = payload.as_slice();
    for (to, byte) in bytes.iter_mut().zip(from) {
        *to = byte ^ 0xa5;
    }
    let echoed = bytes.get(..from.len()).and_then(Payload::new);
    echoed.unwrap_or(Payload::EMPTY)
}

fn note(request: &Request) {
    let of_sender = HEARD.get(request.from.vnode.index());
    let Some(heard) = of_sender.and_then(|row| row.get(place(request.service))) else {
        return;
    };
    let mut number = [0; 8];
    for (to, byte) in number.iter_mut().zip(request.payload.as_slice()) {
        *to = *byte;
    }
    let number = u64::from_le_bytes(number);
    let is_whole = payload(number) == request.payload;
    // A sender that is loaded anew begins anew.
    let follows = number == 1 || number == heard.last.load(Relaxed).wrapping_add(1);
    if !follows || !is_whole {
        add(&heard.misordered);
    }
    heard.last.store(number, Relaxed);
    add(&heard.count);
}

fn add(counter: &Atomic<u64>) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Release);
}

pub(crate) fn echo(core: &Core, request: &Request) {
    note(request);
    let len = request.payload.as_slice().len();
    // Whoever has asked may have gone meanwhile.
    let _ = core.reply(request, len as i32, &echoed(&request.payload));
}

pub(crate) fn be_silent(_: &Core, request: &Request) {
    note(request);
}

pub(crate) fn count(_: &Core, request: &Request) {
    note(request);
}

pub(crate) fn count_behind_gate(_: &Core, request: &Request) {
    while GATE.load(Acquire) == 0 {
        fsleep(Delta::from_millis(1));
    }
    note(request);
}

pub(crate) fn open_gate(_: &Core, _: &Request) {
    set_gate(true);
}

pub(crate) fn ask_back(core: &Core, request: &Request) {
    let answer = core.ask(request.from, number::ECHO_STAGE, &request.payload, 1000);
    if answer.is_err_and(|error| error == EDEADLK) {
        echo(core, request);
    }
}

pub(crate) fn report(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (from, row) in VnodeId::all().zip(&HEARD) {
        for (name, heard) in NAMES.iter().zip(row) {
            let count = heard.count.load(Acquire);
            if count != 0 {
                let misordered = heard.misordered.load(Relaxed);
                writeln!(
                    f,
                    "heard {} {} {} misordered {}",
                    from.number(),
                    name,
                    count,
                    misordered
                )?;
            }
        }
    }
    Ok(())
}
