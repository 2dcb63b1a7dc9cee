// SPDX-License-Identifier: GPL-2.0

//! Notes that an administrator has asked for the end of a vnode, for the supervisor that would
//! otherwise start it again.
//!
//! `/run/vnode/NAME.stop` names the life of the vnode that is to end. It is written before the
//! kernel is asked, and its lock is held by the supervisor from the look at it until the vnode is
//! started: so either the supervisor sees the note, or the administrator sees the new life.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::device::Kmb;
use crate::failure::{Context, Failure, Result};
use crate::say;
use crate::settings;
use crate::vnode::Vnode;

/// The life of a vnode whose end was asked for. Generations are counted anew when the modules are
/// loaded anew; starts are not dated twice.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    vnode: u32,
    generation: u32,
    started_ns: u64,
}

impl From<&Vnode> for Record {
    fn from(vnode: &Vnode) -> Self {
        Self {
            vnode: vnode.number(),
            generation: vnode.generation(),
            started_ns: vnode.started_ns(),
        }
    }
}

/// The note about the vnode of one name, locked. Dropping it unlocks it.
pub(crate) struct Asked {
    file: File,
}

impl Asked {
    /// Opens the note, and waits for whoever has it.
    pub(crate) fn lock(name: &str) -> Result<Self> {
        Self::lock_in(settings::notes()?, name)
    }

    fn lock_in(folder: &Path, name: &str) -> Result<Self> {
        // A name holds no slash and starts with no dot, so this stays inside the folder.
        let path = folder.join(format!("{name}.stop"));
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(&path).context(|| path.display().to_string())?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(Into::into)
            .context(|| path.display().to_string())?;
        Ok(Self { file })
    }

    /// Whether the end of this very life was asked for.
    pub(crate) fn is_about(&self, vnode: &Vnode) -> bool {
        let mut text = String::new();
        let mut file = &self.file;
        let record = file
            .rewind()
            .and_then(|()| file.read_to_string(&mut text))
            .ok()
            .and_then(|_| serde_json::from_str::<Record>(&text).ok());
        // A note whose writer died over it was never followed by a request.
        record == Some(vnode.into())
    }

    fn write(&self, record: Option<&Record>) -> Result<()> {
        let json =
            serde_json::to_string(&record).map_err(|error| Failure::failed(error.to_string()))?;
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(json.as_bytes(), 0))
            .context(|| "the note for a supervisor".into())
    }
}

/// Notes that a vnode is to end, and tells which life of it that is: the one that its name stands
/// for once no supervisor is about to start another.
pub(crate) fn note(kmb: &Kmb, vnode: Vnode) -> Result<Vnode> {
    let asked = match Asked::lock(vnode.name()) {
        Ok(asked) => asked,
        Err(failure) => {
            warn(&vnode, &failure);
            return Ok(vnode);
        }
    };
    let all = Vnode::all(kmb)?;
    let now = all.iter().find(|other| other.name() == vnode.name());
    let vnode = now.copied().unwrap_or(vnode);
    if let Err(failure) = asked.write(Some(&Record::from(&vnode))) {
        warn(&vnode, &failure);
    }
    Ok(vnode)
}

/// Takes a note back: the kernel has refused the request.
pub(crate) fn withdraw(vnode: &Vnode) {
    if let Err(failure) = Asked::lock(vnode.name()).and_then(|asked| asked.write(None)) {
        warn(vnode, &failure);
    }
}

/// Whether a note asks for the end of this life.
pub(crate) fn is_asked(vnode: &Vnode) -> bool {
    match Asked::lock(vnode.name()) {
        Ok(asked) => asked.is_about(vnode),
        Err(failure) => {
            warn(vnode, &failure);
            false
        }
    }
}

fn warn(vnode: &Vnode, failure: &Failure) {
    say::warning(&format!(
        "a supervisor may not know who ended {}: {failure}",
        vnode.name()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use adeos_proto::abi::Query;
    use std::sync::mpsc;
    use std::thread;

    fn vnode(generation: u32, started_ns: u64) -> Vnode {
        Vnode::from(Query {
            vnode: 1,
            generation,
            started_ns,
            ..Default::default()
        })
    }

    #[test]
    fn a_note_is_about_one_life_until_it_is_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let lock = || Asked::lock_in(folder.path(), "a").unwrap();
        assert!(!lock().is_about(&vnode(1, 7)));
        lock().write(Some(&Record::from(&vnode(1, 7)))).unwrap();
        let asked = lock();
        for _ in 0..2 {
            assert!(asked.is_about(&vnode(1, 7)));
            assert!(!asked.is_about(&vnode(2, 7)));
            // The same number and generation, after the modules were loaded anew.
            assert!(!asked.is_about(&vnode(1, 8)));
        }
        asked.write(Some(&Record::from(&vnode(2, 9)))).unwrap();
        assert!(!asked.is_about(&vnode(1, 7)) && asked.is_about(&vnode(2, 9)));
        asked.write(None).unwrap();
        assert!(!asked.is_about(&vnode(2, 9)));
    }

    #[test]
    fn what_is_no_note_asks_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.stop"), "{\"vnode\": 1, ").unwrap();
        let asked = Asked::lock_in(folder.path(), "a").unwrap();
        assert!(!asked.is_about(&vnode(1, 7)));
    }

    #[test]
    fn a_locked_note_waits_for_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let held = Asked::lock_in(path, "a").unwrap();
        // Another vnode's is free.
        Asked::lock_in(path, "b").unwrap();

        thread::scope(|scope| {
            let (done, wait) = mpsc::channel();
            scope.spawn(move || {
                let asked = Asked::lock_in(path, "a").unwrap();
                done.send(asked.is_about(&vnode(1, 7))).unwrap();
            });
            assert!(wait.try_recv().is_err());
            held.write(Some(&Record::from(&vnode(1, 7)))).unwrap();
            drop(held);
            assert!(wait.recv().unwrap(), "it looks only once the other is done");
        });
    }
}
