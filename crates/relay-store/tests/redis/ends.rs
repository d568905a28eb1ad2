//! What waits ends, and says what for.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    thread,
};

use crate::node::{Node, Server, bound::Waits, free_port};

/// Told to the one that waits for ever.
const WAITS: &str = "WAITS_FOR_EVER";

/// A test that waits for ever ends its run, which says its name and what for.
#[test]
fn who_waits_for_ever_is_named() {
    if env::var_os(WAITS).is_some() {
        let _node = Node::start();
        let _waits = Waits::until("what never comes");
        loop {
            thread::park();
        }
    }
    let this = env::current_exe().expect("it runs");
    let mut run = Command::new(this);
    run.args(["--exact", "ends::who_waits_for_ever_is_named"]).env(WAITS, "1").env("TEST_SECONDS", "2");
    let run = run.stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(101), "{said}");
    assert!(said.contains("ends::who_waits_for_ever_is_named has not ended in time"), "{said}");
    assert!(said.contains("for what never comes"), "{said}");
}

/// A server that ends while it starts, however much it has said before, is not waited for.
#[test]
fn a_server_that_does_not_start_is_told() {
    let port = free_port().to_string();
    let settings = || vec![("port".to_owned(), port.clone())];
    let _has_it = Node::with(Server::Installed, settings());
    for _ in 0..10 {
        let refused = catch_unwind(AssertUnwindSafe(|| drop(Node::with(Server::Installed, settings()))));
        let said = *refused.expect_err("two have one port").downcast::<String>().expect("it is told in words");
        assert!(said.contains("does not start") && said.contains("Address already in use"), "{said}");
    }
}
