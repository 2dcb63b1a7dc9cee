// SPDX-License-Identifier: GPL-2.0

//! Loads and stores that may fault: who does one is told of the signal, and lives.

use std::arch::global_asm;
use std::io;
use std::ptr::null_mut;

// What faults is one instruction of each function; the handler has it go on behind `probe_faulted`, with the signal as
// what is returned. Nothing is on the stack there.
global_asm!(
    ".pushsection .text",
    ".globl probe_load64",
    "probe_load64:",
    "xor eax, eax",
    ".globl probe_load64_at",
    "probe_load64_at:",
    "mov rdx, [rdi]",
    "mov [rsi], rdx",
    "ret",
    ".globl probe_load32",
    "probe_load32:",
    "xor eax, eax",
    ".globl probe_load32_at",
    "probe_load32_at:",
    "mov edx, [rdi]",
    "mov [rsi], edx",
    "ret",
    ".globl probe_store64",
    "probe_store64:",
    "xor eax, eax",
    ".globl probe_store64_at",
    "probe_store64_at:",
    "mov [rdi], rsi",
    "ret",
    ".globl probe_store32",
    "probe_store32:",
    "xor eax, eax",
    ".globl probe_store32_at",
    "probe_store32_at:",
    "mov [rdi], esi",
    ".globl probe_faulted",
    "probe_faulted:",
    "ret",
    ".popsection",
);

extern "C" {
    fn probe_load64(address: u64, to: *mut u64) -> u64;
    fn probe_load32(address: u64, to: *mut u32) -> u64;
    fn probe_store64(address: u64, number: u64) -> u64;
    fn probe_store32(address: u64, number: u32) -> u64;
    static probe_load64_at: u8;
    static probe_load32_at: u8;
    static probe_store64_at: u8;
    static probe_store32_at: u8;
    static probe_faulted: u8;
}

/// The signal that a load or store has met.
pub(super) type Signal = i32;

fn told(signal: u64) -> Result<(), Signal> {
    match signal as Signal {
        0 => Ok(()),
        signal => Err(signal),
    }
}

/// Loads a number, wherever that is.
pub(super) fn load64(address: u64) -> Result<u64, Signal> {
    let mut number = 0;
    // SAFETY: A load does no harm, and one that faults is ended by the handler.
    told(unsafe { probe_load64(address, &mut number) })?;
    Ok(number)
}

/// The same for a half.
pub(super) fn load32(address: u64) -> Result<u32, Signal> {
    let mut number = 0;
    // SAFETY: As above.
    told(unsafe { probe_load32(address, &mut number) })?;
    Ok(number)
}

/// Stores a number in memory that Rust knows nothing of.
pub(super) fn store64(address: u64, number: u64) -> Result<(), Signal> {
    // SAFETY: Callers give addresses in memory of their own that no reference leads to; one that faults is ended.
    told(unsafe { probe_store64(address, number) })
}

/// The same for a half.
pub(super) fn store32(address: u64, number: u32) -> Result<(), Signal> {
    // SAFETY: As above.
    told(unsafe { probe_store32(address, number) })
}

/// Has faults of this file's functions be told to who calls them; others end the program as ever.
pub(super) fn install() -> io::Result<()> {
    // SAFETY: All zeros is a value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: The handler is one for SA_SIGINFO.
        if unsafe { libc::sigaction(signal, &action, null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let places = [
        &raw const probe_load64_at,
        &raw const probe_load32_at,
        &raw const probe_store64_at,
        &raw const probe_store32_at,
    ];
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: Linux gives a handler with SA_SIGINFO the context that it has interrupted, which is its own meanwhile.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    let (place, result) = (libc::REG_RIP as usize, libc::REG_RAX as usize);
    let Some(at) = registers.get_mut(place) else {
        return;
    };
    if places.iter().any(|it| *it as i64 == *at) {
        *at = (&raw const probe_faulted) as i64;
        if let Some(result) = registers.get_mut(result) {
            *result = i64::from(signal);
        }
        return;
    }
    let at = *at;
    // SAFETY: Linux gives it with SA_SIGINFO.
    let touched = unsafe { (*info).si_addr() };
    // It is not known what it has interrupted; but this is the end.
    eprintln!("signal {signal} by {at:#x}, of {touched:?}");
    // SAFETY: The instruction is run again, and this time ends the program.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;

    /// Pages of a mapping: of a file of one page, the second lies behind its end.
    fn map(rights: i32, flags: i32, file: i32) -> u64 {
        // SAFETY: Linux chooses the address.
        let address = unsafe { libc::mmap(null_mut(), 8192, rights, flags, file, 0) };
        assert_ne!(address, libc::MAP_FAILED);
        address as u64
    }

    #[test]
    fn who_touches_what_is_not_there_is_told_the_signal() {
        install().unwrap();
        let (both, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let there = map(both, private | libc::MAP_ANONYMOUS, -1);
        assert_eq!(store64(there + 8, 0x1_0000_0002), Ok(()));
        assert_eq!(load64(there + 8), Ok(0x1_0000_0002));
        assert_eq!((load32(there + 8), load32(there + 12)), (Ok(2), Ok(1)));
        assert_eq!(store32(there + 12, 7), Ok(()));
        assert_eq!(load64(there + 8), Ok(0x7_0000_0002));

        let closed = map(libc::PROT_NONE, private | libc::MAP_ANONYMOUS, -1);
        assert_eq!(load64(closed), Err(libc::SIGSEGV));
        assert_eq!(load32(closed), Err(libc::SIGSEGV));
        assert_eq!(store64(closed, 1), Err(libc::SIGSEGV));
        assert_eq!(store32(closed, 1), Err(libc::SIGSEGV));

        let file = File::open("/proc/self/exe").unwrap();
        // SAFETY: Linux chooses the address.
        let behind = unsafe {
            let size = file.metadata().unwrap().len().next_multiple_of(4096);
            let offset = size as i64 - 4096;
            let rights = libc::PROT_READ;
            libc::mmap(null_mut(), 8192, rights, private, file.as_raw_fd(), offset)
        } as u64;
        assert!(load64(behind).is_ok());
        assert_eq!(load64(behind + 4096), Err(libc::SIGBUS));
        for address in [there, closed, behind] {
            // SAFETY: They were mapped above, and nobody refers to them.
            unsafe { libc::munmap(address as *mut libc::c_void, 8192) };
        }
    }
}
