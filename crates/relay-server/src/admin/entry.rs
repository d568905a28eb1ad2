//! An entry of the table of routes: what a route is, what it needs, and what goes over the wire there.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use super::code::AdminCode;
use crate::{principal::Permission, state::State};

/// A route: its method, its path below `/api/v1`, what it needs, who answers, and what goes over the wire.
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    pub(super) needs: Permission,
    pub(super) summary: &'static str,
    pub(super) query: &'static [&'static str],
    pub(super) asks: Option<Schemas>,
    pub(super) answers: Answers,
    /// What it may be refused with besides what its shape brings.
    pub(super) also: &'static [AdminCode],
    pub(super) handler: MethodRouter<Arc<State>>,
}

/// The methods that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Looks.
    Get,
    /// Makes, or has something done.
    Post,
    /// Changes.
    Patch,
    /// Deletes.
    Delete,
}

impl Route {
    fn new<H: Handler<T, Arc<State>>, T: 'static>(
        verb: Verb,
        path: &'static str,
        needs: Permission,
        handler: H,
    ) -> Self {
        let method = match verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Patch => MethodFilter::PATCH,
            Verb::Delete => MethodFilter::DELETE,
        };
        let (summary, query, asks, answers) = ("", &[][..], None, Answers::Nothing);
        Self { verb, path, needs, summary, query, asks, answers, also: &[], handler: on(method, handler) }
    }

    pub(super) fn one<T: ToSchema>(self) -> Self {
        Self { answers: Answers::One(schemas::<T>), ..self }
    }

    pub(super) fn list<T: ToSchema>(self) -> Self {
        Self { answers: Answers::List(schemas::<T>), ..self }
    }

    pub(super) fn made<T: ToSchema>(self) -> Self {
        Self { answers: Answers::Made(schemas::<T>), ..self }
    }

    pub(super) fn nothing(self) -> Self {
        Self { answers: Answers::Nothing, ..self }
    }

    /// The same, or, for whoever accepts text/event-stream, again and again.
    pub(super) fn one_or_a_stream<T: ToSchema>(self) -> Self {
        Self { answers: Answers::OneOrStream(schemas::<T>), ..self }
    }

    pub(super) fn bytes(self) -> Self {
        Self { answers: Answers::Bytes, ..self }
    }

    pub(super) fn asks<T: ToSchema>(self) -> Self {
        Self { asks: Some(schemas::<T>), ..self }
    }

    pub(super) fn also(self, also: &'static [AdminCode]) -> Self {
        Self { also, ..self }
    }

    /// All it may be refused with: what every route may, what comes with what it takes in, and what is its own.
    pub(super) fn refusals(&self) -> BTreeSet<AdminCode> {
        use AdminCode::{
            BrokenOff, Conflict, Contended, Damaged, Declared, Forbidden, ForeignSite, Invalid, Misdirected,
            RateLimited, ShuttingDown, StoreAway, StoreFull, StoreUnavailable, Timeout, TooLarge, TooSlow,
            Unauthorized, Uncertain, Unknown,
        };
        let mut all =
            BTreeSet::from([BrokenOff, ForeignSite, Invalid, Misdirected, RateLimited, ShuttingDown, Timeout]);
        all.extend([Damaged, Forbidden, StoreAway, StoreUnavailable, TooLarge, TooSlow, Unauthorized]);
        if self.path.contains('{') || self.asks.is_some() || !self.query.is_empty() {
            all.insert(Unknown);
        }
        if self.verb != Verb::Get {
            all.extend([Conflict, Contended, Declared, StoreFull, Uncertain]);
        }
        all.extend(self.also);
        all
    }

    pub(super) fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }
}

pub(super) fn get<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    needs: Permission,
    summary: &'static str,
    handler: H,
) -> Route {
    Route { summary, ..Route::new(Verb::Get, path, needs, handler) }
}

pub(super) fn post<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    needs: Permission,
    summary: &'static str,
    handler: H,
) -> Route {
    Route { summary, ..Route::new(Verb::Post, path, needs, handler) }
}

pub(super) fn patch<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    needs: Permission,
    summary: &'static str,
    handler: H,
) -> Route {
    Route { summary, ..Route::new(Verb::Patch, path, needs, handler) }
}

pub(super) fn delete<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    needs: Permission,
    summary: &'static str,
    handler: H,
) -> Route {
    Route { summary, ..Route::new(Verb::Delete, path, needs, handler) }
}

/// A type that goes over the wire: itself first, then those that it is made of.
pub(super) type Schemas = fn() -> Vec<(String, RefOr<Schema>)>;

/// The schemas of a type.
pub(super) fn schemas<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    all
}

/// What a route answers if all is well.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    /// 200, one.
    One(Schemas),
    /// 200, one, or a stream of them.
    OneOrStream(Schemas),
    /// 200, a page of them.
    List(Schemas),
    /// 201, what was made.
    Made(Schemas),
    /// 204.
    Nothing,
    /// 200, bytes.
    Bytes,
}

impl Answers {
    /// The type of it, if it is JSON.
    pub(super) const fn schemas(&self) -> Option<&Schemas> {
        match self {
            Self::One(of) | Self::OneOrStream(of) | Self::List(of) | Self::Made(of) => Some(of),
            Self::Nothing | Self::Bytes => None,
        }
    }
}
