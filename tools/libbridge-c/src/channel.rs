// SPDX-License-Identifier: GPL-2.0

//! Channels: queues and pipes.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::{Mutex, MutexGuard, TryLockError};

use bridge::pipe::{self, Receiver, Sender};
use bridge::{Queue, Shape};

use crate::arguments::{buffer, bytes, give, of, take_back, timeout};
use crate::errno::{answer, done, error};
use crate::kept::Kept;
use crate::region::Handle;

/// `struct bridge_queue`.
type QueueHandle = Kept<Queue<'static>>;
/// `struct bridge_sender`.
type SenderHandle = Kept<End<Sender<'static>>>;
/// `struct bridge_receiver`.
type ReceiverHandle = Kept<End<Receiver<'static>>>;

/// An end of a pipe, for one thread at a time.
pub(crate) struct End<T> {
    end: Mutex<T>,
    shape: Shape,
}

impl<T> End<T> {
    fn new(end: T, shape: Shape) -> Self {
        Self {
            end: Mutex::new(end),
            shape,
        }
    }

    /// EBUSY another thread is using it.
    fn alone(&self) -> io::Result<MutexGuard<'_, T>> {
        match self.end.try_lock() {
            Ok(end) => Ok(end),
            Err(TryLockError::Poisoned(end)) => Ok(end.into_inner()),
            Err(TryLockError::WouldBlock) => Err(error(libc::EBUSY)),
        }
    }
}

/// Bytes that fit into memory are no more than a signed number holds.
fn length(bytes: usize) -> io::Result<isize> {
    isize::try_from(bytes).map_err(io::Error::other)
}

#[no_mangle]
pub(crate) extern "C" fn bridge_channel_size(slots: u32, bytes: u32) -> u64 {
    Shape { slots, bytes }.size()
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_queue_create(
    region: *mut Handle,
    offset: u64,
    slots: u32,
    bytes: u32,
) -> *mut QueueHandle {
    let shape = Shape { slots, bytes };
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    let queue = region.and_then(|region| {
        // SAFETY: Both go into the queue.
        unsafe {
            Kept::new(region, |region, memory| {
                Queue::create(region, memory, offset, shape)
            })
        }
    });
    give(queue)
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_queue_open(
    region: *mut Handle,
    offset: u64,
) -> *mut QueueHandle {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    let queue = region.and_then(|region| {
        // SAFETY: Both go into the queue.
        unsafe { Kept::new(region, |region, memory| Queue::open(region, memory, offset)) }
    });
    give(queue)
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_queue_close(queue: *mut QueueHandle) {
    // SAFETY: bridge.h says that nobody uses it any more.
    unsafe { take_back(queue) };
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_queue_bytes(queue: *mut QueueHandle) -> i64 {
    // SAFETY: bridge.h wants a handle.
    let queue = unsafe { of(queue) };
    answer(queue.map(|queue| queue.value().shape().bytes.into()))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_queue_send(
    queue: *mut QueueHandle,
    message: *const c_void,
    size: usize,
    ms: i64,
) -> c_int {
    // SAFETY: bridge.h wants a handle, and so many bytes.
    let (queue, message) = unsafe { (of(queue), bytes(message, size)) };
    done(queue.and_then(|queue| queue.value().send(message?, timeout(ms))))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_queue_receive(
    queue: *mut QueueHandle,
    to: *mut c_void,
    size: usize,
    ms: i64,
) -> isize {
    // SAFETY: bridge.h wants a handle, and room for so many bytes.
    let (queue, to) = unsafe { (of(queue), buffer(to, size)) };
    answer(queue.and_then(|queue| length(queue.value().receive_into(to?, timeout(ms))?)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_pipe_create(
    region: *mut Handle,
    offset: u64,
    slots: u32,
    bytes: u32,
) -> c_int {
    let shape = Shape { slots, bytes };
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    done(region.and_then(|region| pipe::create(region.0.memory()?, offset, shape)))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_sender_open(
    region: *mut Handle,
    offset: u64,
) -> *mut SenderHandle {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    let sender = region.and_then(|region| {
        // SAFETY: Both go into the end.
        unsafe {
            Kept::new(region, |region, memory| {
                let end = Sender::new(region, memory, offset)?;
                let shape = end.shape();
                Ok(End::new(end, shape))
            })
        }
    });
    give(sender)
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_sender_close(sender: *mut SenderHandle) {
    // SAFETY: bridge.h says that nobody uses it any more.
    unsafe { take_back(sender) };
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_sender_bytes(sender: *mut SenderHandle) -> i64 {
    // SAFETY: bridge.h wants a handle.
    let sender = unsafe { of(sender) };
    answer(sender.map(|sender| sender.value().shape.bytes.into()))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_send(
    sender: *mut SenderHandle,
    message: *const c_void,
    size: usize,
    ms: i64,
) -> c_int {
    // SAFETY: bridge.h wants a handle, and so many bytes.
    let (sender, message) = unsafe { (of(sender), bytes(message, size)) };
    done(sender.and_then(|sender| sender.value().alone()?.send(message?, timeout(ms))))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_receiver_open(
    region: *mut Handle,
    offset: u64,
) -> *mut ReceiverHandle {
    // SAFETY: bridge.h wants a handle.
    let region = unsafe { of(region) };
    let receiver = region.and_then(|region| {
        // SAFETY: Both go into the end.
        unsafe {
            Kept::new(region, |region, memory| {
                let end = Receiver::new(region, memory, offset)?;
                let shape = end.shape();
                Ok(End::new(end, shape))
            })
        }
    });
    give(receiver)
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_receiver_close(receiver: *mut ReceiverHandle) {
    // SAFETY: bridge.h says that nobody uses it any more.
    unsafe { take_back(receiver) };
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_receiver_bytes(receiver: *mut ReceiverHandle) -> i64 {
    // SAFETY: bridge.h wants a handle.
    let receiver = unsafe { of(receiver) };
    answer(receiver.map(|receiver| receiver.value().shape.bytes.into()))
}

#[no_mangle]
pub(crate) unsafe extern "C" fn bridge_receive(
    receiver: *mut ReceiverHandle,
    to: *mut c_void,
    size: usize,
    ms: i64,
) -> isize {
    // SAFETY: bridge.h wants a handle, and room for so many bytes.
    let (receiver, to) = unsafe { (of(receiver), buffer(to, size)) };
    answer(receiver.and_then(|receiver| {
        let mut receiver = receiver.value().alone()?;
        length(receiver.receive_into(to?, timeout(ms))?)
    }))
}
