// SPDX-License-Identifier: GPL-2.0

//! Images, command lines and places that a user brings: what is found good can be loaded.

#![no_main]

use adeos_proto::boot::cmdline::{reserved, CommandLine};
use adeos_proto::boot::image::{self, Image, HEADER_OFFSET};
use adeos_proto::boot::params::{Kind, Params, SIZE};
use adeos_proto::boot::place::{place, PlaceError};
use adeos_proto::boot::{fdt, tables};
use adeos_proto::id::PhysRange;
use hostile::{Input, Memory};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::new(bytes);
    match input.byte() % 4 {
        0 | 1 => images(&input),
        2 => command_lines(&input),
        _ => addresses(&input),
    }
});

fn images(input: &Input<'_>) {
    let (file_size, memory) = (input.u64(), PhysRange::new(input.u64(), input.u64()));
    let sizes = [input.u32(), input.u16().into(), input.u16().into()].map(u64::from);
    let Ok(image) = image::parse(input.take(image::PROBE_SIZE), file_size) else {
        return;
    };
    let code_end = image.code_offset.checked_add(image.code_size);
    assert!(code_end.is_some_and(|end| end <= file_size));
    assert!(image.unpacked_size_offset + 4 <= image.code_offset + image.code_size);
    assert!(image.align.is_power_of_two() && image.align >= 4096);
    assert!((image.code_size..=image::MAX_INIT_SIZE).contains(&image.init_size));
    let _ = image.check_unpacked(input.u32());
    write_params(&image, input);

    let Some(memory) = memory else { return };
    let [initrd, cmdline, data] = sizes;
    match place(memory, &image, initrd, cmdline, data) {
        Ok(found) => {
            let parts = [
                (found.params, SIZE as u64),
                (found.cmdline, cmdline),
                (found.setup_data, data),
                (found.image, image.init_size),
                (found.initrd, initrd),
            ];
            check_places(memory, &parts);
            assert!(found.image % image.align == 0 && found.image >= image.min_address);
        }
        Err(PlaceError::TooSmall { needed }) => {
            let larger = PhysRange::new(memory.base(), needed);
            let found = larger.map(|it| place(it, &image, initrd, cmdline, data));
            assert!(found.is_some_and(|found| found.is_ok()));
        }
        Err(PlaceError::TooHigh) => {}
    }
}

/// Every part lies in the memory, and no two share a byte.
fn check_places(memory: PhysRange, parts: &[(u64, u64)]) {
    let ranges = parts
        .iter()
        .filter_map(|(base, size)| PhysRange::new(*base, *size));
    for (position, part) in ranges.clone().enumerate() {
        assert!(memory.contains(part));
        assert!(!ranges
            .clone()
            .skip(position + 1)
            .any(|other| other.overlaps(part)));
    }
    let wanted = parts.iter().filter(|(_, size)| *size > 0).count();
    assert_eq!(ranges.count(), wanted);
}

/// The loader's fields are the loader's, whatever the image has there.
fn write_params(image: &Image, input: &Input<'_>) {
    let mut page = [0xff; SIZE];
    let mut params = Params::new(&mut page, image);
    let length = input.u32();
    let named = params.set_cmdline(input.u64(), length.into());
    assert_eq!(named.is_ok(), length <= image.cmdline_max);
    params.set_initrd(input.u64(), input.u64());
    params.set_subarch(5, input.u64());
    for number in 0..u64::from(input.byte()) {
        if let Some(range) = PhysRange::new(number << 21, 1 << 21) {
            let added = params.add_e820(range, Kind::Ram);
            assert_eq!(added.is_ok(), number < 128);
        }
    }
    assert!(page.iter().take(0xc0).all(|byte| *byte == 0));
    let header = page.get(HEADER_OFFSET..).unwrap_or(&[]);
    assert_eq!(header.first(), image.header.first());
}

/// What is in a line is printable, and what is refused has changed nothing.
fn command_lines(input: &Input<'_>) {
    let mut line = CommandLine::<64>::new();
    while !input.is_over() {
        let bytes = input.take(input.below(80));
        let text = String::from_utf8_lossy(bytes);
        let before = line;
        if line.push(&text).is_err() {
            assert_eq!(line.as_bytes(), before.as_bytes());
        } else {
            let word = text.trim_matches(' ');
            assert!(line.as_str().ends_with(word));
            assert!(reserved(word).is_none() || reserved(line.as_str()).is_some());
        }
        assert!(line.len() < 64 && line.as_bytes().len() == line.len() + 1);
        assert!(line
            .as_str()
            .bytes()
            .all(|byte| (0x20..0x7f).contains(&byte)));
        assert_eq!(line.as_bytes().last(), Some(&0));
    }
}

/// Trees and page tables are built wholly in the room that there is, or not.
fn addresses(input: &Input<'_>) {
    let cpus: Vec<u32> = (0..input.below(300)).map(|_| input.u32()).collect();
    let mut room = vec![0xa5; input.u16().into()];
    let built = fdt::build_setup_data(&mut room, input.u32(), &cpus, input.u64());
    assert_eq!(built.is_ok(), built.is_ok_and(|size| size <= room.len()));
    assert!(built.is_ok() || room.len() < fdt::max_size(cpus.len()));

    let addresses = [input.u64(), input.u64(), input.u64() % (1 << 39)];
    let levels = match input.yes() {
        true => tables::Levels::Five,
        false => tables::Levels::Four,
    };
    let memory = Memory::quiet(input.below(8) * tables::PAGE as usize);
    let base = u64::from(input.u32()) * tables::PAGE;
    if let Ok(pages) = tables::build(&memory, base, levels, &addresses) {
        assert!(pages <= tables::pages_for(levels, addresses.len()));
    }
}
