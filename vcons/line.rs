// SPDX-License-Identifier: GPL-2.0

//! `N_VCONS`: a real terminal, a serial line for example, in front of the consoles of all vnodes, with
//! no program in between (paper, section 7.3). One console is shown at a time; `~` at the beginning of a
//! line is for us (docs/vcons.md, section 6).
//!
//! A thread does all of it: it takes what came in, passes it on, and shows what there is.

#![deny(unsafe_code)]

use crate::ldisc::{
    Line,
    Terminal, //
};
use crate::nodes::Place;
use crate::shown::{
    Shown,
    Signal,
    Viewers, //
};
use crate::statics;
use adeos_core::{
    Body,
    Event,
    Kthread, //
};
use adeos_proto::id::VnodeName;
use adeos_proto::vcons::escape::{
    Command,
    Escape,
    Typed,
    ESCAPE, //
};
use adeos_proto::vcons::typing::WindowSize;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Release, //
};
use kernel::sync::{
    Arc,
    CondVar,
    Mutex, //
};

/// Bytes that came in and wait.
const INPUT: usize = 1024;
/// Bytes that were typed and wait for room.
const TYPED: usize = 4096;
/// Steps that are made before others have their turn.
const STEPS: u32 = 256;
/// Bytes that are shown in one go.
const PIECE: usize = 1024;
/// How often a thread looks by itself.
const CALM_MS: u32 = 1000;

/// A console in front of the terminal.
struct Front {
    shown: Arc<Shown>,
    file: u64,
    place: Place,
    position: u64,
    /// Whether the person knows that somebody else types.
    has_told: bool,
}

/// What the thread works on.
struct Work {
    front: Option<Front>,
    escape: Escape,
    /// What is to be shown, and how far that has come.
    out: KVec<u8>,
    out_at: usize,
    /// What is to be typed, and how far that has come.
    typed: KVec<u8>,
    typed_at: usize,
}

impl Work {
    fn type_later(&mut self, byte: u8) -> Result {
        if self.typed.len() < TYPED {
            self.typed.push(byte, GFP_KERNEL)?;
        }
        Ok(())
    }
}

/// A terminal with the discipline.
#[pin_data]
pub(crate) struct ConsoleLine {
    terminal: Terminal,
    viewers: Arc<Viewers>,
    news: Arc<Event>,
    #[pin]
    input: Mutex<KVec<u8>>,
    #[pin]
    work: Mutex<Work>,
    /// Whether the person has left, or the terminal hung up.
    is_over: Atomic<u32>,
    /// Whether the terminal hung up.
    is_hung_up: Atomic<u32>,
    #[pin]
    waiting: Mutex<()>,
    #[pin]
    over: CondVar,
    #[pin]
    thread: Mutex<Option<Kthread<ConsoleLine>>>,
}

impl Line for ConsoleLine {
    fn open(terminal: Terminal) -> Result<Arc<Self>> {
        let viewers = statics::viewers().ok_or(ENODEV)?;
        let news = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let work = Work {
            front: None,
            escape: Escape::new(),
            out: KVec::new(),
            out_at: 0,
            typed: KVec::new(),
            typed_at: 0,
        };
        let line = Arc::pin_init(
            pin_init!(Self {
                terminal,
                viewers,
                news,
                input <- kernel::new_mutex!(KVec::new(), "vcons:input"),
                work <- kernel::new_mutex!(work, "vcons:line"),
                is_over: Atomic::new(0),
                is_hung_up: Atomic::new(0),
                waiting <- kernel::new_mutex!((), "vcons:line_waiting"),
                over <- kernel::new_condvar!("vcons:line_over"),
                thread <- kernel::new_mutex!(None, "vcons:line_thread"),
            }),
            GFP_KERNEL,
        )?;
        line.input.lock().reserve(INPUT, GFP_KERNEL)?;
        let mut work = line.work.lock();
        let begun = line.list(&mut work).and_then(|()| line.go_on(&mut work));
        drop(work);
        let thread = begun
            .and_then(|()| Kthread::spawn(c"vcons_line", line.clone()))
            .inspect_err(|_| line.leave_front(&mut line.work.lock()))?;
        *line.thread.lock() = Some(thread);
        Ok(line)
    }

    fn close(&self) {
        self.end();
        let thread = self.thread.lock().take();
        drop(thread);
        let mut work = self.work.lock();
        if self.is_hung_up.load(Acquire) != 0 {
            Self::pass_on_hang_up(&work);
        }
        self.leave_front(&mut work);
    }

    fn wait(&self) -> Result {
        let mut waiting = self.waiting.lock();
        while self.is_over.load(Acquire) == 0 {
            if self.over.wait_interruptible(&mut waiting) {
                return Err(ERESTARTSYS);
            }
        }
        Ok(())
    }

    fn receive(&self, bytes: &[u8]) -> usize {
        let mut input = self.input.lock();
        let count = INPUT.saturating_sub(input.len()).min(bytes.len());
        // There is room: it was reserved.
        let taken = input.extend_from_slice(bytes.get(..count).unwrap_or(&[]), GFP_KERNEL);
        drop(input);
        self.news.raise();
        taken.map_or(0, |()| count)
    }

    fn wake(&self) {
        self.news.raise();
    }

    fn hang_up(&self) {
        self.is_hung_up.store(1, Release);
        self.end();
    }
}

impl ConsoleLine {
    fn end(&self) {
        let waiting = self.waiting.lock();
        self.is_over.store(1, Release);
        self.over.notify_all();
        drop(waiting);
        self.news.raise();
    }

    /// A word of ours in the middle of what a console shows.
    fn tell(&self, work: &mut Work, what: kernel::fmt::Arguments<'_>) -> Result {
        let text = CString::try_from_fmt(fmt!("\r\n[{what}]\r\n"))?;
        Ok(work.out.extend_from_slice(text.to_bytes(), GFP_KERNEL)?)
    }

    fn list(&self, work: &mut Work) -> Result {
        for place in &statics::places()? {
            let name = Name(place);
            match place.vnode_lives() {
                true => self.tell(work, fmt!("{name}"))?,
                false => self.tell(work, fmt!("{name}, which has ended"))?,
            }
        }
        self.tell(
            work,
            fmt!("~n goes on to the next one, ~. leaves, ~? tells more"),
        )
    }

    /// Whoever types next is not to find what the person has left open.
    fn pass_on_hang_up(work: &Work) {
        if let Some(front) = &work.front {
            // Who does not type has nothing open there.
            let _ = front.shown.signal(front.file, Signal::HangUp);
        }
    }

    fn leave_front(&self, work: &mut Work) {
        work.typed.clear();
        work.typed_at = 0;
        if let Some(front) = work.front.take() {
            front.shown.unfollow(front.file);
            self.viewers.close(&front.shown, front.file);
        }
    }

    /// Goes on to the console that comes after the one that is shown, in the order of their names; past
    /// those that cannot be shown.
    fn go_on(&self, work: &mut Work) -> Result {
        let places = statics::places()?;
        let now = work.front.as_ref().map(|front| front.place.name);
        self.leave_front(work);
        let is_later = |place: &&Place| now.is_none_or(|now| place.name > now);
        let later = places.iter().filter(is_later);
        let earlier = places.iter().filter(|place| !is_later(place));
        for place in Iterator::chain(later, earlier) {
            match self.show(work, place) {
                Ok(()) => return self.tell(work, fmt!("{}", Name(place))),
                Err(error) => {
                    let name = Name(place);
                    self.tell(work, fmt!("{name} cannot be shown: {error:?}"))?;
                }
            }
        }
        self.tell(work, fmt!("there is no console"))
    }

    /// Shows a console from now on.
    fn show(&self, work: &mut Work, place: &Place) -> Result {
        let (shown, file) = self.viewers.show(place.vnode, place.id)?;
        // From here on it is left as every other one.
        let front = work.front.insert(Front {
            shown,
            file,
            place: place.clone(),
            position: 0,
            has_told: false,
        });
        let result = self.begin(front);
        if result.is_err() {
            self.leave_front(work);
        }
        result
    }

    fn begin(&self, front: &mut Front) -> Result {
        front.position = front.shown.written()?;
        front.shown.follow(front.file, self.news.clone())?;
        match front.shown.hold(front.file, front.position) {
            // Who may only look misses what it does not show in time.
            Err(EACCES) => Ok(()),
            result => result,
        }
    }

    /// Leaves a console that makes no sense any more.
    fn give_up(&self, work: &mut Work, error: Error) -> Result {
        self.leave_front(work);
        self.tell(
            work,
            fmt!("it cannot be shown any more: {error:?}; ~n goes on"),
        )
    }

    /// Shows what waits; whether all of it was taken.
    fn flush(&self, work: &mut Work) -> bool {
        let rest = work.out.get(work.out_at..).unwrap_or(&[]);
        if rest.is_empty() {
            return true;
        }
        work.out_at += self.terminal.write(rest);
        if work.out_at < work.out.len() {
            return false;
        }
        work.out.clear();
        work.out_at = 0;
        true
    }

    /// Takes what came in; whether there was something. Commands are obeyed whether or not what was typed
    /// before them has gone; what there is no room for any more is lost.
    fn take_input(&self, work: &mut Work) -> Result<bool> {
        if work.typed_at == work.typed.len() {
            work.typed.clear();
            work.typed_at = 0;
        }
        let mut input = self.input.lock();
        if input.is_empty() {
            return Ok(false);
        }
        let mut count = 0;
        let mut command = None;
        for byte in input.iter() {
            count += 1;
            match work.escape.on(*byte) {
                Typed::Byte(byte) => work.type_later(byte)?,
                Typed::Escaped(byte) => {
                    work.type_later(ESCAPE)?;
                    work.type_later(byte)?;
                }
                Typed::Held => {}
                Typed::Command(found) => {
                    command = Some(found);
                    break;
                }
            }
        }
        // What follows a command comes after it.
        let left = input.len().saturating_sub(count);
        input.copy_within(count.., 0);
        input.truncate(left);
        drop(input);
        self.terminal.unthrottle();
        if let Some(command) = command {
            self.send(work)?;
            self.obey(work, command)?;
        }
        Ok(true)
    }

    fn obey(&self, work: &mut Work, command: Command) -> Result {
        match command {
            Command::Leave => {
                self.leave_front(work);
                self.end();
                Ok(())
            }
            Command::Next => self.go_on(work),
            Command::List | Command::Help => self.list(work),
            Command::Break => self.signal(work, Signal::Break),
            Command::Take => self.take_keyboard(work, true),
        }
    }

    fn signal(&self, work: &mut Work, signal: Signal) -> Result {
        self.take_keyboard(work, false)?;
        match &work.front {
            Some(front) if front.shown.types(front.file) => front.shown.signal(front.file, signal),
            _ => Ok(()),
        }
    }

    /// Takes the keyboard, and says how large the window is; or says who has it, once.
    fn take_keyboard(&self, work: &mut Work, steals: bool) -> Result {
        let Some(front) = &mut work.front else {
            return Ok(());
        };
        if front.shown.types(front.file) {
            return Ok(());
        }
        let Err(error) = front.shown.take_keyboard(front.file, steals) else {
            front.has_told = false;
            let [rows, columns, width, height] = self.terminal.window();
            let size = WindowSize {
                rows,
                columns,
                width,
                height,
            };
            // It may be stolen already.
            return match front.shown.signal(front.file, Signal::Resize(size)) {
                Err(ENOLCK) => Ok(()),
                result => result,
            };
        };
        work.typed.clear();
        work.typed_at = 0;
        if core::mem::replace(&mut front.has_told, true) && !steals {
            return Ok(());
        }
        let why = match error {
            EBUSY => "somebody else types here; ~t takes the keyboard",
            ENOTCONN | ENXIO => "it does not run, and is only shown",
            EACCES => "only shown: this vnode may not type here",
            _ => "nothing can be typed",
        };
        self.tell(work, fmt!("{why}"))
    }

    /// Types what waits, as far as there is room.
    fn send(&self, work: &mut Work) -> Result {
        if work.typed.is_empty() {
            return Ok(());
        }
        self.take_keyboard(work, false)?;
        let Some(front) = &work.front else {
            return Ok(());
        };
        let rest = work.typed.get(work.typed_at..).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(());
        }
        if let Ok(count) = front.shown.press(front.file, rest) {
            work.typed_at += count;
        }
        Ok(())
    }

    /// Whether what waits to be typed can go on now. If not, news of it comes.
    fn can_send(&self, work: &Work) -> bool {
        let is_waiting = work.typed_at < work.typed.len();
        let front = work.front.as_ref().filter(|_| is_waiting);
        front.is_some_and(|front| front.shown.can_type(front.file))
    }

    /// Has more of the console be shown; whether there was something.
    fn read_on(&self, work: &mut Work) -> Result<bool> {
        let Some(front) = &mut work.front else {
            return Ok(false);
        };
        work.out.resize(PIECE, 0, GFP_KERNEL)?;
        let chunk = front.shown.read(front.position, &mut work.out);
        let copied = chunk.as_ref().map_or(0, |chunk| chunk.copied);
        work.out.truncate(copied);
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return self.give_up(work, error).map(|()| true),
        };
        let has_moved = chunk.next != front.position;
        front.position = chunk.next;
        if has_moved {
            match front.shown.hold(front.file, chunk.next) {
                Err(EACCES) => {}
                result => result?,
            }
        }
        Ok(has_moved)
    }

    /// Does what there is to do; whether there may be more.
    fn step(&self, work: &mut Work) -> Result<bool> {
        if !self.flush(work) {
            return Ok(false);
        }
        let had_input = self.take_input(work)?;
        self.send(work)?;
        if !work.out.is_empty() {
            return Ok(true);
        }
        if self.read_on(work)? || had_input || self.can_send(work) {
            return Ok(true);
        }
        let front = work.front.as_ref();
        match front {
            Some(front) if front.shown.is_alive() => {
                // What makes no sense is told by reading it.
                Ok(front.shown.has_news(front.position).unwrap_or(true))
            }
            _ => Ok(false),
        }
    }
}

impl Body for ConsoleLine {
    fn round(&self) {
        self.news.wait_ms(CALM_MS);
        let mut work = self.work.lock();
        for _ in 0..STEPS {
            if self.is_over.load(Acquire) != 0 {
                return;
            }
            match self.step(&mut work) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    pr_err!("a terminal of the consoles is left: {:?}\n", error);
                    self.leave_front(&mut work);
                    self.end();
                    return;
                }
            }
        }
        // A vnode that says something all the time does not keep us from being stopped.
        self.news.raise();
    }

    fn wake(&self) {
        self.news.raise();
    }
}

/// What people call a console.
struct Name<'a>(&'a Place);

impl kernel::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        match VnodeName::from_field(&self.0.name) {
            Ok(name) => f.write_str(name.as_str()),
            Err(_) if self.0.vnode.is_root() => f.write_str("root"),
            Err(_) => write!(f, "{}", self.0.vnode.number()),
        }
    }
}
