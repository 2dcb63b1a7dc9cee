// SPDX-License-Identifier: GPL-2.0

//! Stores at random: any number, numbers at boundaries, numbers near what is there, what was there
//! before, and parts of numbers.

use crate::forge;
use crate::places::{
    Place,
    Places,
    Reach, //
};
use crate::progress::Progress;
use crate::random::Random;
use crate::Test;
use adeos_core::bridge::{
    Access,
    Bridge,
    BridgeName,
    Follow,
    Key,
    Scope, //
};
use adeos_core::{
    lock,
    Part, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    self,
    slot,
    slot_offset,
    ConsoleHeader,
    Status, //
};
use adeos_proto::window::Window;
use kernel::prelude::*;

/// Stores between two looks at the time.
const BURST: u64 = 512;

/// Numbers that were overwritten and can come back.
const REMEMBERED: usize = 1024;

/// Numbers at which comparisons change their minds.
const BOUNDARIES: [u64; 16] = [
    0,
    1,
    2,
    63,
    64,
    65,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x0001_0000_0000_0000,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Does it to the control area, until the time is over. Then what stands in the way of asking this
/// vnode how it was, and what no other way would mend but a new life, is as it was.
pub(crate) fn run(
    test: &Test,
    reach: Reach,
    progress: &Progress<'_>,
    random: &mut Random,
) -> Result {
    let me = test.core.identity().vnode;
    let area = test.area.part(0, layout::CONTROL_SIZE);
    let mut scribbler = Scribbler::new(&area, Places::of(me, reach)?)?;
    let before = Spared::of(&area, me)?;
    let mut goes_on = Ok(true);
    while goes_on == Ok(true) {
        forge::push(&test.core, &area, random);
        goes_on = scribbler.burst(progress, random);
    }
    before.put_back(&area, me);
    if reach == Reach::All {
        // The other kernels' channels are as useless.
        for other in VnodeId::all().skip(1) {
            free_channels(&area, other);
        }
    }
    goes_on.map(|_| ())
}

/// Does it to the lock that selftests/kernel/lock_test.rs has in a bridge, until the time is over.
/// ENOENT when there is none.
pub(crate) fn run_on_lock(test: &Test, progress: &Progress<'_>, random: &mut Random) -> Result {
    let key = Key {
        scope: Scope::Global,
        name: BridgeName::new("lock_test").map_err(|_| EINVAL)?,
    };
    let bridge = Bridge::open(&test.core, &key, Access::Write, Follow::Stays, None)?;
    let memory = bridge.map()?;
    let mut lock = KVec::with_capacity(1, GFP_KERNEL)?;
    lock.push(
        Place {
            offset: 0,
            size: lock::SIZE,
        },
        GFP_KERNEL,
    )?;
    let mut scribbler = Scribbler::new(&memory, lock)?;
    while scribbler.burst(progress, random)? {}
    Ok(())
}

struct Scribbler<'a, W> {
    area: &'a W,
    places: KVec<Place>,
    past: KVec<(usize, u64)>,
}

impl<'a, W: Window> Scribbler<'a, W> {
    fn new(area: &'a W, places: KVec<Place>) -> Result<Self> {
        Ok(Self {
            area,
            places,
            past: KVec::with_capacity(REMEMBERED, GFP_KERNEL)?,
        })
    }

    /// Stores for a moment; whether the time is not over yet. EINTR on a signal.
    fn burst(&mut self, progress: &Progress<'_>, random: &mut Random) -> Result<bool> {
        for _ in 0..BURST {
            self.store(random)?;
        }
        progress.goes_on(BURST, 0)
    }

    fn store(&mut self, random: &mut Random) -> Result {
        let place = random.pick(&self.places);
        let at = place.offset + random.below(place.size / 4) * 4;
        // Eight bytes where they fit, else four.
        let wide = at % 8 == 0 && at + 8 <= place.offset + place.size;
        let before = if wide {
            self.area.load_acquire64(at)
        } else {
            u64::from(self.area.load_acquire(at))
        };
        self.remember(random, at, before)?;
        match random.below(8) {
            0 => self.put(at, wide, random.any()),
            1 | 2 => self.put(at, wide, random.pick(&BOUNDARIES)),
            3 => self.put(at, false, random.pick(&BOUNDARIES)),
            4 => self.put(at, wide, near(before, random)),
            5 => self.put(at, false, near(before, random)),
            6 => self.replay(random, at, wide),
            _ => self.tear(random, at, wide),
        }
        Ok(())
    }

    fn put(&self, at: usize, wide: bool, value: u64) {
        if wide {
            self.area.store_release64(at, value);
        } else {
            self.area.store_release(at, value as u32);
        }
    }

    fn remember(&mut self, random: &mut Random, at: usize, value: u64) -> Result {
        if self.past.len() < REMEMBERED {
            return Ok(self.past.push((at, value), GFP_KERNEL)?);
        }
        if let Some(place) = self.past.get_mut(random.below(REMEMBERED)) {
            *place = (at, value);
        }
        Ok(())
    }

    /// What was at this place some time ago, or at another one.
    fn replay(&self, random: &mut Random, at: usize, wide: bool) {
        let (place, value) = random.pick(&self.past);
        if random.below(4) == 0 {
            self.put(at, wide, value);
        } else {
            // It was wide then, or its upper half was not there.
            self.put(place, place % 8 == 0 && value >> 32 != 0, value);
        }
    }

    /// One, two or three bytes of a number.
    fn tear(&self, random: &mut Random, at: usize, wide: bool) {
        let bytes = random.any().to_le_bytes();
        let first = random.below(if wide { 6 } else { 2 });
        let count = 1 + random.below(2);
        self.area
            .write(at + first, bytes.get(..count).unwrap_or(&[]));
    }
}

fn near(value: u64, random: &mut Random) -> u64 {
    value.wrapping_add(random.below(9) as u64).wrapping_sub(4)
}

/// What of its slot the vnode needs in order to be asked anything afterwards.
struct Spared {
    status: KVec<u8>,
    console: KVec<u8>,
}

impl Spared {
    fn of(area: &Part<'_>, me: VnodeId) -> Result<Self> {
        let base = slot_offset(me);
        let copy = |offset: usize, size: usize| -> Result<KVec<u8>> {
            let mut bytes = KVec::from_elem(0, size, GFP_KERNEL)?;
            area.read(base + offset, &mut bytes);
            Ok(bytes)
        };
        Ok(Self {
            status: copy(slot::STATUS, Status::SIZE)?,
            console: copy(slot::CONSOLE, ConsoleHeader::SIZE)?,
        })
    }

    /// The status is complete before it counts; `state` has never changed.
    fn put_back(&self, area: &Part<'_>, me: VnodeId) {
        let base = slot_offset(me);
        area.write(base + slot::STATUS, &self.status);
        area.write(base + slot::CONSOLE, &self.console);
        free_channels(area, me);
    }
}

/// Nobody is in the middle of a session any more.
fn free_channels(area: &Part<'_>, vnode: VnodeId) {
    for index in 0..layout::channel::COUNT {
        let base = slot_offset(vnode) + slot::CHANNELS + index * layout::channel::STRIDE;
        let session = area.load_acquire(base + layout::channel::ROOT_SESSION) | 1;
        let free = session.wrapping_add(1);
        area.store_release(base + layout::channel::VNODE_SESSION, free);
        area.store_release(base + layout::channel::ROOT_SESSION, free);
    }
}
