// SPDX-License-Identifier: GPL-2.0

//! Fixed-layout records: the one way in which bytes that somebody else wrote become values.
//!
//! A record is declared once, with its size. [`record!`](crate::record!) checks at compile time
//! that the fields fill it without unnamed padding and that each field is aligned to its own
//! size, and gives it `from_bytes`, `to_bytes` and one constant per field with its offset. All
//! numbers are little-endian. Nothing here refers to memory that another party can write: the
//! caller copies the bytes once, and what it checks is what it uses.

/// A value that has a fixed place and size in a record.
pub trait Field: Sized {
    /// Bytes that the value takes.
    const SIZE: usize;
    /// Alignment, in bytes, that the value wants inside a record.
    const ALIGN: usize;

    /// Reads the value from the first `SIZE` bytes; zero where there are not as many.
    fn get(bytes: &[u8]) -> Self;

    /// Writes the value to the first `SIZE` bytes; nothing where there are not as many.
    fn put(&self, bytes: &mut [u8]);
}

macro_rules! number_field {
    ($($number:ty),*) => { $(
        impl Field for $number {
            const SIZE: usize = core::mem::size_of::<$number>();
            const ALIGN: usize = core::mem::size_of::<$number>();

            #[inline]
            fn get(bytes: &[u8]) -> Self {
                bytes
                    .first_chunk()
                    .map_or(0, |raw| <$number>::from_le_bytes(*raw))
            }

            #[inline]
            fn put(&self, bytes: &mut [u8]) {
                if let Some(raw) = bytes.first_chunk_mut() {
                    *raw = self.to_le_bytes();
                }
            }
        }
    )* };
}

number_field!(u8, u16, u32, i32, u64);

impl<T: Field + Copy + Default, const N: usize> Field for [T; N] {
    const SIZE: usize = T::SIZE * N;
    const ALIGN: usize = T::ALIGN;

    #[inline]
    fn get(bytes: &[u8]) -> Self {
        let mut all = [T::default(); N];
        for (value, raw) in all.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
            *value = T::get(raw);
        }
        all
    }

    #[inline]
    fn put(&self, bytes: &mut [u8]) {
        for (value, raw) in self.iter().zip(bytes.chunks_exact_mut(T::SIZE)) {
            value.put(raw);
        }
    }
}

/// Whether an offset is a multiple of an alignment.
pub const fn is_aligned(offset: usize, align: usize) -> bool {
    offset % align == 0
}

/// Declares a record: a plain struct with a written size, checked layout and safe conversions.
///
/// ```
/// adeos_proto::record! {
///     /// A point.
///     pub struct Point: 8 {
///         /// Across.
///         x: u32,
///         /// Down.
///         y: u32,
///     }
/// }
/// let bytes = Point { x: 1, y: 2 }.to_bytes();
/// assert_eq!(Point::from_bytes(&bytes).y, 2);
/// assert_eq!(Point::OFFSETS.y, 4);
/// ```
#[macro_export]
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident : $size:literal {
            $( $(#[$field_meta:meta])* $field:ident : $type:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        const _: () = {
            /// Where each field of the record starts, in bytes.
            #[derive(Clone, Copy)]
            pub struct Offsets {
                $(
                    /// Offset of the field of this name, in bytes.
                    pub $field: usize,
                )*
            }

            impl $name {
                /// Bytes that the record takes.
                pub const SIZE: usize = $size;

                /// Where each field starts.
                pub const OFFSETS: Offsets = {
                    let mut at = 0;
                    let offsets = Offsets {
                        $( $field: {
                            let here = at;
                            assert!(
                                $crate::record::is_aligned(
                                    here,
                                    <$type as $crate::record::Field>::ALIGN,
                                ),
                                "a field is not aligned to its size"
                            );
                            at += <$type as $crate::record::Field>::SIZE;
                            here
                        }, )*
                    };
                    assert!(at == $size, "the fields do not add up to the record's size");
                    offsets
                };

                /// Reads the record from a copy of its bytes. Every pattern of bits is a value:
                /// what it means is for the caller to check.
                pub fn from_bytes(bytes: &[u8; $size]) -> Self {
                    Self {
                        $( $field: $crate::record::Field::get(
                            bytes.get(Self::OFFSETS.$field..).unwrap_or(&[]),
                        ), )*
                    }
                }

                /// Writes the record as bytes.
                pub fn to_bytes(self) -> [u8; $size] {
                    let mut bytes = [0u8; $size];
                    $( $crate::record::Field::put(
                        &self.$field,
                        bytes.get_mut(
                            Self::OFFSETS.$field
                                ..Self::OFFSETS.$field
                                    + <$type as $crate::record::Field>::SIZE,
                        ).unwrap_or(&mut []),
                    ); )*
                    bytes
                }
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::from_bytes(&[0u8; $size])
                }
            }
        };
    };
}

/// Text in a fixed field: the bytes up to the first zero, as far as they are printable ASCII.
///
/// What a peer wrote is shown to people, so control characters and bytes above 0x7e end it.
pub fn text(field: &[u8]) -> &str {
    let end = field
        .iter()
        .position(|byte| !(0x20..0x7f).contains(byte))
        .unwrap_or(field.len());
    let printable = field.get(..end).unwrap_or(&[]);
    core::str::from_utf8(printable).unwrap_or("")
}

/// Puts `value` into a fixed field, cut to leave at least one zero byte at its end.
pub fn set_text<const N: usize>(value: &str) -> [u8; N] {
    let mut field = [0u8; N];
    for (to, from) in field
        .iter_mut()
        .take(N.saturating_sub(1))
        .zip(value.bytes())
    {
        *to = from;
    }
    field
}

#[cfg(test)]
#[expect(
    unreachable_pub,
    reason = "a record is public, and this one has no user outside"
)]
mod tests {
    use super::*;

    record! {
        /// A record of the tests.
        pub struct Sample: 24 {
            /// Four bytes.
            a: u32,
            /// Two halves.
            b: [u16; 2],
            /// Eight.
            c: u64,
            /// Text.
            d: [u8; 8],
        }
    }

    #[test]
    fn a_record_survives_the_trip_through_bytes() {
        let sample = Sample {
            a: 7,
            b: [1, 0xffff],
            c: u64::MAX - 1,
            d: *b"abcdefgh",
        };
        assert_eq!(Sample::from_bytes(&sample.to_bytes()), sample);
        assert_eq!((Sample::OFFSETS.c, Sample::SIZE), (8, 24));
        assert_eq!(sample.to_bytes()[4..8], [1, 0, 0xff, 0xff]);
    }

    #[test]
    fn text_ends_at_the_first_byte_that_is_not_printable() {
        assert_eq!(text(b"abc\0def"), "abc");
        assert_eq!(text(b"ab\x1b[2J"), "ab");
        assert_eq!(text(b""), "");
        assert_eq!(set_text::<4>("abcdef"), *b"abc\0");
    }
}
