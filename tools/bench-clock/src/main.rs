// SPDX-License-Identifier: GPL-2.0

//! `bench-clock`: tells the CPU's time stamp counter, for scripts/bench.
//!
//! As a command it prints the counter. As the first program of a kernel (`rdinit=/bin/bench-clock`)
//! it tells the kernel's log, and stays. All kernels of one machine read the same counter; in QEMU
//! it counts from the machine's reset, and with `-icount shift=0` it counts instructions.

#![no_main]

use std::fs::OpenOptions;
use std::io::{Result, Write};

use rustix::mount::{mount, MountFlags};

/// The counter now.
fn clock() -> u64 {
    // SAFETY: Every x86-64 CPU has the instruction, and no kernel here forbids it to programs.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Tells the kernel's log what the counter was when this program began.
fn tell(began: u64) -> Result<()> {
    mount("devtmpfs", "/dev", "devtmpfs", MountFlags::empty(), None)?;
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg")?;
    log.write_all(format!("bench: the first program began at {began}\n").as_bytes())
}

/// The C library calls this, and not Rust's start-up code: that one wants /dev/null, which a kernel
/// does not have before its first program has made it.
#[no_mangle]
extern "C" fn main() -> std::ffi::c_int {
    let began = clock();
    if !rustix::process::getpid().is_init() {
        println!("{began}");
        return 0;
    }
    if tell(began).is_err() {
        // The kernel says with which status its first program has ended.
        return 1;
    }
    loop {
        // The first program must not end; a kernel without one panics.
        rustix::event::pause();
    }
}
