// SPDX-License-Identifier: GPL-2.0

//! What kernels and the library read of regions that others may have written: names, labels, how much a user has, and the
//! words of locks (docs/bridge-shm.md, sections 1, 3 and 7).

#![no_main]

use adeos_proto::abi::shm::{Guard, Keep, Protect, Region, Stat, Wait, Word};
use adeos_proto::bridge::entry::{Entry, EntryRecord};
use adeos_proto::bridge::Access;
use adeos_proto::record;
use adeos_proto::shm::label::{Caller, Label, MODE_BITS};
use adeos_proto::shm::lock::{free, is_alive, Token, DIED, HOLDER, WAITERS};
use adeos_proto::shm::quota::Amount;
use adeos_proto::shm::{program_name, region_name, MAX_NAME};
use hostile::{at, life, vnode, Input, Memory};

/// A look at the word, and as many tries to change it as there are.
const MOST: usize = 1 + 4096;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    match input.byte() % 5 {
        0 => names(&input),
        1 => labels(&input),
        2 => quota(&input),
        3 => locks(&input),
        _ => records(&input),
    }
});

/// A name that is taken is one that comes back, and none of the kernels' own.
fn names(input: &Input<'_>) {
    let field: [u8; 32] = input.array();
    let text = record::text(&field);
    assert!(field.starts_with(text.as_bytes()));
    let whole = region_name(text);
    if let Ok(whole) = whole {
        assert!((1..=MAX_NAME).contains(&text.len()));
        assert_eq!(program_name(&whole), Some(text));
    }
    let bytes = input.take(64);
    if let Some(whole) = core::str::from_utf8(bytes)
        .ok()
        .and_then(|name| region_name(name).ok())
    {
        assert_eq!(program_name(&whole).map(str::as_bytes), Some(bytes));
    }
}

/// SH-10, SH-11: it is a label or not, and gives no right that its bits do not.
fn labels(input: &Input<'_>) {
    let words = [input.u64(), input.u64()];
    let marked = [words, [words[0], words[1] & 0x1ff | 0x5348 << 48]];
    for words in marked {
        let Some(label) = Label::from_words(words) else {
            continue;
        };
        assert_eq!(label.to_words(), words);
        assert_eq!(label.mode & !MODE_BITS, 0);
        let in_group = input.yes();
        let caller = Caller {
            user: input.u32(),
            in_group: |_| in_group,
        };
        let may = [Access::Read, Access::Write].map(|access| label.allows(&caller, access));
        assert!(may[0] || !may[1], "who writes reads as well");
        assert!(!may[0] || label.mode & 0o444 != 0);
        assert!(!may[1] || label.mode & 0o222 != 0);
    }
}

/// SH-20: whatever entries say, they can be counted.
fn quota(input: &Input<'_>) {
    let mut entries = Vec::new();
    while !input.is_over() && entries.len() < 8 {
        let mut record = EntryRecord::from_bytes(&input.array());
        // What the checks would throw away tells nothing of those that count.
        if input.yes() {
            record.name = record::set_text("shm.a");
            (record.scope, record.state, record.serial) = (1, 1, 1);
            (record.owner, record.mode) = (record.owner % 4, 15);
            (record.base, record.size) = (record.base & !0x1f_ffff, record.size & !0x1f_ffff);
            record.label[1] = record.label[1] & 0o666 | 0x5348 << 48;
        }
        entries.extend(Entry::from_record(0, &record).ok().flatten());
    }
    let user = entries
        .first()
        .map_or(0, |entry| entry.rights.label[0] as u32);
    let all = Amount::of(entries.iter().copied(), vnode(1), user);
    assert!(all.regions <= entries.len() as u64 && all.is_within(all));
    assert!(!all.plus(0).is_within(all));
    let none = Amount::of(entries.into_iter(), vnode(9), user);
    assert!(all.regions + none.regions <= 8);
}

/// SH-61, SH-63: only the word is touched, and only the holder's lock is freed; a peer that writes beside the word, or over it,
/// costs some tries.
fn locks<'a>(input: &'a Input<'a>) {
    let offset = if input.yes() { 8 } else { 12 };
    let is_over = input.yes();
    let is_busy = is_over && input.yes();
    let token = Token::new(
        life(u32::from(input.byte() % 16), input.u32()),
        input.u32() % (1 << 18),
    );
    let Some(token) = token else {
        return;
    };
    let word = match input.byte() % 4 {
        0 => input.u32(),
        1 => token.word() | WAITERS,
        2 => token.word() | DIED,
        _ => token.word(),
    };
    let mut memory = Memory::quiet(24);
    memory.fill(offset, &word.to_le_bytes());
    let other = offset ^ 4;
    let reach = if is_over { at(8, 8) } else { at(other, 4) };
    let hot = vec![if is_over { offset } else { other }];
    memory.disturb(input, vec![reach], hot);
    memory.role(&[], &[at(8, 8)]);
    // Somebody counts beside it without a pause.
    memory.unsettle((is_busy && offset == 12).then_some(8));
    let freed = free(&memory, offset as u64, token);
    assert!(memory.accesses() <= MOST);
    let left = word_at(&memory, offset);
    if freed {
        assert_eq!(left & (HOLDER | DIED), DIED);
    }
    // Nobody else writes the word: it is changed if it was the file's, and only then.
    if !is_over {
        assert_eq!(freed, word & HOLDER == token.word());
        let wanted = if freed { word & WAITERS | DIED } else { word };
        assert_eq!(left, wanted);
    }
    let mut users = [0; 16];
    assert!(!is_alive(word, &users));
    for user in &mut users {
        *user = input.u32();
    }
    let _ = is_alive(left, &users);
}

fn word_at(memory: &Memory<'_>, offset: usize) -> u32 {
    let bytes = memory.copy(at(offset, 4));
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Records are values, whatever their bytes.
fn records(input: &Input<'_>) {
    macro_rules! come_back {
        ($($record:ident),*) => { $( {
            let bytes = input.array();
            assert_eq!($record::from_bytes(&bytes).to_bytes(), bytes);
        } )* };
    }
    come_back!(Guard, Keep, Protect, Region, Stat, Wait, Word);
}
