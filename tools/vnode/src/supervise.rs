// SPDX-License-Identifier: GPL-2.0

//! Watching over the vnodes of a cluster file: the supervisor, which starts them as `apply` does
//! and restarts those that end as their policies say.
//!
//! One thread decides and acts, woken by [`inbox`]; [`crate::policy`] makes the decisions. But for
//! `--replace` it takes back only what has ended, and it leaves all as it is when it ends itself.

mod event;
mod inbox;
mod only;
mod watched;

use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::apply::{self, Action as Planned, Aim, OnDifference, Plan};
use crate::bridge::regions::Regions;
use crate::cli::SuperviseArgs;
use crate::console::sharing::{self, Sharing};
use crate::device::Kmb;
use crate::failure::{Failure, Result};
use crate::network::wiring::Wiring;
use crate::policy::{self, Action, Terms, Time};
use crate::say;
use crate::settings::{self, Settings};
use crate::vnode::{self, Vnode};
use event::{Event, Form};
use inbox::Notice;
use only::Only;
use watched::Watched;

/// Supervises the vnodes of the file that the command line names, until a signal comes.
pub(crate) fn run(args: &SuperviseArgs) -> Result<()> {
    let Aim {
        vnodes,
        sharing,
        wiring,
        regions,
    } = apply::wanted(&args.file)?;
    let kmb = Kmb::open()?;
    let _only = Only::new(settings::notes()?)?;
    let inbox = inbox::open()?;
    let mut supervisor = Supervisor {
        kmb,
        args,
        form: if args.json { Form::Json } else { Form::Text },
        watches: Vec::new(),
        sharing,
        sharing_since: None,
        wiring,
        regions,
    };
    supervisor.watches = supervisor.plan(
        vnodes,
        &supervisor.sharing,
        &supervisor.wiring,
        &supervisor.regions,
    )?;
    supervisor.settle();
    supervisor.tell(&Event::Supervising {
        pid: process::id(),
        file: &args.file,
        vnodes: supervisor.watches.len(),
    });
    supervisor.work(&inbox)
}

struct Supervisor<'a> {
    kmb: Kmb,
    args: &'a SuperviseArgs,
    form: Form,
    /// The vnodes of the file; those that the file made us start first, in their order.
    watches: Vec<Watched>,
    /// Who may use consoles.
    sharing: Sharing,
    /// Since when that has to be said: consoles that are to come are waited for.
    sharing_since: Option<Time>,
    /// Which vnodes are on which segments.
    wiring: Wiring,
    /// Memory for their programs.
    regions: Regions,
}

/// Whether the supervisor is done.
enum Next {
    GoOn,
    End,
}

impl Supervisor<'_> {
    fn work(&mut self, inbox: &Receiver<Notice>) -> Result<()> {
        loop {
            // Signals go first: a start may take a while.
            for notice in inbox.try_iter() {
                if let Next::End = self.heed(notice)? {
                    return Ok(());
                }
            }
            self.look()?;
            self.share();
            if self.start_one()? {
                continue;
            }
            let notice = match self.patience() {
                Some(patience) => match inbox.recv_timeout(patience) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    notice => notice.ok(),
                },
                None => inbox.recv().ok(),
            };
            let notice = notice.ok_or_else(|| Failure::failed("nothing is left to wait for"))?;
            if let Next::End = self.heed(notice)? {
                return Ok(());
            }
        }
    }

    fn heed(&mut self, notice: Notice) -> Result<Next> {
        match notice {
            Notice::Change => {}
            Notice::Reload => self.reload(),
            Notice::Leave(signal) => {
                self.leave(signal)?;
                return Ok(Next::End);
            }
            Notice::Failed(failure) => return Err(failure),
        }
        Ok(Next::GoOn)
    }

    /// How long nothing is to be done; for ever if there is no time for that.
    fn patience(&self) -> Option<Duration> {
        let waiting = self.watches.iter().filter(|watch| !watch.is_held);
        let due = waiting.filter_map(|watch| watch.restarts.due()).min();
        let start = due.map(|due| due.saturating_sub(now()));
        let console = self.sharing_since.map(|_| sharing::PAUSE);
        start.into_iter().chain(console).min()
    }

    /// Looks at all vnodes, and decides about those that have ended.
    fn look(&mut self) -> Result<()> {
        let all = Vnode::all(&self.kmb)?;
        let mut has_come = false;
        for watch in &mut self.watches {
            let vnode = all.iter().find(|vnode| watch.is_called(vnode.name()));
            let before = watch.ready();
            watch.look(vnode, self.form);
            if watch.ready() != before {
                // Its console is another one, and those of others know it by its number.
                self.sharing_since = Some(now());
                has_come = true;
            }
        }
        if has_come {
            self.wire();
            self.settle();
        }
        Ok(())
    }

    /// Says who may use consoles, as long as there is one to come. What fails is no reason to leave the
    /// vnodes alone.
    fn share(&mut self) {
        let Some(since) = self.sharing_since else {
            return;
        };
        let shared = self.sharing.carry_out(&self.kmb);
        let is_done = shared.as_ref().is_ok_and(Vec::is_empty);
        if !is_done && Sharing::is_worth_waiting(now().saturating_sub(since)) {
            return;
        }
        match shared {
            Ok(missing) => Sharing::warn_of(&missing),
            Err(failure) => say::failure(&failure),
        }
        self.sharing_since = None;
    }

    /// Says who may be on segments, and makes the devices that are missing there. What fails is no reason to leave the vnodes
    /// alone.
    fn wire(&self) {
        let wired = self.wiring.allow(&self.kmb);
        if let Err(failure) = wired.and_then(|()| self.wiring.plug(&self.kmb)) {
            say::failure(&failure);
        }
    }

    /// Makes regions that are missing, and says who may use them. What fails is no reason to leave the vnodes alone.
    fn settle(&self) {
        match self.regions.carry_out(&self.kmb) {
            Ok(done) => done
                .iter()
                .filter_map(|region| region.as_ref().err())
                .for_each(say::failure),
            Err(failure) => say::failure(&failure),
        }
    }

    /// Starts the first vnode that is due; whether there was one.
    fn start_one(&mut self) -> Result<bool> {
        let now = now();
        for watch in self.watches.iter_mut().filter(|watch| !watch.is_held) {
            if let Action::Start(ended) = watch.restarts.on(now, policy::Event::Tick) {
                watch.start(&self.kmb, ended, self.form);
                // Before it has got far enough to want it.
                if let Err(failure) = self.wiring.allow(&self.kmb) {
                    say::failure(&failure);
                }
                self.settle();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes on the vnodes that a file asks for, as `apply` would: finds all that is in the way,
    /// takes back what is to go, and has the rest started.
    fn plan(
        &self,
        wanted: Vec<(Settings, Terms)>,
        sharing: &Sharing,
        wiring: &Wiring,
        regions: &Regions,
    ) -> Result<Vec<Watched>> {
        let terms: Vec<_> = wanted
            .iter()
            .map(|(settings, terms)| (settings.name.clone(), *terms))
            .collect();
        let settings = wanted.into_iter().map(|(settings, _)| settings).collect();
        let on_difference = OnDifference::new(self.args.replace);
        let plan = Plan::make(&self.kmb, settings, regions, on_difference)?;
        apply::refuse_conflicts(&plan)?;
        // What vnodes are taken back for has to be possible.
        sharing.set_group()?;
        wiring.allow(&self.kmb)?;
        apply::make_way(&self.kmb, &plan)?;

        let watch = |settings: &Settings| {
            let own = terms.iter().find(|(name, _)| *name == settings.name);
            Watched::new(settings.clone(), own.map(|own| own.1).unwrap_or_default())
        };
        let mut watches: Vec<_> = plan
            .starts()
            .into_iter()
            .map(|step| watch(&step.settings))
            .collect();
        for watch in &mut watches {
            watch.restarts.on(now(), policy::Event::Wanted);
        }
        let kept = plan
            .steps
            .iter()
            .filter(|step| step.action == Planned::Keep);
        watches.extend(kept.map(|step| watch(&step.settings)));
        Ok(watches)
    }

    /// Reads the file anew. As long as it is no good, the old one counts.
    fn reload(&mut self) {
        let file = &self.args.file;
        if let Err(failure) = self.read_anew() {
            return self.tell(&Event::NotReloaded {
                file,
                error: &failure.message,
            });
        }
        self.tell(&Event::Reloaded {
            file,
            vnodes: self.watches.len(),
        });
    }

    fn read_anew(&mut self) -> Result<()> {
        let Aim {
            vnodes,
            sharing,
            wiring,
            regions,
        } = apply::wanted(&self.args.file)?;
        let (known, new): (Vec<_>, Vec<_>) = vnodes.into_iter().partition(|(settings, _)| {
            self.watches
                .iter()
                .any(|watch| watch.is_called(&settings.name))
        });
        // This is what may fail, so it comes before anything is changed.
        let new = self.plan(new, &sharing, &wiring, &regions)?;

        let form = self.form;
        self.watches.retain(|watch| {
            let is_known = known
                .iter()
                .any(|(settings, _)| watch.is_called(&settings.name));
            if !is_known {
                let vnode = &watch.settings.name;
                event::tell(form, &Event::Dropped { vnode });
            }
            is_known
        });
        for (settings, terms) in known {
            let mut watches = self.watches.iter_mut();
            if let Some(watch) = watches.find(|watch| watch.is_called(&settings.name)) {
                let action = watch.restarts.set_terms(terms);
                watch.settings = settings;
                watch.tell(action, form);
            }
        }
        self.watches.extend(new);
        self.sharing = sharing;
        self.sharing_since = Some(now());
        self.wiring = wiring;
        self.regions = regions;
        self.wire();
        self.settle();
        Ok(())
    }

    fn leave(&self, signal: &str) -> Result<()> {
        let all = Vnode::all(&self.kmb)?;
        let is_watched = |vnode: &&Vnode| {
            let mut watches = self.watches.iter();
            watches.any(|watch| watch.is_called(vnode.name()))
        };
        let running = all.iter().filter(|vnode| !vnode.is_over());
        let running = running.filter(is_watched).map(Vnode::name).collect();
        self.tell(&Event::Leaving { signal, running });
        Ok(())
    }

    fn tell(&self, event: &Event<'_>) {
        event::tell(self.form, event);
    }
}

/// The time on which decisions are dated.
fn now() -> Time {
    Duration::from_nanos(vnode::now_ns())
}
