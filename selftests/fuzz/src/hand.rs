// SPDX-License-Identifier: GPL-2.0

//! One thread's hand: sends what was planned, and checks what is answered.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adeos_proto::abi;
use adeos_proto::id::MAX_VNODES;
use fuzzing::{u32_at, Arena, Device, Spot};

use crate::book::{Life, Shared};
use crate::files::{Files, Originals};
use crate::model::{self, Sent, RACES};
use crate::plan::{Ask, Request, Whom};
use crate::start::{name_of, Source, StartPlan};
use crate::verify;
use crate::world::World;

/// Paths of the devices.
const KMB: &str = "/dev/kmb";
const ADEOS: &str = "/dev/adeos";

/// For how long a thread lets others get on when something is in use: as long as vnodes have them,
/// the root has few CPUs.
const BUSY: Duration = Duration::from_millis(20);

/// What one thread works with.
pub(crate) struct Hand {
    /// Name of a vnode whose start this thread cannot be told of.
    untold: [u8; 32],
    kmb: Device,
    adeos: Device,
    arena: Arena,
    files: Files,
    book: Arc<Shared>,
    world: World,
}

impl Hand {
    /// Opens all that this thread needs.
    pub(crate) fn new(
        thread: u64,
        originals: Arc<Originals>,
        book: Arc<Shared>,
        world: World,
    ) -> io::Result<Self> {
        Ok(Self {
            untold: name_of(format!("untold{thread}").as_bytes()),
            kmb: Device::open(KMB)?,
            adeos: Device::open(ADEOS)?,
            arena: Arena::new()?,
            files: Files::new(originals, format!("/tmp/kmb-fuzz-{thread}")),
            book,
            world,
        })
    }

    /// Opens the devices anew: a file of `/dev/adeos` may have become the end of a channel.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.kmb = Device::open(KMB)?;
        self.adeos = Device::open(ADEOS)?;
        Ok(())
    }

    /// Sends a request. An error tells what is wrong with the answer.
    pub(crate) fn carry_out(&self, request: &Request) -> Result<(), String> {
        match &request.ask {
            Ask::Start(plan) => self.start(plan, request),
            Ask::Target(number, whom) => {
                let (vnode, generation) = self.resolve(*number, *whom);
                let record = abi::Target {
                    size: abi::Target::SIZE as u32,
                    vnode,
                    generation,
                    reserved: 0,
                };
                self.target(*number, &mut record.to_bytes(), request)
            }
            Ask::Console(record, buffer) => self.console(record, *buffer, request),
            Ask::Other(number @ (abi::KMB_STOP | abi::KMB_KILL), bytes) => {
                self.target(*number, &mut bytes.0.clone(), request)
            }
            Ask::Other(number, bytes) => self.other(*number, &mut bytes.0.clone(), request),
            Ask::Stream { write } => self.stream(*write),
        }
    }

    /// The life that is meant. Any may be asked to stop, but none is killed before its time.
    fn resolve(&self, number: u32, whom: Whom) -> Life {
        let book = self.book.open();
        match whom {
            Whom::Living(place) => book
                .living(place, number == abi::KMB_STOP)
                .unwrap_or((15, 0x4000_0000)),
            Whom::Gone(place) => book.gone(place).unwrap_or((15, 0x4000_0000)),
            Whom::Number(vnode) => (vnode, 0),
            Whom::Life(vnode, generation) => (vnode, generation),
        }
    }

    /// Sends a record and takes back what the kernel has made of it; the answer, if it is allowed.
    fn send(&self, sent: &Sent<'_>, record: &mut [u8]) -> Result<i32, String> {
        let allowed = sent.allowed(&self.world);
        let address = self.arena.lay(Arena::RECORD, record, sent.spot);
        let closed = sent.spot == Spot::ReadOnly;
        if closed {
            self.arena.close_record(true).map_err(said)?;
        }
        let (path, device) = match sent.to_kmb {
            true => (KMB, &self.kmb),
            false => (ADEOS, &self.adeos),
        };
        let answer = device.ask(sent.number, address);
        if closed {
            self.arena.close_record(false).map_err(said)?;
        }
        if sent.spot == Spot::Mapped {
            self.arena.read(Arena::RECORD, record);
        }
        if answer == libc::EBUSY {
            thread::sleep(BUSY);
        }
        let key = (path, sent.number, answer);
        *self.book.open().answers.entry(key).or_default() += 1;
        if !allowed.has(answer) {
            return Err(format!("answer {answer}, but allowed is {allowed:?}"));
        }
        Ok(answer)
    }

    fn start(&self, plan: &StartPlan, request: &Request) -> Result<(), String> {
        let kernel = self.files.kernel(&plan.kernel).map_err(said)?;
        let initrd = self.files.initrd(&plan.initrd).map_err(said)?;
        let mut record = abi::Start {
            kernel_fd: kernel.number(),
            initrd_fd: initrd.number(),
            cmdline: self.arena.lay(Arena::TEXT, &plan.text, plan.text_spot),
            cmdline_size: plan.text.len() as u32,
            ..plan.record
        };
        if request.spot == Spot::ReadOnly && record.name.starts_with(b"fuzz") {
            record.name = self.untold;
        }
        let mut bytes = record.to_bytes();
        let sent = Sent {
            to_kmb: !request.astray,
            number: abi::KMB_START,
            bytes: &record.to_bytes(),
            spot: request.spot,
            start: Some(plan),
            buffer: Spot::Mapped,
        };
        let over = self.book.open().loose_over();
        let answer = self.send(&sent, &mut bytes)?;

        let good = plan.kernel == Source::Image && RACES.contains(&answer);
        self.book.open().reached.past_image += u64::from(good || answer == 0);
        match answer {
            0 => self.is_started(plan, &abi::Start::from_bytes(&bytes), over),
            libc::EFAULT if request.spot == Spot::ReadOnly => self.is_undone(over),
            _ => Ok(()),
        }
    }

    fn is_started(&self, plan: &StartPlan, told: &abi::Start, over: u64) -> Result<(), String> {
        self.is_listed(told, over)?;
        let life = (told.vnode, told.generation);
        self.book.open().note_start(life, plan.dwell_ms)
    }

    /// Checks that a vnode of which nobody could be told is not there, unless a kill of whichever
    /// life is there is about to end it.
    fn is_undone(&self, over: u64) -> Result<(), String> {
        self.book.open().reached.untold += 1;
        for vnode in 1..MAX_VNODES as u32 {
            let facts = crate::world::query(&self.kmb, &self.arena, vnode)
                .map_err(|errno| format!("KMB_QUERY gives error {errno}"))?;
            if facts.name == self.untold && self.book.open().no_loose_since(over) {
                return Err(format!("vnode {vnode} was started, and nobody told"));
            }
        }
        Ok(())
    }

    /// Checks that what was started is there. Nobody knows its life yet, so nobody can have ended
    /// it but by a kill of whichever life is there.
    fn is_listed(&self, started: &abi::Start, over: u64) -> Result<(), String> {
        let facts = crate::world::query(&self.kmb, &self.arena, started.vnode)
            .map_err(|errno| format!("started, but KMB_QUERY gives error {errno}"))?;
        if self.book.open().no_loose_since(over) {
            return verify::started(started, &facts);
        }
        Ok(())
    }

    fn target(&self, number: u32, bytes: &mut [u8], request: &Request) -> Result<(), String> {
        self.spare_one(bytes);
        let life = (u32_at(bytes, 4), u32_at(bytes, 8));
        let mut book = self.book.open();
        let was_gone = book.is_gone(life);
        let loose = number == abi::KMB_KILL && !book.is_ours(life);
        if loose {
            book.begin_loose();
        }
        drop(book);

        let asked = bytes.to_vec();
        let sent = Sent {
            to_kmb: !request.astray,
            number,
            bytes: &asked,
            spot: request.spot,
            start: None,
            buffer: Spot::Mapped,
        };
        let answer = self.send(&sent, bytes)?;
        let mut book = self.book.open();
        if loose {
            book.end_loose();
        }
        book.reached.stale += u64::from(was_gone && answer == libc::ESTALE);
        match answer {
            0 if was_gone => Err(format!("life {life:?} has ended before")),
            0 if number == abi::KMB_KILL => book.note_kill(life),
            0 => {
                book.reached.stopped += 1;
                Ok(())
            }
            libc::ESTALE | libc::ENOENT => {
                book.forget(life);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The vnode that was there before is not to be ended: another life of it is meant then.
    fn spare_one(&self, bytes: &mut [u8]) {
        let generation = u32_at(bytes, 8);
        if u32_at(bytes, 4) != self.world.one
            || ![0, self.world.one_generation].contains(&generation)
        {
            return;
        }
        for (to, from) in bytes.iter_mut().skip(8).zip(0x4000_0001u32.to_le_bytes()) {
            *to = from;
        }
    }

    fn console(
        &self,
        record: &abi::ConsoleRead,
        buffer: Spot,
        request: &Request,
    ) -> Result<(), String> {
        let room = (record.length as usize).min(Arena::BUFFER_SIZE - verify::FENCE.len());
        self.arena.write(Arena::BUFFER + room, &verify::FENCE);
        let address = match buffer {
            Spot::Nowhere(address) => address,
            Spot::Partly(there) => self.arena.address(Arena::SIZE - there as usize),
            Spot::Mapped | Spot::ReadOnly => self.arena.address(Arena::BUFFER),
        };
        let asked = abi::ConsoleRead {
            buffer: address,
            ..*record
        };
        let sent = Sent {
            to_kmb: !request.astray,
            number: abi::KMB_CONSOLE,
            bytes: &asked.to_bytes(),
            spot: request.spot,
            start: None,
            buffer,
        };
        let mut bytes = asked.to_bytes();
        if self.send(&sent, &mut bytes)? != 0 || buffer != Spot::Mapped {
            return Ok(());
        }
        let mut fence = verify::FENCE;
        self.arena.read(Arena::BUFFER + room, &mut fence);
        verify::console(&asked, &abi::ConsoleRead::from_bytes(&bytes), &fence)
    }

    fn other(&self, number: u32, bytes: &mut [u8], request: &Request) -> Result<(), String> {
        let is_kmb = model::is_of_kmb(number);
        let asked = bytes.to_vec();
        let sent = Sent {
            to_kmb: is_kmb != request.astray,
            number,
            bytes: &asked,
            spot: request.spot,
            start: None,
            buffer: Spot::Mapped,
        };
        match self.send(&sent, bytes)? {
            0 if request.spot == Spot::Mapped => verify::facts(number, bytes, &self.world),
            _ => Ok(()),
        }
    }

    fn stream(&self, write: bool) -> Result<(), String> {
        let device = Device::open(ADEOS).map_err(said)?;
        let mut file = device.file();
        let result = match write {
            true => file.write(&[0]),
            false => file.read(&mut [0]),
        };
        let answer = match &result {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(-1),
        };
        if answer != libc::ENOTCONN {
            return Err(format!("a file that is no end of a channel: {result:?}"));
        }
        Ok(())
    }
}

fn said(error: io::Error) -> String {
    format!("this program's own work failed: {error}")
}
