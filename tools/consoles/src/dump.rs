// SPDX-License-Identifier: GPL-2.0

//! A copy of a control area, made from outside of the machine that it is of.

use std::fmt;

use adeos_proto::console::{self, Corrupt};
use adeos_proto::id::{VnodeId, VnodeName};
use adeos_proto::layout::{self, slot, state, BootBlock, Header, Status};
use adeos_proto::lifecycle::Cause;
use adeos_proto::record;
use adeos_proto::window::Window;

/// The copy. It is read only: nothing shares it, and what is stored to it is dropped.
pub(crate) struct Dump(Vec<u8>);

/// Why a file is no copy of a control area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoDump {
    /// There is no magic where it should be.
    Magic,
    /// It is of another version of the layout.
    Version(u32),
    /// It has fewer bytes than a control area.
    Short(usize),
}

impl fmt::Display for NoDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(
                f,
                "there is no control area: adeos_core was not loaded there"
            ),
            Self::Version(version) => write!(
                f,
                "the control area is of version {version}, this program of {}",
                layout::VERSION
            ),
            Self::Short(size) => write!(
                f,
                "{size} bytes are not a control area, which has {}",
                layout::CONTROL_SIZE
            ),
        }
    }
}

impl Dump {
    /// Takes what was copied from the place of the control area.
    pub(crate) fn new(mut bytes: Vec<u8>) -> Result<Self, NoDump> {
        if bytes.len() < layout::CONTROL_SIZE {
            return Err(NoDump::Short(bytes.len()));
        }
        bytes.truncate(layout::CONTROL_SIZE);
        let mut head = [0; Header::SIZE];
        Slot(&bytes).read(0, &mut head);
        let header = Header::from_bytes(&head);
        if header.magic != layout::HEADER_MAGIC {
            return Err(NoDump::Magic);
        }
        if header.version != layout::VERSION {
            return Err(NoDump::Version(header.version));
        }
        Ok(Self(bytes))
    }

    /// A vnode's slot.
    pub(crate) fn slot(&self, vnode: VnodeId) -> Slot<'_> {
        let rest = self.0.get(layout::slot_offset(vnode)..).unwrap_or(&[]);
        Slot(rest.get(..layout::SLOT_SIZE).unwrap_or(&[]))
    }
}

/// Bytes of the copy.
pub(crate) struct Slot<'a>(&'a [u8]);

impl Slot<'_> {
    /// Says in a few words which life is in the slot and what it says of itself.
    pub(crate) fn describe(&self) -> String {
        let mut bytes = [0; BootBlock::SIZE];
        self.read(slot::BOOT, &mut bytes);
        let block = BootBlock::from_bytes(&bytes);
        if block.magic != layout::BOOT_MAGIC {
            return "between two lives".into();
        }
        let name = VnodeName::from_field(&block.name);
        let status = self.status(block.generation);
        format!(
            "\"{}\", life {}: {status}",
            name.as_ref().map_or("?", VnodeName::as_str),
            block.generation
        )
    }

    /// How far the vnode has come in this life, as it says. What only the root knows, that it
    /// hangs or was killed, stands in the root's own memory and log.
    fn status(&self, generation: u32) -> String {
        let mut bytes = [0; Status::SIZE];
        self.read(slot::STATUS, &mut bytes);
        let status = Status::from_bytes(&bytes);
        if status.magic != layout::STATUS_MAGIC || status.generation != generation {
            return "not heard of".into();
        }
        match status.state {
            state::SILENT => "not heard of".into(),
            state::KERNEL => "its kernel boots".into(),
            state::JOINED => "joined".into(),
            state::READY => "ready".into(),
            state::DEAD => {
                let cause = Cause::claimed(status.cause).map_or("no known cause", Cause::describe);
                match record::text(&status.message) {
                    "" => format!("dead: {cause}"),
                    text => format!("dead: {cause}: {text}"),
                }
            }
            other => format!("state {other}"),
        }
    }

    /// Whether neither a life nor a console was ever made ready here.
    pub(crate) fn is_untouched(&self) -> bool {
        self.load_acquire64(slot::BOOT) == 0 && self.load_acquire64(slot::CONSOLE) == 0
    }

    /// All that the console holds.
    pub(crate) fn console(&self) -> Result<Vec<u8>, Corrupt> {
        let mut all = vec![0; slot::CONSOLE_SIZE];
        let chunk = console::SLOT.read(self, 0, &mut all)?;
        all.truncate(chunk.copied);
        Ok(all)
    }

    fn number<const N: usize>(&self, offset: usize) -> [u8; N] {
        let found = self
            .0
            .get(offset..)
            .and_then(|rest| rest.first_chunk::<N>());
        match found {
            Some(number) if record::is_aligned(offset, N) => *number,
            _ => [0; N],
        }
    }
}

impl Window for Slot<'_> {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn load_acquire(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.number(offset))
    }

    fn store_release(&self, _offset: usize, _value: u32) {}

    fn load_acquire64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.number(offset))
    }

    fn store_release64(&self, _offset: usize, _value: u64) {}

    fn raise(&self, _offset: usize, _value: u32) {}

    fn fetch_or64(&self, offset: usize, _bits: u64) -> u64 {
        self.load_acquire64(offset)
    }

    fn swap64(&self, offset: usize, _value: u64) -> u64 {
        self.load_acquire64(offset)
    }

    fn compare_exchange64(&self, offset: usize, _current: u64, _new: u64) -> Result<u64, u64> {
        Err(self.load_acquire64(offset))
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        let end = offset.saturating_add(to.len());
        if let Some(from) = self.0.get(offset..end) {
            to.copy_from_slice(from);
        }
    }

    fn write(&self, _offset: usize, _from: &[u8]) {}

    fn full_barrier(&self) {}
}
