// SPDX-License-Identifier: GPL-2.0

//! Valid messages of which nobody knows what to think: to every service of everybody, with payloads
//! that are noise, or requests about bridges that are nearly right.

use crate::forge;
use crate::progress::Progress;
use crate::random::Random;
use adeos_core::dsp::Payload;
use adeos_core::Core;
use adeos_proto::bridge::mode;
use adeos_proto::bridge::request::{
    RequestRecord,
    VERSION, //
};
use adeos_proto::id::{
    Life,
    VnodeId, //
};
use adeos_proto::layout::GRANULE;
use adeos_proto::portal::Number;
use adeos_proto::record;
use kernel::prelude::*;

/// Messages between two looks at the time.
const BURST: u64 = 32;

/// How long an answer is waited for, in ms.
const PATIENCE_MS: u32 = 20;

const NAMES: [&str; 4] = ["wire", "x.1", "", "no good"];

/// Does it, until the time is over.
pub(crate) fn run(core: &Core, progress: &Progress<'_>, random: &mut Random) -> Result {
    loop {
        let mut sent = 0;
        for _ in 0..BURST {
            let Some(to) = somebody(core, random) else {
                continue;
            };
            let (service, payload) = (forge::service(random), payload(random));
            // Whether there is room, and what becomes of it, is not for this vnode to know.
            let result = if random.below(8) == 0 {
                core.ask(to, service, &payload, PATIENCE_MS).map(|_| ())
            } else {
                core.tell(to, service, &payload)
            };
            sent += u64::from(result.is_ok());
            if let Some(portal) = Number::new(random.below(64) as u32) {
                core.raise(to.vnode, portal);
            }
        }
        if !progress.goes_on(0, sent)? {
            return Ok(());
        }
    }
}

/// A member that is another one.
fn somebody(core: &Core, random: &mut Random) -> Option<Life> {
    let vnode = VnodeId::all().nth(random.below(4))?;
    core.view()
        .life(vnode)
        .filter(|life| *life != core.own_life())
}

fn payload(random: &mut Random) -> Payload {
    let bytes = request(random).to_bytes();
    let len = match random.below(4) {
        0 => random.below(bytes.len() + 1),
        _ => bytes.len(),
    };
    let bytes = bytes.get(..len).unwrap_or(&[]);
    Payload::new(bytes).unwrap_or(Payload::EMPTY)
}

/// A request about bridges in which each field is one that there is, or noise.
fn request(random: &mut Random) -> RequestRecord {
    let mut noise = |limit: usize| match random.below(6) {
        0 => random.any(),
        _ => random.below(limit) as u64,
    };
    let record = RequestRecord {
        version: VERSION,
        operation: noise(12) as u16,
        access: noise(4) as u16,
        follow: noise(4) as u16,
        mode: noise(usize::from(mode::ALL) + 2) as u16,
        readers: noise(1 << 16) as u16,
        writers: noise(1 << 16) as u16,
        index: noise(8) as u16,
        serial: noise(8) as u32,
        freeze: noise(4) as u32,
        scope: noise(4) as u32,
        vnode: noise(5) as u32,
        size: noise(6).wrapping_mul(GRANULE),
        ..RequestRecord::default()
    };
    RequestRecord {
        name: record::set_text(random.pick(&NAMES)),
        ..record
    }
}
