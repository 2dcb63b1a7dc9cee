// SPDX-License-Identifier: GPL-2.0

//! What the kernels of one machine must agree on, and the algorithms that need no kernel.
//!
//! Vocabulary (the paper's): a *vnode* is a kernel with CPUs, memory and devices of its own; the
//! *root* is the one that the firmware booted; a *bridge* is a named region of shared memory; a
//! *portal* is an inter-processor interrupt with an owner and a handler; *KMB* is the
//! kernel-mode bootloader.
//!
//! Principles: no kernel, no allocation, no clock, no unsafe here; storage, time and randomness
//! come in as arguments and effects go out as values. What somebody else says is copied, checked,
//! and only then used.

#![cfg_attr(not(any(CONFIG_RUST, test)), no_std)]
#![forbid(unsafe_code)]

pub mod abi;
pub mod bits;
pub mod boot;
pub mod bridge;
pub mod channel;
pub mod clock;
pub mod console;
pub mod cpuset;
pub mod csma;
pub mod dsp;
pub mod id;
pub mod layout;
pub mod lifecycle;
pub mod liveness;
pub mod lock;
pub mod membership;
pub mod mover;
pub mod pipeline;
pub mod portal;
pub mod record;
pub mod region;
pub mod ring;
pub mod shm;
pub mod signature;
pub mod suspicion;
pub mod vcons;
pub mod vnet;
pub mod window;
