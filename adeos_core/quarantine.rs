// SPDX-License-Identifier: GPL-2.0

//! Proof that CPUs have stopped: each is sent to a waiting room, and seen there.

use crate::cpu::StartCpus;
use crate::ffi;
use crate::mapping::{
    Mapping,
    Part, //
};
use adeos_proto::id::VnodeId;
use adeos_proto::layout;
use adeos_proto::window::Window;
use kernel::prelude::*;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// How often, 1 ms apart, it is looked whether a CPU has come.
const TRIES: u32 = 2000;
/// After so many looks it is sent anew.
const RESEND: u32 = 100;

impl StartCpus {
    /// Stops CPUs and proves it: none executes anything of its kernel any more when this returns.
    /// Process context; sleeps. EIO when one does not stop.
    ///
    /// INIT has no answer and may take effect late; until then the CPU can start another one of its
    /// kernel anew. So each is sent to a page of the vnode's low memory, where it says who it is;
    /// and a second time, when none is left that could have started it.
    pub(crate) fn quarantine(
        &self,
        apic_ids: impl Iterator<Item = u32> + Clone,
        vnode: VnodeId,
    ) -> Result {
        let page = layout::low_slot(vnode) + layout::LOW_WAITING_ROOM;
        let number = u8::try_from(page / kernel::page::PAGE_SIZE as u64)?;
        let low = Mapping::low(vnode)?;
        let room = WaitingRoom::furnish(
            low.part(layout::LOW_WAITING_ROOM as usize, kernel::page::PAGE_SIZE),
            number,
        );

        apic_ids.clone().for_each(|id| self.init(id));
        // One that does not come the first time may have been started anew: what counts is the
        // second time.
        for apic_id in apic_ids.clone() {
            self.call_in(apic_id, &room);
        }
        for apic_id in apic_ids {
            if !self.call_in(apic_id, &room) {
                pr_err!("the CPU with APIC id {:#x} does not stop\n", apic_id);
                return Err(EIO);
            }
        }
        Ok(())
    }

    /// Sends a CPU to the waiting room, whatever it does; whether it has come. It is sent again now
    /// and then: a STARTUP is lost on a CPU whose INIT has not taken effect (SDM volume 3, section
    /// 10.4.4).
    fn call_in(&self, apic_id: u32, room: &WaitingRoom<'_>) -> bool {
        for attempt in 0..TRIES {
            if attempt % RESEND == 0 {
                room.clear();
                self.init(apic_id);
                self.startup(apic_id, room.page);
            }
            if room.guest() == apic_id {
                return true;
            }
            fsleep(Delta::from_micros(1000));
        }
        false
    }
}

/// The page with the code of `waiting_room.S`, and the word in which a CPU says who it is.
struct WaitingRoom<'a> {
    memory: Part<'a>,
    guest: usize,
    /// Its number, as STARTUP takes it.
    page: u8,
}

impl<'a> WaitingRoom<'a> {
    // Other modules, which instantiate its caller, do not see the symbols of this one.
    #[inline(never)]
    fn furnish(memory: Part<'a>, page: u8) -> Self {
        let start = &raw const ffi::adeos_waiting_room;
        let offset = |symbol: *const u8| symbol as usize - start as usize;
        let len = offset(&raw const ffi::adeos_waiting_room_end);
        // SAFETY: Both symbols are of one read-only object, from its start to its end.
        let code = unsafe { core::slice::from_raw_parts(start, len) };
        memory.write(0, code);
        Self {
            memory,
            guest: offset(&raw const ffi::adeos_waiting_room_guest),
            page,
        }
    }

    fn clear(&self) {
        self.memory.store_release(self.guest, layout::NO_APIC);
    }

    /// APIC id of the CPU that came last.
    fn guest(&self) -> u32 {
        self.memory.load_acquire(self.guest)
    }
}
