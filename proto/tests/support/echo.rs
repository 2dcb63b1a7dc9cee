// SPDX-License-Identifier: GPL-2.0

//! A cluster in which everybody has the same service, for what is said of requests in general.

use crate::cluster::Cluster;
use adeos_proto::dsp::{Area, Payload};
use adeos_proto::id::VnodeId;

/// The service.
pub(crate) const ECHO: u16 = 0xff00;

pub(crate) fn vnode(number: u32) -> VnodeId {
    VnodeId::new(number).unwrap()
}

pub(crate) fn payload(bytes: &[u8]) -> Payload {
    Payload::new(bytes).unwrap()
}

/// A cluster in which all vnodes have the service `ECHO`.
pub(crate) fn echoing(others: u32) -> Cluster {
    let mut cluster = Cluster::new(others);
    for number in 0..=others {
        cluster.dsp(number).register(Area::Local, ECHO, 7).unwrap();
    }
    cluster
}
