// SPDX-License-Identifier: GPL-2.0

//! One vnode of the file: what is seen of it goes to [`crate::policy`], what comes back is carried
//! out and told.

use super::event::{self, Event, Form};
use super::now;
use crate::asked::{self, Asked};
use crate::device::Kmb;
use crate::failure::Result;
use crate::policy::{self, Action, End, Life, Restarts, Terms};
use crate::settings::Settings;
use crate::start;
use crate::stop;
use crate::vnode::{self, Vnode};

/// One vnode of the file.
pub(super) struct Watched {
    pub(super) settings: Settings,
    pub(super) restarts: Restarts,
    /// The life of which was told that it takes commands.
    ready: Option<Life>,
    /// The life that was seen to be asked to shut down.
    stopping: Option<Life>,
    /// Somebody is starting a vnode of that name at this moment: what comes of it is waited for.
    pub(super) is_held: bool,
}

impl Watched {
    pub(super) fn new(settings: Settings, terms: Terms) -> Self {
        Self {
            settings,
            restarts: Restarts::new(terms),
            ready: None,
            stopping: None,
            is_held: false,
        }
    }

    /// Whether this is its name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.settings.name == name
    }

    /// The life that takes commands, or has last.
    pub(super) fn ready(&self) -> Option<Life> {
        self.ready
    }

    /// Takes in what there is of it now.
    pub(super) fn look(&mut self, vnode: Option<&Vnode>, form: Form) {
        self.is_held = vnode.is_some_and(Vnode::is_being_started);
        match vnode {
            _ if self.is_held => {}
            None => {
                let action = self.restarts.on(now(), policy::Event::Gone);
                self.tell(action, form);
            }
            Some(vnode) if vnode.is_over() => self.look_at_dead(vnode, form),
            Some(vnode) => self.look_at_living(vnode, form),
        }
    }

    fn look_at_dead(&mut self, vnode: &Vnode, form: Form) {
        let life = life(vnode);
        let was_asked = self.stopping == Some(life) || asked::is_asked(vnode);
        let end = End::new(vnode.cause(), was_asked);
        let ran = vnode.uptime(vnode::now_ns());
        let action = self
            .restarts
            .on(now(), policy::Event::Ended(life, end, ran));
        if action != Action::None {
            event::tell(form, &Event::ended(vnode));
        }
        self.tell(action, form);
    }

    fn look_at_living(&mut self, vnode: &Vnode, form: Form) {
        let life = life(vnode);
        if vnode.is_stopping() {
            self.stopping = Some(life);
        }
        let action = self.restarts.on(now(), policy::Event::Runs(life));
        let is_found = action == Action::Watch;
        if is_found {
            event::tell(form, &Event::Found(vnode.into()));
        }
        if vnode.is_ready() && self.ready != Some(life) {
            self.ready = Some(life);
            // Of one that was found so, nobody knows when it got ready.
            if !is_found {
                event::tell(form, &Event::ready(vnode));
            }
        }
    }

    /// Starts it, in place of what is left of the life that has ended.
    pub(super) fn start(&mut self, kmb: &Kmb, ended: Option<Life>, form: Form) {
        let event = self.try_start(kmb, ended, form).unwrap_or_else(|failure| {
            event::tell(form, &Event::start_failed(&self.settings.name, &failure));
            // If it cannot be asked about, the next look finds that out as well.
            let left = self.find(kmb).ok().flatten().filter(Vnode::is_over);
            policy::Event::StartFailed(left.as_ref().map(life))
        });
        let action = self.restarts.on(now(), event);
        self.tell(action, form);
    }

    fn try_start(&self, kmb: &Kmb, ended: Option<Life>, form: Form) -> Result<policy::Event> {
        // Until the start is done, nobody can note that a life is to end.
        let lock = Asked::lock(&self.settings.name)?;
        let there = self.find(kmb)?;
        let is_asked = there.as_ref().is_some_and(|vnode| lock.is_about(vnode));
        if is_asked || there.as_ref().map(life) != ended {
            return Ok(policy::Event::Asked);
        }

        if let Some(vnode) = &there {
            stop::reclaim(kmb, vnode)?;
        }
        let (vnode, took) = start::load_silently(kmb, &self.settings)?;
        event::tell(form, &Event::started(&vnode, took));
        Ok(policy::Event::Started(life(&vnode)))
    }

    fn find(&self, kmb: &Kmb) -> Result<Option<Vnode>> {
        let mut all = Vnode::all(kmb)?.into_iter();
        Ok(all.find(|vnode| self.is_called(vnode.name())))
    }

    /// Tells of a decision.
    pub(super) fn tell(&self, action: Action, form: Form) {
        let vnode = self.settings.name.as_str();
        match action {
            Action::Wait(delay) => event::tell(
                form,
                &Event::Waiting {
                    vnode,
                    delay_s: delay.as_secs_f64(),
                    restart: self.restarts.in_a_row(),
                    limit: self.restarts.terms().limit,
                },
            ),
            Action::Leave(why) => event::tell(form, &Event::Left { vnode, why }),
            Action::None | Action::Watch | Action::Start(_) => {}
        }
    }
}

fn life(vnode: &Vnode) -> Life {
    Life {
        number: vnode.number(),
        generation: vnode.generation(),
    }
}
