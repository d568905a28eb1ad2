//! Pages as they are sent: what they hold, what they weigh, and what no value can make of them.

mod browser;
mod budget;
mod escaping;
mod sample;

mod templates;
