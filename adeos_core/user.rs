// SPDX-License-Identifier: GPL-2.0

//! Records that come from and go to user space: copied once, checked, copied back.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::uaccess::{
    UserPtr,
    UserSlice, //
};

/// Reads an ioctl's argument of `N` bytes. The record says its own size first: another one is of
/// another version (EINVAL). EFAULT when the address is no good.
pub fn read_record<const N: usize>(address: usize) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    UserSlice::new(UserPtr::from_addr(address), N)
        .reader()
        .read_slice(&mut bytes)?;
    let (size, _) = bytes.split_first_chunk::<4>().ok_or(EINVAL)?;
    if u32::from_le_bytes(*size) as usize != N {
        return Err(EINVAL);
    }
    Ok(bytes)
}

/// Writes an ioctl's result back. EFAULT when the address is no good.
pub fn write_record<const N: usize>(address: usize, bytes: &[u8; N]) -> Result {
    UserSlice::new(UserPtr::from_addr(address), N)
        .writer()
        .write_slice(bytes)
}

/// Refuses a record (EINVAL) unless its reserved fields are zero.
pub fn zero(is_zero: bool) -> Result {
    is_zero.then_some(()).ok_or(EINVAL)
}
