//! The circuit: stops trying a destination that does not answer, per destination and client instance.
