//! The public listener: takes webhooks in, checks that they are genuine, and hands them to the hub.

mod interim;
mod seam;

pub use seam::{Backend, Body, Source};
