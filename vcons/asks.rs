// SPDX-License-Identifier: GPL-2.0

//! What is asked of the root about consoles, and how it answers.

#![deny(unsafe_code)]

use adeos_core::dsp::{
    Payload,
    Request as Message, //
};
use adeos_core::Core;
use adeos_proto::id::VnodeId;
use adeos_proto::vcons::request::{
    Answer,
    Request,
    SERVICE, //
};
use kernel::error::to_result;
use kernel::prelude::*;

/// How long the root may take: it may have to make room for a console.
const TIMEOUT_MS: u32 = 10_000;

/// Asks the root. Process context of a vnode. Errors of [`Core::ask`], and what the root says.
pub(crate) fn ask(core: &Core, request: Request) -> Result<Answer> {
    let bytes = request.to_record().to_bytes();
    let payload = Payload::new(&bytes).ok_or(EINVAL)?;
    let root = core.view().life(VnodeId::ROOT).ok_or(ENXIO)?;
    let answer = core.ask(root, SERVICE, &payload, TIMEOUT_MS)?;
    to_result(answer.status)?;
    Answer::parse(answer.payload.as_slice()).ok_or(EPROTO)
}

/// Root: answers. Whoever asked may have gone meanwhile, or ask again when there was no room.
pub(crate) fn answer(core: &Core, message: &Message, result: Result<Answer>) {
    let (status, bytes) = match result {
        Ok(answer) => (0, answer.to_record().to_bytes()),
        Err(error) => (error.to_errno(), Default::default()),
    };
    let payload = Payload::new(&bytes).unwrap_or(Payload::EMPTY);
    if let Err(error) = core.reply(message, status, &payload) {
        pr_debug!(
            "vnode {} is not answered: {:?}\n",
            message.from.vnode.number(),
            error
        );
    }
}

/// Root: answers that it is not done.
pub(crate) fn refuse(core: &Core, message: &Message, error: Error) {
    answer(core, message, Err(error));
}
