//! Sessions: handshake, resume, heartbeats, goodbye.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    ConnId, Hub, Notice, Output, Serves,
    held::{Held, Sent},
    instances::{Away, Instance},
    session::{Phase, Session},
    settle::Reported,
    timers::Timer,
};
use crate::{
    id::{DeliveryId, InstanceId},
    limits,
    name::Name,
    time::Mono,
    wire::{
        codec::{self, CodecError, Greeting, LeaseKey, lease_ref},
        message::{HeldList, Hello, LeaseRef, Message, Welcome, WelcomeDestination},
    },
};

impl Hub {
    pub(super) fn on_opened(&mut self, conn: ConnId, token: Name, serves: Serves, peer: String) {
        self.sessions.insert(conn, Session::new(token, serves, peer, self.now.mono));
        self.greeting.insert(conn);
        if self.stopping {
            self.say_stopping(conn);
            self.outputs.push_back(Output::Close(conn, "the server stops"));
            return;
        }
        self.set_tick(conn, self.now.mono + limits::HELLO_WITHIN);
    }

    pub(super) fn on_message(&mut self, conn: ConnId, message: Message) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        (session.heard, session.amid) = (self.now.mono, false);
        let instance = match (&session.phase, &message) {
            (Phase::Up(instance), _) => *instance,
            (Phase::Opened, Message::Hello(_)) => InstanceId::from_u128(0),
            (Phase::Opened | Phase::Waiting(_) | Phase::Claiming(_), _) => {
                return self.misbehaved(conn, "spoke before its handshake");
            }
        };
        match message {
            Message::Hello(_) if matches!(session.phase, Phase::Up(_)) => self.misbehaved(conn, "said Hello twice"),
            Message::Hello(hello) => self.on_hello(conn, hello),
            Message::Extend(extend) => match keys(&extend.held) {
                Ok(held) => self.on_extend(instance, held),
                Err(error) => self.misbehaved(conn, &error.to_string()),
            },
            Message::Report(report) => match codec::reported(&report) {
                Ok(_) if session.undecided >= limits::SESSION_LEASES_MAX => {
                    self.misbehaved(conn, "reports more than it can hold");
                }
                Ok((lease, mut outcome)) => {
                    session.undecided += 1;
                    if self.deciding >= limits::ANSWERS_WAITING_MAX {
                        outcome.answer = None;
                    }
                    let serves = Arc::clone(&session.serves);
                    // What no lease stands for any more says nothing about a circuit either.
                    let charges = false;
                    self.on_report(Box::new(Reported { conn, instance, lease, outcome, charges, serves, trace: None }));
                }
                Err(error) => self.misbehaved(conn, &error.to_string()),
            },
            Message::Release(release) => match keys(&release.leases) {
                Ok(leases) => self.on_release(instance, &leases),
                Err(error) => self.misbehaved(conn, &error.to_string()),
            },
            Message::GoAway(go_away) => {
                self.on_goodbye(instance);
                if go_away.done {
                    self.on_done(instance);
                }
            }
            Message::Welcome(_) | Message::Grant(_) | Message::Chunk(_) | Message::Settled(_) | Message::Peers(_) => {
                self.misbehaved(conn, "sent what only a server sends");
            }
        }
    }

    /// Part of a message came: over a slow link that takes as long as it takes.
    pub(super) fn on_heard(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            (session.heard, session.amid) = (self.now.mono, true);
        }
    }

    /// Whether an instance is saying something that has not arrived whole: what it holds may be named in it.
    pub(super) fn is_amid(&self, instance: InstanceId) -> bool {
        let conn = self.instances.get(&instance).and_then(|instance| instance.conn);
        conn.and_then(|conn| self.sessions.get(&conn)).is_some_and(|session| session.amid)
    }

    fn on_hello(&mut self, conn: ConnId, hello: Hello) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if self.loaded_at.is_none() {
            session.phase = Phase::Waiting(Box::new(hello));
            return;
        }
        match codec::greeting(&hello) {
            Ok(greeting) => self.claim_then_welcome(conn, greeting),
            Err(error) => self.misbehaved(conn, &error.to_string()),
        }
    }

    /// The leases of the previous run are known: who waited with its Hello is answered.
    pub(super) fn on_loaded(&mut self) {
        self.loaded_at = Some(self.now.mono);
        // From now on their instances can come.
        let soon = self.now.wall + limits::RESUME_GRACE;
        let early: Vec<DeliveryId> = self.ends.range(..(soon, DeliveryId::from_u128(0))).map(|(_, id)| *id).collect();
        for id in early {
            self.postpone(id);
        }
        let waiting: Vec<ConnId> = self
            .sessions
            .iter()
            .filter(|(_, session)| matches!(session.phase, Phase::Waiting(_)))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in waiting {
            let phase = self.sessions.get_mut(&conn).map(|s| std::mem::replace(&mut s.phase, Phase::Opened));
            if let Some(Phase::Waiting(hello)) = phase {
                self.on_hello(conn, *hello);
            }
        }
    }

    /// A Hello that was on its way for long comes behind that of a later socket, and says what its client held then: it is not
    /// listened to. Whether it is such a one.
    pub(super) fn is_superseded(&mut self, conn: ConnId, id: InstanceId) -> bool {
        let current = self.instances.get(&id).and_then(|instance| instance.conn);
        // Canary: a Hello that was on its way for long must take nothing.
        let is_older = current.is_some_and(|current| current > conn) && !crate::canary::is("hub_hello_too_late");
        if is_older {
            self.drop_session(conn);
            self.outputs.push_back(Output::Close(conn, "its client has come on a later socket"));
        }
        is_older
    }

    pub(super) fn welcome(&mut self, conn: ConnId, greeting: Greeting) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let (token, serves, peer) = (session.token.clone(), Arc::clone(&session.serves), session.peer.clone());
        let id = self.setup.instance_of(&token, greeting.instance);
        let is_others = |(delivery, token): &LeaseKey| {
            self.held.get(delivery).is_some_and(|held| held.instance != id && held.delivery.token == *token)
        };
        if greeting.held.iter().any(is_others) {
            return self.misbehaved(conn, "claims leases of an instance that is another token's");
        }
        if self.is_superseded(conn, id) {
            return;
        }
        let before = self.instances.get(&id).and_then(|instance| instance.conn);
        if let Some(old) = before {
            self.drop_session(old);
            self.outputs.push_back(Output::Close(old, "replaced by a newer socket of the same instance"));
        }
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.phase = Phase::Up(id);
        }
        self.greeting.remove(&conn);
        let since = self.shared_now();
        let instance = self.instances.entry(id).or_insert_with(Instance::unseen);
        instance.conn = Some(conn);
        instance.since = since;
        instance.away = None;
        instance.forget_at = None;
        instance.token = token;
        instance.peer = peer;
        instance.label = greeting.label;
        (instance.going, instance.done) = (false, false);
        for served in instance.served.values_mut() {
            served.slots.offer(0);
        }
        for wanted in greeting.destinations.iter().filter(|wanted| serves.allows(&wanted.name)) {
            let served = instance.served.entry(wanted.name.clone()).or_default();
            served.slots.offer(wanted.slots);
            served.forward_timeout = wanted.forward_timeout;
        }
        self.room.set_buffer(id, greeting.buffer_bytes);
        self.leave_unserved(id);
        self.forgive_losses(id);
        let resumed = self.resume(id, &greeting.held, &serves);
        let destinations = greeting
            .destinations
            .iter()
            .map(|wanted| self.describe(id, &wanted.name, serves.allows(&wanted.name)))
            .collect();
        let heartbeat_ms = self.heartbeat().as_millis() as u32;
        let version = self.setup.server.version.to_string();
        self.send(
            conn,
            Message::Welcome(Welcome { version, heartbeat_ms, destinations, resumed, server: String::new() }),
        );
        self.set_tick(conn, self.now.mono + self.heartbeat());
        self.bring_circuits(id);
        self.join(id);
        self.rerank_all(id);
        self.drop_unserved(id);
        self.say_presence();
        if !self.clocks.may_lease() {
            self.send_elsewhere(conn, id);
        }
    }

    /// Forgets what an instance served before and has nothing left of.
    fn drop_unserved(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let over: Vec<Name> =
            instance.served.iter().filter(|(_, served)| served.is_over()).map(|(name, _)| name.clone()).collect();
        for name in over {
            instance.served.remove(&name);
            if let Some(destination) = self.destinations.get_mut(&name) {
                destination.open.remove(&id);
            }
        }
    }

    /// How often each side names what it holds: often enough that the shortest lease outlives a missed heartbeat.
    pub(super) fn heartbeat(&self) -> Duration {
        limits::HEARTBEAT.min(self.setup.lease / limits::HEARTBEATS_MISSED_MAX).max(Duration::from_millis(1))
    }

    /// Sets the one timer of a session.
    fn set_tick(&mut self, conn: ConnId, at: Mono) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let before = std::mem::replace(&mut session.tick, at);
        self.timers.remove(&(before, Timer::Tick(conn)));
        self.timers.insert((at, Timer::Tick(conn)));
    }

    /// What an instance holds on: what it names of its leases, and its token may serve. Everything else is released.
    fn resume(&mut self, id: InstanceId, named: &[LeaseKey], serves: &Serves) -> Vec<LeaseRef> {
        let mut resumed = Vec::new();
        let mut kept = BTreeSet::new();
        let has: BTreeSet<DeliveryId> = named.iter().map(|(delivery, _)| *delivery).collect();
        for &(delivery, token) in named {
            if self.resume_one(id, (delivery, token), serves) {
                kept.insert(delivery);
                resumed.push(lease_ref((delivery, token)));
            } else if !self.held.contains_key(&delivery) && serves.any() && self.is_claimed_later(id, (delivery, token))
            {
                // Of which destination it is, is seen once that part is read.
                resumed.push(lease_ref((delivery, token)));
            } else if crate::canary::is("resumed_keeps_released") {
                resumed.push(lease_ref((delivery, token))); // Canary: a released lease must not stay with its client.
            }
        }
        let Some(instance) = self.instances.get(&id) else { return resumed };
        for delivery in instance.held_by_id().into_iter().filter(|held| !kept.contains(held)) {
            // What it does not name it never had whole.
            if has.contains(&delivery) {
                self.hand_back(delivery);
            } else {
                self.take_back(delivery);
            }
        }
        resumed
    }

    /// Whether an instance holds on to a lease that it names.
    pub(super) fn resume_one(&mut self, id: InstanceId, (delivery, token): LeaseKey, serves: &Serves) -> bool {
        let mine = |held: &&mut Held| held.instance == id && held.delivery.token == token;
        let held = self.held.get_mut(&delivery).filter(mine);
        let held = held.filter(|held| held.sent >= Sent::Done && serves.allows(&held.delivery.destination));
        let Some(held) = held else { return false };
        held.rearmed = false;
        if held.delivery.is_suspect()
            && let Some(instance) = self.instances.get_mut(&id)
            && let Some(served) = instance.served.get_mut(&held.delivery.destination)
        {
            served.slots.resume_alone(delivery);
        }
        self.on_named(delivery);
        true
    }

    fn describe(&mut self, id: InstanceId, name: &Name, allowed: bool) -> WelcomeDestination {
        let others = if allowed { self.others(id, name) } else { 0 };
        let known = allowed && self.routed.contains(name);
        WelcomeDestination { name: name.as_str().to_owned(), known, others, allowed }
    }

    fn others(&self, id: InstanceId, name: &Name) -> u32 {
        let Some(destination) = self.destinations.get(name) else { return 0 };
        let here = destination.joined.len() as u32 - u32::from(destination.joined.contains(&id));
        here + self.elsewhere(name, id)
    }

    /// Clients that other servers have of a destination, and this one has not; without this one.
    fn elsewhere(&self, name: &Name, except: InstanceId) -> u32 {
        self.only_elsewhere(name).filter(|id| *id != except).count() as u32
    }

    /// The same clients.
    pub(super) fn only_elsewhere<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = InstanceId> + 'a {
        let joined = self.destinations.get(name).map(|destination| &destination.joined);
        let is_here = move |id: &InstanceId| joined.is_some_and(|joined| joined.contains(id));
        self.others.serving(name).filter(move |id| !is_here(id))
    }

    /// Clients of a destination, at whatever server.
    fn clients_of(&self, name: &Name) -> u32 {
        let here = self.destinations.get(name).map_or(0, |destination| destination.joined.len());
        here as u32 + self.only_elsewhere(name).count() as u32
    }

    /// Announces an instance at what it serves.
    fn join(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.joined = true;
        let served =
            instance.served.iter().filter(|(_, served)| served.slots.are_offered()).map(|(name, _)| name.clone());
        let (known, unknown): (Vec<Name>, Vec<Name>) = served.partition(|name| self.destinations.contains_key(name));
        if let Some(first) = unknown.first().cloned() {
            let (label, token) = (instance.label.clone(), instance.token.clone());
            self.notice(Notice::ClientUnrouted { first, destinations: unknown.len(), instance: id, label, token });
        }
        for name in known {
            self.tell_if_nothing_waits(id, &name);
            self.join_one(id, &name);
        }
    }

    fn join_one(&mut self, id: InstanceId, name: &Name) {
        self.tell_if_nothing_waits(id, name);
        let Some(destination) = self.destinations.get_mut(name).filter(|known| !known.joined.contains(&id)) else {
            return;
        };
        destination.joined.insert(id);
        let clients = self.clients_of(name);
        let Some(instance) = self.instances.get(&id) else { return };
        let (label, peer, token) = (instance.label.clone(), instance.peer.clone(), instance.token.clone());
        self.notice(Notice::ClientJoined { destination: name.clone(), instance: id, label, peer, token, clients });
        self.recounted.insert(name.clone(), id);
    }

    /// Announces the clients of destinations that nobody knew when they said Hello.
    pub(super) fn join_appeared(&mut self) {
        for name in std::mem::take(&mut self.appeared) {
            let serves = |instance: &Instance| {
                instance.joined && instance.served.get(&name).is_some_and(|served| served.slots.are_offered())
            };
            let ids: Vec<InstanceId> =
                self.instances.iter().filter(|(_, instance)| serves(instance)).map(|(id, _)| *id).collect();
            for id in ids {
                self.tell_if_nothing_waits(id, &name);
                self.join_one(id, &name);
                self.arm_probe(id, &name);
                self.rerank(id, &name);
            }
            self.ask_soon(&name);
        }
    }

    /// Announces that an instance serves nothing any more.
    fn leave(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if !std::mem::replace(&mut instance.joined, false) {
            return;
        }
        let names: Vec<Name> = instance.served.keys().cloned().collect();
        for name in names {
            self.leave_one(id, &name);
        }
    }

    /// Announces that an instance does not serve any more what its new Hello, or its token, leaves out (I21).
    fn leave_unserved(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get(&id) else { return };
        let unserved = instance.served.iter().filter(|(_, served)| !served.slots.are_offered());
        let names: Vec<Name> = unserved.map(|(name, _)| name.clone()).collect();
        if crate::canary::is("narrowed_stays") {
            return; // Canary: who may not serve a destination any more hears nothing more of it.
        }
        for name in names {
            self.leave_one(id, &name);
        }
    }

    fn leave_one(&mut self, id: InstanceId, name: &Name) {
        let served = self.instances.get(&id).and_then(|instance| Some((instance, instance.served.get(name)?)));
        let Some((instance, served)) = served else { return };
        let (label, goodbye, held) = (instance.label.clone(), instance.going, served.slots.used());
        let Some(destination) = self.destinations.get_mut(name) else { return };
        if !destination.joined.remove(&id) {
            return;
        }
        let clients = self.clients_of(name);
        self.notice(Notice::ClientLeft { destination: name.clone(), instance: id, label, clients, held, goodbye });
        self.recounted.insert(name.clone(), id);
    }

    /// Tells the other clients of a destination how many they are now, once the inputs at hand are taken in: many that come
    /// together cost as many messages, not the square of it. Whoever came last knows from its Welcome.
    pub(super) fn tell_peers(&mut self, name: &Name, except: InstanceId) {
        let Some(joined) = self.destinations.get(name).map(|destination| &destination.joined) else { return };
        let clients = self.clients_of(name);
        let others: Vec<InstanceId> = joined.iter().copied().filter(|id| *id != except).collect();
        for id in others {
            let conn = self.instances.get(&id).and_then(|instance| instance.conn);
            if let Some((conn, session)) = conn.and_then(|conn| Some((conn, self.sessions.get_mut(&conn)?))) {
                session.outbox.push_peers(name.clone(), clients);
                self.signal(conn);
            }
        }
    }

    fn on_release(&mut self, instance: InstanceId, leases: &[LeaseKey]) {
        for (id, token) in leases {
            let holds =
                self.held.get(id).is_some_and(|held| held.instance == instance && held.delivery.token == *token);
            if holds {
                self.take_back(*id);
            } else {
                self.claim_no_more(instance, (*id, *token));
            }
        }
    }

    /// A client stops: nothing new for it. What it has not begun it hands back; what is at its target it reports.
    pub(super) fn on_goodbye(&mut self, id: InstanceId) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.going = true;
        }
        self.rerank_all(id);
        self.return_unsent(id, Sent::Begun);
    }

    /// It has handed all of it back or reported it. What crosses that word it hands back, and is let go then.
    fn on_done(&mut self, id: InstanceId) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.done = true;
            self.emptied.insert(id);
        }
    }

    pub(super) fn on_closed(&mut self, conn: ConnId) {
        self.drop_session(conn);
    }

    /// A socket is gone. Its instance may come back within the grace, unless it said goodbye and holds nothing. One that
    /// stops and still holds something has a forward at its target: handed on at once, that would be made twice.
    pub(super) fn drop_session(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.remove(&conn) else { return };
        self.greeting.remove(&conn);
        let Phase::Up(id) = session.phase else { return };
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.conn != Some(conn) {
            return;
        }
        instance.conn = None;
        self.rerank_all(id);
        // Nobody forwards a body that did not leave whole.
        self.return_unsent(id, Sent::Begun);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.going && instance.held.is_empty() {
            return self.go_absent(id);
        }
        let since = self.now.mono;
        let until = since + limits::RESUME_GRACE;
        instance.away = Some(Away { since, until });
        self.timers.insert((until, Timer::Grace(id)));
    }

    /// Until when somebody is waited for who went, or was last known, at `since`: as long as a Hello goes on arriving that may be
    /// his, for over a slow link that takes longer than the grace. Of a token, if one is known. `None`: no longer.
    pub(super) fn resumes_until(&self, token: Option<&Name>, since: Mono) -> Option<Mono> {
        if crate::canary::is("grace_by_the_clock") {
            return None; // Canary: who is saying that he is back must not lose what he names.
        }
        let greeting = self.greeting.iter().filter_map(|conn| self.sessions.get(conn));
        let theirs = greeting.filter(|session| token.is_none_or(|token| session.token == *token));
        let until = theirs.map(|session| session.heard + limits::RESUME_GRACE).max()?;
        Some(until.min(since + limits::RESUME_MAX)).filter(|until| *until > self.now.mono)
    }

    /// The same for an instance without a socket. Once its Hello is here, and waits for the store, it is made to wait by this server: what it
    /// names is not given to others meanwhile.
    pub(super) fn instance_resumes_until(&self, id: InstanceId) -> Option<Mono> {
        let instance = self.instances.get(&id)?;
        let away = instance.away?;
        let claims = self.greeting.iter().filter_map(|conn| match &self.sessions.get(conn)?.phase {
            Phase::Claiming(claiming) if claiming.instance == id => Some(claiming.since + limits::CLAIM_WITHIN),
            Phase::Claiming(_) | Phase::Opened | Phase::Waiting(_) | Phase::Up(_) => None,
        });
        let claimed = claims.max().filter(|until| *until > self.now.mono);
        claimed.max(self.resumes_until(Some(&instance.token), away.since))
    }

    /// An instance is gone for good, as far as anybody can tell. Its circuits are remembered for a while.
    pub(super) fn go_absent(&mut self, id: InstanceId) {
        self.leave(id);
        let blank = self.instances.get(&id).is_none_or(|i| i.served.values().all(|served| served.circuit.is_blank()));
        if blank {
            return self.forget_instance(id);
        }
        let at = self.now.mono + limits::INSTANCE_KEPT;
        if let Some(instance) = self.instances.get_mut(&id)
            && instance.forget_at.is_none()
        {
            instance.forget_at = Some(at);
            self.timers.insert((at, Timer::Forget(id)));
        }
    }

    /// Hands back what has left at most as far as `most`.
    pub(super) fn return_unsent(&mut self, id: InstanceId, most: Sent) {
        let Some(instance) = self.instances.get(&id) else { return };
        let mut unsent = instance.held_by_id();
        unsent.retain(|delivery| self.held.get(delivery).is_some_and(|held| held.sent <= most));
        for delivery in unsent {
            self.release_begun(delivery);
            self.hand_back(delivery);
        }
    }

    /// An instance has been away for the grace: others get what it held.
    pub(super) fn on_grace_over(&mut self, id: InstanceId) {
        let Some(away) = self.instances.get(&id).and_then(|instance| instance.away) else { return };
        if away.until > self.now.mono {
            return;
        }
        if let Some(until) = self.instance_resumes_until(id) {
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.away = Some(Away { until, ..away });
            }
            self.timers.insert((until, Timer::Grace(id)));
            return;
        }
        let held = self.instances.get(&id).map(Instance::held_by_id).unwrap_or_default();
        self.leave(id);
        for delivery in held {
            self.release_absent(delivery);
        }
        self.go_absent(id);
    }

    /// Heartbeat, and a look at whether the peer is still there.
    pub(super) fn on_tick(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.is_silent(self.now.mono) {
            self.drop_session(conn);
            self.outputs.push_back(Output::Close(conn, "nothing was heard of the client"));
            return;
        }
        let silent_at = session.silent_at();
        if let Phase::Up(id) = session.phase {
            let held = self.instances.get(&id).map(Instance::held_by_id).unwrap_or_default();
            let known = held.iter().filter_map(|id| self.held.get(id)).filter(|held| held.sent >= Sent::Begun);
            let held = known.map(|held| lease_ref((held.delivery.id, held.delivery.token))).collect();
            if let Some(session) = self.sessions.get_mut(&conn) {
                session.outbox.push_heartbeat(HeldList { held });
            }
            self.signal(conn);
        }
        self.set_tick(conn, silent_at.min(self.now.mono + self.heartbeat()));
    }

    pub(super) fn on_revoked(&mut self, token: &Name) {
        let revoked: Vec<ConnId> =
            self.sessions.iter().filter(|(_, session)| session.token == *token).map(|(conn, _)| *conn).collect();
        for conn in revoked {
            self.drop_session(conn);
            self.outputs.push_back(Output::Close(conn, "its token was revoked or changed"));
        }
    }

    /// Puts a control message in line.
    pub(super) fn send(&mut self, conn: ConnId, message: Message) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.outbox.push_control(message) {
            self.signal(conn);
        } else {
            self.misbehaved(conn, "does not read what it is sent");
        }
    }

    /// Tells the driver, once, that a socket has something to send.
    pub(super) fn signal(&mut self, conn: ConnId) {
        if self.sessions.get_mut(&conn).is_some_and(|session| session.outbox.wants_signal()) {
            self.outputs.push_back(Output::Transmit(conn));
        }
    }

    pub(super) fn misbehaved(&mut self, conn: ConnId, what: &str) {
        self.notice(Notice::Misbehaved { conn, what: what.to_owned() });
        self.outputs.push_back(Output::Close(conn, "it broke the protocol"));
        self.drop_session(conn);
    }
}

fn keys(leases: &[LeaseRef]) -> Result<Vec<LeaseKey>, CodecError> {
    leases.iter().map(codec::lease_key).collect()
}
