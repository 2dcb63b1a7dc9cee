// SPDX-License-Identifier: GPL-2.0

//! Messages of which each field is right or nearly so, put into the mailboxes by hand.

use crate::progress::Progress;
use crate::random::Random;
use crate::Test;
use adeos_core::{
    Core,
    Part, //
};
use adeos_proto::dsp::mailbox::{
    Layout,
    CAPACITY, //
};
use adeos_proto::dsp::message::{
    Message,
    VERSION, //
};
use adeos_proto::dsp::Area;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    portal,
    CONTROL_SIZE,
    MAILBOXES, //
};
use adeos_proto::portal::Number;
use adeos_proto::window::Window;
use kernel::prelude::*;

/// A service of one of the ranges: the first numbers are those that somebody has.
pub(crate) fn service(random: &mut Random) -> u16 {
    let area = Area::ALL.get(random.below(Area::ALL.len()));
    let (first, _) = area.map_or((0, 0), |area| area.range());
    first.wrapping_add(random.below(6) as u16)
}

/// Does it, until the time is over.
pub(crate) fn run(test: &Test, progress: &Progress<'_>, random: &mut Random) -> Result {
    let area = test.area.part(0, CONTROL_SIZE);
    loop {
        push(&test.core, &area, random);
        if !progress.goes_on(0, 1)? {
            return Ok(());
        }
    }
}

/// Pushes one to some other vnode, as if the mailbox were in order, and says so.
pub(crate) fn push(core: &Core, area: &Part<'_>, random: &mut Random) {
    let me = core.own_life();
    let Some(to) = VnodeId::all().nth(random.below(4)) else {
        return;
    };
    let Some(peer) = core.view().life(to).filter(|peer| *peer != me) else {
        return;
    };
    let mut payload = [0; 96];
    for bytes in payload.chunks_mut(8) {
        for (to, from) in bytes.iter_mut().zip(random.any().to_le_bytes()) {
            *to = from;
        }
    }
    let message = Message {
        version: VERSION.wrapping_add(random.below(2) as u16),
        service: service(random),
        kind: random.below(6) as u8,
        length: random.below(100) as u16,
        sender: me.generation.0,
        receiver: peer.generation.0,
        cookie: random.any(),
        status: random.any() as i32,
        payload,
        ..Message::default()
    };
    let ring = Layout::of(me.vnode, to);
    let base = MAILBOXES.offset;
    let head = area.load_acquire(base + ring.tail).wrapping_add(1);
    let place = ring.messages + (head.wrapping_sub(1) % CAPACITY) as usize * Message::SIZE;
    area.write(base + place, &message.to_bytes());
    area.store_release(base + ring.head, head);
    if let Some(mail) = Number::new(portal::MAIL) {
        core.raise(to, mail);
    }
}
