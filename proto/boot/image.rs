// SPDX-License-Identifier: GPL-2.0

//! The header of a bzImage, checked.
//!
//! What has to hold is in Documentation/arch/x86/boot.rst; the kernel's own loader of such images
//! is arch/x86/kernel/kexec-bzimage64.c. The image is somebody's claim: nothing of it is used
//! before it was checked here, and what passes bounds all that a loader copies and reserves.

/// Bytes of the file's beginning that [`parse`] wants; it takes all of a shorter file.
pub const PROBE_SIZE: usize = 4096;

/// Where the setup header lies, in the file and in the zero page alike.
pub const HEADER_OFFSET: usize = 0x1f1;

/// Room for the setup header in the zero page.
pub const HEADER_SIZE: usize = 0x290 - HEADER_OFFSET;

/// From the start of the loaded code to the entry of a 64-bit loader.
pub const ENTRY_OFFSET: u64 = 0x200;

/// First instructions of an entry that a running kernel may call, because it then starts its own
/// CPU and returns (patch 0001): `endbr64; cmpl $5, hardware_subarch(%rsi)`. To call any other
/// entry would end the caller.
pub const CALLABLE_ENTRY: [u8; 11] = [
    0xf3, 0x0f, 0x1e, 0xfa, 0x83, 0xbe, 0x3c, 0x02, 0x00, 0x00, 0x05,
];

/// The lowest address to load at: below it, the code would move itself up again, onto memory
/// that may be somebody else's (arch/x86/boot/compressed/head_64.S).
pub const MIN_ADDRESS: u64 = 16 << 20;

/// The most memory that an image may want to start in.
pub const MAX_INIT_SIZE: u64 = 1 << 30;

/// Protocol that brought `xloadflags`.
const MIN_VERSION: u16 = 0x020c;

/// Offsets in the file of the fields that are looked at.
mod field {
    pub(super) const SETUP_SECTS: usize = 0x1f1;
    pub(super) const SYSSIZE: usize = 0x1f4;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const JUMP_DISTANCE: usize = 0x201;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const LOADFLAGS: usize = 0x211;
    pub(super) const KERNEL_ALIGNMENT: usize = 0x230;
    pub(super) const RELOCATABLE: usize = 0x234;
    pub(super) const MIN_ALIGNMENT: usize = 0x235;
    pub(super) const XLOADFLAGS: usize = 0x236;
    pub(super) const CMDLINE_SIZE: usize = 0x238;
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
    pub(super) const PREF_ADDRESS: usize = 0x258;
    pub(super) const INIT_SIZE: usize = 0x260;
    /// One past the last of them.
    pub(super) const END: usize = 0x264;
}

const LOADED_HIGH: u8 = 1 << 0;
const XLF_KERNEL_64: u16 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// Of what lies between the unpacked kernel and the unpacker's code, at least this much is there in
/// any image: a 256th of the kernel, the unpacker's margin, and its heap, stack and page tables
/// (arch/x86/boot/header.S, `ZO_z_extra_bytes` and `INIT_SIZE`).
const UNPACKING_SHARE: u64 = 256;
const UNPACKING_ROOM: u64 = 128 << 10;

const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

/// Bytes of the number that a compressed kernel ends with.
const UNPACKED_SIZE_SIZE: u64 = 4;

/// What is known of an image that can be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where in the file the code to be loaded starts, in bytes.
    pub code_offset: u64,
    /// Bytes of it.
    pub code_size: u64,
    /// Bytes of memory that the kernel needs from its load address on until it manages memory
    /// itself: room for the decompressed kernel.
    pub init_size: u64,
    /// Alignment of the load address in bytes, a power of two and at least a page.
    pub align: u64,
    /// The lowest physical address to load at.
    pub min_address: u64,
    /// Version of the boot protocol, major number in the high byte.
    pub version: u16,
    /// Longest command line in bytes, without the closing zero.
    pub cmdline_max: u32,
    /// The setup header as found, from [`HEADER_OFFSET`] on.
    pub header: [u8; HEADER_SIZE],
    /// How much of `header` the image has filled.
    pub header_size: usize,
    /// Bytes of the compressed kernel, which lies inside the code.
    pub payload_size: u64,
    /// Where in the file the last four bytes of it lie: how long it is when unpacked, for
    /// [`Image::check_unpacked`].
    pub unpacked_size_offset: u64,
}

impl Image {
    /// Checks that the kernel is unpacked into the memory that it asks for, below the code that
    /// unpacks it: that code is moved to the end of `init_size`, and would otherwise write over
    /// itself. `unpacked_size` is what the file has at [`Image::unpacked_size_offset`].
    pub fn check_unpacked(&self, unpacked_size: u32) -> Result<(), ImageError> {
        let unpacked_size = u64::from(unpacked_size);
        let unpacker = self.code_size.wrapping_sub(self.payload_size);
        let needed = unpacker
            .wrapping_add(unpacked_size)
            .wrapping_add(unpacked_size / UNPACKING_SHARE)
            .wrapping_add(UNPACKING_ROOM);
        if self.init_size < needed {
            return Err(ImageError::UnpacksTooFar);
        }
        Ok(())
    }
}

/// Why an image is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The file ends before its header does.
    TooShort,
    /// No boot sector's signature.
    NoBootFlag,
    /// No `HdrS`.
    NoMagic,
    /// Boot protocol before 2.12.
    OldProtocol,
    /// The header's size is not one that protocol 2.12 or later can have.
    BadHeaderSize,
    /// The kernel wants to be loaded low.
    NotLoadedHigh,
    /// The kernel runs at one address only.
    NotRelocatable,
    /// The kernel has no 64-bit entry.
    Not64Bit,
    /// The kernel cannot be loaded above 4 GiB.
    NotAbove4G,
    /// An alignment that is no power of two, or smaller than a page, or larger than 1 GiB.
    BadAlignment,
    /// The header says that there is no code, or less than the way to its entry.
    NoCode,
    /// The file is shorter than its header says.
    Truncated,
    /// The compressed kernel does not lie inside the code.
    BadPayload,
    /// The kernel wants less memory than its code takes.
    InitSizeTooSmall,
    /// The kernel wants more than 1 GiB to start in.
    InitSizeTooLarge,
    /// The memory that the kernel wants does not end at a page: its stack and its page tables are
    /// at that end, and would be at odd addresses.
    InitSizeOdd,
    /// The unpacked kernel would lie over the code that unpacks it.
    UnpacksTooFar,
}

impl ImageError {
    /// The reason in words, for people.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::TooShort => "the file is too short to be a kernel image",
            Self::NoBootFlag => "not a bzImage: no boot sector signature",
            Self::NoMagic => "not a bzImage: no HdrS signature",
            Self::OldProtocol => "the image's boot protocol is older than 2.12",
            Self::BadHeaderSize => "the image's setup header has an impossible size",
            Self::NotLoadedHigh => "the image is a zImage, not a bzImage",
            Self::NotRelocatable => "the kernel is not relocatable (CONFIG_RELOCATABLE)",
            Self::Not64Bit => "the kernel has no 64-bit entry",
            Self::NotAbove4G => "the kernel cannot be loaded above 4 GiB",
            Self::BadAlignment => "the image asks for an impossible alignment",
            Self::NoCode => "the image holds no code",
            Self::Truncated => "the image is truncated: its code goes on beyond the file's end",
            Self::BadPayload => "the compressed kernel lies outside of the image",
            Self::InitSizeTooSmall => "the image asks for less memory than its own size",
            Self::InitSizeTooLarge => "the image asks for more than 1 GiB to start in",
            Self::InitSizeOdd => "the image asks for memory that does not end at a page",
            Self::UnpacksTooFar => "the image asks for less memory than it takes when unpacked",
        }
    }
}

/// Checks the beginning of an image file of `file_size` bytes.
pub fn parse(probe: &[u8], file_size: u64) -> Result<Image, ImageError> {
    let (header, header_size) = header(probe)?;
    check_kind(probe)?;
    let align = alignment(probe)?;
    let (code_offset, code_size) = code(probe, file_size)?;

    let payload_offset = u64::from(number32(probe, field::PAYLOAD_OFFSET)?);
    let payload_length = u64::from(number32(probe, field::PAYLOAD_LENGTH)?);
    // Both are 32 bits wide: the sum cannot wrap.
    let payload_end = payload_offset.wrapping_add(payload_length);
    if payload_length < UNPACKED_SIZE_SIZE || payload_end > code_size {
        return Err(ImageError::BadPayload);
    }

    let init_size = u64::from(number32(probe, field::INIT_SIZE)?);
    if init_size < code_size {
        return Err(ImageError::InitSizeTooSmall);
    }
    if init_size > MAX_INIT_SIZE {
        return Err(ImageError::InitSizeTooLarge);
    }
    if init_size % PAGE != 0 {
        return Err(ImageError::InitSizeOdd);
    }

    Ok(Image {
        code_offset,
        code_size,
        init_size,
        align,
        min_address: number64(probe, field::PREF_ADDRESS)?.max(MIN_ADDRESS),
        version: number16(probe, field::VERSION)?,
        cmdline_max: number32(probe, field::CMDLINE_SIZE)?,
        header,
        header_size,
        payload_size: payload_length,
        unpacked_size_offset: code_offset
            .wrapping_add(payload_end)
            .wrapping_sub(UNPACKED_SIZE_SIZE),
    })
}

/// Copies the setup header, whose end its own jump instruction tells.
fn header(probe: &[u8]) -> Result<([u8; HEADER_SIZE], usize), ImageError> {
    if number16(probe, field::BOOT_FLAG)? != 0xaa55 {
        return Err(ImageError::NoBootFlag);
    }
    if bytes::<4>(probe, field::MAGIC)? != *b"HdrS" {
        return Err(ImageError::NoMagic);
    }
    if number16(probe, field::VERSION)? < MIN_VERSION {
        return Err(ImageError::OldProtocol);
    }
    let [distance] = bytes::<1>(probe, field::JUMP_DISTANCE)?;
    let end = field::MAGIC.wrapping_add(usize::from(distance));
    let header_size = end.wrapping_sub(HEADER_OFFSET);
    if end < field::END || header_size > HEADER_SIZE {
        return Err(ImageError::BadHeaderSize);
    }

    let found = probe.get(HEADER_OFFSET..end).ok_or(ImageError::TooShort)?;
    let mut header = [0; HEADER_SIZE];
    for (to, from) in header.iter_mut().zip(found) {
        *to = *from;
    }
    Ok((header, header_size))
}

/// Checks that the kernel is one that can run as a vnode: 64 bits, at any address.
fn check_kind(probe: &[u8]) -> Result<(), ImageError> {
    let [loadflags] = bytes::<1>(probe, field::LOADFLAGS)?;
    if loadflags & LOADED_HIGH == 0 {
        return Err(ImageError::NotLoadedHigh);
    }
    if bytes::<1>(probe, field::RELOCATABLE)? == [0] {
        return Err(ImageError::NotRelocatable);
    }
    let xloadflags = number16(probe, field::XLOADFLAGS)?;
    if xloadflags & XLF_KERNEL_64 == 0 {
        return Err(ImageError::Not64Bit);
    }
    if xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G == 0 {
        return Err(ImageError::NotAbove4G);
    }
    Ok(())
}

fn alignment(probe: &[u8]) -> Result<u64, ImageError> {
    let align = u64::from(number32(probe, field::KERNEL_ALIGNMENT)?);
    let [min_shift] = bytes::<1>(probe, field::MIN_ALIGNMENT)?;
    let min_align = 1u64.checked_shl(u32::from(min_shift)).unwrap_or(u64::MAX);
    if !align.is_power_of_two() || align < min_align.max(PAGE) || align > MAX_INIT_SIZE {
        return Err(ImageError::BadAlignment);
    }
    Ok(align)
}

/// Where the code lies in the file and how long it is. What follows it, a signature perhaps, is
/// not for the kernel.
fn code(probe: &[u8], file_size: u64) -> Result<(u64, u64), ImageError> {
    let sectors = match bytes::<1>(probe, field::SETUP_SECTS)? {
        // For the sake of ancient images, none means four.
        [0] => 4,
        [sectors] => u64::from(sectors),
    };
    let code_offset = sectors.wrapping_add(1).wrapping_mul(SECTOR);
    let code_size = u64::from(number32(probe, field::SYSSIZE)?).wrapping_mul(16);
    if code_size <= ENTRY_OFFSET {
        return Err(ImageError::NoCode);
    }
    if code_offset.wrapping_add(code_size) > file_size {
        return Err(ImageError::Truncated);
    }
    Ok((code_offset, code_size))
}

fn bytes<const N: usize>(probe: &[u8], offset: usize) -> Result<[u8; N], ImageError> {
    probe
        .get(offset..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(ImageError::TooShort)
}

fn number16(probe: &[u8], offset: usize) -> Result<u16, ImageError> {
    bytes(probe, offset).map(u16::from_le_bytes)
}

fn number32(probe: &[u8], offset: usize) -> Result<u32, ImageError> {
    bytes(probe, offset).map(u32::from_le_bytes)
}

fn number64(probe: &[u8], offset: usize) -> Result<u64, ImageError> {
    bytes(probe, offset).map(u64::from_le_bytes)
}
