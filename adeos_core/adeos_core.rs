// SPDX-License-Identifier: GPL-2.0

//! Adeos: the nanokernel of a vnode (paper section 4).
//!
//! The same module runs in every kernel of the machine. In the root it takes the pool, makes the
//! control area and keeps the table of vnodes; in a vnode it finds the control area by the boot
//! block and joins. What it offers to other modules is what this file re-exports.

use kernel::miscdevice::{
    MiscDeviceOptions,
    MiscDeviceRegistration, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

mod beat;
pub mod bridge;
pub mod caller;
mod channel;
mod clock;
mod control;
mod core_state;
pub mod cpu;
mod debug;
mod device;
pub mod dsp;
pub mod events;
mod facts;
mod fence;
mod ffi;
mod hold;
mod killable_mutex;
mod kthread;
pub mod lock;
mod machine;
mod mapping;
mod members;
mod mover;
pub mod open_file;
pub mod pipeline;
mod pool;
mod portal;
mod quarantine;
mod quiet;
mod raw_spin_lock;
mod semaphore;
mod unpatched;
pub mod user;
mod views;
mod vnodes;
mod watch;
pub mod work;

pub use control::Control;
pub use core_state::Core;
pub use facts::{
    Assignment,
    Facts, //
};
pub use hold::ModuleHold;
pub use killable_mutex::KillableMutex;
pub use kthread::{
    Body,
    Event,
    Kthread, //
};
pub use machine::{
    now_ns,
    Identity, //
};
pub use mapping::{
    Mapping,
    Part, //
};
pub use pipeline::InStage;
pub use pool::{
    Region,
    Usage, //
};
pub use portal::{
    Delivery,
    Handler,
    Portal, //
};
pub use raw_spin_lock::{
    RawSpinLock,
    RawSpinLockBackend, //
};

use adeos_proto::id::VnodeId;
use adeos_proto::layout::{
    self,
    slot,
    Status, //
};
use adeos_proto::record;
use adeos_proto::window::Window;

module! {
    type: AdeosCore,
    name: "adeos_core",
    authors: ["The Adeos cluster project"],
    description: "Adeos nanokernel: several Linux kernels on one machine",
    license: "GPL",
    params: {
        silent_ms: u32 {
            default: adeos_proto::liveness::SILENT_AFTER_MS,
            description: "Time in ms after which a vnode with a CPU that gives no sign of life is dead (at least 600)",
        },
        start_timeout_ms: u32 {
            default: 30_000,
            description: "Time in ms within which a started vnode has to give a sign of life, its first and each further one until it beats",
        },
    },
}

/// The loaded module. Fields go in this order: first what calls into the nanokernel, then the
/// nanokernel itself.
#[pin_data(PinnedDrop)]
struct AdeosCore {
    #[pin]
    device: MiscDeviceRegistration<device::AdeosFile>,
    views: debug::Views,
    watch: kthread::Kthread<watch::Watch>,
    bridges: bridge::Running,
    clock: clock::Running,
    fencer: Option<kthread::Kthread<fence::Fencer>>,
    courier: kthread::Kthread<dsp::Courier>,
    locks: events::Subscription,
    #[cfg(CONFIG_ADEOS)]
    vectors: pipeline::Vectors,
    substitutes: Option<unpatched::Substitutes>,
    beats: beat::Beats,
    portals: [Portal; 4],
    hotplug: pipeline::Hotplug,
    veto: Option<cpu::Veto>,
    published: core_state::Published,
}

impl kernel::InPlaceModule for AdeosCore {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        core_state::init_statics();
        portal::init_statics();
        bridge::init_statics();
        pin_init::pin_init_scope(|| {
            check_parameters()?;
            let core = join()?;
            let is_root = core.identity().is_root();
            let own = core.identity().vnode;
            let control = core.shared_control();

            let published = core_state::Published::new(core.clone());
            let veto = if is_root {
                Some(cpu::Veto::new()?)
            } else {
                None
            };
            let hotplug = pipeline::Hotplug::new()?;
            let portals = [
                own_portal(layout::portal::NOTICE, "notice", watch::on_notice)?,
                own_portal(layout::portal::CHANNEL, "channel", watch::on_channel)?,
                own_portal(layout::portal::MAIL, "mail", dsp::on_mail)?,
                own_portal(layout::portal::LOCK, "lock", lock::on_wake)?,
            ];
            let beats = beat::Beats::start(control, own)?;
            let substitutes = if machine::PATCHED {
                None
            } else {
                Some(unpatched::Substitutes::register()?)
            };
            #[cfg(CONFIG_ADEOS)]
            let vectors = pipeline::Vectors::take()?;
            portal::stage::run_in_thread(&core);
            let locks = lock::subscribe()?;
            let body = Arc::new(dsp::Courier(core.clone()), GFP_KERNEL)?;
            let courier = kthread::Kthread::spawn(c"adeos_dsp", body)?;
            let fencer = if is_root {
                let body = Arc::new(fence::Fencer(core.clone()), GFP_KERNEL)?;
                Some(kthread::Kthread::spawn(c"adeos_fence", body)?)
            } else {
                None
            };
            let clock = clock::Running::start(&core)?;
            let bridges = bridge::Running::start(&core)?;
            let body = Arc::new(watch::Watch::new(core.clone()), GFP_KERNEL)?;
            let watch = kthread::Kthread::spawn(c"adeos", body)?;

            greet(&core);
            tell_root(&core);
            // There may be views already.
            core.doorbell().raise();
            Ok(try_pin_init!(Self {
                device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"adeos" }),
                views: debug::Views::new(),
                watch,
                bridges,
                clock,
                fencer,
                courier,
                locks,
                #[cfg(CONFIG_ADEOS)]
                vectors,
                substitutes,
                beats,
                portals,
                hotplug,
                veto,
                published,
            }))
        })
    }
}

/// EINVAL for a parameter that would call every vnode dead: a look at its signs of life that comes late
/// adds as much as `MAX_STEP_MS` to a silence.
fn check_parameters() -> Result {
    let least = 2 * adeos_proto::liveness::MAX_STEP_MS;
    for (name, ms) in [
        ("silent_ms", module_parameters::silent_ms.value()),
        (
            "start_timeout_ms",
            module_parameters::start_timeout_ms.value(),
        ),
    ] {
        if u64::from(ms) < least {
            pr_err!(
                "{}={} is too short: at least {} it has to be\n",
                name,
                ms,
                least
            );
            return Err(EINVAL);
        }
    }
    Ok(())
}

#[pinned_drop]
impl PinnedDrop for AdeosCore {
    fn drop(self: Pin<&mut Self>) {
        pr_info!(
            "vnode {} leaves the cluster\n",
            self.published.core().identity().vnode.number()
        );
    }
}

/// Makes the control area (root) or finds it (vnode), and signs in.
fn join() -> Result<Arc<Core>> {
    let identity = Identity::find()?;
    let mut pool = pool::empty()?;
    let control = match identity.control {
        None => {
            pool::fill(&mut pool)?;
            pool::check_low_memory()?;
            let range = pool::take_control_area(&mut pool)?;
            portal::set_receiver(identity.vnode, cpu::apic_id(0));
            Control::create(range, &identity)?
        }
        Some(base) => Control::open(base)?,
    };
    let control = Arc::new(control, GFP_KERNEL)?;

    if !identity.is_root() {
        adeos_proto::channel::close_leftovers(&control.slot(identity.vnode));
    }
    sign_in(&control, &identity);
    Core::new(identity, control, pool)
}

/// Says in this vnode's status that it takes part. What stands there already stays: the kernel's
/// own code may have reported an end, and requests of the root are taken once.
fn sign_in(control: &Control, identity: &Identity) {
    let status = control.slot(identity.vnode);
    let write = |offset, bytes: &[u8]| status.write(slot::STATUS + offset, bytes);
    write(
        Status::OFFSETS.version,
        &layout::PLATFORM_VERSION.to_le_bytes(),
    );
    write(
        Status::OFFSETS.generation,
        &identity.generation.0.to_le_bytes(),
    );
    write(Status::OFFSETS.features, &identity.features.to_le_bytes());
    write(
        Status::OFFSETS.nr_cpus,
        &(cpu::online().len() as u32).to_le_bytes(),
    );
    write(
        Status::OFFSETS.release,
        &record::set_text::<64>(machine::release()),
    );
    status.store_release64(slot::STATUS + Status::OFFSETS.magic, layout::STATUS_MAGIC);
    status.raise(slot::STATUS + Status::OFFSETS.state, layout::state::JOINED);
}

/// A portal of a number that all nanokernels know, for a handler that is ready.
fn own_portal(
    number: u32,
    name: &'static str,
    handler: fn(&InStage<'_>, Delivery),
) -> Result<Portal> {
    let portal = Portal::take(number, name, Handler::Stage(handler))?;
    portal.unmask();
    Ok(portal)
}

/// Rings the root: this vnode's status has changed.
fn tell_root(core: &Core) {
    let own = core.identity().vnode;
    if !own.is_root() {
        portal::send(core.control(), own, VnodeId::ROOT, layout::portal::NOTICE);
    }
}

fn greet(core: &Core) {
    let identity = core.identity();
    if identity.is_root() {
        let usage = core.pool_usage();
        pr_info!("root of the cluster, {} MiB for vnodes\n", usage.free >> 20);
        return;
    }
    pr_info!(
        "vnode {}, life {}, has joined\n",
        identity.vnode.number(),
        identity.generation.0
    );
    if !machine::PATCHED {
        pr_info!("without the patches: portals are looked for, and deaths before this are not contained\n");
    }
}
