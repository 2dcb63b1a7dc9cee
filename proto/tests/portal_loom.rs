// SPDX-License-Identifier: GPL-2.0

//! Portals under every interleaving that loom finds: no wake-up is lost between a sender, the CPU
//! that takes, and one that masks or unmasks. Rules of docs/bridges-and-portals.md are cited.
//!
//! An interrupt is a flag: who sets it has sent the vector, and what it does is looked for when
//! all threads are done, as a real one would come at some time.

#![cfg(loom)]

#[path = "support/words.rs"]
mod words;

use adeos_proto::id::VnodeId;
use adeos_proto::layout::slot::{INBOX, INBOX_STRIDE};
use adeos_proto::portal::pace::{self, Pace};
use adeos_proto::portal::{self, local, Number, Raised, Stage};
use adeos_proto::window::Window;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::sync::Arc;
use words::Words;

const FROM: u32 = 1;

fn vnode() -> VnodeId {
    VnodeId::new(FROM).unwrap()
}

fn number(number: u32) -> Number {
    Number::new(number).unwrap()
}

/// One sender, one receiver with one word of each kind, and work that a portal announces.
struct Machine {
    slot: Words,
    own: Words,
    work: [AtomicU32; 2],
    done: [AtomicU32; 2],
    interrupt: AtomicBool,
    /// Linux has been asked for its turn.
    asked: AtomicBool,
}

impl Machine {
    fn new(unmasked: u64) -> Arc<Self> {
        let machine = Self {
            slot: Words::new(&[INBOX + FROM as usize * INBOX_STRIDE]),
            own: Words::new(&[
                local::UNMASKED,
                local::UNMASKED_HELD,
                local::SINCE_TURN,
                local::HELD + FROM as usize * 8,
            ]),
            work: [AtomicU32::new(0), AtomicU32::new(0)],
            done: [AtomicU32::new(0), AtomicU32::new(0)],
            interrupt: AtomicBool::new(false),
            asked: AtomicBool::new(false),
        };
        machine.own.store_release64(local::UNMASKED, unmasked);
        Arc::new(machine)
    }

    /// The sender has work, says so, and interrupts if it must.
    fn send(&self, at: u32, work: u32) {
        self.work[at as usize].store(work, Ordering::Relaxed);
        if portal::raise(&self.slot, vnode(), number(at)) == Raised::Interrupt {
            // A local APIC latches: a set bit and a taken one are never confused.
            self.interrupt.swap(true, Ordering::AcqRel);
        }
    }

    /// A CPU of the receiver is interrupted, if it is, and runs handlers.
    fn on_interrupt(&self) {
        if self.interrupt.swap(false, Ordering::AcqRel) {
            self.take();
        }
    }

    /// Another CPU unmasks, and interrupts one of the receiver's if something is held.
    fn unmask(&self, portals: u64) {
        if portal::unmask(&self.own, Stage::Ahead, portals) {
            self.interrupt.swap(true, Ordering::AcqRel);
        }
    }

    /// The same at the pace that Linux's turns allow.
    fn on_paced_interrupt(&self) {
        if !self.interrupt.swap(false, Ordering::AcqRel) {
            return;
        }
        let pace = pace::enter(&self.own);
        if pace == Pace::AskAndTake {
            self.asked.store(true, Ordering::Release);
        }
        if pace != Pace::Leave {
            self.take();
        }
    }

    /// Linux gets to run, if it was asked to.
    fn on_turn(&self) {
        if self.asked.swap(false, Ordering::AcqRel) {
            pace::turn(&self.own);
            self.take();
        }
    }

    fn take(&self) {
        let linux = portal::take(&self.slot, &self.own, |_, portals| {
            for portal in Number::all_of(portals) {
                let at = portal.index();
                let work = self.work[at].load(Ordering::Relaxed);
                self.done[at].fetch_max(work, Ordering::Relaxed);
            }
        });
        assert_eq!(linux, 0);
    }

    /// PO-20: whatever was announced has been seen.
    fn check(&self, at: usize, work: u32) {
        assert_eq!(
            self.done[at].load(Ordering::Relaxed),
            work,
            "a wake-up is lost"
        );
    }
}

/// CA-60 and CA-61 as well: no raise falls between an exchange and the next.
#[test]
fn po_12_a_raise_while_the_receiver_takes_is_not_lost() {
    loom::model(|| {
        let machine = Machine::new(u64::MAX);
        let sender = machine.clone();
        let sender = loom::thread::spawn(move || {
            sender.send(0, 1);
            sender.send(1, 1);
            sender.send(0, 2);
        });
        machine.on_interrupt();
        machine.on_interrupt();
        sender.join().unwrap();
        machine.on_interrupt();
        machine.check(0, 2);
        machine.check(1, 1);
    });
}

#[test]
fn po_21_a_raise_while_the_portal_is_unmasked_is_not_lost() {
    loom::model(|| {
        let machine = Machine::new(0);
        let sender = machine.clone();
        let sender = loom::thread::spawn(move || sender.send(0, 1));
        let taker = machine.clone();
        let taker = loom::thread::spawn(move || taker.on_interrupt());
        machine.unmask(1);
        sender.join().unwrap();
        taker.join().unwrap();
        machine.on_interrupt();
        machine.check(0, 1);
    });
}

#[test]
fn po_21_masking_and_unmasking_on_another_cpu_loses_nothing() {
    loom::model(|| {
        let machine = Machine::new(3);
        let sender = machine.clone();
        let sender = loom::thread::spawn(move || {
            sender.send(0, 1);
            sender.on_interrupt();
        });
        portal::mask(&machine.own, 1);
        portal::mask(&machine.own, 2);
        machine.unmask(3);
        sender.join().unwrap();
        machine.on_interrupt();
        machine.check(0, 1);
    });
}

#[test]
fn po_21_what_is_unmasked_while_another_is_delivered_is_not_lost() {
    loom::model(|| {
        let machine = Machine::new(0);
        machine.send(0, 1);
        machine.send(1, 1);
        machine.on_interrupt();
        let taker = machine.clone();
        let taker = loom::thread::spawn(move || {
            taker.on_interrupt();
            taker.on_interrupt();
        });
        machine.unmask(1);
        machine.unmask(2);
        taker.join().unwrap();
        machine.on_interrupt();
        machine.check(0, 1);
        machine.check(1, 1);
    });
}

#[test]
fn po_22_what_two_cpus_claim_at_once_is_delivered_once() {
    loom::model(|| {
        let machine = Machine::new(1 << 9);
        let _ = portal::raise(&machine.slot, vnode(), number(5));
        let _ = portal::raise(&machine.slot, vnode(), number(9));
        let other = machine.clone();
        let other = loom::thread::spawn(move || {
            let pulled = portal::pull(&other.slot, &other.own, vnode());
            pulled.ahead | portal::claim(&other.own, vnode(), Stage::Ahead, 1 << 5)
        });
        let _ = portal::unmask(&machine.own, Stage::Ahead, 1 << 5);
        let pulled = portal::pull(&machine.slot, &machine.own, vnode());
        let mine = pulled.ahead | portal::claim(&machine.own, vnode(), Stage::Ahead, u64::MAX);
        let others = other.join().unwrap();
        assert_eq!(mine & others, 0, "delivered twice");
        assert_eq!(mine | others, 1 << 5 | 1 << 9, "a raise is lost");
    });
}

/// Linux has been asked and its turn may come at any moment, while interrupts are left to it.
#[test]
fn po_42_what_is_left_to_linux_is_not_lost() {
    loom::model(|| {
        let machine = Machine::new(u64::MAX);
        let at = local::SINCE_TURN;
        machine.own.store_release64(at, pace::LEAVE_AFTER);
        machine.asked.store(true, Ordering::Release);
        let sender = machine.clone();
        let sender = loom::thread::spawn(move || {
            sender.send(0, 1);
            sender.send(1, 1);
        });
        let linux = machine.clone();
        let linux = loom::thread::spawn(move || linux.on_turn());
        machine.on_paced_interrupt();
        sender.join().unwrap();
        linux.join().unwrap();
        machine.on_paced_interrupt();
        machine.on_turn();
        machine.check(0, 1);
        machine.check(1, 1);
    });
}
