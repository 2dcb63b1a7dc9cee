// SPDX-License-Identifier: GPL-2.0

//! Channels: streams of bytes between the root and programs of a vnode, over `proto/channel.rs`.
//!
//! An [`End`] is what an open `/dev/adeos` becomes. Lock order: the core's `channel_lock`, the end's
//! `rings`, the core's `table`. Whoever waits looks at the rings under `channel_lock` first, and
//! the watch takes that lock before it wakes the waiters, so no news is missed.

#![deny(unsafe_code)]

use crate::core_state::Core;
use crate::portal;
use adeos_proto::channel::{
    PeerState,
    RootEnd,
    VnodeEnd, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::layout;
use adeos_proto::ring::Corrupt;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    Mutex, //
};

enum Rings {
    Root(RootEnd),
    Vnode(VnodeEnd),
}

/// One end of a channel; dropping it closes it.
#[pin_data(PinnedDrop)]
pub(crate) struct End {
    core: Arc<Core>,
    /// The vnode whose slot holds the channel.
    vnode: VnodeId,
    /// Life of the vnode that this channel is with.
    generation: u32,
    /// The channel's number and rings; `None` before it is open.
    #[pin]
    rings: Mutex<Option<(usize, Rings)>>,
}

impl End {
    /// On the root: opens a channel to a vnode. ENOTCONN when its user space takes no commands,
    /// EBUSY when all channels are in use, ESTALE when another life is meant.
    pub(crate) fn connect(core: &Arc<Core>, vnode: VnodeId, generation: u32) -> Result<Arc<Self>> {
        let facts = core.facts(vnode)?;
        if facts.assignment.is_none() {
            return Err(ENOENT);
        }
        if generation != 0 && generation != facts.generation.0 {
            return Err(ESTALE);
        }
        if !facts.state.is_alive() || facts.progress < layout::state::READY {
            return Err(ENOTCONN);
        }

        let end = Self::new(core, vnode, facts.generation.0)?;
        // Two programs that connect at once must not get the same channel.
        let guard = core.channel_lock().lock();
        let slot = core.control().slot(vnode);
        let mut indices = 0..layout::channel::COUNT;
        let opened = indices.find_map(|index| Some((index, RootEnd::open(&slot, index)?)));
        drop(guard);
        let (index, ring) = opened.ok_or(EBUSY)?;
        if !end.is_current() {
            // The vnode has ended meanwhile, and its number may be in another life.
            ring.close(&slot);
            return Err(ENOTCONN);
        }
        end.become_open(index, Rings::Root(ring));
        end.ring_peer();
        Ok(end)
    }

    /// On a vnode: waits for the root to open a channel. EINTR on a signal.
    pub(crate) fn accept(core: &Arc<Core>) -> Result<Arc<Self>> {
        let identity = core.identity();
        let end = Self::new(core, identity.vnode, identity.generation.0)?;
        let slot = core.control().slot(identity.vnode);
        let mut guard = core.channel_lock().lock();
        let (index, ring) = loop {
            let mut indices = 0..layout::channel::COUNT;
            let found = indices.find_map(|index| Some((index, VnodeEnd::accept(&slot, index)?)));
            if let Some(found) = found {
                break found;
            }
            if core.channel_moved().wait_interruptible(&mut guard) {
                return Err(EINTR);
            }
        };
        drop(guard);
        end.become_open(index, Rings::Vnode(ring));
        end.ring_peer();
        Ok(end)
    }

    /// An end of no channel yet: what can fail comes before a channel is opened.
    fn new(core: &Arc<Core>, vnode: VnodeId, generation: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                core: core.clone(),
                vnode,
                generation,
                rings <- kernel::new_mutex!(None, "adeos:rings"),
            }),
            GFP_KERNEL,
        )
    }

    fn become_open(&self, index: usize, rings: Rings) {
        *self.rings.lock() = Some((index, rings));
    }

    /// Number of the channel.
    pub(crate) fn index(&self) -> usize {
        self.rings.lock().as_ref().map_or(0, |(index, _)| *index)
    }

    /// Copies what the peer has sent to `to`, waiting for a first byte; 0 at the end of the stream.
    /// EINTR on a signal, EPROTO when the peer writes nonsense.
    pub(crate) fn receive(&self, to: &mut [u8]) -> Result<usize> {
        self.wait_for(|end| {
            // The peer may send and close at once: what it sent counts first.
            let peer = end.peer();
            let received = end.with_rings(|rings| match rings {
                Rings::Root(root) => root.receive(&end.slot(), to),
                Rings::Vnode(vnode) => vnode.receive(&end.slot(), to),
            })?;
            Ok((received > 0 || peer == PeerState::Closed).then_some(received))
        })
    }

    /// Sends bytes, waiting until there is room for at least one; how many were taken. EPIPE when
    /// the peer has closed, EINTR on a signal, EPROTO when the peer writes nonsense.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize> {
        self.wait_for(|end| match end.peer() {
            PeerState::Closed => Err(EPIPE),
            PeerState::Waiting => Ok(None),
            PeerState::Open => {
                let sent = end.with_rings(|rings| match rings {
                    Rings::Root(root) => root.send(&end.slot(), bytes),
                    Rings::Vnode(vnode) => vnode.send(&end.slot(), bytes),
                })?;
                Ok((sent > 0).then_some(sent))
            }
        })
    }

    /// Tries until there is a result, sleeping in between; rings the peer when there is one.
    fn wait_for(&self, mut attempt: impl FnMut(&Self) -> Result<Option<usize>>) -> Result<usize> {
        loop {
            let mut guard = self.core.channel_lock().lock();
            if let Some(done) = attempt(self)? {
                drop(guard);
                self.ring_peer();
                return Ok(done);
            }
            if self.core.channel_moved().wait_interruptible(&mut guard) {
                return Err(EINTR);
            }
        }
    }

    fn with_rings(
        &self,
        work: impl FnOnce(&mut Rings) -> core::result::Result<usize, Corrupt>,
    ) -> Result<usize> {
        match &mut *self.rings.lock() {
            Some((_, rings)) => work(rings).map_err(|Corrupt| EPROTO),
            None => Err(ENOTCONN),
        }
    }

    fn slot(&self) -> crate::mapping::Part<'_> {
        self.core.control().slot(self.vnode)
    }

    /// Whether the peer listens. A vnode that has ended, or lives again, has closed.
    fn peer(&self) -> PeerState {
        let rings = self.rings.lock();
        match &*rings {
            Some((_, Rings::Vnode(end))) => end.peer(&self.slot()),
            Some((_, Rings::Root(end))) if self.is_current() => end.peer(&self.slot()),
            _ => PeerState::Closed,
        }
    }

    fn is_current(&self) -> bool {
        self.core
            .facts(self.vnode)
            .is_ok_and(|facts| facts.generation.0 == self.generation && facts.state.is_alive())
    }

    fn ring_peer(&self) {
        let own = self.core.identity().vnode;
        let peer = if own.is_root() {
            self.vnode
        } else {
            VnodeId::ROOT
        };
        portal::send(self.core.control(), own, peer, layout::portal::CHANNEL);
    }
}

// SAFETY: The unsafe impl is the macro's own, which keeps its promise that nobody else calls `drop`.
#[expect(unsafe_code, reason = "the macro makes an unsafe impl of it")]
#[pinned_drop]
impl PinnedDrop for End {
    fn drop(self: Pin<&mut Self>) {
        let rings = self.rings.lock();
        match &*rings {
            Some((_, Rings::Vnode(end))) => end.close(&self.slot()),
            // The slot may be in another life by now, in which the number means somebody else.
            Some((_, Rings::Root(end))) if self.is_current() => end.close(&self.slot()),
            _ => return,
        }
        drop(rings);
        self.ring_peer();
    }
}
