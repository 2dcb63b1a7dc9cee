// SPDX-License-Identifier: GPL-2.0

//! What the root knows of a vnode.

use crate::cpu;
use adeos_proto::cpuset::CpuSet;
use adeos_proto::id::{
    Generation,
    PhysRange,
    VnodeName, //
};
use adeos_proto::layout;
use adeos_proto::lifecycle::{
    Cause,
    State, //
};
use adeos_proto::suspicion::Suspicion;

/// What a vnode is to have.
#[derive(Clone, Copy)]
pub struct Assignment {
    /// Its name, which no other vnode has.
    pub name: VnodeName,
    /// Its CPUs, in the root's numbering; the lowest is its first.
    pub cpus: CpuSet,
    /// Its memory.
    pub memory: PhysRange,
    /// How it is started, one of [`layout::entry`].
    pub entry: u32,
}

impl Assignment {
    /// Local APIC ids of its CPUs, its first CPU's first.
    pub fn apic_ids(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.cpus.iter().filter_map(cpu::apic_id)
    }
}

/// Whether a vnode that has ended is proven to execute nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nobody has tried to prove it, or nothing has ended.
    Open,
    /// Somebody is at it.
    Closing,
    /// It is proven.
    Closed,
    /// A CPU does not stop. It may be tried again.
    Failed,
}

impl Fence {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }
}

/// Facts of one vnode.
#[derive(Clone, Copy)]
pub struct Facts {
    /// Which life.
    pub generation: Generation,
    /// Where in its life it is.
    pub state: State,
    /// What it has; `None` while it is empty.
    pub assignment: Option<Assignment>,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// Local APIC id of the CPU concerned.
    pub cause_apic_id: u32,
    /// How far it says it has come.
    pub progress: u32,
    /// What its kernel can do.
    pub features: u32,
    /// Longest silence of one of its CPUs, in ms; `u32::MAX` before the first beat.
    pub silent_ms: u32,
    /// Whether it is proven to have stopped, once it has ended.
    pub fence: Fence,
    /// Why the root mistrusts this life of it, if it does: the first reason.
    pub suspicion: Option<Suspicion>,
    /// When it was started, in ns of CLOCK_MONOTONIC.
    pub started_ns: u64,
    /// When it ended, or 0.
    pub ended_ns: u64,
    /// Its kernel's release.
    pub release: [u8; 64],
    /// Words that go with the cause.
    pub message: [u8; 256],
}

impl Facts {
    pub(crate) const EMPTY: Self = Self {
        generation: Generation(0),
        state: State::Empty,
        assignment: None,
        cause: None,
        cause_apic_id: layout::NO_APIC,
        progress: layout::state::SILENT,
        features: 0,
        silent_ms: u32::MAX,
        fence: Fence::Open,
        suspicion: None,
        started_ns: 0,
        ended_ns: 0,
        release: [0; 64],
        message: [0; 256],
    };
}
