// SPDX-License-Identifier: GPL-2.0

//! Streams by TCP. A connection begins with a request of 24 bytes: what is asked for, a seed or a size, and a count.

use crate::pattern::{fill, Checker};
use anyhow::{bail, ensure, Context, Result};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The other end takes a stream, and says whether it was right.
const TAKE: u64 = 1;
/// It sends one.
const GIVE: u64 = 2;
/// It sends back messages of a size.
const ROUNDS: u64 = 3;

/// The seed of streams of zeros, at which nobody looks.
const PLAIN: u64 = 0;

/// Bytes that are sent and taken at once.
const STEP: usize = 1 << 17;

fn request(what: u64, detail: u64, count: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    for (place, number) in bytes.chunks_mut(8).zip([what, detail, count]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Answers who connects, for ever.
pub(crate) fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    println!("ready");
    for peer in listener.incoming() {
        let peer = peer?;
        thread::spawn(move || {
            if let Err(error) = answer(peer) {
                eprintln!("nettest: {error:#}");
            }
        });
    }
    Ok(())
}

fn answer(mut peer: TcpStream) -> Result<()> {
    peer.set_nodelay(true)?;
    let mut bytes = [0; 24];
    peer.read_exact(&mut bytes)?;
    let mut numbers = bytes.chunks(8).map(|number| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(number);
        u64::from_le_bytes(bytes)
    });
    let mut next = || numbers.next().context("three numbers");
    let (what, detail, count) = (next()?, next()?, next()?);
    match what {
        TAKE => {
            let is_right = take(&mut peer, detail, count)?;
            peer.write_all(&[is_right.into()])?;
        }
        GIVE => give(&mut peer, detail, count)?,
        ROUNDS => {
            let mut message = vec![0; usize::try_from(detail)?.min(STEP)];
            for _ in 0..count {
                peer.read_exact(&mut message)?;
                peer.write_all(&message)?;
            }
        }
        other => bail!("nobody asks for {other}"),
    }
    Ok(())
}

fn give(peer: &mut TcpStream, seed: u64, count: u64) -> Result<()> {
    let mut bytes = vec![0; STEP];
    let mut position = 0;
    while position < count {
        let length = usize::try_from(count - position)?.min(STEP);
        if seed != PLAIN {
            fill(seed, position, &mut bytes[..length]);
        }
        peer.write_all(&bytes[..length])?;
        position += length as u64;
    }
    Ok(())
}

fn take(peer: &mut TcpStream, seed: u64, count: u64) -> Result<bool> {
    let mut checker = Checker::new(seed);
    let mut bytes = vec![0; STEP];
    let mut is_right = true;
    let mut taken = 0;
    while taken < count {
        let length = peer.read(&mut bytes)?;
        ensure!(length > 0, "the stream ends after {taken} of {count} bytes");
        taken += length as u64;
        if seed != PLAIN {
            is_right = is_right && checker.check(&bytes[..length]);
        }
    }
    Ok(is_right && (seed == PLAIN || checker.position() == count))
}

/// Streams, several at once; prints bytes and microseconds of all of them.
pub(crate) fn stream(
    to: SocketAddr,
    bytes: u64,
    flows: u64,
    reverse: bool,
    plain: bool,
) -> Result<()> {
    let begun = Instant::now();
    let threads: Vec<_> = (0..flows)
        .map(|flow| {
            let seed = if plain { PLAIN } else { flow + 1 };
            thread::spawn(move || one_stream(to, seed, bytes, reverse))
        })
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => bail!("a flow has panicked"),
        }
    }
    println!("stream {} {}", bytes * flows, begun.elapsed().as_micros());
    Ok(())
}

fn one_stream(to: SocketAddr, seed: u64, count: u64, reverse: bool) -> Result<()> {
    let mut peer = TcpStream::connect(to).with_context(|| format!("{to}"))?;
    if reverse {
        peer.write_all(&request(GIVE, seed, count))?;
        ensure!(
            take(&mut peer, seed, count)?,
            "what came is not what was sent"
        );
        return Ok(());
    }
    peer.write_all(&request(TAKE, seed, count))?;
    give(&mut peer, seed, count)?;
    let mut is_right = [0];
    peer.read_exact(&mut is_right)?;
    ensure!(is_right == [1], "what arrived is not what was sent");
    Ok(())
}

/// One message each way at a time; prints rounds, and microseconds of the longest one and of all.
pub(crate) fn rounds(to: SocketAddr, count: u64, size: usize) -> Result<()> {
    ensure!(
        (1..=STEP).contains(&size),
        "a message has 1 to {STEP} bytes"
    );
    let mut peer = TcpStream::connect(to).with_context(|| format!("{to}"))?;
    peer.set_nodelay(true)?;
    peer.write_all(&request(ROUNDS, size as u64, count))?;
    let mut message = vec![0; size];
    let mut back = vec![0; size];
    fill(7, 0, &mut message);
    let begun = Instant::now();
    let mut worst = Duration::ZERO;
    let mut last = begun;
    for _ in 0..count {
        peer.write_all(&message)?;
        peer.read_exact(&mut back)?;
        ensure!(back == message, "what came back is not what was sent");
        let now = Instant::now();
        worst = worst.max(now - last);
        last = now;
    }
    println!(
        "rounds {count} {} {}",
        worst.as_micros(),
        (last - begun).as_micros()
    );
    Ok(())
}
