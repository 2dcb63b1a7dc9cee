// SPDX-License-Identifier: GPL-2.0

//! Packets: `struct sk_buff`, as a driver of an Ethernet device copies it.
//!
//! Some of its bytes may be a program's that changes them (`sendfile`); they are copied once, and what is copied is what is
//! sent, as with pages everywhere in the kernel crate. C headers: `include/linux/skbuff.h`, `include/linux/virtio_net.h`.

use crate::ffi;
use crate::netdev::Handle;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::{
    ptr,
    slice, //
};

/// What one kernel leaves to the next to do with a packet: `struct virtio_net_hdr`, and zeros.
pub(crate) type Offload = [u8; 16];

/// A packet that Linux wants to be sent; it stays Linux's.
pub(crate) struct Outbound<'a> {
    skb: NonNull<ffi::SkBuff>,
    _packet: PhantomData<&'a ()>,
}

impl<'a> Outbound<'a> {
    /// # Safety
    ///
    /// It is a packet that nobody else changes for `'a`.
    pub(crate) unsafe fn new(skb: NonNull<ffi::SkBuff>) -> Self {
        Self {
            skb,
            _packet: PhantomData,
        }
    }

    /// Bytes of it.
    pub(crate) fn length(&self) -> usize {
        // SAFETY: By the condition of `new`.
        unsafe { ffi::adeos_packet_length(self.skb.as_ptr()) as usize }
    }

    /// What is left to do with it; [`None`] if that cannot be said.
    pub(crate) fn offload(&self) -> Option<Offload> {
        let mut offload = [0; 16];
        // SAFETY: By the condition of `new`, and there is room for as many bytes.
        unsafe { ffi::adeos_packet_offload(self.skb.as_ptr(), &mut offload) }.then_some(offload)
    }

    /// Its bytes, piece by piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        (0..).map_while(|number| {
            let (bytes, count) = piece(self.skb, number)?;
            // SAFETY: The piece is there for as long as the packet, and is only copied (see above).
            Some(unsafe { slice::from_raw_parts(bytes, count) })
        })
    }
}

/// A packet that is being received, and has room for its bytes.
pub(crate) struct Inbound<'a> {
    skb: NonNull<ffi::SkBuff>,
    handle: &'a Handle,
    lane: u32,
}

impl<'a> Inbound<'a> {
    /// Room for a packet of so many bytes, which are not set yet; [`None`] without memory. In the poll of a lane
    /// of the device's.
    pub(crate) fn new(handle: &'a Handle, lane: u32, length: usize) -> Option<Self> {
        let length = u32::try_from(length).ok()?;
        // SAFETY: The handle's device lives, and this is the lane's poll.
        let skb = unsafe { ffi::adeos_packet_create(handle.as_raw(), lane, length) };
        Some(Self {
            skb: NonNull::new(skb)?,
            handle,
            lane,
        })
    }

    /// Calls `fill` with each piece of the room, in order.
    pub(crate) fn fill(&mut self, mut fill: impl FnMut(&mut [u8])) {
        let mut number = 0;
        while let Some((bytes, count)) = piece(self.skb, number) {
            // SAFETY: The piece is there for as long as the packet, which nobody else has; memory that C gives holds
            // some bytes.
            fill(unsafe { slice::from_raw_parts_mut(bytes, count) });
            number += 1;
        }
    }

    /// Hands it to Linux, which does what is left to do, or drops it if that makes no sense.
    pub(crate) fn receive(self, offload: &Offload) {
        let skb = self.skb.as_ptr();
        let (handle, lane) = (self.handle, self.lane);
        core::mem::forget(self);
        // SAFETY: The packet is Linux's from here on; the device lives, and this is the lane's poll.
        unsafe { ffi::adeos_packet_receive(handle.as_raw(), lane, skb, offload) };
    }
}

impl Drop for Inbound<'_> {
    fn drop(&mut self) {
        // SAFETY: `new` made it, and nobody else has it.
        unsafe { ffi::adeos_packet_drop(self.skb.as_ptr()) };
    }
}

/// A piece of a packet that lives.
fn piece(skb: NonNull<ffi::SkBuff>, number: u32) -> Option<(*mut u8, usize)> {
    let (mut bytes, mut count) = (ptr::null_mut(), 0);
    // SAFETY: The caller has the packet; both places are there to be written.
    let is_there = unsafe { ffi::adeos_packet_piece(skb.as_ptr(), number, &mut bytes, &mut count) };
    is_there.then_some((bytes, count as usize))
}
