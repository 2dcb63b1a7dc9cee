// SPDX-License-Identifier: GPL-2.0

//! The distributed sharing protocol: what its caller in a kernel relies on beside requests and
//! turns.
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

use adeos_proto::dsp::{Dsp, Event, Outcome, Payload, Refusal, SendError};
use cluster::{life, Cluster};
use echo::{echoing, payload, vnode, ECHO};

/// DS-54: what is held stays in its ring, and costs neither others nor itself anything.
#[test]
fn a_sender_that_is_held_keeps_its_messages_and_its_order() {
    let mut cluster = echoing(2);
    let root = life(0, 1);
    let tell = |cluster: &mut Cluster, from: usize, text: &[u8]| {
        let Cluster { mail, nodes, .. } = cluster;
        let dsp = &mut nodes[from].as_mut().unwrap().dsp;
        dsp.tell(mail, root, ECHO, &payload(text))
    };
    let seen = |cluster: &mut Cluster| -> Vec<_> {
        let from = cluster.turn(0).into_iter().map(|event| match event {
            Event::Told { from, .. } => from.vnode,
            other => panic!("nobody said {other:?}"),
        });
        from.zip(cluster.said.clone()).collect()
    };
    cluster.dsp(0).hold(vnode(1));
    for number in 0..48u8 {
        tell(&mut cluster, 1, &[number]).unwrap();
    }
    assert_eq!(tell(&mut cluster, 1, b"full"), Err(SendError::Full));
    tell(&mut cluster, 2, b"other").unwrap();
    assert_eq!(seen(&mut cluster), [(vnode(2), b"other".to_vec())]);
    assert_eq!(cluster.turn(0), []);

    cluster.dsp(0).release(vnode(1));
    let sent: Vec<_> = (0..48u8).map(|number| (vnode(1), vec![number])).collect();
    assert_eq!(seen(&mut cluster), sent);
}

/// DS-54: the next life of a vnode is not held for what the last one did.
#[test]
fn a_hold_ends_with_the_life() {
    let mut cluster = echoing(1);
    cluster.dsp(0).hold(vnode(1));
    cluster.die(1);
    cluster.start(1, 2);
    cluster.look(0);
    cluster.look(1);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[1].as_mut().unwrap().dsp;
    dsp.tell(mail, life(0, 1), ECHO, &Payload::EMPTY).unwrap();
    assert_eq!(cluster.turn(0).len(), 1);
}

/// DS-14, DS-31: an end that was made before it was known whose it is, speaks as that life.
#[test]
fn an_end_speaks_as_the_life_that_it_has_taken_on() {
    let mut cluster = echoing(1);
    let Cluster {
        mail,
        nodes,
        publisher,
        ..
    } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    *dsp = Dsp::new(life(3, 9), 0);
    dsp.take_on(life(0, 1), 77);
    dsp.on_view(publisher.view());
    let asked = dsp.request(mail, life(1, 1), ECHO, &Payload::EMPTY, 9);
    assert_eq!(asked.map(|cookie| cookie.0), Ok(77));
    assert_eq!(cluster.turn(1).len(), 1);
}

/// DS-41: a request whose service went before it was looked at ends like one that came later.
#[test]
fn a_request_that_was_handed_out_can_still_be_refused() {
    let mut cluster = echoing(1);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    dsp.request(mail, life(1, 1), ECHO, &Payload::EMPTY, 1_000)
        .unwrap();
    let events = cluster.turn(1);
    let [Event::Asked { request, .. }] = events[..] else {
        panic!("one request was sent");
    };
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[1].as_mut().unwrap().dsp;
    assert_eq!(dsp.unregister(ECHO), Some(7));
    assert_eq!(dsp.take_pushed(), 0);
    dsp.refuse(mail, &request);
    assert_eq!((dsp.take_pushed(), dsp.take_pushed()), (1 << 0, 0));
    let events = cluster.turn(0);
    let [Event::Ended(ended)] = events[..] else {
        panic!("one refusal ends one request");
    };
    assert_eq!(ended.outcome, Outcome::Refused(Refusal::Service));
}

/// DS-26: who does not let go of a life that has gone keeps its own link to the next one closed, and no
/// other.
#[test]
fn who_does_not_let_go_holds_up_its_own_link() {
    let mut cluster = echoing(2);
    let tell = |cluster: &mut Cluster, from: usize, to| {
        let Cluster { mail, nodes, .. } = cluster;
        let dsp = &mut nodes[from].as_mut().unwrap().dsp;
        dsp.tell(mail, to, ECHO, &Payload::EMPTY)
    };
    cluster.die(1);
    cluster.start(1, 2);
    cluster.look(0);
    cluster.look(1);
    // Vnode 2 has not looked.
    assert_eq!(tell(&mut cluster, 0, life(1, 2)), Ok(()));
    assert_eq!(tell(&mut cluster, 1, life(0, 1)), Ok(()));
    assert_eq!(tell(&mut cluster, 0, life(2, 1)), Ok(()));
    let closed = tell(&mut cluster, 1, life(2, 1));
    assert_eq!(closed, Err(SendError::NotOpen));

    cluster.look(2);
    assert_eq!(tell(&mut cluster, 1, life(2, 1)), Ok(()));
    assert_eq!(tell(&mut cluster, 2, life(1, 2)), Ok(()));
}
