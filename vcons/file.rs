// SPDX-License-Identifier: GPL-2.0

//! `/dev/vcons/NAME`: a file that reads a console, and types into it. `proto/abi/console.rs` is the
//! definition of its ioctls.

#![deny(unsafe_code)]

use crate::chardev::Opened;
use crate::shown::{
    Shown,
    Signal,
    Viewers, //
};
use adeos_core::bridge::Id;
use adeos_core::caller::{
    self,
    Capability, //
};
use adeos_core::open_file::{
    self,
    check_signals,
    is_nonblocking,
    OpenFile, //
};
use adeos_core::user;
use adeos_proto::abi::console as abi;
use adeos_proto::id::VnodeId;
use adeos_proto::vcons::keyboard::Holder;
use adeos_proto::vcons::output;
use adeos_proto::vcons::typing::WindowSize;
use adeos_proto::vcons::TYPED_SIZE;
use kernel::fs::file::flags;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::poll::PollTable;
use kernel::sync::{
    Arc,
    ArcBorrow,
    Mutex, //
};
use kernel::uaccess::{
    UserSliceReader,
    UserSliceWriter, //
};

/// Bytes that are copied out of a console in one go.
const CHUNK: usize = 16 << 10;

/// What a device is of.
pub(crate) struct Subject {
    pub(crate) vnode: VnodeId,
    pub(crate) id: Id,
    pub(crate) name: [u8; 32],
    pub(crate) viewers: Arc<Viewers>,
}

/// How far a file has come.
struct Position {
    next: u64,
    lost: u64,
    /// Where it began to want all output.
    floor: u64,
    /// On the way to the program; nothing before the first read.
    buffer: KVVec<u8>,
}

/// An open file.
#[pin_data]
pub(crate) struct ConsoleFile {
    subject: Arc<Subject>,
    shown: Arc<Shown>,
    number: u64,
    #[pin]
    position: Mutex<Position>,
    /// Whether it wants all output.
    holds: Atomic<u32>,
}

impl ConsoleFile {
    fn new(subject: &Arc<Subject>, shown: Arc<Shown>, number: u64) -> Result<Arc<Self>> {
        let position = Position {
            next: shown.oldest()?,
            lost: 0,
            floor: 0,
            buffer: KVVec::new(),
        };
        Arc::pin_init(
            pin_init!(Self {
                subject: subject.clone(),
                shown,
                number,
                position <- kernel::new_mutex!(position, "vcons:position"),
                holds: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Wants all output from now on. What is there already may go, or nothing could be said to a
    /// console that is full before this file has read all of it.
    fn begin_to_hold(&self) -> Result {
        let mut position = self.position.lock();
        position.floor = self.shown.written()?;
        self.shown.hold(self.number, position.floor)?;
        self.holds.store(1, Relaxed);
        Ok(())
    }

    /// Copies what there is to a program, as far as it fits; how much, and where the next byte lies.
    fn read_on(&self, to: &mut UserSliceWriter) -> Result<(usize, u64)> {
        let mut position = self.position.lock();
        if position.buffer.is_empty() {
            position.buffer.resize(CHUNK, 0, GFP_KERNEL)?;
        }
        let mut count = 0;
        while !to.is_empty() {
            match self.read_chunk(&mut position, to) {
                // What was missed can be missed for ever, by one who writes on and on.
                Ok(None | Some(0)) => break,
                Ok(Some(copied)) => count += copied,
                // What was copied before counts.
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok((count, position.next))
    }

    /// Copies some of it; how much, or `None` when there is no more.
    fn read_chunk(
        &self,
        position: &mut Position,
        to: &mut UserSliceWriter,
    ) -> Result<Option<usize>> {
        let before = position.next;
        let wanted = to.len().min(CHUNK);
        let buffer = position.buffer.get_mut(..wanted).ok_or(EINVAL)?;
        let chunk = self.shown.read(before, buffer)?;
        if chunk.copied == 0 && chunk.next == before {
            return Ok(None);
        }
        to.write_slice(buffer.get(..chunk.copied).ok_or(EPROTO)?)?;
        position.next = chunk.next;
        position.lost = position.lost.wrapping_add(chunk.lost);
        if self.holds.load(Relaxed) != 0 {
            // It cannot fail: there is a hold to be raised (VC-14).
            let floor = chunk.next.max(position.floor);
            self.shown.hold(self.number, floor)?;
        }
        Ok(Some(chunk.copied))
    }

    #[inline(never)]
    fn status(&self, arg: usize) -> Result {
        let record = abi::Console::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == [0; 2])?;
        let place = self.shown.place();
        let holder = Holder::read(place.window());
        let rights = place.bridge().entry()?.rights;
        let mut flags = 0;
        for (flag, is_so) in [
            (abi::flag::ALIVE, self.shown.is_alive()),
            (abi::flag::MINE, self.shown.types(self.number)),
            (abi::flag::HOLDS, self.holds.load(Relaxed) != 0),
            (abi::flag::WRITABLE, place.is_writable()),
        ] {
            if is_so {
                flags |= flag;
            }
        }
        let written = self.shown.written()?;
        let position = self.position.lock();
        let own = place.vnode();
        let answer = abi::Console {
            size: abi::Console::SIZE as u32,
            vnode: own.number(),
            name: self.subject.name,
            flags,
            holder: holder.viewer.map_or(u32::MAX, VnodeId::number),
            ticket: holder.ticket,
            readers: rights.readers.without(own).0.into(),
            writers: rights.writers.without(own).0.into(),
            files: self.shown.files(),
            position: position.next,
            written,
            lost: position.lost,
            dropped: output::dropped(place.window()),
            reserved: [0; 2],
        };
        drop(position);
        user::write_record(arg, &answer.to_bytes())
    }

    fn take(&self, arg: usize) -> Result {
        let record = abi::Keyboard::from_bytes(&user::read_record(arg)?);
        match record.steal {
            0 => self.shown.take_keyboard(self.number, false),
            1 => self.shown.take_keyboard(self.number, true),
            _ => Err(EINVAL),
        }
    }

    fn give_back(&self, arg: usize) -> Result {
        user::read_record::<{ abi::Keyboard::SIZE }>(arg)?;
        self.shown.give_back(self.number)
    }

    fn hold(&self, arg: usize) -> Result {
        let record = abi::Hold::from_bytes(&user::read_record(arg)?);
        match record.hold {
            0 => {
                // Whoever reads meanwhile raises a hold.
                let _position = self.position.lock();
                self.holds.store(0, Relaxed);
                self.shown.release(self.number);
                Ok(())
            }
            1 => self.begin_to_hold(),
            _ => Err(EINVAL),
        }
    }

    fn signal(&self, arg: usize) -> Result {
        let record = abi::Signal::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        let [rows, columns, width, height] = record.window;
        let signal = match record.signal {
            abi::signal::BREAK => Signal::Break,
            abi::signal::HANG_UP => Signal::HangUp,
            abi::signal::RESIZE => Signal::Resize(WindowSize {
                rows,
                columns,
                width,
                height,
            }),
            _ => return Err(EINVAL),
        };
        self.shown.signal(self.number, signal)
    }

    fn allow(&self, arg: usize) -> Result {
        let record = abi::Allow::from_bytes(&user::read_record(arg)?);
        user::zero(record.reserved == 0)?;
        let readers = u16::try_from(record.readers).map_err(|_| EINVAL)?;
        let writers = u16::try_from(record.writers).map_err(|_| EINVAL)?;
        let keeper = self.subject.viewers.keeper().ok_or(EPERM)?;
        if !caller::may(Capability::Administer) {
            return Err(EPERM);
        }
        keeper.allow(self.subject.vnode, readers, writers)
    }
}

impl Opened for ConsoleFile {
    type Subject = Subject;

    fn open(subject: &Arc<Subject>, file: &File) -> Result<Arc<Self>> {
        let (shown, number) = subject.viewers.show(subject.vnode, subject.id)?;
        let open = Self::new(subject, shown.clone(), number)
            .inspect_err(|_| subject.viewers.close(&shown, number))?;
        // Who reads and writes is a terminal, which is not to miss anything.
        let is_terminal = file.flags() & flags::O_ACCMODE == flags::O_RDWR;
        if is_terminal && shown.place().is_writable() {
            open.begin_to_hold().inspect_err(|_| open.close())?;
        }
        Ok(open)
    }
}

impl OpenFile for ConsoleFile {
    fn read(&self, file: &File, to: &mut UserSliceWriter) -> Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            // What a vnode said before its end counts: so this comes first.
            let is_alive = self.shown.is_alive();
            let (count, next) = self.read_on(to)?;
            if count > 0 || !is_alive {
                return Ok(count);
            }
            if is_nonblocking(file) {
                return Err(EAGAIN);
            }
            check_signals()?;
            self.shown.wait_for_output(next)?;
        }
    }

    fn write(&self, file: &File, from: &mut UserSliceReader) -> Result<usize> {
        if from.is_empty() {
            return Ok(0);
        }
        let mut bytes = KVec::from_elem(0u8, from.len().min(TYPED_SIZE), GFP_KERNEL)?;
        from.read_slice(&mut bytes)?;
        if !self.shown.types(self.number) {
            self.shown.take_keyboard(self.number, false)?;
        }
        loop {
            let count = self.shown.press(self.number, &bytes)?;
            if count > 0 {
                return Ok(count);
            }
            if is_nonblocking(file) {
                return Err(EAGAIN);
            }
            check_signals()?;
            self.shown.wait_for_room(self.number)?;
        }
    }

    fn poll(&self, file: &File, table: &PollTable<'_>) -> u32 {
        table.register_wait(file, self.shown.moved());
        let next = self.position.lock().next;
        let mut events = 0;
        // What makes no sense is told by reading it.
        if self.shown.has_news(next).unwrap_or(true) {
            events |= open_file::READABLE;
        }
        if self.shown.can_type(self.number) {
            events |= open_file::WRITABLE;
        }
        if !self.shown.is_alive() {
            events |= open_file::HUNG_UP;
        }
        events
    }

    fn ioctl(self: ArcBorrow<'_, Self>, file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let is_writer = file.flags() & flags::O_ACCMODE != flags::O_RDONLY;
        match cmd {
            abi::VCONS_STATUS => self.status(arg)?,
            abi::VCONS_ALLOW => self.allow(arg)?,
            abi::VCONS_TAKE | abi::VCONS_GIVE_BACK | abi::VCONS_HOLD | abi::VCONS_SIGNAL
                if !is_writer =>
            {
                return Err(EBADF);
            }
            abi::VCONS_TAKE => self.take(arg)?,
            abi::VCONS_GIVE_BACK => self.give_back(arg)?,
            abi::VCONS_HOLD => self.hold(arg)?,
            abi::VCONS_SIGNAL => self.signal(arg)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    fn close(&self) {
        self.subject.viewers.close(&self.shown, self.number);
    }
}
