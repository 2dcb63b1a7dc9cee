// SPDX-License-Identifier: GPL-2.0

//! The distributed sharing protocol: what is promised of requests and turns.
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

use adeos_proto::dsp::mailbox::{Layout, Sender, Tag};
use adeos_proto::dsp::message::{Message, VERSION};
use adeos_proto::dsp::{Event, Outcome, Payload, Refusal, SendError, QUANTUM, TURN};
use adeos_proto::window::Window;
use cluster::{life, Cluster};
use echo::{echoing, payload, vnode, ECHO};

/// Puts a message of `from`'s into the ring to `to`, whatever it says.
fn forge(cluster: &Cluster, from: u32, to: u32, message: Message) {
    let layout = Layout::of(vnode(from), vnode(to));
    let generation = |number| cluster.publisher.view().life(vnode(number)).unwrap();
    let tag = Tag::new(generation(from).generation, generation(to).generation);
    let mut sender = Sender::open(&cluster.mail, layout, tag).unwrap();
    sender.push(&cluster.mail, &message, 0).unwrap();
}

fn genuine(kind: u8, cookie: u64) -> Message {
    Message {
        version: VERSION,
        service: ECHO,
        kind,
        sender: 1,
        receiver: 1,
        cookie,
        ..Message::default()
    }
}

/// DS-30: plain messages leave sixteen places to answers, which therefore always fit.
#[test]
fn answers_find_room_in_a_ring_full_of_everything_else() {
    let mut cluster = echoing(1);
    let root = life(0, 1);
    let east = life(1, 1);
    for cookie in 0..16u64 {
        let Cluster { mail, nodes, .. } = &mut cluster;
        let dsp = &mut nodes[0].as_mut().unwrap().dsp;
        let asked = dsp.request(mail, east, ECHO, &Payload::EMPTY, cookie + 1_000);
        assert!(asked.is_ok());
    }
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let extra = dsp.request(mail, east, ECHO, &Payload::EMPTY, 1_000);
    assert_eq!(extra, Err(SendError::TooManyCalls));

    let east_dsp = &mut nodes[1].as_mut().unwrap().dsp;
    for _ in 0..48 {
        let told = east_dsp.tell(mail, root, ECHO, &Payload::EMPTY);
        assert_eq!(told, Ok(()));
    }
    let told = east_dsp.tell(mail, root, ECHO, &Payload::EMPTY);
    assert_eq!(told, Err(SendError::Full));
    for event in cluster.turn(1) {
        let Event::Asked { request, .. } = event else {
            panic!("only requests were sent");
        };
        let Cluster { mail, nodes, .. } = &mut cluster;
        let dsp = &mut nodes[1].as_mut().unwrap().dsp;
        assert_eq!(dsp.reply(mail, &request, 0, &Payload::EMPTY), Ok(()));
    }
    let events = cluster.turn(0);
    let ended = |event: &&Event| matches!(event, Event::Ended(_));
    assert_eq!(events.iter().filter(ended).count(), 16);
    assert_eq!(cluster.dsp(0).outstanding(), 0);
}

/// DS-37: an answer that finds the ring full, as the caller has asked more than DS-30 allows, is late, and
/// not lost; a refusal is dropped and counted.
#[test]
fn an_answer_that_finds_no_room_may_be_tried_again() {
    let mut cluster = echoing(1);
    let root = life(0, 1);
    (0..17).for_each(|cookie| forge(&cluster, 0, 1, genuine(2, cookie)));
    let asked = cluster.turn(1);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[1].as_mut().unwrap().dsp;
    while dsp.tell(mail, root, ECHO, &Payload::EMPTY).is_ok() {}
    let mut requests = asked.into_iter().map(|event| match event {
        Event::Asked { request, .. } => request,
        other => panic!("nobody said {other:?}"),
    });
    for request in requests.by_ref().take(16) {
        assert_eq!(dsp.reply(mail, &request, 0, &Payload::EMPTY), Ok(()));
    }
    let last = requests.next().unwrap();
    let reply = dsp.reply(mail, &last, 0, &Payload::EMPTY);
    assert_eq!(reply, Err(SendError::Full));
    let before = dsp.counters(vnode(0));
    dsp.take_pushed();
    dsp.refuse(mail, &last);
    let after = dsp.counters(vnode(0));
    assert_eq!(after.sent, before.sent);
    assert_eq!(after.unanswered, before.unanswered + 1);
    assert_eq!(dsp.take_pushed(), 0);

    cluster.turn(0);
    assert_eq!(cluster.dsp(0).counters(vnode(1)).unmatched, 16);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[1].as_mut().unwrap().dsp;
    assert_eq!(dsp.reply(mail, &last, 0, &Payload::EMPTY), Ok(()));
    cluster.turn(0);
    assert_eq!(cluster.dsp(0).counters(vnode(1)).unmatched, 17);
}

/// DS-37: an answer to a life that has gone fails, also when its vnode lives again.
#[test]
fn an_answer_to_the_dead_reaches_nobody() {
    let mut cluster = echoing(1);
    forge(&cluster, 1, 0, genuine(2, 7));
    let asked = cluster.turn(0);
    let [Event::Asked { request, .. }] = asked[..] else {
        panic!("one request was sent");
    };
    for lives_again in [false, true] {
        if lives_again {
            cluster.start(1, 2);
            cluster.look(1);
        } else {
            cluster.die(1);
        }
        cluster.look(0);
        let Cluster { mail, nodes, .. } = &mut cluster;
        let dsp = &mut nodes[0].as_mut().unwrap().dsp;
        let reply = dsp.reply(mail, &request, 0, &Payload::EMPTY);
        assert_eq!(reply, Err(SendError::Gone));
    }
    assert_eq!(cluster.turn(1), []);
}

/// Answers that differ from the right one in one thing, with who sends them.
fn wrong_answers(right: Message) -> [(u32, Message); 8] {
    let cookie = right.cookie;
    [
        (
            1,
            Message {
                cookie: cookie + 1,
                ..right
            },
        ),
        (
            1,
            Message {
                service: ECHO + 1,
                ..right
            },
        ),
        (1, Message { sender: 2, ..right }),
        (
            1,
            Message {
                receiver: 0,
                ..right
            },
        ),
        (
            1,
            Message {
                version: 9,
                ..right
            },
        ),
        (
            1,
            Message {
                length: 97,
                ..right
            },
        ),
        (1, Message { kind: 5, ..right }),
        (2, right),
    ]
}

/// DS-31: an answer that is late, doubled, replayed, made up, of another service, of another
/// vnode or another life is dropped and counted.
#[test]
fn only_the_right_answer_ends_a_request() {
    let mut cluster = echoing(2);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let cookie = dsp
        .request(mail, life(1, 1), ECHO, &Payload::EMPTY, 1_000)
        .unwrap();
    let right = genuine(3, cookie.0);
    for (from, message) in wrong_answers(right) {
        forge(&cluster, from, 0, message);
        assert_eq!(cluster.turn(0), []);
        assert_eq!(cluster.dsp(0).outstanding(), 1);
    }
    forge(&cluster, 1, 0, right);
    forge(&cluster, 1, 0, right);
    let events = cluster.turn(0);
    assert!(matches!(events[..], [Event::Ended(ended)] if ended.cookie == cookie));
    assert_eq!(cluster.dsp(0).next_ended(u64::MAX), None);
    let counters = cluster.dsp(0).counters(vnode(1));
    assert_eq!((counters.foreign, counters.unmatched), (2, 3));
    assert_eq!((counters.version, counters.malformed), (1, 2));
    assert_eq!(counters.received, 9);
    assert_eq!(cluster.dsp(0).counters(vnode(2)).unmatched, 1);
}

/// DS-32: a time-out ends a request once, and its late answer ends nothing.
#[test]
fn a_late_answer_finds_nothing() {
    let mut cluster = echoing(1);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let cookie = dsp
        .request(mail, life(1, 1), ECHO, &payload(b"?"), 1_000)
        .unwrap();
    assert_eq!(dsp.next_deadline_ns(), Some(1_000));
    assert_eq!(dsp.next_ended(999), None);
    let ended = dsp.next_ended(1_000).unwrap();
    assert_eq!((ended.cookie, ended.outcome), (cookie, Outcome::TimedOut));
    assert_eq!(
        (dsp.next_ended(u64::MAX), dsp.next_deadline_ns()),
        (None, None)
    );
    forge(&cluster, 1, 0, genuine(3, cookie.0));
    assert_eq!(cluster.turn(0), []);
    assert_eq!(cluster.dsp(0).counters(vnode(1)).unmatched, 1);
}

/// Asks vnode 1 by this message, with the right cookie, and returns how that ends.
fn ask_as_another_make_would(cluster: &mut Cluster, change: Message) -> Outcome {
    let Cluster { mail, nodes, .. } = cluster;
    let root = &mut nodes[0].as_mut().unwrap().dsp;
    let cookie = root
        .request(mail, life(1, 1), change.service, &Payload::EMPTY, 1_000)
        .unwrap();
    // The genuine request is replaced by one that a vnode of another make would send.
    let layout = Layout::of(vnode(0), vnode(1));
    let last = mail.load_acquire(layout.head).wrapping_sub(1) % 64;
    let bytes = Message {
        cookie: cookie.0,
        ..change
    }
    .to_bytes();
    mail.write(layout.messages + last as usize * 128, &bytes);
    assert_eq!(cluster.turn(1), []);
    // DS-5: a refusal that was sent while messages were taken is announced like any other.
    assert_eq!(cluster.dsp(1).take_pushed(), 1 << 0);
    let events = cluster.turn(0);
    let [Event::Ended(ended)] = events[..] else {
        panic!("one refusal ends one request");
    };
    ended.outcome
}

/// DS-34, DS-42: a version or a service that the receiver does not have is refused, by one
/// message, and nothing but a request is.
#[test]
fn what_is_not_understood_is_refused_once() {
    let mut cluster = echoing(1);
    for (change, why) in [
        (
            Message {
                version: 2,
                ..genuine(2, 0)
            },
            Refusal::Version(VERSION),
        ),
        (
            Message {
                service: 3,
                ..genuine(2, 0)
            },
            Refusal::Service,
        ),
        (
            Message {
                length: 99,
                ..genuine(2, 0)
            },
            Refusal::Malformed,
        ),
    ] {
        let outcome = ask_as_another_make_would(&mut cluster, change);
        assert_eq!(outcome, Outcome::Refused(why));
    }
    let sent = cluster.dsp(1).counters(vnode(0)).sent;
    for kind in [1, 3, 4, 0, 77] {
        forge(
            &cluster,
            0,
            1,
            Message {
                version: 2,
                ..genuine(kind, 9)
            },
        );
        forge(
            &cluster,
            0,
            1,
            Message {
                service: 3,
                ..genuine(kind, 9)
            },
        );
    }
    cluster.dsp(1).take_pushed();
    assert_eq!((cluster.turn(1), cluster.turn(0)), (vec![], vec![]));
    assert_eq!(cluster.dsp(1).counters(vnode(0)).sent, sent);
    assert_eq!(cluster.dsp(1).take_pushed(), 0);
}

/// DS-35: what goes to the dead fails at once, and what waits for them fails, once each.
#[test]
fn a_death_ends_every_request_to_it_and_no_other() {
    let mut cluster = echoing(2);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let mut ask = |to| {
        dsp.request(mail, life(to, 1), ECHO, &Payload::EMPTY, 9)
            .unwrap()
    };
    let (doomed, other) = ([ask(1), ask(1), ask(1)], ask(2));
    cluster.die(1);
    cluster.look(0);
    let Cluster { mail, nodes, .. } = &mut cluster;
    let dsp = &mut nodes[0].as_mut().unwrap().dsp;
    let again = dsp.request(mail, life(1, 1), ECHO, &Payload::EMPTY, 9);
    assert_eq!(again, Err(SendError::Gone));
    assert_eq!(dsp.next_deadline_ns(), Some(0));
    let mut ended: Vec<_> = std::iter::from_fn(|| dsp.next_ended(0)).collect();
    ended.sort_by_key(|ended| ended.cookie);
    let cookies: Vec<_> = ended.iter().map(|ended| ended.cookie).collect();
    assert_eq!(cookies, doomed);
    assert!(ended.iter().all(|ended| ended.outcome == Outcome::Gone));
    assert_eq!(dsp.next_ended(9).unwrap().cookie, other);
    assert_eq!(dsp.next_ended(9), None);
}

/// DS-50, DS-51: a flood fills its own share of the turns and no more.
#[test]
fn a_flood_neither_starves_others_nor_hangs_the_receiver() {
    let mut cluster = echoing(3);
    let (root, mut quiet_after) = (life(0, 1), 0);
    let flood = |cluster: &mut Cluster, from: usize| {
        let Cluster { mail, nodes, .. } = cluster;
        let dsp = &mut nodes[from].as_mut().unwrap().dsp;
        while dsp.tell(mail, root, ECHO, &Payload::EMPTY).is_ok() {}
    };
    for _ in 0..20 {
        flood(&mut cluster, 1);
        flood(&mut cluster, 2);
        let Cluster { mail, nodes, .. } = &mut cluster;
        let quiet = &mut nodes[3].as_mut().unwrap().dsp;
        quiet.tell(mail, root, ECHO, &payload(b"me")).unwrap();
        let events = cluster.turn(0);
        assert!(events.len() <= TURN as usize);
        let is_quiet =
            |event: &Event| matches!(event, Event::Told { from, .. } if from.vnode == vnode(3));
        let at = events.iter().position(is_quiet).unwrap();
        quiet_after = at.max(quiet_after);
    }
    assert!(quiet_after <= 2 * QUANTUM as usize);
}
