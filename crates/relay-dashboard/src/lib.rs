//! Pages of the dashboard: view models in, HTML out.
//!
//! Whoever serves them reads the store, decides who may see what, fills in the model of a screen and has it drawn ([`screen::Screen`]).
//! Every value that reaches a page is text: the escaper of all templates is this crate's own ([`escape`]), and links are made here
//! only ([`url::Url`]). `docs/internals/dashboard.md` has the rooms and the bounds.
//!
//! **Invariant:** no sockets, no files at run time, no clock, no store; nothing is drawn that the model does not hold.

pub mod asset;
pub mod body;
mod curl;
pub mod escape;
mod filters;
pub mod guide;
pub mod pace;
pub mod page;
pub mod place;
pub mod proof;
pub mod screen;
pub mod script;
pub mod show;
pub mod since;
pub mod sums;
pub mod text;
pub mod url;
pub mod viewer;
