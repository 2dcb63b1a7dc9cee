// SPDX-License-Identifier: GPL-2.0

//! How a request gets to the root: in the root straight to the table, elsewhere as a message.

#![deny(unsafe_code)]

use super::service::SERVICE;
use super::{
    root,
    server,
    Access,
    Follow,
    Id,
    Key,
    Spec, //
};
use crate::core_state::Core;
use adeos_proto::bridge::request::{
    GrantRecord,
    Request, //
};
use adeos_proto::bridge::table::Grant;
use adeos_proto::dsp::Payload;
use adeos_proto::id::{
    PhysRange,
    VnodeId, //
};
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;

/// How long the root may take to answer, in ms. It answers at once; this is for when it is not well.
const TIMEOUT_MS: u32 = 10_000;
/// The same for memory, for which other bridges may have to be moved.
const MEMORY_TIMEOUT_MS: u32 = 60_000;

/// What became of something that the root was told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is done.
    Done,
    /// The root does not want it: what it is about is over.
    Refused,
    /// It did not get through, and never will in this life.
    Lost,
    /// It did not get through: it is to be told again.
    NotYet,
}

/// Why a request failed.
enum Failure {
    /// The root has said no.
    Refused(Error),
    /// The root may not even have heard of it.
    Transport(Error),
}

impl Failure {
    /// Has it taken back later if the root may have done what was asked.
    fn regret(&self, core: &Core, key: &Key) {
        if matches!(self, Self::Transport(error) if *error == ETIMEDOUT || *error == EINTR) {
            core.bridges().regret(key);
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) | Failure::Transport(error) => error,
        }
    }
}

/// Creates a bridge. Process context.
pub(super) fn create(core: &Arc<Core>, spec: &Spec) -> Result<Id> {
    if core.identity().is_root() {
        return server::create(core, spec);
    }
    let granted = send(core, &Request::Create(*spec), MEMORY_TIMEOUT_MS)
        .inspect_err(|failure| failure.regret(core, &spec.key))?;
    Ok(id(&granted))
}

/// Gives a bridge another size. Process context.
pub(super) fn resize(core: &Arc<Core>, id: Id, size: u64) -> Result {
    if core.identity().is_root() {
        return server::resize(core, id, size);
    }
    send(core, &Request::Resize(id, size), MEMORY_TIMEOUT_MS)?;
    Ok(())
}

/// Becomes a user of a bridge, or says anew how. Process context.
pub(super) fn open(core: &Core, key: &Key, access: Access, follow: Follow) -> Result<Id> {
    let granted = exchange(core, &Request::Open(*key, access, follow))
        .inspect_err(|failure| failure.regret(core, key))?;
    Ok(id(&granted))
}

/// Asks where a bridge is to be mapped. EPROTO when the answer makes no sense. Process context.
pub(super) fn map(core: &Core, id: Id) -> Result<PhysRange> {
    let granted = exchange(core, &Request::Map(id))?;
    let grant = Grant::try_from(&granted).map_err(|_| EPROTO)?;
    if grant.id != id {
        return Err(EPROTO);
    }
    Ok(grant.range)
}

/// Stops being a user; whether it is over, if only because there is nobody to tell. Process context.
pub(super) fn close(core: &Core, id: Id) -> bool {
    tell(core, &Request::Close(id)) != Told::NotYet
}

/// A request of which nothing but success is of interest. Process context.
pub(super) fn root(core: &Core, request: &Request) -> Result {
    exchange(core, request)?;
    Ok(())
}

/// The same for what may be repeated.
pub(super) fn tell(core: &Core, request: &Request) -> Told {
    match exchange(core, request) {
        Ok(_) => Told::Done,
        Err(Failure::Refused(_)) => Told::Refused,
        Err(Failure::Transport(error)) if error == ENXIO || error == EPIPE => Told::Lost,
        Err(Failure::Transport(_)) => Told::NotYet,
    }
}

fn exchange(core: &Core, request: &Request) -> Result<GrantRecord, Failure> {
    if core.identity().is_root() {
        let own = core.own_life();
        return root::serve(core, own, request)
            .and_then(|answer| root::granted(&answer))
            .map_err(Failure::Refused);
    }
    send(core, request, TIMEOUT_MS)
}

fn send(core: &Core, request: &Request, timeout_ms: u32) -> Result<GrantRecord, Failure> {
    let record = request.to_record().to_bytes();
    let payload = Payload::new(&record).ok_or(Failure::Refused(EINVAL))?;
    let root = core.view().life(VnodeId::ROOT);
    let root = root.ok_or(Failure::Transport(ENXIO))?;
    let answer = core
        .ask(root, SERVICE, &payload, timeout_ms)
        .map_err(Failure::Transport)?;
    to_result(answer.status).map_err(Failure::Refused)?;
    match answer.payload.as_slice().first_chunk() {
        Some(bytes) => Ok(GrantRecord::from_bytes(bytes)),
        None => Err(Failure::Refused(EPROTO)),
    }
}

fn id(granted: &GrantRecord) -> Id {
    Id {
        index: granted.index,
        serial: granted.serial,
    }
}
