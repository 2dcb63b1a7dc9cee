// SPDX-License-Identifier: GPL-2.0

//! Layout of the control area: the memory through which the kernels of one machine find each other.
//!
//! The root's adeos_core makes it at the start of the pool; every other kernel is told its address
//! by its boot block. It holds a header, one slot per vnode, and what all vnodes share. Each page
//! has one writer, named in its description; for everybody else its content is a claim.
//! docs/control-area.md is this page for people; `arch/x86/include/asm/adeos.h` in the kernel patch is the part that the kernel's own
//! code reads, and proto/tests/c_layout.rs holds the two to each other.

use crate::dsp::mailbox;
use crate::id::{VnodeId, MAX_VNODES, NAME_SIZE};
use crate::{bridge, clock, membership, record};

/// Version of the area: of everything on this page. Kernels of different versions refuse each
/// other.
pub const VERSION: u32 = 2;

/// Version of what the kernel's own code reads and writes before any module is there: boot block,
/// status and console header. These records did not change when the area grew around them.
pub const PLATFORM_VERSION: u32 = 1;

/// CPUs that one vnode can have.
pub const MAX_CPUS: usize = 256;

/// Local APIC id of no CPU.
pub const NO_APIC: u32 = u32::MAX;

/// Magic number of [`Header`].
pub const HEADER_MAGIC: u64 = u64::from_le_bytes(*b"ADEOSCTL");
/// Magic number of [`BootBlock`].
pub const BOOT_MAGIC: u64 = u64::from_le_bytes(*b"ADEOSBBK");
/// Magic number of [`Status`].
pub const STATUS_MAGIC: u64 = u64::from_le_bytes(*b"ADEOSSTS");
/// Magic number of [`ConsoleHeader`].
pub const CONSOLE_MAGIC: u64 = u64::from_le_bytes(*b"ADEOSCON");

/// Granule of the pool: what is lent is aligned to it and a multiple of it (the largest page of
/// which a kernel image wants its load address to be a multiple).
pub const GRANULE: u64 = 2 << 20;

/// Offset of the first vnode's slot in the control area.
pub const SLOTS_OFFSET: usize = 0x1_0000;
/// Bytes from one vnode's slot to the next.
pub const SLOT_SIZE: usize = 0x8_0000;
/// Bytes of the control area, a multiple of [`GRANULE`].
pub const CONTROL_SIZE: usize = 12 << 20;

/// A part of the area that is no vnode's own: where it starts and how long it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Offset in the area, on a page of its own.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

/// The common clock ([`clock`]); the root writes.
pub const CLOCK: Shared = Shared {
    offset: 0x81_0000,
    size: clock::SIZE,
};
/// The root's answers to questions for the time ([`clock::exchange`]), a line for each vnode.
pub const ANSWERS: Shared = Shared {
    offset: 0x81_0040,
    size: MAX_VNODES * clock::exchange::PLACE_SIZE,
};
/// The views ([`membership::layout`]); the root writes, each vnode acknowledges in its own line.
pub const MEMBERSHIP: Shared = Shared {
    offset: 0x81_1000,
    size: membership::layout::SIZE,
};
/// The registry of bridges ([`crate::bridge`]); the root writes.
pub const REGISTRY: Shared = Shared {
    offset: 0x82_0000,
    size: bridge::entry::SIZE,
};
/// The mailboxes ([`mailbox`]); the root and the two ends of each write.
pub const MAILBOXES: Shared = Shared {
    offset: 0x84_0000,
    size: mailbox::AREA_SIZE,
};

impl Shared {
    /// Where the part ends; it must come after what ends at `end`, on a page of its own.
    const fn after(self, end: usize) -> usize {
        assert!(self.offset >= end, "two parts overlap");
        assert!(self.offset % 0x1000 == 0, "a part shares a page");
        self.offset + self.size
    }
}

const _: () = {
    let end = SLOTS_OFFSET + MAX_VNODES * SLOT_SIZE;
    let end = CLOCK.after(end);
    assert!(ANSWERS.offset >= end, "the clock lies in the answers");
    let end = MEMBERSHIP.after(ANSWERS.offset + ANSWERS.size);
    let end = MAILBOXES.after(REGISTRY.after(end));
    assert!(end <= CONTROL_SIZE, "the area is too small");
    assert!(CONTROL_SIZE as u64 % GRANULE == 0);
};

/// Offsets inside a vnode's slot.
pub mod slot {
    /// [`super::BootBlock`]; the root writes.
    pub const BOOT: usize = 0x0000;
    /// Local APIC ids of the vnode's CPUs, its first CPU's first, then [`super::NO_APIC`]: `u32`
    /// each, [`super::MAX_CPUS`] of them; the root writes.
    pub const APIC_IDS: usize = BOOT + 0x400;
    /// [`super::Status`]; the vnode writes.
    pub const STATUS: usize = 0x1000;
    /// Beats of the vnode's CPUs, `u32` each, by position in the boot block; the vnode writes.
    pub const BEATS: usize = 0x2000;
    /// Portals that wait for the vnode: one `u64` of bits per sender, [`INBOX_STRIDE`] apart.
    /// Each sender sets bits in its own word, the vnode takes them.
    pub const INBOX: usize = 0x3000;
    /// Bytes from one sender's word to the next: a cache line each.
    pub const INBOX_STRIDE: usize = 64;
    /// [`super::ConsoleHeader`]; the vnode writes once it runs, the root before.
    pub const CONSOLE: usize = 0x4000;
    /// The vnode's questions for the time ([`crate::clock::exchange`]); the vnode writes.
    pub const QUESTION: usize = 0x5000;
    /// The console's ring of bytes; the vnode writes.
    pub const CONSOLE_DATA: usize = 0x2_0000;
    /// Bytes of the console's ring, a power of two.
    pub const CONSOLE_SIZE: usize = 0x2_0000;
    /// Channels to the vnode, see [`super::channel`].
    pub const CHANNELS: usize = 0x4_0000;
}

/// Offsets inside a channel: a stream of bytes each way between the root and a vnode.
pub mod channel {
    /// Channels that each vnode has.
    pub const COUNT: usize = 8;
    /// Bytes from one channel to the next.
    pub const STRIDE: usize = 0x8000;
    /// `u32`, the root writes: number of the session, odd while it is open.
    pub const ROOT_SESSION: usize = 0x000;
    /// `u32`, the vnode writes: number of the session that it has accepted, plus one once it has
    /// closed its end.
    pub const VNODE_SESSION: usize = 0x040;
    /// Ring from the root to the vnode: head (root writes), tail (vnode writes).
    pub const DOWN: usize = 0x080;
    /// Ring from the vnode to the root: head (vnode writes), tail (root writes).
    pub const UP: usize = 0x100;
    /// Bytes that travel down.
    pub const DOWN_DATA: usize = 0x1000;
    /// Room for them, a power of two.
    pub const DOWN_SIZE: usize = 0x2000;
    /// Bytes that travel up.
    pub const UP_DATA: usize = 0x4000;
    /// Room for them, a power of two.
    pub const UP_SIZE: usize = 0x4000;
}

const _: () = assert!(slot::CHANNELS + channel::COUNT * channel::STRIDE <= SLOT_SIZE);
const _: () = assert!(channel::UP_DATA + channel::UP_SIZE <= channel::STRIDE);
const _: () = assert!(slot::CONSOLE_DATA + slot::CONSOLE_SIZE <= slot::CHANNELS);

/// Offset of a vnode's slot in the control area.
pub const fn slot_offset(vnode: VnodeId) -> usize {
    SLOTS_OFFSET + vnode.index() * SLOT_SIZE
}

/// Conventional memory that vnodes start in: below it the firmware's data, above it the root's
/// own start-up code. Linux reserves all of the first MiB, and so uses none of this.
pub const LOW_BASE: u64 = 0x1_0000;
/// Conventional memory of one vnode: its first CPU's way into long mode, then the same for its
/// other CPUs.
pub const LOW_SIZE: u64 = 0x8000;

/// Offset of the page in a vnode's conventional memory where its CPUs wait once they are stopped.
pub const LOW_WAITING_ROOM: u64 = 0x7000;

/// Start of a vnode's low-memory slot; the root has none.
pub const fn low_slot(vnode: VnodeId) -> u64 {
    LOW_BASE + (vnode.number() as u64).saturating_sub(1) * LOW_SIZE
}

/// Interrupt vector of all portals: X86_PLATFORM_IPI_VECTOR.
pub const PORTAL_VECTOR: u32 = 0xf7;

/// Portals of each pair of vnodes: one bit each in the receiver's inbox.
pub const PORTALS: usize = 64;

/// Portals that adeos_core itself uses.
pub mod portal {
    /// Look at my status, or at your requests: something has changed.
    pub const NOTICE: u32 = 0;
    /// One of the channels between us has moved.
    pub const CHANNEL: u32 = 1;
    /// There is a message in the mailbox from me to you.
    pub const MAIL: u32 = 2;
    /// It is your turn at a lock, or somebody takes you for a waiter ([`crate::lock`]).
    pub const LOCK: u32 = 3;
    /// Look at your consoles: somebody has said, typed or seen something ([`crate::vcons`]).
    pub const CONSOLE: u32 = 4;
    /// Look at your segments: somebody has sent a frame to a lane of yours, or taken one of that lane's ([`crate::vnet`]).
    /// This is the first lane's; those of the others follow.
    pub const NETWORK: u32 = 5;
    /// Look at the board: somebody of yours sleeps for a region who is to look ([`crate::shm`]).
    pub const REGIONS: u32 = NETWORK + crate::vnet::port::MAX_LANES as u32;
    /// First one that others may take.
    pub const FREE: u32 = REGIONS + 1;
}

record! {
    /// Start of the control area; the root's adeos_core writes it before any vnode starts.
    pub struct Header: 64 {
        /// [`HEADER_MAGIC`].
        magic: u64,
        /// [`VERSION`].
        version: u32,
        /// [`MAX_VNODES`].
        slots: u32,
        /// [`CONTROL_SIZE`].
        size: u64,
        /// [`SLOTS_OFFSET`].
        slots_offset: u64,
        /// [`SLOT_SIZE`].
        slot_size: u64,
        /// Frequency of the time-stamp counters, in kHz.
        tsc_khz: u32,
        /// Frequency of the local APICs' timers, in kHz.
        lapic_khz: u32,
        /// Local APIC id of the CPU that the firmware booted.
        bsp_apic_id: u32,
        /// Zero.
        reserved: u32,
        /// Zero.
        reserved2: u64,
    }
}

record! {
    /// What a kernel needs to know in order to start as a vnode. The root writes it before it
    /// starts the vnode, and the `request` fields while the vnode runs.
    pub struct BootBlock: 256 {
        /// [`BOOT_MAGIC`].
        magic: u64,
        /// [`PLATFORM_VERSION`].
        version: u32,
        /// Number of the vnode.
        vnode: u32,
        /// Which life of the vnode this is.
        generation: u32,
        /// CPUs of the vnode.
        nr_cpus: u32,
        /// Physical address of the control area.
        control: u64,
        /// Physical address of the vnode's [`Status`].
        status: u64,
        /// Physical address of the vnode's [`ConsoleHeader`].
        console: u64,
        /// Physical address of the console's ring.
        console_data: u64,
        /// Bytes of the console's ring, a power of two.
        console_size: u32,
        /// Vector of all portals.
        portal_vector: u32,
        /// Frequency of the time-stamp counters, in kHz.
        tsc_khz: u32,
        /// Frequency of the local APICs' timers, in kHz.
        lapic_khz: u32,
        /// Local APIC id of the CPU that the firmware booted: a vnode must never reset it.
        bsp_apic_id: u32,
        /// Local APIC id of the root's CPU that takes portals.
        root_apic_id: u32,
        /// Physical address of the word in the root's inbox that is this vnode's.
        root_inbox: u64,
        /// Physical address of the vnode's conventional memory.
        low: u64,
        /// Time-stamp counter at `wall_ns`.
        wall_tsc: u64,
        /// Nanoseconds since 1970 at `wall_tsc`.
        wall_ns: u64,
        /// Memory of the vnode: physical address.
        memory_base: u64,
        /// Memory of the vnode: bytes.
        memory_size: u64,
        /// Name of the vnode.
        name: [u8; 32],
        /// Counts the root's requests.
        request_count: u32,
        /// The latest request, one of [`request`].
        request: u32,
        /// How the vnode's kernel is started, one of [`entry`].
        entry: u32,
        /// 1 once the caller of the image's entry has left it. Until then the vnode's own CPU waits
        /// there: what it does next overwrites the entry.
        go: u32,
        /// Zero, up to [`slot::APIC_IDS`].
        reserved2: [u64; 10],
    }
}

const _: () = assert!(NAME_SIZE == 32);

/// What the root asks of a vnode ([`BootBlock::request`]).
pub mod request {
    /// Nothing.
    pub const NONE: u32 = 0;
    /// Shut down in good order and power off.
    pub const SHUTDOWN: u32 = 1;
}

/// How a vnode's kernel is started ([`BootBlock::entry`]).
pub mod entry {
    /// Its image's entry is called in the root and starts its own CPU (paper section 6.1).
    pub const IMAGE: u32 = 0;
    /// The root starts the CPU, which then enters the image: for kernels without the patches.
    pub const SIPI: u32 = 1;
}

record! {
    /// What a vnode says of itself; the vnode alone writes it.
    pub struct Status: 512 {
        /// [`STATUS_MAGIC`].
        magic: u64,
        /// [`PLATFORM_VERSION`].
        version: u32,
        /// Life of the vnode that wrote this; what another life says is not heard.
        generation: u32,
        /// How far the vnode has come, one of [`state`].
        state: u32,
        /// Why it died, one of [`cause`].
        cause: u32,
        /// Local APIC id of the CPU that it died on.
        cause_apic_id: u32,
        /// What its kernel can do, bits of [`feature`].
        features: u32,
        /// CPUs that take part in the beat: those that Linux has online there.
        nr_cpus: u32,
        /// The latest request that it has taken ([`BootBlock::request_count`]).
        request_taken: u32,
        /// Zero.
        reserved: u64,
        /// Its kernel's release, as `uname -r` prints it.
        release: [u8; 64],
        /// Words that go with the cause: the text of a panic.
        message: [u8; 256],
        /// Zero, as is what follows up to 1024 bytes.
        reserved2: [u64; 18],
    }
}

/// How far a vnode has come ([`Status::state`]); it only grows.
pub mod state {
    /// Nothing heard yet.
    pub const SILENT: u32 = 0;
    /// Its kernel has read the boot block.
    pub const KERNEL: u32 = 1;
    /// Its adeos_core has joined.
    pub const JOINED: u32 = 2;
    /// Its user space takes commands.
    pub const READY: u32 = 3;
    /// It has ended; the cause says why.
    pub const DEAD: u32 = 4;
}

/// Why a vnode ended ([`Status::cause`]).
pub mod cause {
    /// It has not.
    pub const NONE: u32 = 0;
    /// Its kernel panicked; an oops is one in a vnode.
    pub const PANIC: u32 = 1;
    /// It asked for a restart.
    pub const RESTART: u32 = 2;
    /// It asked for a restart without any clean-up (sysrq-b).
    pub const EMERGENCY_RESTART: u32 = 3;
    /// It powered off.
    pub const POWER_OFF: u32 = 4;
    /// It halted.
    pub const HALT: u32 = 5;
    /// The root found a CPU of it silent. Only the root says this.
    pub const HANG: u32 = 6;
    /// The root took it back by force. Only the root says this.
    pub const KILLED: u32 = 7;
    /// The root heard nothing of its kernel in time. Only the root says this.
    pub const NO_START: u32 = 8;
}

/// What a vnode's kernel can do ([`Status::features`]).
pub mod feature {
    /// It is patched: its platform code knows that it is a vnode.
    pub const PATCHED: u32 = 1 << 0;
    /// Portals interrupt it. Without this they are looked for every 10 ms.
    pub const PORTAL_INTERRUPT: u32 = 1 << 1;
    /// Its deaths are reported from its `setup_arch` on, not only once adeos_core runs.
    pub const EARLY_DEATH: u32 = 1 << 2;
}

record! {
    /// Head of the console ring; the vnode writes. Counts bytes for ever, so a reader knows what
    /// it missed.
    pub struct ConsoleHeader: 64 {
        /// [`CONSOLE_MAGIC`].
        magic: u64,
        /// [`PLATFORM_VERSION`].
        version: u32,
        /// Bytes of the ring.
        size: u32,
        /// Bytes written so far.
        written: u64,
        /// Bytes that the writer may have touched: `written`, or more while it writes.
        reserved: u64,
        /// Zero.
        unused: [u64; 4],
    }
}
