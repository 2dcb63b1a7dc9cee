// SPDX-License-Identifier: GPL-2.0

//! How many regions a user has (SH-20). Nobody counts: the registry shows what there is.

use super::label::Label;
use super::program_name;
use crate::bridge::entry::Entry;
use crate::id::VnodeId;

/// An amount of regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub regions: u64,
    /// Bytes of all.
    pub bytes: u64,
}

impl Amount {
    /// What a user of a vnode has: the regions that it has created there, or was given, and that have not ended. Those
    /// of a life that has ended count for the next: it can adopt them.
    pub fn of(entries: impl Iterator<Item = Entry>, vnode: VnodeId, user: u32) -> Self {
        let is_its = |entry: &Entry| {
            let label = Label::from_words(entry.rights.label);
            entry.owner.vnode == vnode
                && program_name(&entry.key.name).is_some()
                && label.is_some_and(|label| label.user == user)
        };
        entries
            .filter(is_its)
            .fold(Self::default(), |sum, entry| sum.plus(entry.range.size()))
    }

    /// With one more region.
    pub const fn plus(self, bytes: u64) -> Self {
        Self {
            regions: self.regions.saturating_add(1),
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    /// With one of the regions of another size.
    pub const fn resized(self, from: u64, to: u64) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(from).saturating_add(to),
            ..self
        }
    }

    /// Whether it is no more than a limit.
    pub const fn is_within(self, limit: Self) -> bool {
        self.regions <= limit.regions && self.bytes <= limit.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::{Id, Key, Phase, Rights, Scope, Vnodes};
    use crate::id::{Generation, Life, PhysRange, MAX_VNODES};
    use crate::layout::GRANULE;

    fn entry(index: u16, name: &str, vnode: u32, user: Option<u32>, granules: u64) -> Entry {
        let vnode = VnodeId::new(vnode).unwrap();
        let label = user.map(|user| Label::new(user, 0, 0o600).unwrap().to_words());
        Entry {
            id: Id { index, serial: 1 },
            key: Key {
                scope: Scope::Global,
                name: crate::bridge::BridgeName::new(name).unwrap(),
            },
            owner: Life {
                vnode,
                generation: Generation(1),
            },
            is_orphan: index % 2 == 0,
            rights: Rights {
                label: label.unwrap_or_default(),
                ..Rights::open_to(Vnodes::ALL)
            },
            range: PhysRange::new(GRANULE, granules * GRANULE).unwrap(),
            place: 0,
            phase: Phase::Settled,
            freeze: 0,
            is_movable: true,
            mapped: Vnodes::NONE,
            pinned_by: Vnodes::NONE,
            users: [0; MAX_VNODES],
        }
    }

    #[test]
    fn sh_20_what_counts_is_the_users_own_in_its_vnode() {
        let all = [
            entry(0, "shm.a", 1, Some(7), 1),
            entry(1, "shm.b", 1, Some(7), 3),
            entry(2, "shm.c", 2, Some(7), 5),
            entry(3, "shm.d", 1, Some(8), 7),
            entry(4, "other", 1, Some(7), 11),
            entry(5, "shm.e", 1, None, 13),
            entry(6, "shm.", 1, Some(7), 17),
        ];
        let vnode = VnodeId::new(1).unwrap();
        let has = Amount::of(all.into_iter(), vnode, 7);
        let bytes = 4 * GRANULE;
        assert_eq!(has, Amount { regions: 2, bytes });
        assert!(has.is_within(has));
        assert!(!has.plus(0).is_within(has));
        let more = Amount { regions: 3, bytes };
        assert!(has.plus(0).is_within(more) && !has.plus(1).is_within(more));
        assert!(!has.plus(u64::MAX).is_within(more));
        assert_eq!(has.resized(GRANULE, 2 * GRANULE).bytes, 5 * GRANULE);
        assert_eq!(has.resized(3 * GRANULE, GRANULE).bytes, 2 * GRANULE);
        assert!(!has.resized(GRANULE, u64::MAX).is_within(more));
    }
}
