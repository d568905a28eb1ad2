//! Claims: a client comes that another server may have leases of. What it names of them is adopted, the rest is handed back, and
//! then it is welcomed. What lies in a part of the store that is away is looked at once that is back: until then it goes on with what it
//! names, and reports are settled as ever. Circuits that were open for it there are open here, so that an outage is not charged again.
//!
//! With one owner all leases are known here, and whoever says Hello is welcomed at once.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    ConnId, HeldFor, Hub, Notice, Output,
    held::Held,
    parts::Part,
    session::{Claiming, Phase},
    settle::Why,
    timers::Timer,
};
use crate::{
    delivery::{self, Change, Delivery, Lease, Token},
    id::{DeliveryId, InstanceId},
    limits,
    storage::StoreError,
    wire::codec::{Greeting, LeaseKey},
};

impl Hub {
    /// A Hello: what other servers keep for it is looked for first.
    pub(super) fn claim_then_welcome(&mut self, conn: ConnId, greeting: Greeting) {
        if !self.setup.shares {
            return self.welcome(conn, greeting);
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let instance = self.setup.instance_of(&session.token, greeting.instance);
        if self.is_superseded(conn, instance) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        // It may have waited until this server began, and be at another by now.
        let mut claiming = Claiming::begin(greeting, instance, session.heard);
        claiming.again = Part::all(self.setup.parts.max(1)).collect();
        session.phase = Phase::Claiming(Box::new(claiming));
        let word = self.ask_for_word();
        if let Some(claiming) = self.claiming(conn) {
            claiming.word = word;
        }
        self.on_claim_due(conn);
    }

    fn claiming(&mut self, conn: ConnId) -> Option<&mut Claiming> {
        let session = self.sessions.get_mut(&conn)?;
        match &mut session.phase {
            Phase::Claiming(claiming) => Some(claiming),
            Phase::Up(_) => session.rest.as_deref_mut(),
            Phase::Opened | Phase::Waiting(_) => None,
        }
    }

    fn is_up(&self, conn: ConnId) -> bool {
        self.sessions.get(&conn).is_some_and(|session| matches!(session.phase, Phase::Up(_)))
    }

    /// Whether a lease that a client names is in a part that was away when it came.
    pub(super) fn is_claimed_later(&self, instance: InstanceId, lease: LeaseKey) -> bool {
        let conn = self.instances.get(&instance).and_then(|instance| instance.conn);
        let rest = conn.and_then(|conn| self.sessions.get(&conn)?.rest.as_deref());
        rest.is_some_and(|rest| rest.may_have(self.settles.part_of(lease.0), lease))
    }

    /// A client hands back what it named.
    pub(super) fn claim_no_more(&mut self, instance: InstanceId, lease: LeaseKey) {
        let conn = self.instances.get(&instance).and_then(|instance| instance.conn);
        let session = conn.and_then(|conn| self.sessions.get_mut(&conn));
        if let Some(rest) = session.and_then(|session| session.rest.as_deref_mut()) {
            rest.greeting.held.retain(|named| *named != lease);
        }
    }

    /// Whose leases are read for this Hello, while it waits.
    pub(super) fn claimant(&mut self, conn: ConnId) -> Option<InstanceId> {
        self.claiming(conn).map(|claiming| claiming.instance)
    }

    /// The timer for that went off: they are read from the first on, in the parts where they were not. Whoever has waited for too
    /// long may be at another server by now, and is to come again.
    pub(super) fn on_claim_due(&mut self, conn: ConnId) {
        let (now, is_up) = (self.now.mono, self.is_up(conn));
        let heard = self.sessions.get(&conn).map(|session| session.heard);
        if let Some(claiming) = self.claiming(conn).filter(|_| is_up) {
            claiming.since = heard.unwrap_or(claiming.since);
            if claiming.since + limits::CLAIM_WITHIN / 2 <= now {
                // It may be at another by now: its next heartbeat says that it is here.
                return self.arm(limits::STORE_RETRY, Timer::Claim(conn));
            }
        } else if self.claiming(conn).is_some_and(|claiming| claiming.since + limits::CLAIM_WITHIN <= now) {
            self.drop_session(conn);
            self.outputs.push_back(Output::Close(conn, "the store does not tell what its client holds"));
            return;
        }
        self.read_claims(conn);
    }

    fn read_claims(&mut self, conn: ConnId) {
        let Some(instance) = self.claimant(conn) else { return };
        let held = self.instances.get(&instance).map(|instance| instance.held.as_slice()).unwrap_or_default();
        let held: Vec<(DeliveryId, Part)> = held.iter().map(|id| (*id, self.settles.part_of(*id))).collect();
        let Some(claiming) = self.claiming(conn) else { return };
        let mut parts = std::mem::take(&mut claiming.again);
        parts.append(&mut claiming.away);
        // Of a part that is being read the end is waited for: pages of two readings cannot be told apart, and what the one has listed
        // would be missing in the other.
        claiming.again = parts.intersection(&claiming.reading).copied().collect();
        parts.retain(|part| !claiming.again.contains(part));
        claiming.begin_reading(&parts, &held);
        for part in parts {
            self.ask_held(HeldFor::Claim(conn, part), None);
        }
    }

    /// A page of its leases in a part.
    pub(super) fn on_claim_page(&mut self, conn: ConnId, part: Part, result: Result<Vec<Delivery>, StoreError>) {
        let Some(claiming) = self.claiming(conn) else { return };
        let Ok(page) = result else {
            claiming.reading.remove(&part);
            claiming.away.insert(part);
            self.arm(limits::STORE_RETRY, Timer::Claim(conn));
            return self.welcome_if_claimed(conn);
        };
        let last = page.last().map(|delivery| delivery.id);
        let decided = if page.is_empty() { BTreeSet::new() } else { self.being_decided() };
        for delivery in page {
            self.claim(conn, part, &delivery, decided.contains(&delivery.id));
        }
        if last.is_some() {
            return self.ask_held(HeldFor::Claim(conn, part), last);
        }
        let is_up = self.is_up(conn);
        let Some(claiming) = self.claiming(conn) else { return };
        claiming.reading.remove(&part);
        if claiming.again.contains(&part) {
            return self.arm(limits::STORE_RETRY, Timer::Claim(conn));
        }
        claiming.read.insert(part);
        claiming.some_read = true;
        if is_up {
            self.drop_unlisted(conn, part);
        }
        self.welcome_if_claimed(conn);
    }

    /// `undecided`: what this server decided about it earlier is under way. That may be to end the very lease that is adopted
    /// now, if it was kept here before, so it is waited for.
    fn claim(&mut self, conn: ConnId, part: Part, record: &Delivery, undecided: bool) {
        let (id, token) = (record.id, record.token);
        let Some(lease) = record.lease else { return };
        let soon = self.shared_now() + self.setup.lease / 2;
        let kept_here = lease.keeper == self.nonce;
        let allowed = self.sessions.get(&conn).is_some_and(|session| session.serves.allows(&record.destination));
        let Some(claiming) = self.claiming(conn) else { return };
        claiming.listed.entry(part).or_default().insert((id, token));
        let named = claiming.greeting.held.contains(&(id, token)) && allowed;
        if named && undecided {
            claiming.again.insert(part);
        } else if named && !(kept_here && lease.until > soon) {
            *claiming.adopting.entry(part).or_default() += 1;
            let instance = claiming.instance;
            self.decide(id, Why::Adopt { conn, instance, token }, record);
        } else if !named && !kept_here {
            // What it does not name it does not have, or not any more.
            let by = claiming.since + limits::CLAIM_WITHIN;
            self.decide(id, Why::Yield { claim: record.claim(), version: record.version, by }, record);
        }
    }

    /// What becomes of a lease whose client names it on this socket, as long as it waits for that.
    pub(super) fn adoption(
        &mut self,
        conn: ConnId,
        instance: InstanceId,
        token: Token,
        record: &Delivery,
    ) -> Option<Change> {
        let now = self.shared_now();
        let since = self.now.mono;
        let waits = self.claiming(conn).is_some_and(|claiming| claiming.since + limits::CLAIM_WITHIN > since);
        let by = Lease { instance, keeper: self.nonce, since: now, until: now + self.setup.lease };
        delivery::adopt(record, token, by, now).filter(|_| waits)
    }

    /// A lease is adopted, durably.
    pub(super) fn on_adopted(&mut self, record: &Delivery) {
        if self.held.get(&record.id).is_some_and(|held| held.delivery.token == record.token) {
            return self.extend_held(record);
        }
        self.drop_held(record.id);
        self.rearm(record.clone());
        let instance = record.lease.map(|lease| lease.instance);
        let conn = instance.and_then(|instance| self.instances.get(&instance)?.conn);
        if let (Some(instance), Some(conn)) = (instance, conn)
            && self.is_up(conn)
            && let Some(session) = self.sessions.get(&conn)
        {
            // It was welcomed before this.
            let serves = Arc::clone(&session.serves);
            self.resume_one(instance, (record.id, record.token), &serves);
        }
    }

    /// What was held here when its client came, and is not among what the store has of it, is somebody else's by now.
    fn drop_unlisted(&mut self, conn: ConnId, part: Part) {
        let Some(claiming) = self.claiming(conn) else { return };
        let (instance, before) = (claiming.instance, claiming.before.remove(&part).unwrap_or_default());
        let listed = claiming.listed.remove(&part).unwrap_or_default();
        for id in before {
            let stands = |held: &Held| listed.contains(&(id, held.delivery.token));
            if self.held.get(&id).is_some_and(|held| held.instance == instance && !stands(held)) {
                self.drop_held(id);
            }
        }
    }

    /// Whether it is adopted is decided.
    pub(super) fn on_claim_decided(&mut self, conn: ConnId, id: DeliveryId) {
        let part = self.settles.part_of(id);
        if let Some(claiming) = self.claiming(conn) {
            if let Some(left) = claiming.adopting.get_mut(&part) {
                *left -= 1;
                claiming.adopting.retain(|_, left| *left > 0);
            }
            self.welcome_if_claimed(conn);
        }
    }

    /// The store cannot adopt it for now. Where that is a part of it, its client waits for it no longer.
    pub(super) fn adopts_later(&mut self, conn: ConnId, id: DeliveryId) {
        let part = self.settles.part_of(id);
        if self.setup.parts > 1
            && let Some(claiming) = self.claiming(conn)
        {
            claiming.away.insert(part);
            self.arm(limits::STORE_RETRY, Timer::Claim(conn));
            self.welcome_if_claimed(conn);
        }
    }

    /// The others have said what they know, or cannot be heard: whoever waited for that is welcomed.
    pub(super) fn welcome_who_waited(&mut self) {
        let greeting: Vec<ConnId> = self.greeting.iter().copied().collect();
        for conn in greeting {
            self.welcome_if_claimed(conn);
        }
    }

    /// What is down for a client at the server that it comes from.
    pub(super) fn bring_circuits(&mut self, id: InstanceId) {
        if crate::canary::is("circuits_stay") {
            return; // Canary: whoever goes to another server must not be charged for an outage once more.
        }
        let heard = self.others.heard();
        for (name, told) in self.others.open_of(id) {
            let served = self.instances.get_mut(&id).and_then(|instance| instance.served.get_mut(&name));
            let Some(served) = served.filter(|served| served.slots.are_offered() && served.circuit.is_blank()) else {
                continue;
            };
            served.circuit.open_as(&told, heard);
            if self.destinations.contains_key(&name) {
                self.arm_probe(id, &name);
            }
            if let Some(error) = told.error {
                let error = error.to_string();
                self.notice(Notice::DestinationDown { destination: name, instance: id, error });
            }
        }
    }

    fn welcome_if_claimed(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let heard = |claiming: &Claiming| self.others.has_answered(claiming.word);
        match &session.phase {
            Phase::Claiming(claiming) if claiming.is_over() && claiming.some_read && heard(claiming) => {}
            Phase::Up(_) => {
                // All parts are read that were away.
                let _over = session.rest.take_if(|rest| rest.is_over() && rest.away.is_empty());
                return;
            }
            Phase::Opened | Phase::Waiting(_) | Phase::Claiming(_) => return,
        }
        for part in self.parts() {
            if self.claiming(conn).is_some_and(|claiming| !claiming.is_unread(part)) {
                self.drop_unlisted(conn, part);
            }
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if let Phase::Claiming(claiming) = std::mem::replace(&mut session.phase, Phase::Opened) {
            if claiming.away.is_empty() {
                return self.welcome(conn, claiming.greeting);
            }
            let greeting = claiming.greeting.clone();
            session.rest = Some(claiming);
            self.welcome(conn, greeting);
        }
    }
}
