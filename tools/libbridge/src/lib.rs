// SPDX-License-Identifier: GPL-2.0

//! Memory that programs share across the kernels of one machine: the library over `/dev/bridge_shm`.
//!
//! A [`Region`] has a name, a user, a group and mode bits, as shared memory of POSIX has, and beside them the vnodes that may
//! use it. It is there as long as somebody has it open, in whichever vnode. Mapped ([`Region::map`]), it is the same physical memory
//! everywhere: what one stores, all see, in the order that x86 keeps. docs/bridge-shm.md is the specification.
//!
//! ```no_run
//! use bridge::{Access, Options, Region, Vnodes};
//! use std::sync::atomic::Ordering;
//!
//! # fn main() -> std::io::Result<()> {
//! // One program makes it, any other opens it.
//! let counter = match Region::create("counter", &Options::new(2 << 20).vnodes(Vnodes::ALL)) {
//!     Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Region::open("counter", Access::Write)?,
//!     result => result?,
//! };
//! let memory = counter.map()?;
//! memory.word64(0)?.fetch_add(1, Ordering::SeqCst);
//! counter.notify()?;
//! # Ok(())
//! # }
//! ```

mod lock;
mod memory;
pub mod pipe;
mod queue;
mod region;
mod slots;
mod sys;
mod word;

pub use lock::{Condition, Held, Lock};
pub use memory::Memory;
pub use queue::Queue;
pub use region::{Access, Name, Options, Region, Stat, Vnodes};
pub use slots::Shape;
