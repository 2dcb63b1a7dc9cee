// SPDX-License-Identifier: GPL-2.0

//! Asking this kernel about network devices, by rtnetlink.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
};

use super::message::{answers, Answer, Device, Request};
use crate::device;

/// Bytes that an answer can have, as the kernel cuts its lists.
const PIECE: usize = 32 << 10;

/// Why something was not done: an errno, and the kernel's own words if it has any.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) errno: Errno,
    pub(super) words: Option<String>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, words: None }
    }
}

/// How often a list is asked for that others change meanwhile.
const TRIES: usize = 20;

/// All devices of ours. EAGAIN if they change all the time.
pub(super) fn list() -> Result<Vec<Device>, Refusal> {
    for _ in 0..TRIES {
        if let Some(devices) = ask(Request::list())? {
            return Ok(devices);
        }
    }
    Err(Errno::AGAIN.into())
}

/// Makes a device on a segment.
pub(super) fn add(name: &str, segment: &str, mac: Option<[u8; 6]>) -> Result<(), Refusal> {
    ask(Request::add(name, segment, mac)).map(drop)
}

/// Drops the device of a number.
pub(super) fn remove(index: i32) -> Result<(), Refusal> {
    ask(Request::remove(index)).map(drop)
}

/// Sends a request, and gathers what is answered; [`None`] if that is not of one moment.
fn ask(request: Request) -> Result<Option<Vec<Device>>, Refusal> {
    let socket = open()?;
    send(&socket, &request.into_bytes(), SendFlags::empty())?;
    let mut devices = Some(Vec::new());
    let mut piece = vec![0; PIECE];
    loop {
        let count = match recv(&socket, piece.as_mut_slice(), RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            count => count?.0,
        };
        for answer in answers(piece.get(..count).unwrap_or(&[])) {
            match answer {
                Answer::Device(device) => {
                    if let Some(devices) = &mut devices {
                        devices.push(device);
                    }
                }
                Answer::Interrupted => devices = None,
                Answer::Done => return Ok(devices),
                Answer::Refused(errno, words) => {
                    let errno = Errno::from_raw_os_error(errno);
                    return Err(Refusal { errno, words });
                }
            }
        }
    }
}

fn open() -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Which is that of routes and devices.
        None,
    )?;
    let option = device::set_option(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
    option.map_err(|error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(socket)
}
