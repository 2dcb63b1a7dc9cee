// SPDX-License-Identifier: GPL-2.0

//! Ethernet devices of a kind, which come and go by `ip link`.
//!
//! C headers: `include/linux/netdevice.h`, `include/net/rtnetlink.h`, `include/linux/ethtool.h`. Their tables are full of
//! inlines and of fields that bindgen does not see, so `netdev_shim.c` has them.

use crate::ffi;
use crate::packet::Outbound;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::{
    c_char,
    c_int,
    c_void, //
};
use kernel::prelude::*;

/// Address of a device.
pub(crate) type Address = [u8; 6];

/// What has become of a packet that was to be sent. As `shim.h` has it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Fate {
    /// It is sent.
    Sent,
    /// It is lost.
    Lost,
    /// It has to wait; the queue has been stopped by [`Handle::stop_queue`].
    Waits,
}

/// What is counted of a device beside packets and bytes.
pub(crate) struct Counters {
    /// What each is called, as `ethtool -S` shows it.
    pub(crate) names: &'static [[u8; 32]],
    /// Places of those that Linux shows by names of its own.
    pub(crate) collisions: u32,
    pub(crate) aborted: u32,
    pub(crate) missed: u32,
    pub(crate) frame_errors: u32,
}

/// What the driver of such a device does. Linux holds its lock of network devices while it calls `create`, `open`, `stop`
/// and `set_address`, so none of them waits for others; it holds none while it calls `follow`, and while it drops the driver.
pub(crate) trait Driver: Sized + Send + Sync + 'static {
    /// Its counters.
    const COUNTERS: Counters;
    /// Packets that can be on their way from and to it.
    const RINGS: (u32, u32);
    /// Lanes that it can have, each of which receives on a CPU of its own.
    const LANES: u32;
    /// Queues of packets to be sent that each lane has; each is stopped and woken by itself.
    const QUEUES: u32;
    /// For how long a queue may be stopped, in ms.
    const WATCHDOG_MS: u32;

    /// Makes a device on a segment with so many lanes, a power of two, and the address that it has if nobody says another one.
    /// Process context. EINVAL it is no name of a segment, EBUSY there is a device already, EACCES this vnode may not be on it.
    fn create(handle: Handle, segment: &CStr, lanes: u32) -> Result<(Pin<KBox<Self>>, Address)>;

    /// It is set up; there is no carrier yet. Process context.
    fn open(&self, address: Address) -> Result;

    /// It is shut down: from here on [`transmit`](Self::transmit) and [`poll`](Self::poll) have nothing to do. Process context.
    fn stop(&self);

    /// Does what may wait, after [`Handle::follow`]; how soon it is to be called again in any case, in ms, or 0. In a thread of
    /// its own; one at a time.
    fn follow(&self) -> u32;

    /// The queue of any lane for packets to an address, below [`QUEUES`](Self::QUEUES). Soft interrupts are held off.
    fn queue_of(&self, to: Address) -> u32;

    /// Sends a packet of a queue: those of the first lane come first, and so on. Soft interrupts are held off; one of each queue
    /// at a time.
    fn transmit(&self, packet: &Outbound<'_>, queue: u32) -> Fate;

    /// A queue has been stopped for [`WATCHDOG_MS`](Self::WATCHDOG_MS) and more: has it go on. Soft interrupts are held off.
    fn time_out(&self, queue: u32);

    /// Receives packets of a lane, so many at most; how many. In the soft interrupt; one of each lane at a time.
    fn poll(&self, lane: u32, budget: usize) -> usize;

    /// There was nothing more to receive: from here on [`Handle::schedule`] has to be called. False if there is something,
    /// and it is not to sleep.
    fn sleep(&self, lane: u32) -> bool;

    /// Takes another address. Process context.
    fn set_address(&self, address: Address);

    /// Listens to all, to all groups, or to groups of these bits. Soft interrupts are held off.
    fn listen(&self, all: bool, all_groups: bool, filter: u64);

    /// The bit of a group.
    fn filter_bit(address: Address) -> u64;

    /// Says what was counted, in the order of the names. Process context.
    fn count(&self, counters: &mut [u64]);
}

/// A device as its driver sees it; the driver is dropped before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(NonNull<ffi::NetDev>);

// SAFETY: The functions that take it may be called from any thread.
unsafe impl Send for Handle {}
// SAFETY: As above.
unsafe impl Sync for Handle {}

impl Handle {
    /// The device as a number, which is not 0.
    pub(crate) fn to_address(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// The device of a number; [`None`] of 0.
    ///
    /// # Safety
    ///
    /// The number is of [`to_address`](Self::to_address), and the device lives for as long as it is used.
    pub(crate) unsafe fn from_address(address: usize) -> Option<Self> {
        NonNull::new(address as *mut ffi::NetDev).map(Self)
    }

    pub(crate) fn as_raw(&self) -> *mut ffi::NetDev {
        self.0.as_ptr()
    }

    /// Has [`Driver::poll`] called for a lane, if there is one of the number: for the first one on this CPU. Any context but
    /// threads with interrupts off; the device is open.
    pub(crate) fn schedule(&self, lane: u32) {
        // SAFETY: The driver has it only while it lives.
        unsafe { ffi::adeos_netdev_schedule(self.as_raw(), lane) }
    }

    /// Has [`Driver::follow`] called soon. Process context.
    pub(crate) fn follow(&self) {
        // SAFETY: As above.
        unsafe { ffi::adeos_netdev_follow(self.as_raw()) }
    }

    /// There is a carrier; no queue is stopped. Process context; the device is open.
    pub(crate) fn carrier_on(&self) {
        // SAFETY: As above.
        unsafe { ffi::adeos_netdev_carrier_on(self.as_raw()) }
    }

    /// There is none. Process context.
    pub(crate) fn carrier_off(&self) {
        // SAFETY: As above.
        unsafe { ffi::adeos_netdev_carrier_off(self.as_raw()) }
    }

    /// Has no packets of a queue sent until [`wake_queue`](Self::wake_queue).
    pub(crate) fn stop_queue(&self, queue: u32) {
        // SAFETY: As above; the driver has been told of this queue.
        unsafe { ffi::adeos_netdev_stop_queue(self.as_raw(), queue) }
    }

    /// Has packets of a queue sent again.
    pub(crate) fn wake_queue(&self, queue: u32) {
        // SAFETY: As above.
        unsafe { ffi::adeos_netdev_wake_queue(self.as_raw(), queue) }
    }

    /// Has [`Driver::poll`] called for a lane that there is when this time is over, in ns, or before. Soft interrupts are held off.
    pub(crate) fn poll_within(&self, lane: u32, delay_ns: u64) {
        // SAFETY: As above; the driver has been told of this lane.
        unsafe { ffi::adeos_netdev_poll_within(self.as_raw(), lane, delay_ns) }
    }
}

/// Runs something with soft interrupts held off, in process context or in one.
pub(crate) fn without_soft_interrupts<R>(run: impl FnOnce() -> R) -> R {
    // SAFETY: They are let in again below, in the same context.
    unsafe { ffi::adeos_netdev_hold_soft_interrupts() };
    let result = run();
    // SAFETY: They are held off since the call above.
    unsafe { ffi::adeos_netdev_let_soft_interrupts() };
    result
}

/// The kind of devices, until this is dropped; then they all go.
pub(crate) struct Registration<T: Driver>(PhantomData<T>);

impl<T: Driver> Registration<T> {
    /// Registers it. There is one. Process context.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The table lives for ever.
        to_result(unsafe { ffi::adeos_netdev_register(&Table::<T>::OPERATIONS) })?;
        Ok(Self(PhantomData))
    }

    /// Makes a device on a segment. Process context.
    pub(crate) fn add(&self, segment: &CStr) -> Result {
        // SAFETY: The kind is registered, and the name is a string.
        to_result(unsafe { ffi::adeos_netdev_add(segment.as_char_ptr()) })
    }
}

impl<T: Driver> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { ffi::adeos_netdev_unregister() };
    }
}

struct Table<T>(PhantomData<T>);

impl<T: Driver> Table<T> {
    const OPERATIONS: ffi::Operations = ffi::Operations {
        create: Self::create,
        destroy: Self::destroy,
        open: Self::open,
        stop: Self::stop,
        follow: Self::follow,
        queue_of: Self::queue_of,
        transmit: Self::transmit,
        time_out: Self::time_out,
        poll: Self::poll,
        sleep: Self::sleep,
        set_address: Self::set_address,
        listen: Self::listen,
        filter_bit: Self::filter_bit,
        count: Self::count,
        names: T::COUNTERS.names.as_ptr(),
        // A handful.
        nr_names: T::COUNTERS.names.len() as u32,
        collisions: T::COUNTERS.collisions,
        aborted: T::COUNTERS.aborted,
        missed: T::COUNTERS.missed,
        frame_errors: T::COUNTERS.frame_errors,
        packets: T::RINGS.0,
        places: T::RINGS.1,
        lanes: T::LANES,
        queues: T::QUEUES,
        watchdog_ms: T::WATCHDOG_MS,
    };

    /// # Safety
    ///
    /// `device` is what `create` has returned, and lives.
    unsafe fn of<'a>(device: *const c_void) -> &'a T {
        // SAFETY: By this function's condition.
        unsafe { &*device.cast::<T>() }
    }

    /// # Safety
    ///
    /// The device lives for as long as what is returned, the name is a string, and there is room for an address.
    unsafe extern "C" fn create(
        it: *mut ffi::NetDev,
        segment: *const c_char,
        lanes: u32,
        address: *mut [u8; 6],
    ) -> *mut c_void {
        let Some(handle) = NonNull::new(it).map(Handle) else {
            return kernel::error::code::EINVAL.to_ptr();
        };
        // SAFETY: By this function's conditions.
        let segment = unsafe { CStr::from_char_ptr(segment) };
        match T::create(handle, segment, lanes) {
            Ok((device, own)) => {
                // SAFETY: By this function's conditions.
                unsafe { *address = own };
                // SAFETY: C does not move it.
                KBox::into_raw(unsafe { Pin::into_inner_unchecked(device) }).cast()
            }
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned, and nobody uses it any more.
    unsafe extern "C" fn destroy(device: *mut c_void) {
        // SAFETY: By this function's conditions.
        drop(unsafe { KBox::from_raw(device.cast::<T>()) });
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned, and there is an address.
    unsafe extern "C" fn open(device: *const c_void, address: *const [u8; 6]) -> c_int {
        // SAFETY: By this function's conditions.
        let (device, address) = unsafe { (Self::of(device), *address) };
        device
            .open(address)
            .map_or_else(|error| error.to_errno(), |()| 0)
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned.
    unsafe extern "C" fn stop(device: *const c_void) {
        // SAFETY: By this function's condition.
        unsafe { Self::of(device) }.stop();
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned.
    unsafe extern "C" fn follow(device: *const c_void) -> u32 {
        // SAFETY: By this function's condition.
        unsafe { Self::of(device) }.follow()
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned, and there is an address.
    unsafe extern "C" fn queue_of(device: *const c_void, address: *const [u8; 6]) -> u32 {
        // SAFETY: By this function's conditions.
        let (device, address) = unsafe { (Self::of(device), *address) };
        device.queue_of(address)
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned, and the packet nobody else's for now.
    unsafe extern "C" fn transmit(device: *const c_void, skb: *mut ffi::SkBuff, queue: u32) -> u32 {
        let Some(skb) = NonNull::new(skb) else {
            return Fate::Lost as u32;
        };
        // SAFETY: By this function's conditions.
        let (device, packet) = unsafe { (Self::of(device), Outbound::new(skb)) };
        device.transmit(&packet, queue) as u32
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned.
    unsafe extern "C" fn time_out(device: *const c_void, queue: u32) {
        // SAFETY: By this function's condition.
        unsafe { Self::of(device) }.time_out(queue);
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned.
    unsafe extern "C" fn poll(device: *const c_void, lane: u32, budget: c_int) -> c_int {
        // SAFETY: By this function's condition.
        let device = unsafe { Self::of(device) };
        let budget = usize::try_from(budget).unwrap_or(0);
        // No more than the budget, which is one.
        device.poll(lane, budget).min(budget) as c_int
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned.
    unsafe extern "C" fn sleep(device: *const c_void, lane: u32) -> bool {
        // SAFETY: By this function's condition.
        unsafe { Self::of(device) }.sleep(lane)
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned, and there is an address.
    unsafe extern "C" fn set_address(device: *const c_void, address: *const [u8; 6]) {
        // SAFETY: By this function's conditions.
        let (device, address) = unsafe { (Self::of(device), *address) };
        device.set_address(address);
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned.
    unsafe extern "C" fn listen(device: *const c_void, all: bool, all_groups: bool, filter: u64) {
        // SAFETY: By this function's condition.
        unsafe { Self::of(device) }.listen(all, all_groups, filter);
    }

    /// # Safety
    ///
    /// There is an address.
    unsafe extern "C" fn filter_bit(address: *const [u8; 6]) -> u64 {
        // SAFETY: By this function's condition.
        T::filter_bit(unsafe { *address })
    }

    /// # Safety
    ///
    /// `device` is what `create` has returned, and there is room for as many numbers as there are names.
    unsafe extern "C" fn count(device: *const c_void, counters: *mut u64) {
        // SAFETY: By this function's conditions.
        let (device, counters) = unsafe {
            (
                Self::of(device),
                core::slice::from_raw_parts_mut(counters, T::COUNTERS.names.len()),
            )
        };
        device.count(counters);
    }
}
