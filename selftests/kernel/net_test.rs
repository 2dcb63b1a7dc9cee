// SPDX-License-Identifier: GPL-2.0

//! A station on the segment `0` that claims and writes what it likes, for selftests/190-network.sh. Its kernel has no
//! `vnet` meanwhile.
//!
//! Each line written to `net_test/run` in debugfs is done when the write returns:
//!
//! | line | |
//! |------|-|
//! | `claims STATION` | sends frames of some sizes with all kinds of claims of what is left to do with them, by two lanes |
//! | `scribble COUNT` | writes over so many words of the segment: headers of stations and frames, wires, and what ports say |
//!
//! The file tells how many frames were sent, and how many were not.

use adeos_core::bridge::{
    Access,
    Bridge,
    BridgeName,
    Follow,
    Key,
    Mapped,
    Scope, //
};
use adeos_core::{
    now_ns,
    Core, //
};
use adeos_proto::csma::Dice;
use adeos_proto::id::{
    VnodeId,
    MAX_VNODES, //
};
use adeos_proto::layout::portal::NETWORK;
use adeos_proto::portal::Number;
use adeos_proto::vnet::ledger::{
    Books,
    Frame,
    Line, //
};
use adeos_proto::vnet::outgoing::{
    Do,
    Ready,
    Sender, //
};
use adeos_proto::vnet::port::{
    self,
    Lanes,
    Port,
    PORTS, //
};
use adeos_proto::vnet::station::{
    Lives,
    Mac,
    Own, //
};
use adeos_proto::vnet::{
    chunk,
    wire,
    CHUNKS,
    PLACES,
    SIGNATURE, //
};
use adeos_proto::window::Window;
use command::Words;
use kernel::debugfs::Scope as Files;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;
use kernel::uaccess::UserSliceReader;

mod command;

module! {
    type: NetTest,
    name: "net_test",
    authors: ["The Adeos cluster project"],
    description: "Test of the network: a station that nobody should trust",
    license: "GPL",
}

struct NetTest {
    _files: Pin<KBox<Files<Test>>>,
}

impl kernel::Module for NetTest {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let test = Test::new()?;
        let files = Files::dir(test, c"net_test", |test, dir| {
            dir.read_write_callback_file(c"run", test, &report, &run);
        });
        Ok(Self {
            _files: KBox::pin_init(files, GFP_KERNEL)?,
        })
    }
}

struct Test {
    core: Arc<Core>,
    mapped: Mapped,
    _bridge: Bridge,
}

/// Bytes of frames: what a receiver takes in one piece, and what it does not.
const SIZES: [usize; 4] = [60, 1500, 4000, 60000];
/// Words of the segment up to the frames themselves.
const WORDS: u32 = (chunk(VnodeId::ROOT, 0) / 8) as u32;
/// Words of a port's page that say something, and the place among them of its wire's head.
const SAID: u32 = 0x380 / 8;
const HEAD: usize = 0x200;

static SENT: Atomic<u64> = Atomic::new(0);
static UNSENT: Atomic<u64> = Atomic::new(0);

impl Test {
    fn new() -> Result<Self> {
        let core = Core::get()?;
        let key = Key {
            scope: Scope::Global,
            name: BridgeName::new("vnet.0").map_err(|_| EINVAL)?,
        };
        let bridge = Bridge::open(&core, &key, Access::Write, Follow::Stays, None)?;
        let mapped = bridge.map()?;
        SIGNATURE.check(&mapped).map_err(|_| EPROTO)?;
        Ok(Self {
            core,
            mapped,
            _bridge: bridge,
        })
    }

    /// Joins, and sends what a sound kernel does not.
    fn claims(&self, to: VnodeId) -> Result {
        let identity = self.core.identity();
        let me = identity.vnode;
        let mac = Mac::of_vnode("0", me);
        let lanes = Lanes::new(2).ok_or(EINVAL)?;
        let (own, _wires) = Own::join(&self.mapped, me, identity.generation, mac, lanes);
        let view = self.core.view();
        let lives: Lives = core::array::from_fn(|at| {
            let vnode = VnodeId::new(at as u32)?;
            view.life(vnode).map(|life| life.generation)
        });
        // Each lane sends the half of it.
        for (lane, sizes) in lanes.each().zip(SIZES.chunks(2)) {
            let books = Books {
                lines: KVec::from_elem(Line::NEW, MAX_VNODES, GFP_KERNEL)?,
                frames: KVec::from_elem(Frame::NEW, CHUNKS, GFP_KERNEL)?,
            };
            let port = Port { vnode: me, lane };
            let mut sender = Sender::new(port, lanes, own.epoch(), now_ns(), books);
            sender.look(&self.mapped, &lives);
            let to = sender.roster().station(to).ok_or(ENOENT)?.mac;
            self.claims_of(&mut sender, to, mac, sizes);
        }
        own.leave(&self.mapped);
        Ok(())
    }

    fn claims_of(
        &self,
        sender: &mut Sender<KVec<Line>, KVec<Frame>>,
        to: Mac,
        from: Mac,
        sizes: &[usize],
    ) {
        for size in sizes {
            for flags in 0..4 {
                for kind in [0, 1, 3, 4, 5, 0x81, 0xff] {
                    for numbers in [
                        [0, 0, 0, 0],
                        [0, 1448, 0, 0],
                        [54, 1, 34, 16],
                        [54, 1448, 34, 16],
                        [42, 512, 34, 6],
                        [u16::MAX; 4],
                    ] {
                        for protocol in [0x0800, 0x86dd, 0x88b5] {
                            let offload = offload(flags, kind, numbers);
                            self.send(sender, to, from, protocol, *size, offload);
                        }
                    }
                }
            }
        }
    }

    fn send(
        &self,
        sender: &mut Sender<KVec<Line>, KVec<Frame>>,
        to: Mac,
        from: Mac,
        protocol: u16,
        size: usize,
        offload: [u8; 16],
    ) {
        for _ in 0..1000 {
            let frame = match sender.begin(&self.mapped, to, size, now_ns()) {
                Ready::Begun(frame) => frame,
                Ready::Wait(_) => {
                    fsleep(Delta::from_millis(1));
                    continue;
                }
                Ready::Nobody | Ready::Missed => break,
            };
            let at = frame.body();
            self.mapped.write(at, &to.0);
            self.mapped.write(at + 6, &from.0);
            self.mapped.write(at + 12, &protocol.to_be_bytes());
            // The first byte of a header of IPv4 or IPv6, and many others.
            let version = if protocol == 0x86dd { 0x60 } else { 0x45 };
            self.mapped.write(at + 14, &[version; 46]);
            let mut sending = sender.finish(&self.mapped, frame, offload);
            loop {
                match sender.step(&self.mapped, &mut sending, now_ns()) {
                    Do::Again | Do::Wait(_) => core::hint::spin_loop(),
                    Do::Raise(port) => self.raise(port),
                    Do::Done => {
                        SENT.fetch_add(1, Relaxed);
                        return;
                    }
                    Do::Requeue(_) => break,
                }
            }
        }
        UNSENT.fetch_add(1, Relaxed);
    }

    fn raise(&self, port: Port) {
        if let Some(number) = Number::new(NETWORK + port.lane.number()) {
            self.core.raise(port.vnode, number);
        }
    }

    /// Writes over what is not frames, half of it over what ports say and over their wires, and has everybody look.
    fn scribble(&self, count: u64) {
        let mut dice = Dice::new(count);
        // VN-54: whoever comes again finds a segment.
        self.mapped.store_release64(0, 0);
        for _ in 0..count {
            let port = port::each(u64::MAX).nth(dice.roll(PORTS as u32) as usize);
            let at = match (port, dice.roll(4)) {
                (Some(port), 0) => wire(port).head - HEAD + 8 * dice.roll(SAID) as usize,
                (Some(port), 1) => wire(port).places + 8 * dice.roll(PLACES as u32) as usize,
                _ => 8 * dice.roll(WORDS) as usize,
            };
            let value = u64::from(dice.roll(u32::MAX)) << 32 | u64::from(dice.roll(u32::MAX));
            self.mapped.store_release64(at, value >> dice.roll(64));
        }
        for port in port::each(u64::MAX) {
            self.raise(port);
        }
    }
}

/// A `struct virtio_net_hdr`, and zeros.
fn offload(flags: u8, kind: u8, numbers: [u16; 4]) -> [u8; 16] {
    let mut offload = [0; 16];
    offload[0] = flags;
    offload[1] = kind;
    for (place, number) in offload[2..10].chunks_exact_mut(2).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    offload
}

/// The file is written to. EINVAL for a line that is no command, ENOENT there is no such station.
fn run(test: &Test, line: &mut UserSliceReader) -> Result {
    let mut bytes = [0; 32];
    let mut words = Words::read(line, &mut bytes)?;
    match words.next()? {
        "claims" => test.claims(VnodeId::new(words.number()?).ok_or(EINVAL)?),
        "scribble" => {
            test.scribble(words.number()?);
            Ok(())
        }
        _ => Err(EINVAL),
    }
}

/// The file is read.
fn report(_: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "sent {}", SENT.load(Relaxed))?;
    writeln!(f, "unsent {}", UNSENT.load(Relaxed))
}
