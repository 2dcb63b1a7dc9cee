// SPDX-License-Identifier: GPL-2.0

//! The ioctls of `/dev/kmb` and `/dev/adeos`: the one definition that kernel and tools share.
//!
//! Every argument is a record whose first field is its own size, so that a tool of another version
//! gets a clear refusal (EINVAL) and never a misread field. Reserved fields must be zero (EINVAL).
//! The numbers follow the kernel's `_IOC` scheme with [`MAGIC`].
//!
//! `/dev/kmb` (root only, mode 0600) starts and ends vnodes. `/dev/adeos` exists on every vnode
//! whose adeos_core is loaded; an open file becomes one end of a channel between the root and a
//! vnode: [`ADEOS_CONNECT`] on the root, [`ADEOS_ACCEPT`] on the vnode, then `read` and `write`.

mod bridge;
pub mod console;
pub mod shm;

use crate::record;
pub use bridge::{Bridge, BridgeStat};

/// Version of this interface. Tool and modules must have the same.
pub const VERSION: u32 = 1;

/// Letter of the `_IOC` numbers.
pub const MAGIC: u8 = 0xAD;

const fn read_write(number: u8, size: usize) -> u32 {
    (3 << 30) | ((size as u32) << 16) | ((MAGIC as u32) << 8) | number as u32
}

/// Tells versions, CPUs and memory: [`Info`].
pub const KMB_INFO: u32 = read_write(0, Info::SIZE);
/// Starts a vnode: [`Start`].
///
/// Returns when the vnode's first CPU is on its way (state `loaded`); [`KMB_WAIT`] tells when it
/// runs. Errors: EEXIST name in use; EBUSY a CPU is lent, offline or the one that the firmware
/// booted, or a range is taken; ENOSPC no free vnode number; ENOMEM the pool has no such range;
/// EFBIG image and initrd do not fit into the memory; ENODATA one of them ends before its size;
/// ENOEXEC the image is not a bootable one (the kernel log says why); EINVAL a field is wrong;
/// E2BIG command line too long. A start that fails leaves nothing behind, but for EIO when a CPU
/// does not stop: then the vnode stays, dead, to be killed.
pub const KMB_START: u32 = read_write(1, Start::SIZE);
/// Asks a vnode to shut down: [`Target`]. Returns at once. ENOENT no such vnode; ENOTCONN it is
/// dead or its adeos_core has not joined.
pub const KMB_STOP: u32 = read_write(2, Target::SIZE);
/// Takes a vnode back whatever its state: INIT to its CPUs, memory scrubbed, CPUs online again:
/// [`Target`]. ENOENT no such vnode; ESTALE another life is meant; EBUSY it is being started or
/// taken back by somebody else at this moment. EIO when a CPU does not stop and
/// ENOMEM when its memory cannot be mapped for scrubbing: it stays, dead, and can be killed again.
pub const KMB_KILL: u32 = read_write(3, Target::SIZE);
/// Tells all about one vnode: [`Query`]. A number that no vnode has is in state `empty`; ENOENT for
/// one that none can have.
pub const KMB_QUERY: u32 = read_write(4, Query::SIZE);
/// Copies a part of a vnode's console: [`ConsoleRead`]. Works for dead vnodes and, until the
/// number is used again, for ones taken back.
pub const KMB_CONSOLE: u32 = read_write(5, ConsoleRead::SIZE);
/// Waits until something has changed since `count`: [`Wait`].
pub const KMB_WAIT: u32 = read_write(6, Wait::SIZE);
/// Makes one of the next steps fail, for tests: [`Fault`].
pub const KMB_FAULT: u32 = read_write(7, Fault::SIZE);

/// Root: connects this file to a vnode: [`Channel`]. ENOENT no such vnode; ENOTCONN it takes no
/// commands (yet); EBUSY all of its channels are in use.
pub const ADEOS_CONNECT: u32 = read_write(16, Channel::SIZE);
/// Vnode: waits for a connection from the root: [`Channel`]. Each call tells the root that the
/// vnode's user space is ready.
pub const ADEOS_ACCEPT: u32 = read_write(17, Channel::SIZE);
/// Tells who this vnode is: [`Whoami`].
pub const ADEOS_WHOAMI: u32 = read_write(18, Whoami::SIZE);
/// Tells what there is to know of one bridge, in any vnode: [`Bridge`]. A number that no bridge has
/// is in state 0; ENOENT for one that none can have. EAGAIN it is being written now, EPROTO it makes
/// no sense.
pub const ADEOS_BRIDGE: u32 = read_write(19, Bridge::SIZE);
/// Root: tells what bridges and moves have come to: [`BridgeStat`]. EPERM elsewhere.
pub const ADEOS_BRIDGE_STAT: u32 = read_write(20, BridgeStat::SIZE);

record! {
    /// The machine, as the root's modules see it.
    pub struct Info: 128 {
        /// Bytes of this record.
        size: u32,
        /// [`VERSION`].
        abi_version: u32,
        /// Version of the control area ([`crate::layout::VERSION`]).
        layout_version: u32,
        /// Vnodes that the machine can hold, the root among them.
        max_vnodes: u32,
        /// Bytes of the pool.
        pool_size: u64,
        /// Bytes of it that are free.
        pool_free: u64,
        /// Bytes of the largest vnode that fits.
        pool_largest: u64,
        /// CPUs that can be lent now: online in the root, and not the one that the firmware booted.
        lendable: [u64; 4],
        /// CPUs that are lent.
        lent: [u64; 4],
        /// Counts changes, as [`Wait::count`].
        count: u64,
        /// Zero.
        reserved: [u64; 2],
    }
}

/// Bits of [`Start::flags`].
pub mod start {
    /// The root starts the CPU itself: for kernels without the patches.
    pub const ENTRY_SIPI: u32 = 1 << 0;
    /// Memory wholly below 4 GiB.
    pub const BELOW_4G: u32 = 1 << 1;
    /// Memory wholly above 4 GiB.
    pub const ABOVE_4G: u32 = 1 << 2;
    /// All bits that mean something.
    pub const ALL: u32 = ENTRY_SIPI | BELOW_4G | ABOVE_4G;
}

/// Longest command line that a vnode can be given, the closing zero among its bytes.
pub const MAX_CMDLINE: usize = 2048;

record! {
    /// What a vnode is to be.
    pub struct Start: 160 {
        /// Bytes of this record.
        size: u32,
        /// Bits of [`start`].
        flags: u32,
        /// Name, zero-padded.
        name: [u8; 32],
        /// Its CPUs, in the root's logical numbering; the lowest is its first.
        cpus: [u64; 4],
        /// Bytes of memory, a multiple of 2 MiB, at least 64 MiB.
        memory_size: u64,
        /// Physical address of the memory, or `u64::MAX` for any that fits.
        memory_base: u64,
        /// Open file of the kernel image (bzImage).
        kernel_fd: i32,
        /// Open file of the initial RAM disk, or -1.
        initrd_fd: i32,
        /// Address of the text to be added to the kernel's command line.
        cmdline: u64,
        /// Bytes of that text, without a closing zero.
        cmdline_size: u32,
        /// Zero.
        reserved: u32,
        /// Result: number of the vnode.
        vnode: u32,
        /// Result: which life of that number this is.
        generation: u32,
        /// Result: microseconds that loading took.
        load_us: u64,
        /// Zero.
        reserved2: [u64; 4],
    }
}

record! {
    /// Which vnode is meant.
    pub struct Target: 16 {
        /// Bytes of this record.
        size: u32,
        /// Number of the vnode.
        vnode: u32,
        /// Its life, or 0 for whichever is there; another one is ESTALE.
        generation: u32,
        /// Zero.
        reserved: u32,
    }
}

/// States of a vnode, as its users see them ([`Query::state`]).
pub mod state {
    /// Nothing there.
    pub const EMPTY: u32 = 0;
    /// CPUs and memory are set aside.
    pub const READY: u32 = 1;
    /// The image is in place and its CPU on the way.
    pub const LOADED: u32 = 2;
    /// Its kernel runs.
    pub const RUNNING: u32 = 3;
    /// It was asked to shut down.
    pub const STOPPING: u32 = 4;
    /// It has ended; its CPUs are stopped, its memory is kept for a look.
    pub const DEAD: u32 = 5;
    /// It never showed a sign of life.
    pub const FAILED: u32 = 6;
}

record! {
    /// All about one vnode. The caller fills `size` and `vnode`.
    pub struct Query: 768 {
        /// Bytes of this record.
        size: u32,
        /// Number of the vnode.
        vnode: u32,
        /// Which life of that number.
        generation: u32,
        /// One of [`state`].
        state: u32,
        /// How far it says it has come, one of [`crate::layout::state`].
        progress: u32,
        /// Why it ended, one of [`crate::layout::cause`].
        cause: u32,
        /// Local APIC id of the CPU concerned, or [`crate::layout::NO_APIC`].
        cause_apic_id: u32,
        /// What its kernel can do, bits of [`crate::layout::feature`].
        features: u32,
        /// How it was started, one of [`crate::layout::entry`].
        entry: u32,
        /// Longest time since a CPU of it has beaten, in ms; `u32::MAX` before the first beat.
        silent_ms: u32,
        /// Its CPUs, in the root's logical numbering.
        cpus: [u64; 4],
        /// Physical address of its memory.
        memory_base: u64,
        /// Bytes of its memory.
        memory_size: u64,
        /// When it was started, in ns of the root's CLOCK_MONOTONIC.
        started_ns: u64,
        /// When it ended, in the same; 0 while it lives.
        ended_ns: u64,
        /// Bytes written to its console since the root came up.
        console_written: u64,
        /// Its name.
        name: [u8; 32],
        /// Its kernel's release.
        release: [u8; 64],
        /// Words that go with the cause.
        message: [u8; 256],
        /// Why the root mistrusts this life, the number of a [`crate::suspicion::Suspicion`]; 0 if it
        /// does not.
        suspicion: u32,
        /// Zero.
        reserved: u32,
        /// Zero.
        reserved2: [u64; 37],
    }
}

record! {
    /// A part of a console.
    pub struct ConsoleRead: 48 {
        /// Bytes of this record.
        size: u32,
        /// Number of the vnode.
        vnode: u32,
        /// In: count of the first byte wanted. Out: count of the first byte after the copied ones.
        position: u64,
        /// Where to copy to.
        buffer: u64,
        /// In: room there. Out: bytes copied.
        length: u32,
        /// How long to wait for a byte, in ms.
        timeout_ms: u32,
        /// Out: bytes that were overwritten before they could be copied.
        lost: u64,
        /// Zero.
        reserved: u64,
    }
}

record! {
    /// Waiting for a change.
    pub struct Wait: 24 {
        /// Bytes of this record.
        size: u32,
        /// How long to wait, in ms.
        timeout_ms: u32,
        /// In: count of changes that the caller knows. Out: the count now.
        count: u64,
        /// Zero.
        reserved: u64,
    }
}

/// Steps of a start, in their order ([`Fault::step`]): the paper's seven (section 5) and what
/// comes before and after them.
pub mod step {
    /// Taking the CPUs from the root.
    pub const CPUS: u32 = 1;
    /// 1. Requesting contiguous memory.
    pub const MEMORY: u32 = 2;
    /// 2. Mapping it.
    pub const MAP: u32 = 3;
    /// 3. Copying the kernel image.
    pub const IMAGE: u32 = 4;
    /// 3. Copying the initial RAM disk.
    pub const INITRD: u32 = 5;
    /// 3. Copying the boot parameters.
    pub const PARAMS: u32 = 6;
    /// 4. Making the entry executable.
    pub const EXECUTABLE: u32 = 7;
    /// 5. Declaring the resources to the nanokernel.
    pub const DECLARE: u32 = 8;
    /// 6. Jumping to the entry.
    pub const JUMP: u32 = 9;
    /// After the jump: the vnode counts as started, and is taken back.
    pub const STARTED: u32 = 10;
    /// The last one.
    pub const LAST: u32 = STARTED;
}

record! {
    /// A fault to be injected.
    pub struct Fault: 16 {
        /// Bytes of this record.
        size: u32,
        /// The step of the next start that is to fail with ENOMEM, one of [`step`]; 0 for none.
        step: u32,
        /// Zero.
        reserved: u64,
    }
}

record! {
    /// A channel to be opened or accepted.
    pub struct Channel: 16 {
        /// Bytes of this record.
        size: u32,
        /// Root: number of the vnode. Vnode: result, 0.
        vnode: u32,
        /// Root: its life, or 0 for whichever is there. Vnode: zero.
        generation: u32,
        /// Result: number of the channel.
        channel: u32,
    }
}

record! {
    /// Who a vnode is.
    pub struct Whoami: 64 {
        /// Bytes of this record.
        size: u32,
        /// [`VERSION`].
        abi_version: u32,
        /// Its number.
        vnode: u32,
        /// Its life.
        generation: u32,
        /// What its kernel can do, bits of [`crate::layout::feature`].
        features: u32,
        /// Its CPUs.
        nr_cpus: u32,
        /// Zero.
        reserved: u64,
        /// Its name.
        name: [u8; 32],
    }
}
