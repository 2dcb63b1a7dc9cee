// SPDX-License-Identifier: GPL-2.0

//! What the file of a kernel says of itself.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use adeos_proto::boot::image::{self, ImageError};

/// Why a file is no kernel that can be started.
pub(crate) enum Unfit {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is no image, or none for a vnode.
    Image(ImageError),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Opens a file; what else can be opened is none.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((file, metadata))
}

/// Bytes of memory that a kernel wants at its start.
pub(crate) fn needs(path: &Path) -> Result<u64, Unfit> {
    let (file, metadata) = open(path)?;
    let mut probe = Vec::new();
    let limit = u64::try_from(image::PROBE_SIZE).unwrap_or(u64::MAX);
    (&file).take(limit).read_to_end(&mut probe)?;
    let image = image::parse(&probe, metadata.len()).map_err(Unfit::Image)?;
    let mut unpacked_size = [0; 4];
    file.read_exact_at(&mut unpacked_size, image.unpacked_size_offset)?;
    image
        .check_unpacked(u32::from_le_bytes(unpacked_size))
        .map_err(Unfit::Image)?;
    Ok(image.init_size)
}
