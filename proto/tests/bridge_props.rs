// SPDX-License-Identifier: GPL-2.0

//! The root's table of bridges against a model, and its published entries against readers that
//! come at any moment. Rules of docs/bridges-and-portals.md are cited as BR-n.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

#[path = "support/bridges.rs"]
mod bridges;
#[path = "support/bridge_calls.rs"]
mod calls;
#[path = "support/cells.rs"]
mod cells;
#[path = "support/dying.rs"]
mod dying;

use adeos_proto::bridge::effects::Event;
use adeos_proto::bridge::request::{Request, RequestRecord};
use adeos_proto::bridge::table::Create;
use adeos_proto::bridge::{entry, Access, Error, Follow, Phase, Rights, Vnodes};
use adeos_proto::id::{Generation, Life, PhysRange, VnodeId};
use adeos_proto::window::Window;
use bridges::*;
use calls::any_call;
use cells::Cells;
use dying::Dying;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// BR-1, BR-3, BR-4, BR-20 to BR-78: what the payload says of a vnode makes the asker no other one, and
    /// what is refused leaves all as the model has it.
    #[test]
    fn the_table_does_what_the_model_does(calls in prop::collection::vec(any_call(), 1..120)) {
        let mut world = World::new();
        for call in calls {
            world.run(call);
            world.check();
        }
        world.check_published();
        world.end();
    }

    /// BR-33: whatever bytes a vnode without rights sends, others' bridges are as before.
    #[test]
    fn hostile_bytes_change_nothing_of_others(
        calls in prop::collection::vec(any_call(), 1..60),
        payloads in prop::collection::vec(any_payload(), 1..40),
    ) {
        let mut world = World::new();
        for call in calls {
            world.run(call);
        }
        let attacker = Life { vnode: vnode_id(VNODES), generation: Generation(7) };
        world.table.born(attacker).unwrap();
        let before: Vec<_> = world.table.entries().collect();
        for payload in payloads {
            let Ok(request) = Request::from_record(&RequestRecord::from_bytes(&payload)) else {
                continue;
            };
            let _ = world.table.serve(attacker, &request);
        }
        let mut after = world.table.entries().filter(|entry| !entry.has_user(attacker));
        prop_assert!(after.by_ref().all(|entry| before.contains(&entry)));
        for entry in world.table.entries().filter(|entry| entry.has_user(attacker)) {
            prop_assert!(entry.rights.readers.has(attacker.vnode));
            let old = before.iter().find(|old| old.id == entry.id).unwrap();
            prop_assert_eq!((old.owner, old.range, old.rights), (entry.owner, entry.range, entry.rights));
        }
        prop_assert_eq!(before.len(), world.table.entries().count());
        let usage = world.table.usage(attacker.vnode);
        prop_assert!(usage.bridges <= SLOTS as u16);
    }

    /// BR-50 to BR-52: under any interleaving a reader has a whole entry, old or new, or none.
    #[test]
    fn a_reader_never_sees_a_torn_entry(
        numbers in prop::collection::vec(1..200u32, 1..5),
        schedule in prop::collection::vec(0..20usize, 0..200),
    ) {
        let memory = Cells::new(entry::SIZE);
        entry::format(&memory);
        let records: Vec<_> = numbers.iter().map(|number| uniform_entry(*number)).collect();
        let recorder = Recorder::new(&memory);
        let mut sequence = 0;
        for record in &records {
            sequence = entry::write(&recorder, 3, &record.to_record(), sequence);
        }
        let reader = Interleaved::new(&memory, recorder.stores(), schedule);
        match entry::read(&reader, 3) {
            Ok(Some(found)) => prop_assert!(records.contains(&found), "torn: {found:?}"),
            Ok(None) => {}
            Err(error) => prop_assert_eq!(error, entry::ReadError::Busy),
        }
    }

    /// BR-51: a writer that dies midway leaves an entry that nobody takes for whole; one that
    /// goes on, in spite of what others have scribbled there, mends it.
    #[test]
    fn a_writer_that_dies_leaves_old_or_new_or_nothing(
        stores in 0..40usize, scribble in any::<u64>()
    ) {
        let memory = Cells::new(entry::SIZE);
        entry::format(&memory);
        let (old, new) = (uniform_entry(1), uniform_entry(2));
        let sequence = entry::write(&memory, 3, &old.to_record(), 0);
        entry::write(&Dying::new(&memory, stores), 3, &new.to_record(), sequence);
        let right = match stores {
            0 => Ok(Some(old)),
            1..33 => Err(entry::ReadError::Busy),
            _ => Ok(Some(new)),
        };
        prop_assert_eq!(entry::read(&memory, 3), right);
        scribble_over(&memory, 3, scribble);
        entry::write(&memory, 3, &new.to_record(), sequence);
        prop_assert_eq!(entry::read(&memory, 3), Ok(Some(new)));
    }

    /// BR-10, BR-52: random bytes are refused, or are an entry that makes sense; nothing panics.
    #[test]
    fn random_entries_are_checked(words in prop::collection::vec(any::<u64>(), 32)) {
        let memory = Cells::new(entry::SIZE);
        prop_assert!(!entry::is_sound(&memory));
        entry::format(&memory);
        prop_assert!(entry::is_sound(&memory));
        scribble_all(&memory, 3, &words);
        if let Ok(Some(found)) = entry::read(&memory, 3) {
            prop_assert!(found.range.size() % GRANULE == 0 && found.id.serial != 0);
        }
        prop_assert_eq!(entry::read(&memory, 256), Err(entry::ReadError::Index));
    }
}

/// BR-2: what is stored goes to a window that is not for reading.
#[test]
fn br_2_the_root_reads_nothing_of_what_it_publishes() {
    let mut world = World::new();
    world.shared();
    let registry = Recorder::new(&world.memory);
    world.table.publish(&registry);
    world.table.mend();
    world.table.publish(&registry);
    assert!(!registry.stores().is_empty());
}

#[test]
fn br_10_a_bridge_is_whole_granules() {
    let mut world = World::new();
    let owner = world.model.current(1).unwrap();
    let mut create = Create {
        key: uniform_entry(1).key,
        size: 0,
        rights: uniform_entry(1).rights,
        follow: Follow::Moves,
    };
    for size in [0, 1, GRANULE / 2, GRANULE + 4096, u64::MAX] {
        create.size = size;
        assert_eq!(world.table.reserve(owner, &create), Err(Error::Size));
    }
    create.size = GRANULE;
    let id = world.table.reserve(owner, &create).unwrap();
    let beside = PhysRange::new(GRANULE / 2, GRANULE).unwrap();
    assert_eq!(world.table.provide(id, beside), Err(Error::Size));
    assert_eq!(world.table.provide(id, range(1, 1)), Ok(()));
}

#[test]
fn br_71_nobody_maps_a_frozen_bridge_and_the_last_agreement_freezes_it() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    assert_eq!(world.table.freeze(id, 10, 100), Ok(Phase::Freezing));
    assert_eq!(world.table.map(user, id), Err(Error::Moving));
    assert_eq!(world.table.agree(owner, id, 1), Ok(()));
    assert_eq!(world.table.phase(id), Ok(Phase::Freezing));
    assert_eq!(world.table.agree(user, id, 0), Err(Error::Stale));
    assert_eq!(world.table.agree(user, id, 1), Ok(()));
    assert_eq!(world.table.phase(id), Ok(Phase::Frozen));
    world.table.expire(u64::MAX);
    assert_eq!(world.table.moved(id, range(20, 1), 60), Ok(()));
    assert_eq!(world.table.counters().longest_freeze_us, 50);
    assert_eq!(world.table.map(user, id).unwrap().range, range(20, 1));
}

#[test]
fn br_75_who_does_not_answer_pins_the_bridge_until_it_is_gone() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    world.table.freeze(id, 10, 100).unwrap();
    world.table.agree(owner, id, 1).unwrap();
    world.table.expire(109);
    assert_eq!(world.table.phase(id), Ok(Phase::Freezing));
    world.table.expire(110);
    assert_eq!(world.table.phase(id), Ok(Phase::Settled));
    let shown = world.table.entries().next().unwrap();
    assert_eq!(shown.pinned_by, Vnodes::NONE.with(user.vnode));
    assert_eq!(world.table.freeze(id, 200, 1), Err(Error::Pinned));
    world.table.died(user);
    assert_eq!(world.table.freeze(id, 200, 1), Ok(Phase::Freezing));
}

#[test]
fn br_78_a_frozen_bridge_that_goes_is_not_reclaimed_before_the_mover_lets_go() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    world.table.freeze(id, 10, 100).unwrap();
    world.table.agree(owner, id, 1).unwrap();
    world.table.agree(user, id, 1).unwrap();
    world.table.close(owner, id).unwrap();
    world.table.died(user);
    world.table.publish(&world.memory);
    assert_eq!(world.table.reclaim(), None);
    assert_eq!(world.table.moved(id, range(20, 1), 60), Err(Error::Unknown));
    assert_eq!(world.table.reclaim(), Some(range(0, 1)));
    assert_eq!(world.table.reclaim(), None);
}

#[test]
fn br_34_a_label_is_published_and_stays_when_the_owner_dies() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    let published = |world: &mut World| {
        world.table.publish(&world.memory);
        entry::read(&world.memory, id.index)
            .unwrap()
            .unwrap()
            .rights
    };
    let rights = published(&mut world);
    assert_eq!(rights, uniform_entry(1).rights);

    let label = [u64::MAX, 7];
    let renamed = Rights { label, ..rights };
    assert_eq!(world.table.protect(user, id, renamed), Err(Error::Denied));
    assert_eq!(published(&mut world), rights);
    assert_eq!(world.table.protect(owner, id, renamed), Ok(()));
    assert_eq!(published(&mut world), renamed);
    world.table.died(owner);
    assert_eq!(published(&mut world), renamed);
}

/// BR-51, BR-55: a registry that somebody has written over, as far as the table goes, is mended.
#[test]
fn br_51_what_was_scribbled_over_the_registry_is_mended() {
    let mut world = World::new();
    let (id, ..) = world.shared();
    let scribble = [0xa5; entry::ENTRIES + SLOTS * entry::ENTRY_SIZE];
    for _ in 0..2 {
        world.table.publish(&world.memory);
        let shown = entry::read(&world.memory, id.index);
        let pool = || [range(0, 9)].into_iter();
        entry::set_pool(&world.memory, pool());

        world.memory.write(0, &scribble);
        entry::write_header(&world.memory);
        entry::set_pool(&world.memory, pool());
        world.table.mend();
        world.table.publish(&world.memory);

        assert!(entry::is_sound(&world.memory));
        assert_eq!(entry::read(&world.memory, id.index), shown);
        assert_eq!(entry::pool(&world.memory)[..2], [Some(range(0, 9)), None]);
        let mut others = (0..SLOTS as u16).filter(|index| *index != id.index);
        assert!(others.all(|index| entry::read(&world.memory, index) == Ok(None)));
        let mut entries = vec![0; SLOTS * entry::ENTRY_SIZE];
        world.memory.read(entry::ENTRIES, &mut entries);
        assert!(!entries.contains(&0xa5));
    }
    assert_eq!(
        world.table.next_event(Vnodes::ALL),
        None,
        "nothing has changed"
    );
}

#[test]
fn br_62_an_owners_death_is_an_event_to_every_user() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    world.table.publish(&world.memory);
    world.table.died(owner);
    assert_eq!(world.table.next_event(Vnodes::ALL), None);
    world.table.publish(&world.memory);
    let event = Event { to: user.vnode, id };
    assert_eq!(world.table.next_event(Vnodes::ALL), Some(event));
    assert_eq!(world.table.next_event(Vnodes::ALL), None);
    let shown = entry::read(&world.memory, id.index).unwrap().unwrap();
    assert!(shown.is_orphan && shown.has_user(user) && !shown.has_user(owner));
    assert_eq!(entry::changes(&world.memory), 2);
    assert_eq!(shown.mapped, Vnodes::NONE.with(VnodeId::new(2).unwrap()));
}

#[test]
fn br_58_who_cannot_be_told_now_is_told_later_and_holds_up_nobody() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    world.table.freeze(id, 10, 100).unwrap();
    world.table.publish(&world.memory);
    let first = world.table.next_event(Vnodes::ALL).unwrap();
    assert_eq!(
        first,
        Event {
            to: owner.vnode,
            id
        }
    );
    world.table.untold(first);
    let others = Vnodes::ALL.without(owner.vnode);
    let event = Event { to: user.vnode, id };
    assert_eq!(world.table.next_event(others), Some(event));
    assert_eq!(world.table.next_event(others), None);
    assert_eq!(world.table.next_event(Vnodes::ALL), Some(first));
    // Whoever has gone meanwhile is told nothing.
    world.table.untold(first);
    world.table.close(owner, id).unwrap();
    world.table.untold(first);
    world.table.publish(&world.memory);
    assert_eq!(world.table.next_event(Vnodes::ALL), None);
}

#[test]
fn br_60_births_and_deaths_are_found_by_who_lives() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    let again = Life {
        generation: Generation(owner.generation.0 + 1),
        ..owner
    };
    let lives = |vnode| match vnode {
        vnode if vnode == owner.vnode => Some(again),
        vnode if vnode == user.vnode => Some(user),
        _ => None,
    };
    world.table.live_now(lives);
    let shown = world.table.entries().next().unwrap();
    assert!(shown.is_orphan && shown.has_user(user) && !shown.has_user(owner));
    assert_eq!(world.table.adopt(owner, id), Err(Error::Dead));
    assert_eq!(world.table.adopt(again, id), Ok(()));
    // A view that is late brings nobody back.
    world
        .table
        .live_now(|vnode| (vnode == owner.vnode).then_some(owner));
    assert_eq!(world.table.adopt(owner, id), Err(Error::Dead));
    assert_eq!(world.table.entries().count(), 0);
}

#[test]
fn br_42_the_registry_says_where_bridges_can_be() {
    let memory = Cells::new(entry::SIZE);
    entry::format(&memory);
    assert_eq!(entry::pool(&memory), [None; entry::POOL_RANGES]);
    entry::set_pool(&memory, (0..20).map(|first| range(first * 2, 1)));
    assert_eq!(entry::pool(&memory)[0], Some(range(0, 1)));
    assert_eq!(entry::pool(&memory)[7], Some(range(14, 1)));
    // The first entry begins behind it.
    assert_eq!(entry::read(&memory, 0), Ok(None));
}

/// BR-46 to BR-48: what nobody has mapped gets another size, and counts for it; nobody maps it meanwhile.
#[test]
fn br_46_a_bridge_that_nobody_has_mapped_gets_another_size() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    let table = &mut world.table;
    let twice = 2 * GRANULE;
    assert_eq!(
        table.check_resize(owner, id, twice),
        Err(Error::Pinned),
        "it is mapped"
    );
    table.unmap(owner, id).unwrap();
    assert_eq!(table.check_resize(owner, id, twice), Err(Error::Pinned));
    table.unmap(user, id).unwrap();
    assert_eq!(table.check_resize(user, id, twice), Err(Error::Denied));
    assert_eq!(table.check_resize(owner, id, twice + 1), Err(Error::Size));
    table.set_quota(owner.vnode, quota(1, 1));
    assert_eq!(table.check_resize(owner, id, twice), Err(Error::Quota));
    table.set_quota(owner.vnode, quota(1, 2));
    assert_eq!(
        table.begin_resizing(owner, id, twice, 5),
        Ok(range(0, 1)),
        "where it is now"
    );
    assert_eq!(table.usage(owner.vnode).bytes, twice);
    assert_eq!(table.map(user, id), Err(Error::Moving));
    assert_eq!(table.moved(id, range(4, 1), 6), Err(Error::Stale));
    assert_eq!(table.resized(id, range(4, 1), 6), Err(Error::Size));
    assert_eq!(table.resized(id, range(4, 2), 6), Ok(()));
    let grant = table.map(user, id).unwrap();
    assert_eq!((grant.range, grant.place), (range(4, 2), 1));
    table.publish(&world.memory);
    assert_eq!(table.reclaim(), Some(range(0, 1)));
    table.unmap(user, id).unwrap();
    // A lower quota takes nothing away.
    table.set_quota(owner.vnode, quota(0, 0));
    assert_eq!(table.check_resize(owner, id, GRANULE), Ok(()));
    assert_eq!(table.check_resize(owner, id, twice), Ok(()));
    assert_eq!(
        table.check_resize(owner, id, twice + GRANULE),
        Err(Error::Quota)
    );
    // It does not work out.
    table.begin_resizing(owner, id, GRANULE, 7).unwrap();
    assert_eq!(table.thaw(id, 8), Ok(()));
    assert_eq!(table.map(user, id).unwrap().range, range(4, 2));
    assert_eq!(table.resized(id, range(8, 1), 9), Err(Error::Stale));
}

#[test]
fn br_70_only_what_nothing_holds_up_can_move() {
    let mut world = World::new();
    let (id, owner, _) = world.shared();
    assert_eq!(world.table.at(range(0, 1)), Some(id));
    assert_eq!(world.table.at(range(0, 2)), None);
    assert!(world.table.can_move(id));
    world.table.freeze(id, 10, 100).unwrap();
    assert!(!world.table.can_move(id));
    world.table.refuse(owner, id, 1).unwrap();
    assert!(!world.table.can_move(id));
    world.table.close(owner, id).unwrap();
    assert!(world.table.can_move(id));
}

#[test]
fn br_32_rights_are_checked_again_when_a_bridge_is_mapped() {
    let mut world = World::new();
    let (id, owner, user) = world.shared();
    let rights = Rights {
        writers: Vnodes::NONE,
        ..uniform_entry(1).rights
    };
    assert_eq!(world.table.protect(user, id, rights), Err(Error::Denied));
    assert_eq!(world.table.protect(owner, id, rights), Ok(()));
    assert_eq!(world.table.map(user, id), Err(Error::Denied));
    assert_eq!(world.table.map(owner, id).unwrap().access, Access::Write);
    assert_eq!(world.table.entries().next().unwrap().mapped, Vnodes(0b110));
}

#[test]
fn br_77_no_two_bridges_share_memory_whatever_the_pool_says() {
    let mut world = World::new();
    let (id, owner, _) = world.shared();
    let create = Create {
        key: uniform_entry(2).key,
        size: 2 * GRANULE,
        rights: uniform_entry(2).rights,
        follow: Follow::Moves,
    };
    let other = world.table.reserve(owner, &create).unwrap();
    assert_eq!(world.table.provide(other, range(0, 2)), Err(Error::Overlap));
    assert_eq!(world.table.provide(other, range(4, 1)), Err(Error::Size));
    assert_eq!(world.table.provide(other, range(4, 2)), Ok(()));
    world.table.unmap(owner, id).unwrap();
    world.table.freeze(id, 0, 1).unwrap();
    assert_eq!(world.table.moved(id, range(9, 1), 0), Err(Error::Stale));
    let second = world.model.current(2).unwrap();
    world.table.agree(second, id, 1).unwrap();
    for taken in [0, 4, 5] {
        let to = range(taken, 1);
        assert_eq!(world.table.moved(id, to, 0), Err(Error::Overlap));
    }
    assert_eq!(world.table.moved(id, range(9, 1), 0), Ok(()));
    assert_eq!(world.table.freeze(id, 0, 1), Err(Error::Moving));
}

#[test]
fn br_40_a_vnode_that_dies_again_and_again_gets_no_more() {
    let mut world = World::new();
    let (_, _, user) = world.shared();
    world.table.set_quota(vnode_id(1), quota(2, 100));
    world.die(1);
    let life = world.born_again(1);
    let mut create = Create {
        key: uniform_entry(2).key,
        size: GRANULE,
        rights: uniform_entry(2).rights,
        follow: Follow::Moves,
    };
    assert!(world.table.reserve(life, &create).is_ok());
    create.key = uniform_entry(3).key;
    assert_eq!(world.table.reserve(life, &create), Err(Error::Quota));
    world.table.died(user);
    assert_eq!(world.table.reserve(life, &create), Err(Error::Quota));
    world.table.publish(&world.memory);
    assert_eq!(world.table.reclaim(), Some(range(0, 1)));
    assert!(world.table.reserve(life, &create).is_ok());
}
