//! This machine is short of descriptors, in a process of its own: there it takes them from nobody else.

use std::{fs::File, net, process::Command};

use tokio::net::TcpSocket;

use super::*;

const CHILD: &str = "CRM_RELAY_TEST_SHORT";
const NAME: &str = "forward::tests::shortage::a_shortage_excuses_a_target_only_while_it_lasts";

/// A machine that was short for a moment is no reason of a target that does not answer afterwards.
#[test]
fn a_shortage_excuses_a_target_only_while_it_lasts() {
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(short_of_descriptors());
    }
    let program = std::env::current_exe().unwrap();
    let limited = ["-c", "ulimit -Sn 64 && exec \"$0\" \"$@\""];
    let mut child = Command::new("sh");
    child.args(limited).arg(program).args([NAME, "--exact", "--nocapture"]).env(CHILD, "1");
    let ended = child.output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

async fn short_of_descriptors() {
    // Its queue is full: who connects is not answered.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(queued) = net::TcpStream::connect_timeout(&address, SHORT) {
        queue.push(queued);
    }
    let timeout = 10 * limits::SHORTAGE_PAUSE;
    let target = target(&format!("http://{address}/"), timeout);
    let webhook = webhook(b"{}");
    for (short, ends) in [(3 * limits::SHORTAGE_PAUSE, false), (3 * timeout, true)] {
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        let given_back = async {
            tokio::time::sleep(short).await;
            drop(taken);
        };
        let (ended, ()) = tokio::join!(target.forward(&webhook), given_back);
        match ended {
            Ended::Lacking => assert!(ends, "there was what it takes"),
            Ended::Tried(outcome) => assert!(!ends && outcome.class == Class::Unreachable, "{outcome:?}"),
            Ended::Corrupt => panic!("its body is whole"),
        }
    }
}
