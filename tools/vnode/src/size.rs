// SPDX-License-Identifier: GPL-2.0

//! Sizes and addresses of memory as people write them: `512M`, `2GiB`, `0x40000000`.
//!
//! Letters count in powers of 1024, as the kernel's own `memmap=` does; `MB` and `MiB` are `M`.

use adeos_proto::layout::GRANULE;

/// Smallest memory of a vnode in bytes: a kernel, its initial RAM disk and room to live.
pub(crate) const SMALLEST: u64 = 64 << 20;

/// Reads a size or an address in bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16)
            .map_err(|_| format!("`{text}` is not a hexadecimal number of 64 bits"));
    }

    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => {
            return Err(format!(
                "`{text}` is not a size: write for example 512M or 2G"
            ))
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a size: write for example 512M or 2G"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is more than a 64-bit machine can address"))
}

/// Reads the size of a vnode's memory and checks that the pool can lend such a piece.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    let size = parse(text)?;
    if size < SMALLEST {
        return Err(format!(
            "{} is too little: a vnode needs at least {}",
            show(size),
            show(SMALLEST)
        ));
    }
    whole(size)
}

/// Checks that a size is one of whole granules.
pub(crate) fn whole(size: u64) -> Result<u64, String> {
    if size % GRANULE != 0 {
        let up = size.div_ceil(GRANULE).saturating_mul(GRANULE);
        return Err(format!(
            "{} is not a multiple of {}: the next larger one is {}",
            show(size),
            show(GRANULE),
            show(up)
        ));
    }
    Ok(size)
}

/// Reads the physical address of a vnode's memory.
pub(crate) fn parse_base(text: &str) -> Result<u64, String> {
    let base = parse(text)?;
    if base % GRANULE != 0 {
        return Err(format!("{base:#x} is not a multiple of {}", show(GRANULE)));
    }
    Ok(base)
}

/// Writes a size with the largest unit that leaves a whole number.
pub(crate) fn show(size: u64) -> String {
    let units = [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    units
        .iter()
        .find(|(shift, _)| size != 0 && size % (1 << shift) == 0)
        .map_or_else(
            || format!("{size}"),
            |(shift, unit)| format!("{}{unit}", size >> shift),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, size) in [
            ("512M", 512 << 20),
            ("1G", 1 << 30),
            ("2GiB", 2 << 30),
            ("2 gb", 2 << 30),
            ("64k", 64 << 10),
            ("0x40000000", 1 << 30),
            ("4096", 4096),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "12Q",
            "-1",
            "1.5G",
            "0xg",
            "99999999T",
            "18446744073709551616",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_a_multiple_of_the_granule_and_not_tiny() {
        assert!(parse_memory("32M").unwrap_err().contains("at least 64M"));
        assert!(parse_memory("65M").unwrap_err().contains("66M"));
        assert_eq!(parse_memory("64M"), Ok(64 << 20));
        assert!(parse_base("0x100000").is_err());
    }

    #[test]
    fn sizes_print_with_the_largest_whole_unit() {
        assert_eq!(show(512 << 20), "512M");
        assert_eq!(show(3 << 29), "1536M");
        assert_eq!(show(1 << 30), "1G");
        assert_eq!(show(0), "0");
        assert_eq!(show(1000), "1000");
    }
}
