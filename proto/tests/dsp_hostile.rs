// SPDX-License-Identifier: GPL-2.0

//! The distributed sharing protocol with a peer that writes what it likes into its rings.
//!
//! Numbers are those of docs/dsp.md.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/cells.rs"]
mod cells;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/echo.rs"]
mod echo;

use adeos_proto::dsp::mailbox::{self, Layout};
use adeos_proto::dsp::message::Message;
use adeos_proto::dsp::{Event, Outcome, Payload, SendError, TURN};
use adeos_proto::id::VnodeId;
use adeos_proto::window::Window;
use cells::Cells;
use cluster::{life, Cluster};
use echo::{echoing, payload, vnode, ECHO};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Lie {
    Word {
        from: u32,
        offset: usize,
        value: u64,
    },
    Index {
        from: u32,
        is_head: bool,
        near: i32,
    },
    Bytes {
        from: u32,
        slot: usize,
        header: [u8; 32],
    },
}

fn any_lie() -> impl Strategy<Value = Lie> {
    // Vnode 1 is the hostile one: it can reach the rings to it and from it.
    let value = prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0..100u64];
    prop_oneof![
        (0..2u32, 0..mailbox::SIZE / 8, value).prop_map(|(from, word, value)| Lie::Word {
            from,
            offset: word * 8,
            value
        }),
        (0..2u32, any::<bool>(), -70..70i32).prop_map(|(from, is_head, near)| Lie::Index {
            from,
            is_head,
            near
        }),
        (0..2u32, 0..64usize, any::<[u8; 32]>()).prop_map(|(from, slot, header)| Lie::Bytes {
            from,
            slot,
            header
        }),
    ]
}

fn tell_lie(memory: &Cells, lie: &Lie) {
    let ring = |from: u32| Layout::of(vnode(from), vnode(1 - from));
    match *lie {
        Lie::Word {
            from,
            offset,
            value,
        } => {
            memory.store_release64(ring(from).tag + offset, value);
        }
        Lie::Index {
            from,
            is_head,
            near,
        } => {
            let ring = ring(from);
            let at = if is_head { ring.head } else { ring.tail };
            let value = memory.load_acquire(at).wrapping_add_signed(near);
            memory.store_release(at, value);
        }
        Lie::Bytes {
            from,
            slot,
            mut header,
        } => {
            // As nearly right as can be: the version, the service, small kinds, this life.
            header[..4].copy_from_slice(&[1, 0, 0x00, 0xff]);
            header[4] %= 6;
            header[8..16].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
            let cookie = (1u64 << 32) + u64::from(header[16] % 8);
            header[16..24].copy_from_slice(&cookie.to_le_bytes());
            memory.write(ring(from).messages + slot * 128, &header);
        }
    }
}

/// DS-20: vnode 2 and the root talk as ever, and no byte of vnode 2's rings has changed.
fn the_others_have_not_noticed(cluster: &mut Cluster, now: u64) {
    for (from, to) in [(0, 2), (2, 0), (1, 2), (2, 1)] {
        let mut bytes = vec![0; mailbox::SIZE];
        cluster
            .mail
            .read(Layout::of(vnode(from), vnode(to)).tag, &mut bytes);
        assert!(bytes[8..].iter().all(|byte| *byte == 0));
    }
    let Cluster { mail, nodes, .. } = cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let cookie = dsp
        .request(mail, life(2, 1), ECHO, &payload(b"hi"), now + 1)
        .unwrap();
    let asked = cluster.turn(2);
    let [Event::Asked { request, .. }] = asked[..] else {
        panic!("the request has arrived");
    };
    assert_eq!(cluster.said, [b"hi"]);
    let Cluster { mail, nodes, .. } = cluster;
    nodes[2]
        .as_mut()
        .unwrap()
        .dsp
        .reply(mail, &request, 5, &payload(b"ho"))
        .unwrap();
    let mut answers = cluster.turn(0);
    assert_eq!(cluster.said.last(), Some(&b"ho".to_vec()));
    answers.retain(|event| matches!(event, Event::Ended(ended) if ended.cookie == cookie));
    assert_eq!(answers.len(), 1);
}

/// DS-23: the next life of the hostile vnode has all that the first had.
fn the_next_life_can_talk(cluster: &mut Cluster) {
    cluster.die(1);
    (0..3).for_each(|number| cluster.look(number));
    cluster.start(1, 2);
    (0..3).for_each(|number| cluster.look(number));
    let Cluster { mail, nodes, .. } = cluster;
    let dsp = &mut nodes[1].as_mut().unwrap().dsp;
    assert_eq!(dsp.tell(mail, life(0, 1), ECHO, &payload(b"new")), Ok(()));
    let told = cluster.turn(0);
    let is_new = matches!(told[..], [Event::Told { from, .. }] if from == life(1, 2));
    assert!(is_new);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// DS-20, DS-22, DS-52: whatever a peer writes, whenever, costs its own link only.
    #[test]
    fn a_hostile_peer_costs_its_own_link_only(
        lies in prop::collection::vec((any_lie(), 0..6u8), 1..120)
    ) {
        let mut cluster = echoing(2);
        let (mut reports, mut now) = (0, 0);
        for (lie, call) in lies {
            tell_lie(&cluster.mail, &lie);
            now += 1;
            let before = cluster.dsp(0).counters(vnode(1)).received;
            let events = if call < 3 { cluster.turn(0) } else { Vec::new() };
            let taken = cluster.dsp(0).counters(vnode(1)).received - before;
            prop_assert!(taken <= u64::from(TURN) && events.len() <= TURN as usize + 1);
            let Cluster { mail, nodes, .. } = &mut cluster;
            let dsp = &mut nodes[0].as_mut().unwrap().dsp;
            for event in events {
                match event {
                    Event::Broken(who) => {
                        prop_assert_eq!(who, life(1, 1));
                        reports += 1;
                    }
                    Event::Asked { request, .. } => {
                        let _ = dsp.reply(mail, &request, 0, &Payload::EMPTY);
                    }
                    Event::Told { from, .. } => prop_assert_eq!(from, life(1, 1)),
                    Event::Ended(ended) => prop_assert_eq!(ended.to, life(1, 1)),
                }
            }
            match call {
                3 => drop(dsp.tell(mail, life(1, 1), ECHO, &payload(b"x"))),
                4 => drop(dsp.request(mail, life(1, 1), ECHO, &payload(b"x"), now + 20)),
                _ => {}
            }
            let limit = dsp.outstanding();
            let ended = std::iter::from_fn(|| dsp.next_ended(now)).take(limit + 1).count();
            prop_assert!(ended <= limit);
        }
        prop_assert!(reports <= 1);

        the_others_have_not_noticed(&mut cluster, now);
        the_next_life_can_talk(&mut cluster);
    }
}

/// DS-52: an index that makes no sense, on either side, breaks the link: it is reported once, and
/// what waits for the peer ends, once each.
#[test]
fn nonsense_in_an_index_breaks_the_link_until_the_next_life() {
    for is_head in [true, false] {
        let mut cluster = echoing(2);
        let Cluster { mail, nodes, .. } = &mut cluster;
        let dsp = &mut nodes[0].as_mut().unwrap().dsp;
        let mut ask = |to| dsp.request(mail, life(to, 1), ECHO, &payload(b"?"), 50);
        let (doomed, other) = (ask(1).unwrap(), ask(2).unwrap());
        let (from, to) = (
            Layout::of(vnode(1), vnode(0)),
            Layout::of(vnode(0), vnode(1)),
        );
        mail.store_release(if is_head { from.head } else { to.tail }, 65);
        if !is_head {
            assert_eq!(ask(1), Err(SendError::Broken));
        }
        assert_eq!(cluster.turn(0), [Event::Broken(life(1, 1))]);
        assert_eq!(cluster.turn(0), []);
        assert_eq!(cluster.dsp(0).counters(vnode(1)).broken, 1);
        let Cluster { mail, nodes, .. } = &mut cluster;
        let dsp = &mut nodes[0].as_mut().unwrap().dsp;
        let told = dsp.tell(mail, life(1, 1), ECHO, &payload(b"!"));
        assert_eq!(told, Err(SendError::Broken));
        let ended = dsp.next_ended(0).unwrap();
        assert_eq!((ended.cookie, ended.outcome), (doomed, Outcome::Broken));
        assert_eq!(dsp.next_ended(49), None);
        assert_eq!(dsp.next_ended(50).unwrap().cookie, other);
    }
}

/// A message that vnode 1 puts into its mailbox to the root by hand.
fn forge(mail: &Cells, message: &Message) {
    let ring = Layout::of(vnode(1), vnode(0));
    let head = mail.load_acquire(ring.head);
    mail.write(ring.messages + head as usize * 128, &message.to_bytes());
    mail.store_release(ring.head, head + 1);
}

/// DS-52: a link that a refusal finds broken is told of in the same turn.
#[test]
fn a_refusal_that_finds_the_link_broken_is_no_secret() {
    let mut cluster = echoing(2);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let cookie = dsp.request(mail, life(1, 1), ECHO, &payload(b"?"), 50);
    mail.store_release(Layout::of(vnode(0), vnode(1)).tail, 1000);
    let unknown = Message {
        version: 1,
        service: 0xff77,
        kind: 2,
        sender: 1,
        receiver: 1,
        ..Message::default()
    };
    forge(mail, &unknown);
    assert_eq!(cluster.turn(0), [Event::Broken(life(1, 1))]);
    let ended = cluster.dsp(0).next_ended(0).unwrap();
    assert_eq!((Ok(ended.cookie), ended.outcome), (cookie, Outcome::Broken));
}

/// DS-55: a malformed message names its sender's life once, until the next one; what is only of
/// another version or life, or not understood, does not.
#[test]
fn who_sends_malformed_messages_is_named() {
    let mut cluster = echoing(2);
    let good = Message {
        version: 1,
        service: ECHO,
        kind: 1,
        sender: 1,
        receiver: 1,
        ..Message::default()
    };
    let honest = [
        good,
        Message { version: 2, ..good },
        Message {
            version: 2,
            kind: 9,
            ..good
        },
        Message { sender: 7, ..good },
        Message {
            service: 0xff77,
            ..good
        },
    ];
    honest.iter().for_each(|it| forge(&cluster.mail, it));
    cluster.turn(0);
    assert_eq!(cluster.dsp(0).counters(vnode(1)).received, 5);
    assert_eq!(cluster.dsp(0).next_malformed(), None);

    for bad in [Message { kind: 9, ..good }, Message { length: 97, ..good }] {
        (0..2).for_each(|_| forge(&cluster.mail, &bad));
        cluster.turn(0);
        assert_eq!(cluster.dsp(0).next_malformed(), Some(life(1, 1)));
        assert_eq!(cluster.dsp(0).next_malformed(), None);
    }
    forge(&cluster.mail, &Message { kind: 9, ..good });
    cluster.turn(0);
    the_next_life_can_talk(&mut cluster);
    assert_eq!(
        cluster.dsp(0).next_malformed(),
        None,
        "it was the last life"
    );
}

/// DS-55: who is shunned is as if it had broken its link: nothing goes to it or comes from it, what
/// waits for it ends, and its next life is heard. No other life is meant.
#[test]
fn who_is_shunned_is_not_heard_until_its_next_life() {
    let mut cluster = echoing(2);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let cookie = dsp.request(mail, life(1, 1), ECHO, &payload(b"?"), 50);
    dsp.shun(life(1, 2));
    dsp.shun(life(3, 1));
    assert!(!dsp.is_broken(vnode(1)));

    (0..2).for_each(|_| dsp.shun(life(1, 1)));
    assert_eq!(dsp.counters(vnode(1)).broken, 1);
    let told = dsp.tell(mail, life(1, 1), ECHO, &payload(b"!"));
    assert_eq!(told, Err(SendError::Broken));
    let ended = dsp.next_ended(0).unwrap();
    assert_eq!((Ok(ended.cookie), ended.outcome), (cookie, Outcome::Broken));
    let told = nodes[1]
        .as_mut()
        .unwrap()
        .dsp
        .tell(mail, life(0, 1), ECHO, &payload(b"x"));
    assert_eq!(told, Ok(()));
    assert_eq!(cluster.turn(0), []);

    the_others_have_not_noticed(&mut cluster, 0);
    the_next_life_can_talk(&mut cluster);
}

/// DS-25: a tag that somebody else has written makes no mailbox one that was reset, and none that is to
/// be reset again.
#[test]
fn the_root_knows_by_itself_what_it_has_reset() {
    let mut cluster = echoing(1);
    let rings = [(0, 1), (1, 0)].map(|(from, to)| Layout::of(vnode(from), vnode(to)));
    let write = |cluster: &Cluster, tags: [u64; 2]| {
        for (ring, tag) in rings.iter().zip(tags) {
            cluster.mail.store_release64(ring.tag, tag);
            cluster.mail.store_release(ring.head, 5);
        }
    };
    let heads = |cluster: &Cluster| rings.map(|ring| cluster.mail.load_acquire(ring.head));
    write(&cluster, [0, 0]);
    cluster.look(0);
    assert_eq!(heads(&cluster), [5, 5]);

    cluster.die(1);
    cluster.look(0);
    // Those of the life that is to come.
    write(&cluster, [1 << 32 | 2, 2 << 32 | 1]);
    cluster.start(1, 2);
    cluster.look(0);
    cluster.look(1);
    assert_eq!(heads(&cluster), [0, 0]);
}

/// DS-67: a vnode that is declared dead has no links any more.
#[test]
fn a_view_without_this_life_ends_all_links() {
    let mut cluster = echoing(2);
    let zombie = cluster.nodes[1].take();
    let mut zombie = zombie.unwrap();
    let asked = zombie
        .dsp
        .request(&cluster.mail, life(2, 1), ECHO, &payload(b"?"), 50);
    cluster.nodes[1] = Some(zombie);
    let me = life(1, 1);
    let how = adeos_proto::membership::publisher::Departure::Died(6);
    let removed = cluster.publisher.remove(&cluster.views, me, how);
    assert!(asked.is_ok() && removed.is_ok());
    cluster.look(1);
    let ended = cluster.dsp(1).next_ended(0).unwrap();
    assert_eq!(ended.outcome, Outcome::Gone);
    assert_eq!(cluster.dsp(1).life_of(VnodeId::ROOT), None);
}
