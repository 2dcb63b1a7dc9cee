// SPDX-License-Identifier: GPL-2.0

//! The files that starts are given: the real ones, and what is made of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use adeos_proto::abi;
use adeos_proto::boot::fdt;
use adeos_proto::boot::image::{self, PROBE_SIZE};
use adeos_proto::boot::place::{place, PlaceError};
use adeos_proto::id::PhysRange;
use fuzzing::pipe;

use crate::start::{Source, MIN_MEMORY};

/// Devices that are no image.
pub(crate) const DEVICES: [&str; 4] = ["/dev/zero", "/dev/null", "/dev/kmb", "/dev/adeos"];

/// A field of the setup header that may only grow: with less, a kernel would run code that is not
/// there, and nothing protects the machine from that. (Documentation/arch/x86/boot.rst: syssize)
const GROWING: usize = 0x1f4;

/// The real files.
pub(crate) struct Originals {
    kernel_path: String,
    initrd_path: String,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
}

impl Originals {
    /// Bytes of the smallest vnode that the two fit into, with all that a start adds to them.
    pub(crate) fn needs(&self) -> Result<u64, String> {
        let size = self.kernel.len() as u64;
        let probe = self.kernel.get(..PROBE_SIZE).unwrap_or(&self.kernel);
        let image = image::parse(probe, size).map_err(|error| error.describe().to_string())?;
        let memory = PhysRange::new(1 << 32, MIN_MEMORY).ok_or("no such memory")?;
        let (words, tree) = (abi::MAX_CMDLINE as u64, fdt::max_size(64) as u64);
        match place(memory, &image, self.initrd.len() as u64, words, tree) {
            Ok(_) => Ok(MIN_MEMORY),
            Err(PlaceError::TooSmall { needed }) => Ok(needed),
            Err(PlaceError::TooHigh) => Err("the kernel image fits nowhere".into()),
        }
    }

    /// Reads them.
    pub(crate) fn read(kernel: &str, initrd: &str) -> Result<Arc<Self>, String> {
        let read = |path: &str| fs::read(path).map_err(|error| format!("{path}: {error}"));
        Ok(Arc::new(Self {
            kernel: read(kernel)?,
            initrd: read(initrd)?,
            kernel_path: kernel.into(),
            initrd_path: initrd.into(),
        }))
    }
}

/// What a request is given as the descriptor of a file; closed when dropped.
pub(crate) enum Handle {
    File(File),
    /// The reading end, and the writing one.
    Pipe(
        OwnedFd,
        #[expect(dead_code, reason = "only kept open")] OwnedFd,
    ),
    Number(i32),
}

impl Handle {
    /// The number.
    pub(crate) fn number(&self) -> i32 {
        match self {
            Self::File(file) => file.as_raw_fd(),
            Self::Pipe(read, _) => read.as_raw_fd(),
            Self::Number(number) => *number,
        }
    }
}

/// One thread's way to files.
pub(crate) struct Files {
    originals: Arc<Originals>,
    scratch: String,
}

impl Files {
    /// Files of a thread's own are made at `scratch`.
    pub(crate) fn new(originals: Arc<Originals>, scratch: String) -> Self {
        Self { originals, scratch }
    }

    /// Opens what stands for the kernel image.
    pub(crate) fn kernel(&self, source: &Source) -> io::Result<Handle> {
        self.open(source, &self.originals.kernel)
    }

    /// Opens what stands for the initial RAM disk.
    pub(crate) fn initrd(&self, source: &Source) -> io::Result<Handle> {
        self.open(source, &self.originals.initrd)
    }

    fn open(&self, source: &Source, original: &[u8]) -> io::Result<Handle> {
        let file = match source {
            Source::Image => File::open(&self.originals.kernel_path)?,
            Source::Initrd => File::open(&self.originals.initrd_path)?,
            Source::Cut(part) => {
                let size = cut(original.len() as u64, *part) as usize;
                self.made(|file| file.write_all(original.get(..size).unwrap_or(original)))?
            }
            Source::Flipped(flips) => {
                let image = flipped(&self.originals.kernel, flips);
                self.made(|file| file.write_all(&image))?
            }
            Source::Zeros(size) => self.made(|file| file.set_len(*size))?,
            Source::Noise => {
                let start = original.len() / 2;
                let noise = original.get(start..).unwrap_or(original);
                self.made(|file| file.write_all(noise))?
            }
            Source::Made => File::open("/proc/version")?,
            Source::WriteOnly => OpenOptions::new()
                .write(true)
                .open(&self.originals.kernel_path)?,
            Source::Direct => self.made_with(libc::O_DIRECT, |file| {
                file.write_all(&self.originals.kernel)
            })?,
            Source::Folder => File::open("/tmp")?,
            Source::Pipe => return pipe().map(|(read, write)| Handle::Pipe(read, write)),
            Source::Device(which) => File::open(DEVICES.get(*which).copied().unwrap_or("/"))?,
            Source::Closed(number) => return Ok(Handle::Number(*number)),
        };
        Ok(Handle::File(file))
    }

    /// A file of that content, without a name.
    fn made(&self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
        self.made_with(0, fill)
    }

    /// The same, opened for reading with these flags.
    fn made_with(
        &self,
        flags: i32,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<File> {
        let mut file = File::create(&self.scratch)?;
        fill(&mut file)?;
        let reader = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&self.scratch)?;
        fs::remove_file(&self.scratch)?;
        Ok(reader)
    }
}

/// So many 65536ths of a length.
pub(crate) fn cut(length: u64, part: u64) -> u64 {
    length * part.min(65536) / 65536
}

fn flipped(image: &[u8], flips: &[(usize, u8)]) -> Vec<u8> {
    let mut copy = image.to_vec();
    for (offset, bits) in flips {
        if let Some(byte) = copy.get_mut(*offset) {
            *byte ^= bits;
        }
    }
    let field = GROWING..GROWING + 4;
    if let (Some(was), Some(is)) = (image.get(field.clone()), copy.get_mut(field)) {
        if was.iter().rev().gt(is.iter().rev()) {
            is.copy_from_slice(was);
        }
    }
    copy
}
