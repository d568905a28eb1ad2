//! Claims: a client comes that another server may have leases of. What it names of them is adopted, the rest is handed back, and
//! then it is welcomed. Circuits that were open for it there are open here, so that an outage is not charged again.
//!
//! With one owner all leases are known here, and whoever says Hello is welcomed at once.

use std::collections::BTreeSet;

use super::{
    ConnId, HeldFor, Hub, Notice, Output,
    leases::Held,
    session::{Claiming, Phase},
    settle::Why,
    timers::Timer,
};
use crate::{
    delivery::{self, Delivery, Lease, Token},
    id::InstanceId,
    limits,
    storage::{Change, StoreError},
    wire::codec::Greeting,
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
        let before = BTreeSet::new();
        // It may have waited until this server began, and be at another by now.
        let (listed, since) = (BTreeSet::new(), session.heard);
        let claiming =
            Claiming { greeting, instance, since, before, listed, read: false, word: 0, undecided: false, adopting: 0 };
        session.phase = Phase::Claiming(Box::new(claiming));
        let word = self.ask_for_word();
        if let Some(claiming) = self.claiming(conn) {
            claiming.word = word;
        }
        self.on_claim_due(conn);
    }

    fn claiming(&mut self, conn: ConnId) -> Option<&mut Claiming> {
        match &mut self.sessions.get_mut(&conn)?.phase {
            Phase::Claiming(claiming) => Some(claiming),
            Phase::Opened | Phase::Waiting(_) | Phase::Up(_) => None,
        }
    }

    /// Whose leases are read for this Hello, while it waits.
    pub(super) fn claimant(&mut self, conn: ConnId) -> Option<InstanceId> {
        self.claiming(conn).map(|claiming| claiming.instance)
    }

    /// The timer for that went off: they are read from the first on. Whoever has waited for too long may be at another server by
    /// now, and is to come again.
    pub(super) fn on_claim_due(&mut self, conn: ConnId) {
        let now = self.now.mono;
        if self.claiming(conn).is_some_and(|claiming| claiming.since + limits::CLAIM_WITHIN <= now) {
            self.drop_session(conn);
            self.outputs.push_back(Output::Close(conn, "the store does not tell what its client holds"));
            return;
        }
        self.read_claims(conn);
    }

    fn read_claims(&mut self, conn: ConnId) {
        let Some(instance) = self.claimant(conn) else { return };
        let before = self.instances.get(&instance).map(|instance| instance.held.iter().copied().collect());
        if let Some(claiming) = self.claiming(conn) {
            (claiming.before, claiming.listed) = (before.unwrap_or_default(), BTreeSet::new());
            claiming.undecided = false;
        }
        self.ask_held(HeldFor::Claim(conn), None);
    }

    /// A page of its leases.
    pub(super) fn on_claim_page(&mut self, conn: ConnId, result: Result<Vec<Delivery>, StoreError>) {
        if self.claiming(conn).is_none() {
            return;
        }
        let Ok(page) = result else { return self.arm(limits::STORE_RETRY, Timer::Claim(conn)) };
        let last = page.last().map(|delivery| delivery.id);
        let decided = if page.is_empty() { BTreeSet::new() } else { self.being_decided() };
        for delivery in page {
            self.claim(conn, &delivery, decided.contains(&delivery.id));
        }
        if last.is_some() {
            return self.ask_held(HeldFor::Claim(conn), last);
        }
        let Some(claiming) = self.claiming(conn) else { return };
        if claiming.undecided {
            return self.arm(limits::STORE_RETRY, Timer::Claim(conn));
        }
        claiming.read = true;
        self.welcome_if_claimed(conn);
    }

    /// `undecided`: what this server decided about it earlier is under way. That may be to end the very lease that is adopted
    /// now, if it was kept here before, so it is waited for.
    fn claim(&mut self, conn: ConnId, record: &Delivery, undecided: bool) {
        let (id, token) = (record.id, record.token);
        let Some(lease) = record.lease else { return };
        let soon = self.shared_now() + self.setup.lease / 2;
        let kept_here = lease.keeper == self.nonce;
        let allowed = self.sessions.get(&conn).is_some_and(|session| session.serves.allows(&record.destination));
        let Some(claiming) = self.claiming(conn) else { return };
        claiming.listed.insert((id, token));
        let named = claiming.greeting.held.contains(&(id, token)) && allowed;
        if named && undecided {
            claiming.undecided = true;
        } else if named && !(kept_here && lease.until > soon) {
            claiming.adopting += 1;
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
    }

    /// What was held here when its client came, and is not among what the store has of it, is somebody else's by now.
    fn drop_unlisted(&mut self, claiming: &Claiming) {
        for id in &claiming.before {
            let stands = |held: &Held| claiming.listed.contains(&(*id, held.delivery.token));
            if self.held.get(id).is_some_and(|held| held.instance == claiming.instance && !stands(held)) {
                self.drop_held(*id);
            }
        }
    }

    /// Whether it is adopted is decided.
    pub(super) fn on_claim_decided(&mut self, conn: ConnId) {
        if let Some(claiming) = self.claiming(conn) {
            claiming.adopting = claiming.adopting.saturating_sub(1);
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
            let Some(served) = served.filter(|served| served.slots > 0 && served.circuit.is_blank()) else { continue };
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
        let done = |claiming: &Claiming| claiming.read && claiming.adopting == 0 && heard(claiming);
        if !matches!(&session.phase, Phase::Claiming(claiming) if done(claiming)) {
            return;
        }
        if let Phase::Claiming(claiming) = std::mem::replace(&mut session.phase, Phase::Opened) {
            self.drop_unlisted(&claiming);
            self.welcome(conn, claiming.greeting);
        }
    }
}
