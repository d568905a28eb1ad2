//! Claims: a client comes that another server may have leases of. What it names of them is adopted, the rest is handed back, and
//! then it is welcomed.
//!
//! With one owner all leases are known here, and whoever says Hello is welcomed at once.

use super::{
    ConnId, HeldFor, Hub,
    session::{Claiming, Phase},
    settle::Why,
    timers::Timer,
};
use crate::{delivery::Delivery, id::InstanceId, limits, storage::StoreError, wire::codec::Greeting};

impl Hub {
    /// A Hello: what other servers keep for it is looked for first.
    pub(super) fn claim_then_welcome(&mut self, conn: ConnId, greeting: Greeting) {
        if !self.setup.shares {
            return self.welcome(conn, greeting);
        }
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let instance = self.setup.instance_of(&session.token, greeting.instance);
        session.phase = Phase::Claiming(Box::new(Claiming { greeting, instance, read: false, adopting: 0 }));
        self.ask_held(HeldFor::Claim(conn), None);
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

    /// The timer for that went off: they are read from the first on.
    pub(super) fn on_claim_due(&mut self, conn: ConnId) {
        self.ask_held(HeldFor::Claim(conn), None);
    }

    /// A page of its leases.
    pub(super) fn on_claim_page(&mut self, conn: ConnId, result: Result<Vec<Delivery>, StoreError>) {
        if self.claiming(conn).is_none() {
            return;
        }
        let Ok(page) = result else { return self.arm(limits::STORE_RETRY, Timer::Claim(conn)) };
        let last = page.last().map(|delivery| delivery.id);
        for delivery in page {
            self.claim(conn, &delivery);
        }
        if last.is_some() {
            return self.ask_held(HeldFor::Claim(conn), last);
        }
        if let Some(claiming) = self.claiming(conn) {
            claiming.read = true;
        }
        self.welcome_if_claimed(conn);
    }

    fn claim(&mut self, conn: ConnId, record: &Delivery) {
        let (nonce, id) = (self.nonce, record.id);
        let kept_elsewhere = record.lease.is_some_and(|lease| lease.keeper != nonce);
        let allowed = self.sessions.get(&conn).is_some_and(|session| session.serves.allows(&record.destination));
        let Some(claiming) = self.claiming(conn).filter(|_| kept_elsewhere) else { return };
        if claiming.greeting.held.contains(&(id, record.token)) && allowed {
            claiming.adopting += 1;
            let instance = claiming.instance;
            self.decide(id, Why::Adopt { conn, instance, token: record.token }, record);
        } else {
            // What it does not name it does not have, or not any more.
            self.decide(id, Why::Unheard(record.claim()), record);
        }
    }

    /// A lease is adopted, durably.
    pub(super) fn on_adopted(&mut self, record: &Delivery) {
        if !self.held.contains_key(&record.id) {
            self.rearm(record.clone());
        }
    }

    /// Whether it is adopted is decided.
    pub(super) fn on_claim_decided(&mut self, conn: ConnId) {
        if let Some(claiming) = self.claiming(conn) {
            claiming.adopting = claiming.adopting.saturating_sub(1);
            self.welcome_if_claimed(conn);
        }
    }

    fn welcome_if_claimed(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let is_claimed = matches!(&session.phase, Phase::Claiming(claiming) if claiming.read && claiming.adopting == 0);
        if !is_claimed {
            return;
        }
        if let Phase::Claiming(claiming) = std::mem::replace(&mut session.phase, Phase::Opened) {
            self.welcome(conn, claiming.greeting);
        }
    }
}
