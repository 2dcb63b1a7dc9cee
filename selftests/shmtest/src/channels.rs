// SPDX-License-Identifier: GPL-2.0

//! Channels in a region: messages that say who has sent them, which one it is, and what then follows from that.

use anyhow::{bail, ensure, Context, Result};
use bridge::pipe::{Receiver, Sender};
use bridge::{Memory, Queue, Region};
use std::collections::BTreeMap;
use std::time::Duration;

/// What does not come in this time does not come.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));
/// The message that ends what one receives.
const END: &[u8] = b"end";

/// The message of a number from somebody: of each length that there can be, one after the other.
fn message(sender: u64, number: u64, most: usize) -> Vec<u8> {
    let mut message = [sender.to_le_bytes(), number.to_le_bytes()].concat();
    let more = (sender as usize + number as usize) % (most - 15);
    message.extend((0..more).map(|at| (at as u64 ^ number) as u8));
    message
}

/// Who has sent a message, and its number, if it is one of those that are sent.
fn read(message: &[u8], most: usize) -> Result<(u64, u64)> {
    let (sender, rest) = message
        .split_first_chunk()
        .context("the message is short")?;
    let (number, _) = rest.split_first_chunk().context("the message is short")?;
    let (sender, number) = (u64::from_le_bytes(*sender), u64::from_le_bytes(*number));
    ensure!(
        self::message(sender, number, most) == message,
        "message {number} of {sender} is not as it was sent"
    );
    Ok((sender, number))
}

/// What came, by sender: each sender's in order.
#[derive(Default)]
struct Came(BTreeMap<u64, (u64, u64)>);

impl Came {
    /// Notes a message, which must not be older than the last one of its sender; `exact` says that none may be missing.
    fn note(&mut self, message: &[u8], most: usize, exact: bool) -> Result<()> {
        let (sender, number) = read(message, most)?;
        let (count, next) = self.0.entry(sender).or_default();
        ensure!(
            number >= *next,
            "message {number} of {sender} comes after {next}"
        );
        ensure!(
            !exact || number == *next,
            "message {number} of {sender} comes instead of {next}"
        );
        (*count, *next) = (*count + 1, number + 1);
        Ok(())
    }

    fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }
}

/// Sends messages by a queue.
pub(crate) fn queue_send(
    region: &Region,
    memory: &Memory,
    offset: u64,
    sender: u64,
    count: u64,
) -> Result<()> {
    let queue = Queue::open(region, memory, offset)?;
    let most = queue.shape().bytes as usize;
    for number in 0..count {
        queue.send(&message(sender, number, most), PATIENCE)?;
    }
    Ok(())
}

/// Ends receivers of a queue, so many.
pub(crate) fn queue_end(region: &Region, memory: &Memory, offset: u64, count: u64) -> Result<()> {
    let queue = Queue::open(region, memory, offset)?;
    for _ in 0..count {
        queue.send(END, PATIENCE)?;
    }
    Ok(())
}

/// Receives until it is ended; how many.
pub(crate) fn queue_receive(region: &Region, memory: &Memory, offset: u64) -> Result<u64> {
    let queue = Queue::open(region, memory, offset)?;
    let most = queue.shape().bytes as usize;
    let mut came = Came::default();
    loop {
        let message = queue.receive(PATIENCE)?;
        if message == END {
            return Ok(came.total());
        }
        came.note(&message, most, false)?;
    }
}

/// Sends messages by a pipe.
pub(crate) fn pipe_send(
    region: &Region,
    memory: &Memory,
    offset: u64,
    most: usize,
    count: u64,
) -> Result<()> {
    let mut sender = Sender::new(region, memory, offset)?;
    for number in 0..count {
        sender.send(&message(1, number, most), PATIENCE)?;
    }
    Ok(())
}

/// Receives messages of a pipe, as many as are said or until the sender has died; how many.
pub(crate) fn pipe_receive(
    region: &Region,
    memory: &Memory,
    offset: u64,
    most: usize,
    count: u64,
) -> Result<String> {
    let mut receiver = Receiver::new(region, memory, offset)?;
    let mut came = Came::default();
    while came.total() < count {
        match receiver.receive(PATIENCE) {
            Ok(message) => came.note(&message, most, true)?,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return Ok("died".to_owned())
            }
            Err(error) => bail!("after {}: {error}", came.total()),
        }
    }
    Ok(came.total().to_string())
}
