// SPDX-License-Identifier: GPL-2.0

//! Character devices whose names are made up as they come, and that can be polled.
//!
//! The kernel crate's `miscdevice` has neither; and Linux's holds one lock for all of its devices while one
//! is opened, which takes its time here. C headers: `include/linux/fs.h`, `include/linux/device.h`.

use crate::ffi;
use adeos_core::open_file::{
    OpenFile,
    Operations, //
};
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::error::{
    from_err_ptr,
    to_result, //
};
use kernel::ffi::{
    c_char,
    c_int,
    c_uint, //
};
use kernel::fs::File;
use kernel::module::this_module;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};
use kernel::sync::{
    Arc,
    Mutex, //
};
use kernel::types::ForeignOwnable;

/// A file that is open on such a device.
pub(crate) trait Opened: OpenFile {
    /// What the device is of.
    type Subject: Send + Sync + 'static;

    /// The device is opened. Process context.
    fn open(subject: &Arc<Self::Subject>, file: &File) -> Result<Arc<Self>>;
}

/// Devices that there can be.
pub(crate) const PLACES: usize = 16;

/// The numbers of all devices of this module, and what each is of.
#[pin_data(PinnedDrop)]
pub(crate) struct Region<F: Opened> {
    major: u32,
    name: &'static CStr,
    class: NonNull<bindings::class>,
    #[pin]
    subjects: Mutex<[Option<Arc<F::Subject>>; PLACES]>,
}

// SAFETY: Classes and numbers may be used by any thread; the rest has a lock.
unsafe impl<F: Opened> Send for Region<F> {}
// SAFETY: As above.
unsafe impl<F: Opened> Sync for Region<F> {}

/// The one region that this module has, for `open`, which is told a number only; or 0.
static REGION: Atomic<usize> = Atomic::new(0);
/// Rights of the devices; 0 if they follow from whether there is a group.
static MODE: Atomic<u32> = Atomic::new(0);

impl<F: Opened> Region<F> {
    /// Takes numbers for devices of a name, which have these rights; with 0 those that [`group`] has may
    /// do what root may. The module makes one. Process context. EBUSY, ENOMEM.
    pub(crate) fn new(name: &'static CStr, mode: u16) -> Result<Arc<Self>> {
        MODE.store(mode.into(), Relaxed);
        // SAFETY: The name lives for ever.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        // SAFETY: Name and table live for ever. What `open` needs is set before there is a device.
        let major = unsafe {
            bindings::__register_chrdev(
                0,
                0,
                PLACES as c_uint,
                name.as_char_ptr(),
                &Table::<F>::OPERATIONS,
            )
        };
        let region = to_result(major).and_then(|()| {
            let class = NonNull::new(class).ok_or(ENOMEM)?;
            Arc::pin_init(
                pin_init!(Self {
                    // It is no error, and so not negative.
                    major: major as u32,
                    name,
                    class,
                    subjects <- kernel::new_mutex!([const { None }; PLACES], "vcons:subjects"),
                }),
                GFP_KERNEL,
            )
        });
        match &region {
            Ok(region) => REGION.store(Arc::as_ptr(region) as usize, Release),
            Err(_) => {
                if major >= 0 {
                    // SAFETY: It was registered above, and nothing has the numbers.
                    unsafe {
                        bindings::__unregister_chrdev(
                            major as c_uint,
                            0,
                            PLACES as c_uint,
                            name.as_char_ptr(),
                        )
                    };
                }
                // SAFETY: It was made above, and has no devices.
                unsafe { bindings::class_destroy(class) };
            }
        }
        region
    }

    fn number(&self, place: usize) -> bindings::dev_t {
        // As MKDEV of include/linux/kdev_t.h has it.
        (self.major << 20) | place as u32
    }

    /// Adds a device to the kernel's: `device_create` does this as well, but cannot say whose it is.
    fn add(&self, place: usize, name: &CStr) -> Result {
        let device = KBox::init(pin_init::init_zeroed::<bindings::device>(), GFP_KERNEL)?;
        let device = KBox::into_raw(device);
        // SAFETY: It is new, and stays where it is. From here on the last reference frees it.
        unsafe { bindings::device_initialize(device) };
        // SAFETY: Nobody else knows it yet; the class lives longer.
        unsafe {
            (*device).class = self.class.as_ptr();
            (*device).type_ = &KIND;
            (*device).devt = self.number(place);
        }
        // SAFETY: It is initialised; the name has no format of its own, and is copied.
        let named =
            unsafe { bindings::dev_set_name(device, c"%s".as_char_ptr(), name.as_char_ptr()) };
        // SAFETY: It is initialised, and is added once.
        let added =
            to_result(named).and_then(|()| to_result(unsafe { bindings::device_add(device) }));
        if added.is_err() {
            // SAFETY: This is the only reference.
            unsafe { bindings::put_device(device) };
        }
        added
    }

    fn subject(&self, place: usize) -> Option<Arc<F::Subject>> {
        self.subjects.lock().get(place)?.clone()
    }
}

#[pinned_drop]
impl<F: Opened> PinnedDrop for Region<F> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The numbers were registered by `new`. No file is open on them: one keeps the module,
        // and devices keep this.
        unsafe {
            bindings::__unregister_chrdev(self.major, 0, PLACES as c_uint, self.name.as_char_ptr())
        };
        REGION.store(0, Release);
        // SAFETY: `new` made it; devices of it keep this.
        unsafe { bindings::class_destroy(self.class.as_ptr()) };
    }
}

/// A device: no file is opened on it once this is dropped, while those that are open stay. Dropped in
/// process context.
pub(crate) struct Device<F: Opened> {
    region: Arc<Region<F>>,
    place: usize,
}

impl<F: Opened> Device<F> {
    /// Makes a device, which the kernel shows under its name in `/dev`; `!` stands for `/` there. Process
    /// context. EBUSY the place is taken, EEXIST the name is, EINVAL there is no such place, ENOMEM.
    pub(crate) fn new(
        region: &Arc<Region<F>>,
        place: usize,
        name: &CStr,
        subject: Arc<F::Subject>,
    ) -> Result<Self> {
        let mut subjects = region.subjects.lock();
        let taken = subjects.get_mut(place).ok_or(EINVAL)?;
        if taken.is_some() {
            return Err(EBUSY);
        }
        *taken = Some(subject);
        drop(subjects);
        // From here on dropping it clears the place.
        let device = Self {
            region: region.clone(),
            place,
        };
        region.add(place, name)?;
        Ok(device)
    }
}

impl<F: Opened> Drop for Device<F> {
    fn drop(&mut self) {
        // SAFETY: The class lives; where there is no device of the number, nothing happens.
        unsafe {
            bindings::device_destroy(self.region.class.as_ptr(), self.region.number(self.place))
        };
        let mut subjects = self.region.subjects.lock();
        let subject = subjects.get_mut(self.place).and_then(Option::take);
        drop(subjects);
        drop(subject);
    }
}

/// The group that new devices are of; 0 for root's.
pub(crate) fn group() -> u32 {
    // SAFETY: It may be called in any context.
    unsafe { ffi::adeos_parameter_group() }
}

/// What the devices have in common.
const KIND: bindings::device_type = bindings::device_type {
    devnode: Some(devnode),
    release: Some(release),
    ..pin_init::zeroed()
};

/// Tells whose a device that is new is, and the rights.
///
/// # Safety
///
/// `mode` and `gid` are null or point to one.
unsafe extern "C" fn devnode(
    _device: *const bindings::device,
    mode: *mut bindings::umode_t,
    _uid: *mut bindings::kuid_t,
    gid: *mut bindings::kgid_t,
) -> *mut c_char {
    let group = group();
    let rights = match MODE.load(Relaxed) {
        0 if group == 0 => 0o600,
        0 => 0o660,
        given => given,
    };
    // SAFETY: By this function's conditions.
    if let Some(mode) = unsafe { mode.as_mut() } {
        *mode = rights as bindings::umode_t;
    }
    // SAFETY: By this function's conditions.
    if let Some(gid) = unsafe { gid.as_mut() } {
        gid.val = group;
    }
    core::ptr::null_mut()
}

/// Frees a device.
///
/// # Safety
///
/// It is one of [`Region::add`]'s, and nobody has it any more.
unsafe extern "C" fn release(device: *mut bindings::device) {
    // SAFETY: By this function's conditions; it came out of a box.
    drop(unsafe { KBox::from_raw(device) });
}

struct Table<F>(PhantomData<F>);

impl<F: Opened> Table<F> {
    // `open` gives each file an `Arc<F>`, or there is no file.
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<crate::LocalModule>().as_ptr(),
        open: Some(Self::open),
        ..Operations::<F>::TABLE
    };

    /// # Safety
    ///
    /// The file is being opened, on a device of this kind.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By this function's conditions. The number's lower 20 bits say which device it is.
        let place = unsafe { (*inode).i_rdev } & 0xf_ffff;
        let region = REGION.load(Acquire) as *const Region<F>;
        // SAFETY: The region that has these numbers is the only one, and lives until they are given
        // back; this file keeps the module meanwhile, which gives them back when it is removed.
        let subject = unsafe { region.as_ref() }.and_then(|region| region.subject(place as usize));
        // SAFETY: The file is the caller's.
        let opened = unsafe { File::from_raw_file(file) };
        let result = subject
            .ok_or(ENODEV)
            .and_then(|subject| F::open(&subject, opened));
        match result {
            Ok(open) => {
                // SAFETY: Who opens a file may say what belongs to it.
                unsafe { (*file).private_data = open.into_foreign().cast() };
                0
            }
            Err(error) => error.to_errno(),
        }
    }
}
