// SPDX-License-Identifier: GPL-2.0

//! Kernel images, whole, broken and hostile: what is refused, and where the others are placed.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is wrong"
)]

use adeos_proto::boot::image::{
    self, Image, ImageError, HEADER_OFFSET, MAX_INIT_SIZE, MIN_ADDRESS, PROBE_SIZE,
};
use adeos_proto::boot::params::{Kind, Params, ParamsError, SUBARCH_ADEOS};
use adeos_proto::boot::place::{place, PlaceError, Placement};
use adeos_proto::id::PhysRange;
use adeos_proto::layout::GRANULE;
use proptest::prelude::*;
use std::io::Read;
use std::os::unix::fs::FileExt;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const SETUP_SECTS: u64 = 7;
const CODE_SIZE: u64 = 0x20_0000;
const FILE_SIZE: u64 = (SETUP_SECTS + 1) * 512 + CODE_SIZE;

fn put(probe: &mut [u8], offset: usize, bytes: &[u8]) {
    probe[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// The beginning of an image in which everything is right.
fn synthetic() -> Vec<u8> {
    let mut probe = vec![0; PROBE_SIZE];
    put(&mut probe, 0x1f1, &[SETUP_SECTS as u8]);
    put(&mut probe, 0x1f4, &((CODE_SIZE / 16) as u32).to_le_bytes());
    put(&mut probe, 0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(&mut probe, 0x202, b"HdrS");
    put(&mut probe, 0x206, &0x020fu16.to_le_bytes());
    put(&mut probe, 0x211, &[0x81]);
    put(&mut probe, 0x214, &0x10_0000u32.to_le_bytes());
    put(&mut probe, 0x230, &0x20_0000u32.to_le_bytes());
    put(&mut probe, 0x234, &[1, 21]);
    put(&mut probe, 0x236, &0x7fu16.to_le_bytes());
    put(&mut probe, 0x238, &2047u32.to_le_bytes());
    put(&mut probe, 0x248, &0x300u32.to_le_bytes());
    put(&mut probe, 0x24c, &0x1f_0000u32.to_le_bytes());
    put(&mut probe, 0x258, &(16 * MIB).to_le_bytes());
    put(&mut probe, 0x260, &0xe9_5000u32.to_le_bytes());
    probe
}

fn good() -> Image {
    image::parse(&synthetic(), FILE_SIZE).unwrap()
}

fn range(base: u64, size: u64) -> PhysRange {
    PhysRange::new(base, size).unwrap()
}

#[test]
fn a_good_image_is_understood() {
    let image = good();
    assert_eq!((image.code_offset, image.code_size), (4096, CODE_SIZE));
    assert_eq!((image.init_size, image.align), (0xe9_5000, 2 * MIB));
    assert_eq!((image.version, image.cmdline_max), (0x020f, 2047));
    assert_eq!(image.min_address, MIN_ADDRESS);
    assert_eq!(image.header[..image.header_size], synthetic()[0x1f1..0x26c]);
}

#[test]
fn each_thing_that_is_wrong_has_its_own_name() {
    let wrongs: [(usize, &[u8], ImageError); 21] = [
        (0x1fe, &[0, 0], ImageError::NoBootFlag),
        (0x202, b"HdrX", ImageError::NoMagic),
        (0x206, &[0x0b, 0x02], ImageError::OldProtocol),
        (0x201, &[0x61], ImageError::BadHeaderSize),
        (0x201, &[0x8f], ImageError::BadHeaderSize),
        (0x211, &[0x80], ImageError::NotLoadedHigh),
        (0x234, &[0], ImageError::NotRelocatable),
        (0x236, &[0x7e], ImageError::Not64Bit),
        (0x236, &[0x7d], ImageError::NotAbove4G),
        (0x230, &[0, 0, 0, 0], ImageError::BadAlignment),
        (0x230, &[0, 0, 0x30, 0], ImageError::BadAlignment),
        (0x230, &[0, 0, 0, 0x80], ImageError::BadAlignment),
        (0x235, &[0xff], ImageError::BadAlignment),
        (0x1f4, &[0x20, 0, 0, 0], ImageError::NoCode),
        (0x1f4, &[1, 0, 2, 0], ImageError::Truncated),
        (0x248, &[0xff; 4], ImageError::BadPayload),
        (0x24c, &[0; 4], ImageError::BadPayload),
        (0x24c, &[3, 0, 0, 0], ImageError::BadPayload),
        (0x260, &[0xff, 0xff, 0x1f, 0], ImageError::InitSizeTooSmall),
        (0x260, &[1, 0, 0, 0x40], ImageError::InitSizeTooLarge),
        (0x260, &[2, 0x50, 0xe9, 0], ImageError::InitSizeOdd),
    ];
    for (offset, bytes, error) in wrongs {
        let mut probe = synthetic();
        put(&mut probe, offset, bytes);
        assert_eq!(image::parse(&probe, FILE_SIZE), Err(error), "{offset:#x}");
        assert!(!error.describe().is_empty());
    }
}

#[test]
fn an_image_is_not_unpacked_over_its_unpacker() {
    let image = good();
    assert_eq!(image.unpacked_size_offset, 4096 + 0x300 + 0x1f_0000 - 4);
    // The unpacker's code, a 256th of the kernel and 128 KiB lie behind the kernel.
    let unpacker = CODE_SIZE - 0x1f_0000;
    let room = image.init_size - unpacker - 0x2_0000;
    let most = u32::try_from(room * 256 / 257).unwrap();
    assert_eq!(image.check_unpacked(most), Ok(()));
    let refused = Err(ImageError::UnpacksTooFar);
    assert_eq!(image.check_unpacked(most + 2), refused);
    assert_eq!(image.check_unpacked(u32::MAX), refused);
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let probe = synthetic();
    for length in 0..0x26c {
        let result = image::parse(&probe[..length], length as u64);
        assert_eq!(result, Err(ImageError::TooShort), "{length:#x}");
    }
    for length in 0x26c..PROBE_SIZE {
        let result = image::parse(&probe[..length], length as u64);
        assert_eq!(result, Err(ImageError::Truncated), "{length:#x}");
    }
    let last = image::parse(&probe, FILE_SIZE - 1);
    assert_eq!(last, Err(ImageError::Truncated));
    // A signature may follow the code.
    assert_eq!(image::parse(&probe, FILE_SIZE + 1500), Ok(good()));
}

#[test]
fn a_real_image_is_understood_and_placed() {
    let Some(path) = std::env::var_os("ADEOS_BZIMAGE") else {
        return;
    };
    let mut file = std::fs::File::open(&path).expect("ADEOS_BZIMAGE names a file");
    let size = file.metadata().unwrap().len();
    let mut probe = vec![0; PROBE_SIZE];
    file.read_exact(&mut probe).unwrap();

    let image = image::parse(&probe, size).unwrap();
    assert_eq!(image.code_offset + image.code_size, size);
    assert_eq!(image::parse(&probe, size - 1), Err(ImageError::Truncated));
    let mut unpacked_size = [0; 4];
    file.read_exact_at(&mut unpacked_size, image.unpacked_size_offset)
        .unwrap();
    let unpacked_size = u32::from_le_bytes(unpacked_size);
    assert_eq!(image.check_unpacked(unpacked_size), Ok(()));
    // It asks for what it needs and not for much more.
    let less = Image {
        init_size: image.init_size - MIB,
        ..image
    };
    let refused = Err(ImageError::UnpacksTooFar);
    assert_eq!(less.check_unpacked(unpacked_size), refused);
    let memory = range(0x1_4000_0000, 256 * MIB);
    check_placement(memory, &image, 9 * MIB + 1, 2048, 1000);
}

/// Places the parts and checks the result; tells whether they fit.
fn check_placement(memory: PhysRange, image: &Image, initrd: u64, cmdline: u64, data: u64) -> bool {
    let placement = match place(memory, image, initrd, cmdline, data) {
        Ok(placement) => placement,
        Err(PlaceError::TooHigh) => return false,
        Err(PlaceError::TooSmall { needed }) => {
            assert!(needed > memory.size() && needed % GRANULE == 0);
            let enough = range(memory.base(), needed);
            assert!(place(enough, image, initrd, cmdline, data).is_ok());
            if let Some(less) = PhysRange::new(memory.base(), needed - GRANULE) {
                let result = place(less, image, initrd, cmdline, data);
                assert_eq!(result, Err(PlaceError::TooSmall { needed }));
            }
            return false;
        }
    };
    check_parts(memory, image, placement, [cmdline, data, initrd]);
    true
}

/// Every part is in the memory, on a page of its own, and the image where it wants to be.
fn check_parts(memory: PhysRange, image: &Image, at: Placement, sizes: [u64; 3]) {
    let [cmdline, data, initrd] = sizes;
    let mut parts = vec![range(at.params, PAGE), range(at.image, image.init_size)];
    parts.extend(PhysRange::new(at.cmdline, cmdline));
    for (address, size) in [(at.setup_data, data), (at.initrd, initrd)] {
        assert_eq!(address == 0, size == 0);
        parts.extend(PhysRange::new(address, size));
    }
    for (place, part) in parts.iter().enumerate() {
        assert!(memory.contains(*part) && part.base() % PAGE == 0);
        assert!(parts[..place].iter().all(|other| !other.overlaps(*part)));
    }

    assert_eq!(at.image % image.align, 0);
    assert!(at.image >= image.min_address.max(memory.base() + 2 * MIB));
    if initrd != 0 {
        let last_page = memory.end() & !(PAGE - 1);
        assert!(last_page - (at.initrd + initrd) < PAGE);
    }
}

#[test]
fn the_image_goes_to_the_lowest_place_that_it_takes() {
    let placed = |base| place(range(base, 256 * MIB), &good(), 0, 100, 0).unwrap();
    assert_eq!(placed(0x4000_0000).image, 0x4020_0000);
    assert_eq!(placed(0x1_4000_0000).image, 0x1_4020_0000);
    assert_eq!(placed(2 * MIB).image, 16 * MIB);
    let mut choosy = good();
    choosy.align = 64 * MIB;
    let at = place(range(0x4000_0000, 256 * MIB), &choosy, 0, 100, 0);
    assert_eq!(at.unwrap().image, 0x4400_0000);
}

#[test]
fn an_initrd_that_does_not_fit_is_told_what_would_do() {
    let memory = range(0x4000_0000, 64 * MIB);
    let needed = 82 * MIB;
    assert_eq!(
        place(memory, &good(), 64 * MIB, 2048, 0),
        Err(PlaceError::TooSmall { needed })
    );
    assert!(!check_placement(memory, &good(), u64::MAX, 2048, 0));
    assert!(!check_placement(memory, &good(), 0, u64::MAX, 0));
}

fn number(page: &[u8], offset: usize, size: usize) -> u64 {
    let mut raw = [0; 8];
    raw[..size].copy_from_slice(&page[offset..offset + size]);
    u64::from_le_bytes(raw)
}

#[test]
fn the_zero_page_says_what_was_set_and_nothing_else() {
    let mut page = [0xff; 4096];
    let mut params = Params::new(&mut page, &good());
    params.set_cmdline(0x1_4000_1000, 2047).unwrap();
    let too_long = params.set_cmdline(0x5000, 2048);
    assert_eq!(too_long, Err(ParamsError::CommandLineTooLong));
    params.set_initrd(0x2_5000_0000, 0x1_2345_6789);
    params.set_subarch(SUBARCH_ADEOS, 0x1_5000_0000);
    params.set_setup_data(0x1_4000_2000);
    for entry in 0..128 {
        let range = range(0x1_0000 + entry * PAGE, PAGE);
        let kind = if entry == 0 {
            Kind::Reserved
        } else {
            Kind::Ram
        };
        params.add_e820(range, kind).unwrap();
    }
    let full = params.add_e820(range(0, PAGE), Kind::Ram);
    assert_eq!(full, Err(ParamsError::E820Full));

    let image = good();
    assert!(page[..0xc0].iter().all(|byte| *byte == 0));
    assert_eq!((page[0x1ef], page[0x1e8]), (0, 128));
    assert_eq!((page[0x210], page[0x211]), (0xff, 1));
    assert_eq!(
        page[0x230..0x23c],
        image.header[0x230 - HEADER_OFFSET..][..12]
    );
    assert_eq!(
        (number(&page, 0x228, 4), number(&page, 0xc8, 4)),
        (0x4000_1000, 1)
    );
    assert_eq!(
        (number(&page, 0x218, 4), number(&page, 0xc0, 4)),
        (0x5000_0000, 2)
    );
    assert_eq!(
        (number(&page, 0x21c, 4), number(&page, 0xc4, 4)),
        (0x2345_6789, 1)
    );
    assert_eq!(
        (number(&page, 0x23c, 4), number(&page, 0x240, 8)),
        (5, 0x1_5000_0000)
    );
    assert_eq!(number(&page, 0x250, 8), 0x1_4000_2000);
    assert_eq!(
        (number(&page, 0x2d0, 8), number(&page, 0x2e0, 4)),
        (0x1_0000, 2)
    );
    let last = 0x2d0 + 127 * 20;
    assert_eq!(
        (number(&page, last + 8, 8), number(&page, last + 16, 4)),
        (PAGE, 1)
    );
    assert!(page[0x2d0 + 128 * 20..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_an_image_presets_for_the_loader_is_cleared() {
    let mut probe = synthetic();
    for (offset, size) in [(0x210, 1), (0x218, 8), (0x224, 8), (0x23c, 12), (0x250, 8)] {
        put(&mut probe, offset, &vec![0xee; size]);
    }
    let mut page = [0; 4096];
    Params::new(&mut page, &image::parse(&probe, FILE_SIZE).unwrap());
    assert!(!page.contains(&0xee));
}

/// What everybody may rely on in an image that was accepted.
fn check_image(image: &Image, file_size: u64) {
    assert!(image.code_offset + image.code_size <= file_size);
    assert!(image.code_size <= image.init_size && image.init_size <= MAX_INIT_SIZE);
    assert!(image.align.is_power_of_two() && image.align >= PAGE);
    assert!(image.min_address >= MIN_ADDRESS);
    assert!(image.header_size <= image.header.len());
}

fn any_memory() -> impl Strategy<Value = PhysRange> {
    (0..1u64 << 33, 1..1u64 << 32, any::<bool>()).prop_map(|(base, size, whole)| {
        let mask = if whole { !(GRANULE - 1) } else { !0 };
        PhysRange::new(base & mask, (size & mask).max(1)).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_hostile_header_never_panics_and_is_never_placed_outside(
        flips in prop::collection::vec((0x1f1..0x2a0usize, any::<u8>()), 0..6),
        file_size in prop_oneof![Just(FILE_SIZE), Just(u64::MAX), any::<u64>()],
        memory in any_memory(),
        initrd in 0..1u64 << 31,
    ) {
        let mut probe = synthetic();
        for (offset, byte) in flips {
            probe[offset] = byte;
        }
        if let Ok(image) = image::parse(&probe, file_size) {
            check_image(&image, file_size);
            check_placement(memory, &image, initrd, 2048, 700);
            let mut page = [0; 4096];
            Params::new(&mut page, &image);
        }
    }

    #[test]
    fn noise_is_not_an_image(probe in prop::collection::vec(any::<u8>(), 0..PROBE_SIZE)) {
        prop_assert!(image::parse(&probe, probe.len() as u64).is_err());
    }

    #[test]
    fn parts_never_overlap_nor_leave_the_memory(
        memory in any_memory(),
        align in 12..28u32,
        init_size in CODE_SIZE..MAX_INIT_SIZE,
        pref in prop_oneof![Just(16 * MIB), any::<u64>()],
        initrd in prop_oneof![Just(0), 1..1u64 << 30],
        cmdline in 0..5000u64,
        data in prop_oneof![Just(0), 1..4 * MIB],
    ) {
        let mut image = good();
        image.align = 1 << align;
        image.init_size = init_size;
        image.min_address = pref.max(MIN_ADDRESS);
        check_placement(memory, &image, initrd, cmdline, data);
    }
}
