// SPDX-License-Identifier: GPL-2.0

//! A console as this kernel shows it: one viewer to its speaker, however many files there are
//! (docs/vcons.md, sections 3 to 5).
//!
//! Lock order: `asking`, a mutex that is held while the root is asked; `state`, a mutex.

#![deny(unsafe_code)]

use crate::asks;
use crate::keeper::Keeper;
use crate::place::Place;
use crate::statics;
use adeos_core::bridge::Id;
use adeos_core::{
    now_ns,
    Core,
    Event, //
};
use adeos_proto::console::Chunk;
use adeos_proto::id::VnodeId;
use adeos_proto::vcons::keyboard::Holder;
use adeos_proto::vcons::output;
use adeos_proto::vcons::request::Request;
use adeos_proto::vcons::typing::{
    Typist,
    WindowSize, //
};
use adeos_proto::vcons::waiters::{
    Concerned,
    Waiter, //
};
use adeos_proto::vcons::OUTPUT;
use kernel::prelude::*;
use kernel::sync::poll::PollCondVar;
use kernel::sync::{
    Arc,
    CondVarTimeoutResult,
    Mutex, //
};
use kernel::time::msecs_to_jiffies;

/// How long a file that is closed waits for a vnode that hears nothing of what was typed.
const PATIENCE_NS: u64 = 5_000_000_000;
/// How long it waits for one that hears a little now and then.
const MOST_NS: u64 = 30_000_000_000;
/// How often it looks, whoever may have woken it.
const TICK_MS: u32 = 500;

/// What is sent beside bytes.
#[derive(Clone, Copy)]
pub(crate) enum Signal {
    Break,
    HangUp,
    Resize(WindowSize),
}

struct State {
    /// Files that want all output, and how far each has come.
    holds: KVec<(u64, u64)>,
    /// What was published of them.
    floor: Option<u64>,
    typist: Typist,
    /// The file that types, and under which ticket.
    typing: Option<(u64, Holder)>,
    /// Files that have something raised when there is news.
    followers: KVec<(u64, Arc<Event>)>,
    /// Counts the files that were opened.
    last: u64,
    files: u32,
}

/// A console that this kernel shows.
#[pin_data]
pub(crate) struct Shown {
    place: Place,
    me: VnodeId,
    keeper: Option<Arc<Keeper>>,
    #[pin]
    asking: Mutex<()>,
    #[pin]
    state: Mutex<State>,
    /// Something may have been said, taken or decided.
    #[pin]
    moved: PollCondVar,
}

impl Shown {
    fn new(place: Place, keeper: Option<Arc<Keeper>>) -> Result<Arc<Self>> {
        let me = place.core().identity().vnode;
        let state = State {
            holds: KVec::new(),
            floor: None,
            typist: Typist::new(place.window(), me),
            typing: None,
            followers: KVec::new(),
            last: 0,
            files: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                place,
                me,
                keeper,
                asking <- kernel::new_mutex!((), "vcons:asking"),
                state <- kernel::new_mutex!(state, "vcons:shown"),
                moved <- kernel::new_poll_condvar!("vcons:moved"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn moved(&self) -> &PollCondVar {
        &self.moved
    }

    /// Whether the vnode lives.
    pub(crate) fn is_alive(&self) -> bool {
        statics::is_alive(self.place.vnode())
    }

    /// Files that show it.
    pub(crate) fn files(&self) -> u32 {
        self.state.lock().files
    }

    /// Has those look again that wait for something.
    pub(crate) fn notify(&self) {
        let state = self.state.lock();
        // Whoever is about to wait holds the lock until it does.
        self.moved.notify_all();
        for (_, event) in &state.followers {
            event.raise();
        }
    }

    /// Has something raised when there is news, for a file.
    pub(crate) fn follow(&self, file: u64, event: Arc<Event>) -> Result {
        Ok(self
            .state
            .lock()
            .followers
            .push((file, event), GFP_KERNEL)?)
    }

    /// Ends that.
    pub(crate) fn unfollow(&self, file: u64) {
        self.state
            .lock()
            .followers
            .retain(|(other, _)| *other != file);
    }

    /// Where the oldest byte lies that can be read.
    pub(crate) fn oldest(&self) -> Result<u64> {
        Ok(self.written()?.saturating_sub(OUTPUT.size.into()))
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> Result<u64> {
        OUTPUT.written(self.place.window()).map_err(|_| EPROTO)
    }

    /// Copies what was said from a position on.
    pub(crate) fn read(&self, position: u64, to: &mut [u8]) -> Result<Chunk> {
        OUTPUT
            .read(self.place.window(), position, to)
            .map_err(|_| EPROTO)
    }

    /// Whether there is something to read at a position. If not, news of it comes.
    pub(crate) fn has_news(&self, position: u64) -> Result<bool> {
        self.place.announce(Waiter::ForOutput(self.me));
        Ok(self.written()? > position || !self.is_alive())
    }

    /// Sleeps unless there is something to read at a position. ERESTARTSYS on a signal.
    pub(crate) fn wait_for_output(&self, position: u64) -> Result {
        let mut state = self.state.lock();
        if self.has_news(position)? {
            return Ok(());
        }
        match self.moved.wait_interruptible(&mut state) {
            true => Err(ERESTARTSYS),
            false => Ok(()),
        }
    }

    /// Holds the output for a file from a position on, or raises its hold. EACCES.
    pub(crate) fn hold(&self, file: u64, position: u64) -> Result {
        if !self.place.is_writable() {
            return Err(EACCES);
        }
        let mut state = self.state.lock();
        match state.holds.iter_mut().find(|(other, _)| *other == file) {
            Some((_, floor)) => *floor = position,
            None => state.holds.push((file, position), GFP_KERNEL)?,
        }
        self.publish_floor(&mut state);
        Ok(())
    }

    /// The file holds nothing any more.
    pub(crate) fn release(&self, file: u64) {
        let mut state = self.state.lock();
        state.holds.retain(|(other, _)| *other != file);
        self.publish_floor(&mut state);
    }

    fn publish_floor(&self, state: &mut State) {
        let floor = state.holds.iter().map(|(_, position)| *position).min();
        if floor == state.floor {
            return;
        }
        state.floor = floor;
        match floor {
            Some(position) => output::hold(self.place.window(), self.me, position),
            None => output::release(self.place.window(), self.me),
        }
        self.place.wake(Concerned::Writers);
    }

    /// Whether a file has the keyboard, here and by the root's word.
    pub(crate) fn types(&self, file: u64) -> bool {
        self.is_typing(&mut self.state.lock(), file)
    }

    fn is_typing(&self, state: &mut State, file: u64) -> bool {
        self.typing(state).is_some_and(|typing| typing == file)
    }

    /// The file of this kernel that has the keyboard.
    fn typing(&self, state: &mut State) -> Option<u64> {
        let (typing, holder) = state.typing?;
        if Holder::read(self.place.window()) != holder {
            state.typing = None;
            return None;
        }
        Some(typing)
    }

    /// Takes the keyboard for a file. Process context; waits for the root. EBUSY somebody else has it,
    /// unless it is to be stolen; EACCES, ENOTCONN, and errors of [`Core::ask`].
    pub(crate) fn take_keyboard(&self, file: u64, steals: bool) -> Result {
        if !self.place.is_writable() {
            return Err(EACCES);
        }
        let asking = self.asking.lock();
        match self.typing(&mut self.state.lock()) {
            Some(typing) if typing == file => return Ok(()),
            Some(_) if !steals => return Err(EBUSY),
            _ => {}
        }
        let vnode = self.place.vnode();
        let request = match steals {
            true => Request::Steal(vnode),
            false => Request::Take(vnode),
        };
        let holder = self
            .ask(request)
            .inspect_err(|_| self.give_back_nobodys())?;
        if holder.viewer != Some(self.me) {
            return Err(EPROTO);
        }
        let mut state = self.state.lock();
        state.typist.begin(self.place.window(), holder.ticket);
        state.typing = Some((file, holder));
        // Whoever typed until now finds that it does not any more.
        self.moved.notify_all();
        drop(state);
        drop(asking);
        self.place.wake(Concerned::Listener);
        Ok(())
    }

    /// Gives the keyboard back. Process context; waits for the root. ENOLCK the file does not have it.
    pub(crate) fn give_back(&self, file: u64) -> Result {
        let _asking = self.asking.lock();
        let mut state = self.state.lock();
        if !self.is_typing(&mut state, file) {
            return Err(ENOLCK);
        }
        let typing = state.typing.take();
        drop(state);
        let ticket = typing.map_or(0, |(_, holder)| holder.ticket);
        match self.ask(Request::GiveBack(self.place.vnode(), ticket)) {
            // Somebody has stolen it meanwhile.
            Err(ESTALE) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives the keyboard back if the root has given it to this kernel and no file has it: a request of
    /// which nothing was heard may have been carried out. `asking` is held, or no file is left.
    fn give_back_nobodys(&self) {
        let holder = Holder::read(self.place.window());
        let is_nobodys = self.state.lock().typing.is_none() && holder.viewer == Some(self.me);
        if is_nobodys {
            // If that fails as well, others can still take it by force.
            let _ = self.ask(Request::GiveBack(self.place.vnode(), holder.ticket));
        }
    }

    fn ask(&self, request: Request) -> Result<Holder> {
        let core = self.place.core();
        let answer = match &self.keeper {
            Some(keeper) => keeper.serve(core.own_life(), request)?,
            None => asks::ask(core, request)?,
        };
        Ok(answer.keyboard)
    }

    /// Types as many of the bytes as there is room for. EBUSY the file does not have the keyboard.
    pub(crate) fn press(&self, file: u64, bytes: &[u8]) -> Result<usize> {
        let mut state = self.state.lock();
        if !self.is_typing(&mut state, file) {
            return Err(EBUSY);
        }
        let count = state.typist.press(self.place.window(), bytes);
        drop(state);
        if count > 0 {
            self.place.wake(Concerned::Listener);
        }
        Ok(count)
    }

    /// Whether a file that types has room for it, or does not type any more. If not, news of it comes.
    fn has_room(&self, state: &mut State, file: u64) -> bool {
        self.place.announce(Waiter::ForRoom(self.me));
        !self.is_typing(state, file) || state.typist.room(self.place.window()) > 0
    }

    /// The same for who polls.
    pub(crate) fn can_type(&self, file: u64) -> bool {
        self.has_room(&mut self.state.lock(), file)
    }

    /// Sleeps until there may be room to type. ERESTARTSYS on a signal.
    pub(crate) fn wait_for_room(&self, file: u64) -> Result {
        let mut state = self.state.lock();
        if self.has_room(&mut state, file) {
            return Ok(());
        }
        match self.moved.wait_interruptible(&mut state) {
            true => Err(ERESTARTSYS),
            false => Ok(()),
        }
    }

    /// Waits until what a file has typed was heard, for as long as some of it is: what is typed under a
    /// ticket that has gone is not heard any more (VC-31). A signal ends it.
    fn await_hearing(&self, file: u64) {
        let window = self.place.window();
        let mut state = self.state.lock();
        let mut unheard = state.typist.unheard(window);
        let began_ns = now_ns();
        let mut since_ns = began_ns;
        while unheard > 0 && self.is_typing(&mut state, file) && self.is_alive() {
            self.place.announce(Waiter::ForRoom(self.me));
            let left = state.typist.unheard(window);
            if left < unheard {
                unheard = left;
                since_ns = now_ns();
            }
            let now = now_ns();
            if now.saturating_sub(since_ns) > PATIENCE_NS || now.saturating_sub(began_ns) > MOST_NS
            {
                return;
            }
            let tick = msecs_to_jiffies(TICK_MS);
            if let CondVarTimeoutResult::Signal { .. } =
                self.moved.wait_interruptible_timeout(&mut state, tick)
            {
                return;
            }
        }
    }

    /// Sends something beside bytes. ENOLCK the file does not have the keyboard.
    pub(crate) fn signal(&self, file: u64, signal: Signal) -> Result {
        let window = self.place.window();
        let mut state = self.state.lock();
        if !self.is_typing(&mut state, file) {
            return Err(ENOLCK);
        }
        match signal {
            Signal::Break => state.typist.send_break(window),
            Signal::HangUp => state.typist.hang_up(window),
            Signal::Resize(size) => state.typist.resize(window, size),
        }
        drop(state);
        self.place.wake(Concerned::Listener);
        Ok(())
    }
}

/// The consoles that this kernel shows now.
#[pin_data]
pub(crate) struct Viewers {
    core: Arc<Core>,
    keeper: Option<Arc<Keeper>>,
    /// Held while a console is opened: this kernel is one viewer of it.
    #[pin]
    opening: Mutex<()>,
    #[pin]
    shown: Mutex<KVec<Arc<Shown>>>,
}

impl Viewers {
    pub(crate) fn new(core: Arc<Core>, keeper: Option<Arc<Keeper>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                core,
                keeper,
                opening <- kernel::new_mutex!((), "vcons:opening"),
                shown <- kernel::new_mutex!(KVec::new(), "vcons:viewers"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_deref()
    }

    /// Opens a console for one more file; and the file's number. Process context; waits for the root.
    /// Errors of [`Place::open`]. ENXIO another console has come in its place.
    pub(crate) fn show(&self, vnode: VnodeId, id: Id) -> Result<(Arc<Shown>, u64)> {
        let _opening = self.opening.lock();
        let shown = match self.find(id) {
            Some(shown) => shown,
            None => {
                let shown = Shown::new(Place::open(&self.core, vnode)?, self.keeper.clone())?;
                if shown.place.bridge().id() != id {
                    return Err(ENXIO);
                }
                self.shown.lock().push(shown.clone(), GFP_KERNEL)?;
                shown
            }
        };
        let mut state = shown.state.lock();
        state.files += 1;
        state.last += 1;
        let number = state.last;
        drop(state);
        Ok((shown, number))
    }

    /// A file is closed. Process context; waits for the root.
    pub(crate) fn close(&self, shown: &Arc<Shown>, file: u64) {
        shown.release(file);
        shown.await_hearing(file);
        // It may not have had it; and a root that does not answer takes it when this life ends.
        let _ = shown.give_back(file);
        let _opening = self.opening.lock();
        let mut state = shown.state.lock();
        state.files -= 1;
        let is_last = state.files == 0;
        drop(state);
        if is_last {
            shown.give_back_nobodys();
            let id = shown.place.bridge().id();
            self.shown
                .lock()
                .retain(|other| other.place.bridge().id() != id);
        }
    }

    fn find(&self, id: Id) -> Option<Arc<Shown>> {
        let shown = self.shown.lock();
        shown
            .iter()
            .find(|shown| shown.place.bridge().id() == id)
            .cloned()
    }

    /// The console at a place of the list.
    fn at(&self, at: usize) -> Option<Arc<Shown>> {
        self.shown.lock().get(at).cloned()
    }

    /// Has those look again that wait; whether some of them can learn of news by looking only.
    pub(crate) fn notify(&self) -> bool {
        let mut is_blind = false;
        let mut at = 0;
        while let Some(shown) = self.at(at) {
            shown.notify();
            is_blind |= !shown.place.is_writable();
            at += 1;
        }
        is_blind
    }
}
