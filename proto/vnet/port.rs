// SPDX-License-Identifier: GPL-2.0

//! The lanes of stations, so that several CPUs of a vnode send and receive at once.
//!
//! A lane is a full half of sending and one of receiving: a wire, chunks, what is known of others. A *port* is a lane of a
//! station, and the protocol runs from port to port: what two lanes of a station send has nothing to do with each other.
//! docs/vnet.md, section 2.5.

use super::CHUNKS;
use crate::bits;
use crate::id::{VnodeId, MAX_VNODES};

/// Lanes that a station can have.
pub const MAX_LANES: usize = 4;
/// Ports that there are.
pub const PORTS: usize = MAX_VNODES * MAX_LANES;

const _: () = assert!(MAX_LANES.is_power_of_two() && PORTS <= u64::BITS as usize);

/// Which lane of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(u8);

impl Lane {
    /// The one that each station has.
    pub const FIRST: Self = Self(0);

    /// The lane of a number, if a station can have it.
    pub const fn new(number: u32) -> Option<Self> {
        if number < MAX_LANES as u32 {
            Some(Self(number as u8))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// The same, to count places with.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How many lanes a station has: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(u8);

impl Lanes {
    /// One.
    pub const ONE: Self = Self(0);

    /// So many; [`None`] if no station has as many.
    pub const fn new(count: usize) -> Option<Self> {
        if count.is_power_of_two() {
            Self::from_log2(count.trailing_zeros())
        } else {
            None
        }
    }

    /// As a station says it (VN-56).
    pub const fn from_log2(log2: u32) -> Option<Self> {
        if log2 <= MAX_LANES.trailing_zeros() {
            Some(Self(log2 as u8))
        } else {
            None
        }
    }

    /// The same back.
    pub const fn log2(self) -> u32 {
        self.0 as u32
    }

    /// How many that is.
    pub const fn count(self) -> usize {
        1 << self.0
    }

    /// All of them.
    pub fn each(self) -> impl Iterator<Item = Lane> {
        // Fewer than MAX_LANES.
        (0..self.count() as u8).map(Lane)
    }

    /// Chunks that each of them has (VN-59).
    pub const fn chunks(self) -> usize {
        CHUNKS >> self.0
    }
}

/// A lane of a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The station.
    pub vnode: VnodeId,
    /// Its lane.
    pub lane: Lane,
}

impl Port {
    /// The one that each station has.
    pub const fn first(vnode: VnodeId) -> Self {
        Self {
            vnode,
            lane: Lane::FIRST,
        }
    }

    /// Its number, below [`PORTS`].
    pub const fn index(self) -> usize {
        self.vnode.index() * MAX_LANES + self.lane.index()
    }

    /// The one of a number.
    fn at(index: usize) -> Option<Self> {
        // Neither is truncated: both are below 2^32.
        Some(Self {
            vnode: VnodeId::new((index / MAX_LANES) as u32)?,
            lane: Lane::new((index % MAX_LANES) as u32)?,
        })
    }

    /// It in a mask.
    pub const fn bit(self) -> u64 {
        1u64.wrapping_shl(self.index() as u32)
    }

    /// The lane of a station with so many lanes that this one sends to (VN-57): stations with a single lane each
    /// are spread over those of the station to which all send.
    pub const fn towards(self, vnode: VnodeId, lanes: Lanes) -> Self {
        let turned = self.lane.index().wrapping_add(self.vnode.index());
        Self {
            vnode,
            // Fewer than MAX_LANES.
            lane: Lane((turned & (lanes.count() - 1)) as u8),
        }
    }
}

/// The ports of a mask, in the order of their numbers.
pub fn each(mask: u64) -> impl Iterator<Item = Port> {
    bits::each(mask).filter_map(Port::at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// VN-57: of the lanes of a sender as many meet in one of a receiver as have to, and no more.
    #[test]
    fn lanes_are_spread() {
        for sender in VnodeId::all() {
            for (own, other) in [1, 2, 4]
                .into_iter()
                .flat_map(|own| [1, 2, 4].map(|n| (own, n)))
            {
                let (own, other) = (Lanes::new(own).unwrap(), Lanes::new(other).unwrap());
                let mut met = [0; MAX_LANES];
                for lane in own.each() {
                    let port = Port {
                        vnode: sender,
                        lane,
                    };
                    let to = port.towards(VnodeId::ROOT, other);
                    assert!(to.lane.index() < other.count());
                    met[to.lane.index()] += 1;
                }
                let most = own.count().div_ceil(other.count());
                assert!(met.iter().all(|met| *met <= most));
            }
        }
        // Of those with one lane each, as many send to each of another one's.
        let all = Lanes::new(MAX_LANES).unwrap();
        let mut met = [0; MAX_LANES];
        for sender in VnodeId::all() {
            let to = Port::first(sender).towards(VnodeId::ROOT, all);
            met[to.lane.index()] += 1;
        }
        assert_eq!(met, [MAX_VNODES / MAX_LANES; MAX_LANES]);
    }

    #[test]
    fn ports_have_numbers() {
        let ports: Vec<_> = each(u64::MAX).map(Port::index).collect();
        assert_eq!(ports, (0..PORTS).collect::<Vec<_>>());
        assert!(each(1 << 13).map(Port::index).eq([13]));
        assert_eq!(Lanes::new(3), None);
        assert_eq!(Lanes::new(8), None);
        assert_eq!(Lanes::from_log2(3), None);
    }
}
