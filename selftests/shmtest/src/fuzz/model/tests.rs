// SPDX-License-Identifier: GPL-2.0

//! The model against what docs/bridge-shm.md says, rule by rule.

use super::*;
use crate::fuzz::field::{Area, Map, Part, PAGE};
use fuzzing::{Allowed, Spot};
use libc::{
    EACCES, EAGAIN, EBADF, EDQUOT, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM, ENOSPC, ENOTTY,
    EOPNOTSUPP, EOVERFLOW, EOWNERDEAD, EPERM, ETIMEDOUT,
};

const GRANULE: u64 = 2 << 20;
const SHARED: i32 = libc::MAP_SHARED;
const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn world(is_admin: bool, vnode: u32) -> World {
    let number = if is_admin { 0 } else { 1000 };
    World {
        user: number,
        group: number,
        is_admin,
        vnode,
    }
}

fn model(is_admin: bool) -> Model {
    Model::new(3, 1, world(is_admin, 1))
}

fn region(scope: u32, vnode: u32, name: &str) -> abi::Region {
    abi::Region {
        size: abi::Region::SIZE as u32,
        access: 2,
        scope,
        vnode,
        bytes: GRANULE,
        mode: 0o600,
        name: record::set_text(name),
        ..Default::default()
    }
}

/// That of the thread's own.
fn own() -> abi::Region {
    region(1, 0, &own_names(3, 1)[0])
}

fn asks(model: &Model, number: u32, record: &[u8]) -> Allowed {
    model.allowed(To::Device, number, record, Spot::Mapped)
}

fn creates(model: &Model, record: abi::Region) -> Allowed {
    asks(model, abi::SHM_CREATE, &record.to_bytes())
}

fn opens(model: &Model, record: abi::Region) -> Allowed {
    let record = abi::Region {
        bytes: 0,
        mode: 0,
        ..record
    };
    asks(model, abi::SHM_OPEN, &record.to_bytes())
}

/// An answer that there is no other than.
fn only(allowed: &Allowed) -> i32 {
    match allowed.errors.as_slice() {
        [] if allowed.success => 0,
        [error] if !allowed.success => *error,
        _ => panic!("{allowed:?}"),
    }
}

/// Makes the thread's own region, and opens it: the number of the file's inode.
fn make(model: &mut Model, inode: u64, can_write: bool) -> u64 {
    let (key, which) = (model.key(&own()).unwrap(), Which::Own(0));
    if model.own(which).is_none() {
        model.made(which, &own());
    }
    let stat = abi::Stat {
        bytes: GRANULE,
        token: 0x400_0000 | inode as u32,
        ..Default::default()
    };
    model.opened(inode, key, can_write, &stat);
    inode
}

fn of_file(model: &Model, inode: u64, number: u32, record: &[u8]) -> Allowed {
    let open = &model.files[&inode];
    model.allowed(To::File(open), number, record, Spot::Mapped)
}

#[test]
fn sh_1_a_record_that_makes_no_sense_is_refused_and_nothing_else() {
    let model = model(true);
    assert!(creates(&model, region(1, 0, "fuzz.a")).success);
    let wrong = [
        abi::Region { size: 79, ..own() },
        abi::Region { access: 3, ..own() },
        abi::Region { scope: 3, ..own() },
        abi::Region { vnode: 1, ..own() },
        abi::Region {
            mode: 0o700,
            ..own()
        },
        abi::Region {
            readers: 1 << 16,
            ..own()
        },
        abi::Region {
            reserved: 1,
            ..own()
        },
        abi::Region {
            reserved2: 1,
            ..own()
        },
        region(2, 16, "fuzz.a"),
        region(1, 0, ""),
        region(1, 0, "a/b"),
        region(1, 0, "abcdefghijklmnopqrstuvwxyz01"),
        abi::Region {
            name: [b'a'; 32],
            ..own()
        },
    ];
    for record in wrong {
        assert_eq!(only(&creates(&model, record)), EINVAL, "{record:?}");
        // To open, nothing but zero is a mode.
        let mode = record.mode & 0o100;
        let opened = abi::Region {
            bytes: 0,
            mode,
            ..record
        };
        let allowed = asks(&model, abi::SHM_OPEN, &opened.to_bytes());
        assert_eq!(only(&allowed), EINVAL, "{record:?}");
    }
    let more = abi::Region { bytes: 1, ..own() };
    assert_eq!(only(&asks(&model, abi::SHM_OPEN, &more.to_bytes())), EINVAL);
    let bytes = own().to_bytes();
    for spot in [Spot::Nowhere(0), Spot::Partly(79)] {
        assert_eq!(
            only(&model.allowed(To::Device, abi::SHM_CREATE, &bytes, spot)),
            EFAULT
        );
    }
    assert_eq!(
        only(&model.allowed(To::Nobody, abi::SHM_CREATE, &bytes, Spot::Mapped)),
        EBADF
    );
    assert_eq!(only(&asks(&model, abi::SHM_STAT, &[0; 184])), ENOTTY);
    assert_eq!(only(&asks(&model, abi::SHM_OPEN + 1, &bytes)), ENOTTY);
}

#[test]
fn what_only_the_thread_knows_is_there_or_it_is_not() {
    let mut model = model(false);
    assert_eq!(only(&opens(&model, own())), ENOENT);
    let may_fail = [EDQUOT, ENOSPC, ENOMEM];
    let allowed = creates(&model, own());
    assert!(allowed.success && allowed.errors == may_fail);
    let file = make(&mut model, 7, true);
    let allowed = creates(&model, own());
    assert!(!allowed.success && allowed.has(EEXIST) && !allowed.has(EACCES));
    assert_eq!(only(&opens(&model, own())), 0);
    // In another scope it is another one, of which nothing is known.
    assert!(opens(&model, region(2, 1, &own_names(3, 1)[0])).has(ENOENT));
    assert_eq!(model.released(file), 0);
    assert_eq!(only(&opens(&model, own())), ENOENT);
}

#[test]
fn a_size_is_whole_or_refused_and_a_name_is_its_vnodes() {
    for bytes in [0, 1, GRANULE - 1, GRANULE + 4096, u64::MAX, 1 << 62] {
        let record = abi::Region { bytes, ..own() };
        let allowed = creates(&model(true), record);
        assert!(!allowed.success && allowed.has(EINVAL), "{bytes}");
    }
    let (mine, anothers) = (region(2, 1, "fuzz.l"), region(2, 2, "fuzz.l"));
    assert!(creates(&model(true), mine).success);
    let allowed = creates(&model(true), anothers);
    assert!(!allowed.success && allowed.has(EACCES));
    let root = Model::new(3, 1, world(true, 0));
    assert!(creates(&root, anothers).success);
}

#[test]
fn sh_6_who_reads_wakes_nobody() {
    let mut model = model(true);
    let (writer, reader) = (make(&mut model, 7, true), make(&mut model, 8, false));
    let word = abi::Word {
        size: abi::Word::SIZE as u32,
        ..Default::default()
    };
    let guard = abi::Guard {
        size: abi::Guard::SIZE as u32,
        ..Default::default()
    };
    let calls: [(u32, &[u8]); 3] = [
        (abi::SHM_NOTIFY, &[]),
        (abi::SHM_WAKE_WORD, &word.to_bytes()),
        (abi::SHM_GUARD, &guard.to_bytes()),
    ];
    for (number, record) in calls {
        assert_eq!(only(&of_file(&model, writer, number, record)), 0);
        assert_eq!(only(&of_file(&model, reader, number, record)), EBADF);
    }
}

#[test]
fn sh_14_a_user_gives_nothing_away() {
    let protect = |user, group, mode| abi::Protect {
        size: abi::Protect::SIZE as u32,
        mode,
        user,
        group,
        ..Default::default()
    };
    for is_admin in [false, true] {
        let mut model = model(is_admin);
        let file = make(&mut model, 7, true);
        let says = |model: &Model, record: abi::Protect| {
            only(&of_file(model, file, abi::SHM_PROTECT, &record.to_bytes()))
        };
        let refused = if is_admin { 0 } else { EPERM };
        let number = model.world.user;
        assert_eq!(says(&model, protect(number, number, 0o666)), 0);
        assert_eq!(says(&model, protect(5, number, 0o600)), refused);
        assert_eq!(says(&model, protect(number, 5, 0o600)), refused);
        assert_eq!(says(&model, protect(5, 5, 0o100)), EINVAL);
        // SH-11: what is said then holds for the thread as well.
        model.protected(Which::Own(0), &protect(number, number, 0o400));
        let wanted = if is_admin { 0 } else { EACCES };
        assert_eq!(only(&opens(&model, own())), wanted);
        let reads = abi::Region { access: 1, ..own() };
        assert_eq!(only(&opens(&model, reads)), 0);
        let allowed = model.map(Some(&model.files[&file]), Some(0), &shared(PAGE, 0, BOTH));
        assert_eq!(only(&allowed), wanted);
    }
}

#[test]
fn sh_5_notices_are_counted() {
    let mut model = model(false);
    let (first, second) = (make(&mut model, 7, true), make(&mut model, 8, false));
    let wait = |model: &Model, seen| {
        let record = abi::Wait {
            size: abi::Wait::SIZE as u32,
            seen,
            ..Default::default()
        };
        of_file(model, second, abi::SHM_WAIT, &record.to_bytes())
    };
    assert!(wait(&model, 5).success && wait(&model, 5).has(ETIMEDOUT));
    model.own_mut(Which::Own(0)).unwrap().notices = Some(5);
    assert_eq!(wait(&model, 5).errors, [ETIMEDOUT, EOWNERDEAD]);
    assert!(!wait(&model, 5).success);
    assert_eq!(only(&wait(&model, 4)), 0);
    model.notified(Which::Own(0));
    assert_eq!(only(&wait(&model, 5)), 0);
    assert!(!wait(&model, 6).success);
    assert_eq!(
        [first, second].map(|file| model.files[&file].unread),
        [1, 1]
    );
    let word = abi::Word {
        size: abi::Word::SIZE as u32,
        offset: 8,
        value: 3,
        timeout_ms: 0,
    };
    let waits = |model: &Model, offset| {
        let record = abi::Word { offset, ..word };
        of_file(model, second, abi::SHM_WAIT_WORD, &record.to_bytes())
    };
    assert!(waits(&model, 8).has(EAGAIN) && !waits(&model, 8).has(ETIMEDOUT));
    model.stored_lock(Which::Own(0), 8, 3);
    assert!(waits(&model, 8).has(ETIMEDOUT) && !waits(&model, 8).has(EAGAIN));
    for offset in [9, GRANULE, GRANULE - 2, u64::MAX - 3] {
        assert_eq!(only(&waits(&model, offset)), EINVAL);
    }
}

#[test]
fn sh_61_the_locks_of_a_file_are_freed_with_it_and_no_others() {
    let mut model = model(false);
    let (dies, lives) = (make(&mut model, 7, true), make(&mut model, 8, true));
    let token = |model: &Model, file: u64| model.files[&file].token;
    let which = Which::Own(0);
    for (offset, file) in [(0, dies), (4, dies), (8, dies), (12, lives)] {
        let word = token(&model, file) | WAITERS;
        model.stored_lock(which, offset, word);
    }
    for offset in [0, 8, 12] {
        model.guarded(dies, offset);
    }
    model.stored_lock(which, 8, 0);
    assert_eq!(model.released(dies), 1);
    let words = [0, 4, 8, 12].map(|offset| model.lock(which, offset).unwrap());
    let (left, kept) = (0x400_0007 | WAITERS, token(&model, lives) | WAITERS);
    assert_eq!(words, [DIED | WAITERS, left, 0, kept]);
    assert!(model.check_lock(which, 0, DIED | WAITERS).is_ok());
    assert!(model.check_lock(which, 0, left).is_err());
    assert_eq!(model.released(lives), 0);
    assert!(model.own(which).is_none());
}

#[test]
fn sh_61_so_many_locks_are_guarded_and_no_more() {
    let mut model = model(false);
    let file = make(&mut model, 7, true);
    let asks = |model: &Model, offset| {
        let record = abi::Guard {
            size: abi::Guard::SIZE as u32,
            reserved: 0,
            offset,
        };
        only(&of_file(model, file, abi::SHM_GUARD, &record.to_bytes()))
    };
    for at in 0..abi::MAX_GUARDS as u64 {
        assert_eq!(asks(&model, 4 * at), 0);
        model.guarded(file, 4 * at);
    }
    assert_eq!((asks(&model, 4), asks(&model, 4096)), (0, ENOSPC));
    assert_eq!(asks(&model, 2), EINVAL);
}

#[test]
fn sh_22_what_is_kept_stays() {
    let keep = |model: &Model, keep| {
        let record = abi::Keep {
            size: abi::Keep::SIZE as u32,
            keep,
        };
        only(&of_file(model, 7, abi::SHM_KEEP, &record.to_bytes()))
    };
    let mut poor = model(false);
    make(&mut poor, 7, true);
    assert_eq!([0, 1, 2].map(|it| keep(&poor, it)), [EPERM; 3]);
    let mut model = model(true);
    make(&mut model, 7, true);
    assert_eq!([0, 1, 2].map(|it| keep(&model, it)), [ENOENT, 0, EINVAL]);
    model.own_mut(Which::Own(0)).unwrap().is_kept = true;
    assert_eq!([0, 1, 2].map(|it| keep(&model, it)), [0, 0, EINVAL]);
    model.released(7);
    assert_eq!(only(&opens(&model, own())), 0);
    model.not_kept(Which::Own(0));
    assert_eq!(only(&opens(&model, own())), ENOENT);
}

#[test]
fn numbers_in_regions_tell_where_they_belong() {
    let mut model = model(false);
    make(&mut model, 7, true);
    let mine = Which::Own(0);
    assert!(model.check_number(mine, PAGE, 0).is_ok());
    let number = mark(mine, u64::MAX);
    assert!(model.check_number(mine, PAGE, number).is_err());
    model.stored(mine, PAGE, number);
    assert!(model.check_number(mine, PAGE, number).is_ok());
    assert!(model.check_number(mine, PAGE, 0).is_err());
    // The names that all use have marks that differ, and none of them is taken for a lock.
    let mut names = vec![region(1, 0, "fuzz.a"), region(1, 0, "fuzz.b")];
    names.extend([region(1, 0, "fuzz.c"), region(1, 0, "fuzz.d")]);
    names.extend((0..16).map(|vnode| region(2, vnode, "fuzz.l")));
    let all: Vec<_> = names
        .iter()
        .map(|record| model.which(&model.key(record).unwrap()))
        .chain([mine, Which::Own(1)])
        .collect();
    for (at, which) in all.iter().enumerate() {
        let number = mark(*which, 0x1234_5678_9abc_def0);
        for half in [number as u32, (number >> 32) as u32] {
            assert_eq!(half & HOLDER >> 26 << 26, 0x3c00_0000 & HOLDER);
        }
        let fits = |other: &Which| number == mark(*other, number);
        assert_eq!(all.iter().filter(|other| fits(other)).count(), 1, "{at}");
        let shared = matches!(which, Which::Shared(_));
        assert!(!shared || model.check_number(*which, PAGE, number).is_ok());
        assert!(!shared || model.check_number(*which, PAGE, 5).is_err());
    }
}

fn shared(length: u64, offset: u64, rights: i32) -> Map {
    Map {
        page: Some(0),
        shift: 0,
        length,
        rights: rights as u32,
        flags: SHARED as u32,
        offset,
    }
}

#[test]
fn sh_30_a_mapping_is_shared_in_the_region_and_not_code() {
    let mut model = model(false);
    let (writer, reader) = (make(&mut model, 7, true), make(&mut model, 8, false));
    let maps = |file: u64, map: Map| only(&model.map(Some(&model.files[&file]), Some(0), &map));
    let flags = |flags: i32| Map {
        flags: flags as u32,
        ..shared(PAGE, 0, BOTH)
    };
    assert_eq!(maps(writer, shared(GRANULE, 0, BOTH)), 0);
    assert_eq!(maps(writer, shared(1, GRANULE - PAGE, BOTH)), 0);
    assert_eq!(maps(reader, shared(PAGE, 0, libc::PROT_READ)), 0);
    assert_eq!(maps(reader, shared(PAGE, 0, BOTH)), EACCES);
    assert_eq!(maps(writer, shared(PAGE, 0, BOTH | libc::PROT_EXEC)), EPERM);
    assert_eq!(maps(writer, flags(libc::MAP_PRIVATE)), EINVAL);
    assert_eq!(maps(writer, flags(0)), EINVAL);
    assert_eq!(maps(writer, flags(libc::MAP_SHARED_VALIDATE)), 0);
    let sync = libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC;
    assert_eq!(maps(writer, flags(sync)), EOPNOTSUPP);
    assert_eq!(maps(writer, shared(GRANULE + 1, 0, BOTH)), EINVAL);
    assert_eq!(maps(writer, shared(PAGE, GRANULE, BOTH)), EINVAL);
    assert_eq!(maps(writer, shared(PAGE, 1, BOTH)), EINVAL);
    assert_eq!(
        maps(writer, shared(PAGE, u64::MAX - PAGE + 1, BOTH)),
        EOVERFLOW
    );
    assert_eq!(maps(writer, shared(u64::MAX, 0, BOTH)), ENOMEM);
    assert_eq!(maps(writer, shared(0, 0, BOTH)), EINVAL);
    assert_eq!(
        only(&model.map(None, Some(0), &shared(PAGE, 0, BOTH))),
        EBADF
    );
}

fn area(from: u64, to: u64, inode: u64, may_write: bool) -> Area {
    Area {
        place: from * PAGE..to * PAGE,
        may_read: true,
        may_write,
        may_run: false,
        is_shared: true,
        offset: 0,
        inode,
    }
}

#[test]
fn sh_30_no_call_makes_more_of_a_mapping() {
    let mut model = model(false);
    let (writer, reader) = (make(&mut model, 7, true), make(&mut model, 8, false));
    let areas = [
        area(2, 4, writer, true),
        area(4, 6, reader, false),
        area(8, 9, writer, true),
    ];
    assert!(areas.iter().all(|area| model.check_area(area).is_ok()));
    let wrong = [
        area(2, 4, 9, true),
        area(2, 4, reader, true),
        area(2, 3 + GRANULE / PAGE, writer, true),
        Area {
            may_run: true,
            ..area(2, 4, writer, true)
        },
        Area {
            is_shared: false,
            ..area(2, 4, writer, true)
        },
        Area {
            offset: GRANULE - PAGE,
            ..area(2, 4, writer, true)
        },
    ];
    assert!(wrong.iter().all(|area| model.check_area(area).is_err()));

    let mapped = |page: u64, pages: u64| Mapped {
        areas: &areas,
        start: page * PAGE,
        part: Part {
            page,
            length: pages * PAGE,
            shift: 0,
        },
    };
    let protects =
        |page, pages, rights: i32| only(&model.protect_area(&mapped(page, pages), rights as u32));
    assert_eq!(protects(2, 4, libc::PROT_READ), 0);
    assert_eq!(protects(2, 2, BOTH), 0);
    assert_eq!(protects(2, 3, BOTH), EACCES);
    assert_eq!(protects(2, 1, libc::PROT_EXEC), EACCES);
    assert_eq!(
        [protects(1, 2, 0), protects(4, 5, 0), protects(6, 1, 0)],
        [ENOMEM; 3]
    );
    assert_eq!(protects(2, 2, 0x40), EINVAL);

    let advised = |page, pages, advice| mapped(page, pages).advise(advice);
    for advice in [libc::MADV_DONTNEED, libc::MADV_FREE, libc::MADV_REMOVE, 102] {
        assert!(!advised(2, 1, advice).success && !advised(6, 1, advice).success);
    }
    assert_eq!(only(&advised(2, 4, libc::MADV_DONTFORK)), 0);
    assert_eq!(only(&advised(2, 5, libc::MADV_DONTFORK)), ENOMEM);

    let (may, fixed) = (
        libc::MREMAP_MAYMOVE,
        libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
    );
    let moves = |pages: u64, to: u64, flags: i32| mapped(2, pages).remap(to * PAGE, flags as u32);
    assert!(moves(2, 2, fixed).success && moves(2, 1, may).success);
    // Neither to grow, nor to double, nor to leave it where it was.
    assert!(!moves(2, 3, may).success && !moves(0, 2, may).success);
    assert!(!moves(2, 2, fixed | libc::MREMAP_DONTUNMAP).success);
    assert_eq!(only(&moves(2, 0, may)), EINVAL);
    assert_eq!(only(&mapped(2, 0).unmap()), EINVAL);
    assert_eq!(only(&mapped(0, 9).unmap()), 0);
}

#[test]
fn what_is_told_of_a_region_is_checked() {
    let mut model = model(false);
    let (file, other) = (make(&mut model, 7, true), make(&mut model, 8, true));
    let open = &model.files[&file];
    let mut users = [0; 16];
    users[1] = 1;
    let right = abi::Stat {
        size: abi::Stat::SIZE as u32,
        access: 2,
        bytes: GRANULE,
        user: 1000,
        group: 1000,
        mode: 0o600,
        scope: 1,
        owner: 1,
        owner_life: 1,
        own_vnode: 1,
        users,
        name: own().name,
        token: open.token,
        ..Default::default()
    };
    assert_eq!(model.check(open, &right), Ok(()));
    let wrong = [
        abi::Stat { access: 1, ..right },
        abi::Stat {
            bytes: 2 * GRANULE,
            ..right
        },
        abi::Stat {
            mode: 0o604,
            ..right
        },
        abi::Stat { user: 0, ..right },
        abi::Stat { scope: 2, ..right },
        abi::Stat {
            is_orphan: 1,
            ..right
        },
        abi::Stat {
            own_vnode: 2,
            ..right
        },
        abi::Stat {
            users: [0; 16],
            ..right
        },
        abi::Stat {
            token: model.files[&other].token,
            ..right
        },
        abi::Stat {
            token: right.token + 1,
            ..right
        },
        abi::Stat {
            reserved: 1,
            ..right
        },
        abi::Stat {
            name: [0; 32],
            ..right
        },
    ];
    assert!(wrong.iter().all(|stat| model.check(open, stat).is_err()));
}
