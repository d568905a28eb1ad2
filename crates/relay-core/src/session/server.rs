//! The server's end of one session: credit, transmission of grants and chunks, heartbeats.
