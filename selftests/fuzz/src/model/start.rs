// SPDX-License-Identifier: GPL-2.0

//! Which answers a start may get.

use adeos_proto::abi::{self, start};
use fuzzing::{Allowed, Spot};
use libc::{E2BIG, EBADF, EEXIST, EFAULT, EFBIG, EINVAL, ENOEXEC, ENOMEM};

use super::RACES;
use crate::start::{Source, StartPlan, GRANULE, MIN_MEMORY};
use crate::world::World;

/// A vnode's memory ends below this.
const MEMORY_END: u64 = 1 << 39;
/// What `kmb` itself puts on the command line takes between so many bytes and so many.
const OWN_WORDS: std::ops::Range<usize> = 100..500;

/// The answers that a start may get: one of the errors that the request itself calls for; if there
/// are none, success or what comes of others; but success only if nothing stands against it for as
/// long as the run lasts.
pub(super) fn answers(plan: &StartPlan, bytes: &[u8], world: &World) -> Allowed {
    let Some(bytes) = bytes.first_chunk() else {
        return Allowed::default();
    };
    let record = abi::Start::from_bytes(bytes);
    let mut errors = request(&record);
    errors.extend(memory(&record));
    errors.extend(kernel(&plan.kernel));
    errors.extend(initrd(&plan.initrd));
    errors.extend(text(plan));
    if !errors.is_empty() {
        if matches!(plan.kernel, Source::Flipped(_)) {
            errors.push(ENOEXEC);
        }
        return Allowed::fails(errors);
    }

    let (never, sometimes) = later(plan, &record, world);
    let mut errors = RACES.to_vec();
    errors.extend(&never);
    errors.extend(sometimes);
    let taken = blocked(&record, world);
    Allowed {
        success: never.is_empty() && !taken,
        errors,
    }
}

fn request(record: &abi::Start) -> Vec<i32> {
    let wrong = record.flags & !start::ALL != 0
        || record.reserved != 0
        || record.reserved2 != [0; 4]
        || record.cpus == [0; 4]
        || !is_name(&record.name);
    wrong.then_some(EINVAL).into_iter().collect()
}

/// Zeros fill the field.
fn is_name(field: &[u8; 32]) -> bool {
    let Some(end) = field.iter().position(|byte| *byte == 0) else {
        return false;
    };
    let (name, padding) = field.split_at(end);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(is_plain)
        && name != b"root"
        && padding.iter().all(|byte| *byte == 0)
}

fn memory(record: &abi::Start) -> Option<i32> {
    let side = record.flags & (start::BELOW_4G | start::ABOVE_4G);
    let (base, size) = (record.memory_base, record.memory_size);
    let bad_size = size < MIN_MEMORY || size % GRANULE != 0;
    let bad_place = if base == u64::MAX {
        side == start::BELOW_4G | start::ABOVE_4G
    } else {
        let end = base.checked_add(size);
        side != 0 || base % GRANULE != 0 || end.is_none_or(|end| end > MEMORY_END)
    };
    (bad_size || bad_place).then_some(EINVAL)
}

fn kernel(source: &Source) -> Option<i32> {
    match source {
        Source::Image | Source::Flipped(_) => None,
        // Whatever is left, the header says that there is more.
        Source::Cut(_) | Source::Initrd | Source::Zeros(_) | Source::Noise | Source::Made => {
            Some(ENOEXEC)
        }
        Source::WriteOnly | Source::Closed(_) => Some(EBADF),
        Source::Direct | Source::Folder | Source::Pipe | Source::Device(_) => Some(EINVAL),
    }
}

fn initrd(source: &Source) -> Option<i32> {
    match source {
        Source::Closed(-1) => None,
        Source::WriteOnly | Source::Closed(_) => Some(EBADF),
        Source::Direct | Source::Folder | Source::Pipe | Source::Device(_) => Some(EINVAL),
        _ => None,
    }
}

fn text(plan: &StartPlan) -> Option<i32> {
    let len = plan.text.len();
    if len >= abi::MAX_CMDLINE {
        return Some(E2BIG);
    }
    match plan.text_spot {
        Spot::Nowhere(_) if len > 0 => Some(EFAULT),
        Spot::Partly(there) if there < len as u64 => Some(EFAULT),
        _ => None,
    }
}

/// Errors that show only when the start is under way: those without which it cannot end, and those
/// with which it may.
fn later(plan: &StartPlan, record: &abi::Start, world: &World) -> (Vec<i32>, Vec<i32>) {
    let mut never = Vec::new();
    let mut sometimes = Vec::new();
    let room = abi::MAX_CMDLINE - 1;
    if plan.text.len() + OWN_WORDS.start > room {
        never.push(E2BIG);
    } else if plan.text.len() + OWN_WORDS.end > room {
        sometimes.push(E2BIG);
    }
    let is_broadcast = plan.text.ends_with(b"broadcast=0");
    if is_broadcast || !plan.text.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        never.push(EINVAL);
    }
    if let Source::Flipped(_) = plan.kernel {
        sometimes.extend([ENOEXEC, E2BIG, EFBIG, EINVAL]);
    }
    if record.memory_size < world.needs {
        sometimes.push(EFBIG);
    }
    match plan.initrd {
        Source::Zeros(size) if size > record.memory_size => never.push(EFBIG),
        Source::Zeros(_) => sometimes.push(EFBIG),
        _ => {}
    }
    if record.memory_size > world.largest {
        never.push(ENOMEM);
    }
    let name = record.name.split(|byte| *byte == 0).next();
    if name == Some(b"one".as_slice()) {
        never.push(EEXIST);
    }
    (never, sometimes)
}

/// Whether a CPU that is asked for can never be had while the run lasts, or some of the memory.
fn blocked(record: &abi::Start, world: &World) -> bool {
    let [low, rest @ ..] = record.cpus;
    let one_end = world.one_base.saturating_add(world.one_size);
    let overlaps = record.memory_base != u64::MAX
        && record.memory_base < one_end
        && record.memory_base.saturating_add(record.memory_size) > world.one_base;
    low & !world.lendable != 0 || rest != [0; 3] || overlaps
}
