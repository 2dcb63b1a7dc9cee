// SPDX-License-Identifier: GPL-2.0

//! What a vnode is to be, and the note of it that is kept for `restart` and `apply`.
//!
//! The kernel knows a vnode's CPUs and memory, but not the files that it was made of. The tool
//! notes them in `/run/vnode/NAME.json`, which lasts as long as the root runs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use adeos_proto::abi;
use adeos_proto::cpuset::CpuSet;
use adeos_proto::id::{PhysRange, VnodeName};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};
use crate::vnode::Vnode;

/// Where notes are kept.
const NOTES: &str = "/run/vnode";

/// How a vnode's kernel is entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// The image's own entry starts the vnode's CPU (a kernel with the patches).
    #[default]
    Image,
    /// The root starts the vnode's CPU (a kernel without the patches).
    Sipi,
}

/// Where a vnode's memory may lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Placement {
    /// Anywhere.
    #[default]
    Any,
    /// Wholly below 4 GiB.
    #[serde(rename = "below-4g")]
    Below4g,
    /// Wholly above 4 GiB.
    #[serde(rename = "above-4g")]
    Above4g,
}

impl Entry {
    /// The word for it in files and on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Sipi => "sipi",
        }
    }
}

impl Placement {
    /// The word for it in files.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Below4g => "below-4g",
            Self::Above4g => "above-4g",
        }
    }
}

/// All that a start needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Name of the vnode.
    pub(crate) name: String,
    /// Its CPUs, as `2-3,5`.
    pub(crate) cpus: String,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Physical address of its memory, when it has to be that one.
    pub(crate) memory_base: Option<u64>,
    /// Where its memory may lie otherwise.
    pub(crate) placement: Placement,
    /// File of its kernel.
    pub(crate) kernel: PathBuf,
    /// File of its initial RAM disk.
    pub(crate) initrd: Option<PathBuf>,
    /// What is added to its kernel's command line.
    pub(crate) append: String,
    /// How its kernel is entered.
    pub(crate) entry: Entry,
}

impl Settings {
    /// The CPUs as a set. The text was checked when the settings were made.
    pub(crate) fn cpu_set(&self) -> CpuSet {
        CpuSet::parse(&self.cpus).unwrap_or(CpuSet::EMPTY)
    }

    /// The memory, when its place is fixed.
    pub(crate) fn range(&self) -> Option<PhysRange> {
        PhysRange::new(self.memory_base?, self.memory)
    }

    /// The settings as the kernel takes them.
    pub(crate) fn record(&self) -> Result<abi::Start> {
        let name = VnodeName::new(&self.name)
            .map_err(|_| Failure::failed(format!("`{}` is not a name of a vnode", self.name)))?;
        let entry = match self.entry {
            Entry::Image => 0,
            Entry::Sipi => abi::start::ENTRY_SIPI,
        };
        let placement = match self.placement {
            Placement::Any => 0,
            Placement::Below4g => abi::start::BELOW_4G,
            Placement::Above4g => abi::start::ABOVE_4G,
        };
        Ok(abi::Start {
            flags: entry | placement,
            name: name.field(),
            cpus: self.cpu_set().words(),
            memory_size: self.memory,
            memory_base: self.memory_base.unwrap_or(u64::MAX),
            ..Default::default()
        })
    }
}

/// The note about a vnode: how it was started, and which life of it that was.
#[derive(Serialize, Deserialize)]
pub(crate) struct Note {
    /// Number that the vnode got.
    pub(crate) vnode: u32,
    /// Which life of that number.
    pub(crate) generation: u32,
    /// How it was started.
    pub(crate) settings: Settings,
}

impl Note {
    /// Writes the note down, readable for its owner only: a command line may hold secrets.
    pub(crate) fn keep(&self) -> Result<()> {
        notes()?;
        let path = path(&self.settings.name);
        let fresh = path.with_extension("json.new");
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(error.to_string()))?;

        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options
            .open(&fresh)
            .context(|| fresh.display().to_string())?;
        file.write_all(json.as_bytes())
            .context(|| fresh.display().to_string())?;
        // A reader sees the old note or the new one, never a half.
        fs::rename(&fresh, &path).context(|| path.display().to_string())
    }

    /// The note about the vnode of this name, if one is kept.
    pub(crate) fn read(name: &str) -> Option<Self> {
        let note = fs::read_to_string(path(name)).ok()?;
        serde_json::from_str(&note).ok()
    }

    /// The note about this very life of a vnode, if one is kept.
    pub(crate) fn of(vnode: &Vnode) -> Option<Self> {
        Self::read(vnode.name())
            .filter(|note| note.vnode == vnode.number() && note.generation == vnode.generation())
    }
}

/// The folder of all that is noted, made if need be.
pub(crate) fn notes() -> Result<&'static Path> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(NOTES)
        .context(|| NOTES.to_owned())?;
    Ok(Path::new(NOTES))
}

fn path(name: &str) -> PathBuf {
    // Names hold no slash and start with no dot (`VnodeName`), so this stays inside the folder.
    Path::new(NOTES).join(format!("{name}.json"))
}

/// The kernel image, given or the root's own.
pub(crate) fn kernel(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(path) => absolute(path),
        None => default_file("vmlinuz").ok_or_else(|| missing("kernel image", "vmlinuz")),
    }
}

/// The initial RAM disk, given, refused (`none`), or the root's own.
pub(crate) fn initrd(given: Option<&Path>) -> Result<Option<PathBuf>> {
    match given {
        Some(path) if path == Path::new("none") => Ok(None),
        Some(path) => absolute(path).map(Some),
        None => default_file("initrd.img")
            .map(Some)
            .ok_or_else(|| missing("initial RAM disk", "initrd.img")),
    }
}

/// The path by which a file is found from any folder, and proof that it can be read.
fn absolute(path: &Path) -> Result<PathBuf> {
    File::open(path)
        .and_then(|_| fs::canonicalize(path))
        .context(|| path.display().to_string())
}

fn default_file(stem: &str) -> Option<PathBuf> {
    default_files(stem)
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
}

fn default_files(stem: &str) -> [String; 2] {
    let uname = rustix::system::uname();
    [
        format!("/boot/{stem}-{}", uname.release().to_string_lossy()),
        format!("/boot/{stem}"),
    ]
}

fn missing(what: &str, stem: &str) -> Failure {
    let option = if stem == "vmlinuz" {
        "kernel"
    } else {
        "initrd"
    };
    let [versioned, plain] = default_files(stem);
    Failure::failed(format!(
        "no {what}: neither {versioned} nor {plain} is there"
    ))
    .help(format!(
        "name one with --{option} FILE, or `{option} = \"FILE\"`"
    ))
}
