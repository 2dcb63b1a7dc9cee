// SPDX-License-Identifier: GPL-2.0

//! Which consoles there are for this kernel: `/dev/vcons/NAME`, which come and go.

#![deny(unsafe_code)]

use crate::chardev::{
    self,
    Device,
    Region, //
};
use crate::file::{
    ConsoleFile,
    Subject, //
};
use crate::place;
use crate::shown::Viewers;
use crate::statics;
use adeos_core::bridge::{
    Bridge,
    Entry,
    Id, //
};
use adeos_proto::bridge::entry;
use adeos_proto::id::{
    VnodeId,
    VnodeName, //
};
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;

/// A console that this kernel may show.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) vnode: VnodeId,
    pub(crate) id: Id,
    /// What its vnode is called; zeros for the root, and for one of which the name is not known.
    pub(crate) name: [u8; 32],
}

impl Place {
    /// Whether its vnode lives.
    pub(crate) fn vnode_lives(&self) -> bool {
        statics::is_alive(self.vnode)
    }
}

struct Node {
    place: Place,
    _device: Device<ConsoleFile>,
}

/// The devices that there are.
pub(crate) struct Nodes {
    viewers: Arc<Viewers>,
    region: Arc<Region<ConsoleFile>>,
    nodes: KVec<Node>,
    /// What the registry of bridges has counted when it was looked at.
    seen: Option<u64>,
    /// Whose they are.
    group: u32,
}

impl Nodes {
    pub(crate) fn new(viewers: Arc<Viewers>, region: Arc<Region<ConsoleFile>>) -> Self {
        Self {
            viewers,
            region,
            nodes: KVec::new(),
            seen: None,
            group: 0,
        }
    }

    /// Looks which consoles there are now. Process context.
    pub(crate) fn look(&mut self, has_changed: bool) {
        let changes = entry::changes(&self.viewers.core().control().registry());
        let group = chardev::group();
        if self.seen == Some(changes) && self.group == group && !has_changed {
            return;
        }
        self.seen = Some(changes);
        if self.group != group {
            // Whose a device is it is told when it is made.
            self.group = group;
            self.nodes.clear();
        }
        // A name may have gone from one to another: who has it no more gives it up first.
        let mut nodes = core::mem::replace(&mut self.nodes, KVec::new());
        nodes.retain(|node| self.is_wanted(&node.place));
        self.nodes = nodes;
        for vnode in VnodeId::all() {
            if let Err(error) = self.look_at(vnode) {
                pr_err!(
                    "the console of vnode {} gets no device: {:?}\n",
                    vnode.number(),
                    error
                );
            }
        }
    }

    fn look_at(&mut self, vnode: VnodeId) -> Result {
        if self.nodes.iter().any(|node| node.place.vnode == vnode) {
            return Ok(());
        }
        let Some(place) = self.place(vnode)? else {
            return Ok(());
        };
        let Place { id, name, .. } = place;
        let subject = Subject {
            vnode,
            id,
            name,
            viewers: self.viewers.clone(),
        };
        let called = VnodeName::from_field(&name).ok();
        let called = match called.as_ref().map(VnodeName::as_str) {
            Some(called) => CString::try_from_fmt(fmt!("vcons!{called}"))?,
            None if vnode.is_root() => CString::try_from_fmt(fmt!("vcons!root"))?,
            None => CString::try_from_fmt(fmt!("vcons!{}", vnode.number()))?,
        };
        let subject = Arc::new(subject, GFP_KERNEL)?;
        let node = Node {
            place,
            _device: Device::new(&self.region, vnode.index(), &called, subject)?,
        };
        self.nodes.push(node, GFP_KERNEL)?;
        Ok(())
    }

    /// The console of a vnode, as it is now, if this kernel may show it.
    fn place(&self, vnode: VnodeId) -> Result<Option<Place>> {
        let entry = Bridge::published(self.viewers.core(), &place::key(vnode)?);
        let entry = entry.filter(|entry| self.may_read(vnode, entry));
        Ok(entry.map(|entry| Place {
            vnode,
            id: entry.id,
            name: self.name(vnode),
        }))
    }

    fn is_wanted(&self, place: &Place) -> bool {
        let now = self.place(place.vnode).ok().flatten();
        now.is_some_and(|now| now.id == place.id && now.name == place.name)
    }

    /// All of them, in the order of their names.
    pub(crate) fn places(&self) -> Result<KVec<Place>> {
        let mut places = KVec::with_capacity(self.nodes.len(), GFP_KERNEL)?;
        for node in &self.nodes {
            places.push(node.place.clone(), GFP_KERNEL)?;
        }
        places.sort_unstable_by_key(|place| place.name);
        Ok(places)
    }

    fn may_read(&self, vnode: VnodeId, entry: &Entry) -> bool {
        let own = self.viewers.core().identity().vnode;
        own.is_root() || own == vnode || entry.rights.readers.has(own)
    }

    /// What a vnode is called: the root knows, the others read it where the root has written it.
    fn name(&self, vnode: VnodeId) -> [u8; 32] {
        match self.viewers.keeper() {
            Some(keeper) => keeper.name_of(vnode).unwrap_or_default(),
            None => self.viewers.core().control().read_boot_block(vnode).name,
        }
    }
}
