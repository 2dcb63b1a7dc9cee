// SPDX-License-Identifier: GPL-2.0

//! Datagrams by UDP, which the other end sends back as they are.

use crate::pattern::fill;
use anyhow::{ensure, Context, Result};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// The largest datagram.
const MOST: usize = 65507;
/// Bytes that may wait in a socket.
const BUFFER: usize = 4 << 20;
/// What has not come back after this does not come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends back what comes, in a thread, for ever; for groups in others.
pub(crate) fn serve(port: u16, groups: &[Ipv4Addr]) -> Result<()> {
    answer(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?)?;
    for (at, group) in (1u16..).zip(groups) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port + at))?;
        // The device is the one of the group's route.
        socket
            .join_multicast_v4(group, &Ipv4Addr::UNSPECIFIED)
            .with_context(|| format!("joining {group}"))?;
        answer(socket)?;
    }
    Ok(())
}

fn answer(socket: UdpSocket) -> Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)?;
    thread::spawn(move || {
        let mut bytes = vec![0; MOST];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            // Who has asked and gone does not want it.
            let _ = socket.send_to(&bytes[..length], from);
        }
    });
    Ok(())
}

fn open(to: SocketAddr) -> Result<UdpSocket> {
    let any = match to.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    Ok(socket)
}

/// One datagram of each size; prints how many, and microseconds.
pub(crate) fn echo(to: SocketAddr, sizes: impl Iterator<Item = usize>) -> Result<()> {
    let socket = open(to)?;
    let mut bytes = vec![0; MOST];
    let mut back = vec![0; MOST];
    let begun = Instant::now();
    let mut count = 0;
    for size in sizes {
        let bytes = bytes.get_mut(..size).context("no datagram is that long")?;
        fill(size as u64, 0, bytes);
        socket
            .send(bytes)
            .with_context(|| format!("{size} bytes"))?;
        let length = socket
            .recv(&mut back)
            .with_context(|| format!("{size} bytes do not come back"))?;
        ensure!(&back[..length] == bytes, "{size} bytes come back otherwise");
        count += 1;
    }
    println!("echo {count} {}", begun.elapsed().as_micros());
    Ok(())
}

/// Numbered ones, several on their way; prints how many were sent, came back, came back out of order, and microseconds.
pub(crate) fn numbered(to: SocketAddr, count: u64, size: usize, ahead: u64) -> Result<()> {
    ensure!(
        (16..=MOST).contains(&size),
        "a datagram has 16 to {MOST} bytes"
    );
    let socket = open(to)?;
    let mut bytes = vec![0; size];
    let mut back = vec![0; MOST];
    let (mut sent, mut came, mut reordered, mut highest) = (0u64, 0u64, 0u64, None);
    let begun = Instant::now();
    while came < count {
        while sent < count && sent < came + ahead.max(1) {
            bytes[..8].copy_from_slice(&sent.to_le_bytes());
            fill(sent, 0, &mut bytes[8..]);
            socket.send(&bytes)?;
            sent += 1;
        }
        let Ok(length) = socket.recv(&mut back) else {
            break;
        };
        let number = back
            .first_chunk()
            .map_or(u64::MAX, |number| u64::from_le_bytes(*number));
        fill(number, 0, &mut bytes[8..]);
        ensure!(
            length == size && back[8..length] == bytes[8..],
            "datagram {number} comes back otherwise"
        );
        reordered += u64::from(highest.is_some_and(|highest| number <= highest));
        highest = highest.max(Some(number));
        came += 1;
    }
    println!(
        "numbered {sent} {came} {reordered} {}",
        begun.elapsed().as_micros()
    );
    Ok(())
}

/// One datagram to many; prints how many answer, and who.
pub(crate) fn who(to: Ipv4Addr, via: Ipv4Addr, port: u16) -> Result<()> {
    let socket = UdpSocket::bind((via, 0))?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    // Groups have ports of their own.
    let port = if to.is_multicast() { port + 1 } else { port };
    socket.send_to(b"who?", (to, port))?;
    let mut answers = BTreeSet::new();
    let mut bytes = [0; 16];
    while let Ok((_, from)) = socket.recv_from(&mut bytes) {
        answers.insert(from.ip());
    }
    let names: Vec<_> = answers.iter().map(IpAddr::to_string).collect();
    println!("who {} {}", answers.len(), names.join(" "));
    Ok(())
}
