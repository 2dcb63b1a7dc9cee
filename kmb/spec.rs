// SPDX-License-Identifier: GPL-2.0

//! A user's request, checked: what leaves this file needs no further check.

#![deny(unsafe_code)]

use crate::image_file::ImageFile;
use adeos_core::Region;
use adeos_proto::abi::{
    self,
    start, //
};
use adeos_proto::boot::image::{
    self,
    Image,
    ImageError, //
};
use adeos_proto::cpuset::CpuSet;
use adeos_proto::id::{
    PhysRange,
    VnodeName, //
};
use adeos_proto::layout::{
    self,
    entry, //
};
use kernel::prelude::*;
use kernel::uaccess::{
    UserPtr,
    UserSlice, //
};

/// Smallest memory of a vnode.
const MIN_MEMORY: u64 = 64 << 20;

/// Where the memory is to be.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Anywhere in this range.
    Within(PhysRange),
    /// Exactly this range.
    At(PhysRange),
}

/// A vnode to be started.
pub(crate) struct Spec {
    pub(crate) name: VnodeName,
    pub(crate) cpus: CpuSet,
    pub(crate) memory_size: u64,
    pub(crate) place: Place,
    /// One of [`entry`].
    pub(crate) entry: u32,
    pub(crate) kernel: ImageFile,
    pub(crate) image: KBox<Image>,
    pub(crate) initrd: Option<ImageFile>,
    /// What the user adds to the command line.
    pub(crate) append: KVec<u8>,
}

impl Spec {
    /// Checks a request. EINVAL for a wrong field, E2BIG for a long command line, ENOEXEC (with
    /// the reason in the log) for a file that is no bootable image, EBADF for a wrong descriptor.
    pub(crate) fn new(request: &abi::Start) -> Result<Self> {
        let reserved = request.reserved != 0 || request.reserved2 != [0; 4];
        if reserved || request.flags & !start::ALL != 0 {
            return Err(EINVAL);
        }
        let name = VnodeName::from_field(&request.name).map_err(|_| EINVAL)?;
        let cpus = CpuSet::from_words(request.cpus);
        if cpus.is_empty() || cpus.len() > layout::MAX_CPUS {
            return Err(EINVAL);
        }

        let kernel = ImageFile::from_fd(request.kernel_fd)?;
        let image = parse_image(&kernel)?;
        let initrd = match request.initrd_fd {
            -1 => None,
            fd => Some(ImageFile::from_fd(fd)?),
        };

        Ok(Self {
            name,
            cpus,
            memory_size: memory_size(request)?,
            place: place(request)?,
            entry: if request.flags & start::ENTRY_SIPI != 0 {
                entry::SIPI
            } else {
                entry::IMAGE
            },
            kernel,
            image,
            initrd,
            append: append(request)?,
        })
    }
}

fn parse_image(kernel: &ImageFile) -> Result<KBox<Image>> {
    let mut probe = KVec::from_elem(0, image::PROBE_SIZE, GFP_KERNEL)?;
    let read = kernel.read_start(&mut probe)?;
    let probe = probe.get(..read).unwrap_or(&[]);
    let image = image::parse(probe, kernel.size()).map_err(refuse)?;
    let unpacked_size = kernel.read_number(image.unpacked_size_offset)?;
    image.check_unpacked(unpacked_size).map_err(refuse)?;
    Ok(KBox::new(image, GFP_KERNEL)?)
}

fn refuse(error: ImageError) -> Error {
    pr_warn!("the kernel image is refused: {}\n", error.describe());
    ENOEXEC
}

fn memory_size(request: &abi::Start) -> Result<u64> {
    let size = request.memory_size;
    if size < MIN_MEMORY || size % layout::GRANULE != 0 {
        return Err(EINVAL);
    }
    Ok(size)
}

fn place(request: &abi::Start) -> Result<Place> {
    let side = request.flags & (start::BELOW_4G | start::ABOVE_4G);
    if request.memory_base != u64::MAX {
        let range = PhysRange::new(request.memory_base, request.memory_size).ok_or(EINVAL)?;
        let aligned = range.base() % layout::GRANULE == 0;
        if side != 0 || !aligned || !Region::ANYWHERE.contains(range) {
            return Err(EINVAL);
        }
        return Ok(Place::At(range));
    }
    match side {
        0 => Ok(Place::Within(Region::ANYWHERE)),
        start::BELOW_4G => Ok(Place::Within(Region::BELOW_4G)),
        start::ABOVE_4G => Ok(Place::Within(Region::ABOVE_4G)),
        _ => Err(EINVAL),
    }
}

fn append(request: &abi::Start) -> Result<KVec<u8>> {
    let size = request.cmdline_size as usize;
    if size >= abi::MAX_CMDLINE {
        return Err(E2BIG);
    }
    let mut text = KVec::from_elem(0, size, GFP_KERNEL)?;
    let address = usize::try_from(request.cmdline)?;
    UserSlice::new(UserPtr::from_addr(address), size)
        .reader()
        .read_slice(&mut text)?;
    Ok(text)
}
