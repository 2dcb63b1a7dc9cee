// SPDX-License-Identifier: GPL-2.0

//! This kernel's own console: what its kernel and its programs say goes into the bridge, what is
//! typed elsewhere comes out of it (docs/vcons.md, sections 3 to 5).
//!
//! Lock order: `hearing`, a mutex; `output`, in which nothing else is taken.

#![deny(unsafe_code)]

use crate::console;
use crate::place::Place;
use crate::statics::members;
use crate::tty::{
    self,
    Tty, //
};
use adeos_core::{
    Event,
    RawSpinLock,
    RawSpinLockBackend, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::vcons::output::Output;
use adeos_proto::vcons::typing::{
    Heard,
    Listener, //
};
use adeos_proto::vcons::waiters::{
    Concerned,
    Waiter, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::lock::Guard;
use kernel::sync::{
    Arc,
    Mutex, //
};

/// Bytes that are passed on to the terminal in one go.
const CHUNK: usize = 1024;

/// How often one looks what was typed, before others have their turn.
const TURNS: u32 = 64;

/// How often a kernel that must not wait tries to get at the output.
const TRIES: u32 = 100_000;

/// What is needed to hear.
struct Hearing {
    listener: Listener,
    buffer: KVec<u8>,
    /// The next key of this viewer is one of the magic kind.
    awaits_key: Option<VnodeId>,
}

/// How hearing has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heed {
    /// There is nothing more; who types wakes us.
    All,
    /// There is more, or the terminal's buffers are full: look again soon.
    Behind,
}

/// The speaker of this kernel's console.
#[pin_data]
pub(crate) struct Speaker {
    place: Place,
    news: Arc<Event>,
    /// Whether a break makes the next key a magic one.
    takes_keys: bool,
    #[pin]
    output: RawSpinLock<Output>,
    #[pin]
    hearing: Mutex<Hearing>,
    /// How far the output has come, for a kernel that panics while somebody is at it.
    written: Atomic<u64>,
    reserved: Atomic<u64>,
    /// Whether a kernel that panics has found that nobody will free the output any more.
    is_stuck: Atomic<u32>,
    /// Messages of the kernel that only the slot's ring has got.
    left_out: Atomic<u64>,
}

impl Speaker {
    /// Goes on where the console is. The event is raised when a program begins to listen. Process
    /// context. EPROTO the console makes no sense, ENOMEM.
    pub(crate) fn new(place: Place, news: Arc<Event>, takes_keys: bool) -> Result<Arc<Self>> {
        let output = Output::open(place.window()).map_err(|_| EPROTO)?;
        let (written, reserved) = output.counts();
        let hearing = Hearing {
            listener: Listener::new(),
            buffer: KVec::from_elem(0, CHUNK, GFP_KERNEL)?,
            awaits_key: None,
        };
        Arc::pin_init(
            pin_init!(Self {
                place,
                news,
                takes_keys,
                output <- RawSpinLock::new(output, c"vcons:output", kernel::static_lock_class!()),
                hearing <- kernel::new_mutex!(hearing, "vcons:hearing"),
                written: Atomic::new(written),
                reserved: Atomic::new(reserved),
                is_stuck: Atomic::new(0),
                left_out: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Passes on what was typed, and has writers go on that can. Process context.
    pub(crate) fn attend(&self, tty: &Tty<Self>) -> Heed {
        let heed = self.hear(tty);
        self.place.announce(Waiter::ForSight);
        if self.has_room() {
            tty.wake_writers();
        }
        heed
    }

    fn has_room(&self) -> bool {
        self.output.lock().room(self.place.window(), members()) > 0
    }

    fn hear(&self, tty: &Tty<Self>) -> Heed {
        let mut hearing = self.hearing.lock();
        let mut is_announced = false;
        for _ in 0..TURNS {
            let listens = tty.listens();
            let room = match listens {
                true => tty.receive_room().min(CHUNK),
                false => 0,
            };
            let Hearing {
                listener, buffer, ..
            } = &mut *hearing;
            let to = buffer.get_mut(..room).unwrap_or_default();
            let heard = listener.listen(self.place.window(), to);
            if !heard.is_nothing() {
                is_announced = false;
                self.pass_on(tty, &mut hearing, heard);
            } else if listens && room == 0 {
                return Heed::Behind;
            } else if is_announced {
                return Heed::All;
            } else {
                // Who types after this wakes us; who has before it is heard in the next turn (VC-20).
                self.place.announce(Waiter::ForTyping);
                is_announced = true;
            }
        }
        // Whoever may write to the bridge can keep us at it for ever: others have their turn.
        Heed::Behind
    }

    /// Passes on what was heard, a break first (VC-33).
    fn pass_on(&self, tty: &Tty<Self>, hearing: &mut Hearing, heard: Heard) {
        if let Some(size) = heard.size {
            tty.resize(size.rows, size.columns, size.width, size.height);
        }
        if heard.is_break && self.takes_keys {
            hearing.awaits_key = heard.from;
        } else if heard.is_break {
            tty.receive_break();
        }
        let mut bytes = hearing.buffer.get(..heard.bytes).unwrap_or(&[]);
        if let Some((key, rest)) = bytes.split_first() {
            // A break of somebody who has lost the keyboard makes no other one's key a magic one.
            let awaited = hearing.awaits_key.take();
            if awaited.is_some() && awaited == heard.from {
                tty::sysrq(*key);
                bytes = rest;
            }
        }
        // There was room for all of it, which nobody else takes.
        tty.receive(bytes);
        if heard.is_hung_up {
            tty.hang_up();
        }
        if let Some(viewer) = heard.from {
            self.place.wake(Concerned::Typist(viewer));
        }
    }

    /// Writes a message of the kernel's. Terminals want a carriage return at the end of a line.
    fn say(&self, output: &mut Output, text: &[u8]) {
        let (window, members) = (self.place.window(), members());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    output.write_kernel(window, members, line);
                    output.write_kernel(window, members, b"\r\n");
                }
                None => output.write_kernel(window, members, line),
            }
        }
        self.note(output);
    }

    fn note(&self, output: &Output) {
        let (written, reserved) = output.counts();
        self.reserved.store(reserved, Relaxed);
        self.written.store(written, Relaxed);
    }

    /// Goes on where the output was noted to be, while somebody is at it who will not write any more.
    fn break_in(&self, text: &[u8]) {
        self.is_stuck.store(1, Relaxed);
        let mut output = Output::at(self.written.load(Relaxed), self.reserved.load(Relaxed));
        self.say(&mut output, text);
    }

    /// The output, unless somebody is at it for long.
    fn try_output(&self) -> Option<Guard<'_, Output, RawSpinLockBackend>> {
        let tries = match self.is_stuck.load(Relaxed) {
            0 => TRIES,
            _ => 1,
        };
        for _ in 0..tries {
            let output = self.output.try_lock();
            if output.is_some() {
                return output;
            }
            core::hint::spin_loop();
        }
        None
    }

    /// The view of debugfs.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "speaker vnode {} left_out {}",
            self.place.vnode().number(),
            self.left_out.load(Relaxed)
        )
    }
}

impl tty::Driver for Speaker {
    fn write(&self, bytes: &[u8]) -> usize {
        let window = self.place.window();
        let mut written = 0;
        let mut is_announced = false;
        loop {
            let rest = bytes.get(written..).unwrap_or(&[]);
            if rest.is_empty() {
                break;
            }
            // In steps, so that the kernel gets in between (VC-15).
            let mut output = self.output.lock();
            let step = output.write_program(window, members(), rest);
            self.note(&output);
            drop(output);
            written += step;
            if step == 0 && is_announced {
                break;
            }
            if step == 0 {
                self.place.announce(Waiter::ForSight);
                is_announced = true;
            }
        }
        if written > 0 {
            self.place.wake(Concerned::Viewers);
        }
        written
    }

    fn room(&self) -> usize {
        self.output.lock().room(self.place.window(), members())
    }

    fn listen(&self) {
        self.news.raise();
    }
}

impl console::Driver for Speaker {
    fn write(&self, text: &[u8]) {
        let mut output = self.output.lock();
        self.say(&mut output, text);
        drop(output);
        self.place.wake(Concerned::Viewers);
    }

    fn write_atomic(&self, text: &[u8]) {
        match self.try_output() {
            Some(mut output) => self.say(&mut output, text),
            None if console::in_panic() => self.break_in(text),
            // The slot's ring has it (VC-15).
            None => self.left_out.add(1, Relaxed),
        }
        if !console::in_nmi() {
            self.place.wake(Concerned::Viewers);
        }
    }
}
