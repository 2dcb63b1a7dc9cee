// SPDX-License-Identifier: GPL-2.0

//! Drives bridges from inside a kernel, for selftests/120-bridges.sh and 130-moving.sh.
//!
//! Each line written to `bridge_test/control` in debugfs is a command; the write fails with the error
//! of what it does. There are 40 slots, each an opener of its own. KEY is `NAME` or `VNODE/NAME`.
//!
//! ```text
//! create SLOT KEY GRANULES MODE READERS WRITERS moves|stays     numbers: decimal or 0x
//! open SLOT KEY r|w moves|stays
//! map SLOT, unmap SLOT, close SLOT
//! behave SLOT lets_go|refuses|hangs, pause SLOT MS              when the bridge is to be moved
//! map_late SLOT                                                 when it is being moved: EAGAIN
//! await SLOT TIMES                                              until it was asked to let go so often
//! follow SLOT moves|stays
//! fill SLOT SEED, check SLOT SEED                               a pattern over all of it; EILSEQ
//! zeros SLOT                                                    all of it is zeros; EILSEQ
//! poke SLOT OFFSET NUMBER, peek SLOT OFFSET                     the number read is shown
//! load SLOT OFFSET, rest SLOT                                   write to it until told to rest
//! protect KEY MODE READERS WRITERS, adopt KEY
//! rounds KEY COUNT                                              create or open, use and close it
//! request PLACE KEY GRANULES SEED, join PLACE KEY               a transient bridge; it is filled
//! hold PLACE SEED, leave PLACE                                  looks at what it holds; EILSEQ. Closes it
//! linger PLACE MS                                               uses it for so long
//! ```
//!
//! Reading tells of each slot in use: its bridge, whether it is mapped and where, how many commands
//! wait for something to happen to it, how often it was asked to let go, went on and lost its owner,
//! how often it failed to map again, what was peeked, and what load has found; then of all rounds.

use core::str::{
    FromStr,
    SplitAsciiWhitespace, //
};

use adeos_core::bridge::{
    Access,
    Bridge,
    BridgeName,
    Follow,
    Key,
    Rights,
    Scope,
    Spec,
    Vnodes, //
};
use adeos_core::Core;
use adeos_proto::id::VnodeId;
use adeos_proto::layout::GRANULE;
use kernel::debugfs::{
    Dir,
    File, //
};
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::UserSliceReader;
use rounds::Rounds;
use slot::Slot;
use transient::Requesters;

#[path = "bridge_test/load.rs"]
mod load;
#[path = "bridge_test/rounds.rs"]
mod rounds;
#[path = "bridge_test/slot.rs"]
mod slot;
#[path = "bridge_test/transient.rs"]
mod transient;

module! {
    type: BridgeTest,
    name: "bridge_test",
    authors: ["The Adeos cluster project"],
    description: "Drives bridges, for tests",
    license: "GPL",
}

/// Slots that there are.
const SLOTS: usize = 40;
/// Bytes of a command at most.
const LINE: usize = 160;

#[pin_data]
struct BridgeTest {
    #[pin]
    control: File<Control>,
    _dir: Dir,
}

impl kernel::InPlaceModule for BridgeTest {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(|| {
            let control = Control::new()?;
            let dir = Dir::new(c"bridge_test");
            Ok(try_pin_init!(Self {
                control <- dir.read_write_callback_file(c"control", control, &show, &command),
                _dir: dir.clone(),
            }))
        })
    }
}

/// What the file drives.
struct Control {
    core: Arc<Core>,
    slots: KVec<Arc<Slot>>,
    rounds: Rounds,
    requesters: Pin<KBox<Requesters>>,
}

impl Control {
    fn new() -> Result<Self> {
        let mut slots = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            slots.push(Slot::new()?, GFP_KERNEL)?;
        }
        Ok(Self {
            core: Core::get()?,
            slots,
            rounds: Rounds::new(),
            requesters: Requesters::new()?,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Slots are watchers of their own bridges, which they would keep for ever.
        for slot in &self.slots {
            slot.close();
        }
    }
}

fn show(control: &Control, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (number, slot) in control.slots.iter().enumerate() {
        slot.show(number, f)?;
    }
    control.requesters.show(f)?;
    let (rounds, created) = control.rounds.counts();
    writeln!(f, "in all rounds {} created {}", rounds, created)
}

fn command(control: &Control, reader: &mut UserSliceReader) -> Result {
    let mut line = [0; LINE];
    let text = line.get_mut(..reader.len()).ok_or(E2BIG)?;
    reader.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    let mut words = Words(text.split_ascii_whitespace());
    run(control, words.next()?, &mut words)
}

fn run(control: &Control, verb: &str, words: &mut Words<'_>) -> Result {
    match verb {
        "protect" => {
            let key = words.key()?;
            Bridge::protect(&control.core, &key, words.rights()?)
        }
        "adopt" => Bridge::adopt(&control.core, &words.key()?),
        "rounds" => {
            let key = words.key()?;
            control.rounds.run(&control.core, &key, words.number()?)
        }
        "request" => {
            let (place, key) = (words.number()?, words.key()?);
            let size = words.number::<u64>()?.wrapping_mul(GRANULE);
            let requesters = &control.requesters;
            requesters.request(&control.core, place, key, size, words.number()?)
        }
        "join" => {
            let place = words.number()?;
            control.requesters.join(&control.core, place, &words.key()?)
        }
        "hold" => control.requesters.check(words.number()?, words.number()?),
        "linger" => control.requesters.linger(words.number()?, words.number()?),
        "leave" => control.requesters.close(words.number()?),
        _ => run_on_slot(control, verb, words),
    }
}

fn run_on_slot(control: &Control, verb: &str, words: &mut Words<'_>) -> Result {
    let number: usize = words.number()?;
    let slot = control.slots.get(number).ok_or(EINVAL)?;
    match verb {
        "create" => {
            let spec = Spec {
                key: words.key()?,
                size: words.number::<u64>()?.wrapping_mul(GRANULE),
                rights: words.rights()?,
                follow: words.follow()?,
            };
            slot.keep(|watcher| Bridge::create(&control.core, &spec, watcher))
        }
        "open" => {
            let (key, access, follow) = (words.key()?, words.access()?, words.follow()?);
            slot.keep(|watcher| Bridge::open(&control.core, &key, access, follow, watcher))
        }
        "map" => slot.map(),
        "unmap" => slot.unmap(),
        "close" => slot.close().then_some(()).ok_or(EBADF),
        "behave" => slot.behave(words.next()?),
        "pause" => {
            slot.pause(words.number()?);
            Ok(())
        }
        "map_late" => slot.map_late(),
        "await" => slot.wait_until_asked(words.number()?),
        "follow" => slot.follow(words.follow()?),
        "fill" => slot.fill(words.number()?),
        "check" => slot.check(words.number()?),
        "zeros" => slot.check_zeros(),
        "poke" => slot.poke(words.number()?, words.number()?),
        "peek" => slot.peek(words.number()?),
        "load" => load::run(slot, words.number()?),
        "rest" => {
            slot.load().stop();
            Ok(())
        }
        _ => Err(EINVAL),
    }
}

/// The words of a command.
struct Words<'a>(SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str> {
        self.0.next().ok_or(EINVAL)
    }

    /// A number, decimal or hexadecimal.
    fn number<T: FromStr + TryFrom<u64>>(&mut self) -> Result<T> {
        let word = self.next()?;
        match word.strip_prefix("0x") {
            Some(digits) => {
                let number = u64::from_str_radix(digits, 16).map_err(|_| EINVAL)?;
                T::try_from(number).map_err(|_| EINVAL)
            }
            None => word.parse().map_err(|_| EINVAL),
        }
    }

    /// `NAME` of a global bridge, `VNODE/NAME` of a local one.
    fn key(&mut self) -> Result<Key> {
        let word = self.next()?;
        let (scope, name) = match word.split_once('/') {
            None => (Scope::Global, word),
            Some((vnode, name)) => {
                let number = vnode.parse().map_err(|_| EINVAL)?;
                (Scope::Local(VnodeId::new(number).ok_or(EINVAL)?), name)
            }
        };
        let name = BridgeName::new(name).map_err(|_| EINVAL)?;
        Ok(Key { scope, name })
    }

    fn rights(&mut self) -> Result<Rights> {
        Ok(Rights {
            mode: self.number()?,
            readers: Vnodes(self.number()?),
            writers: Vnodes(self.number()?),
            label: [0; 2],
        })
    }

    fn access(&mut self) -> Result<Access> {
        match self.next()? {
            "r" => Ok(Access::Read),
            "w" => Ok(Access::Write),
            _ => Err(EINVAL),
        }
    }

    fn follow(&mut self) -> Result<Follow> {
        match self.next()? {
            "moves" => Ok(Follow::Moves),
            "stays" => Ok(Follow::Stays),
            _ => Err(EINVAL),
        }
    }
}
