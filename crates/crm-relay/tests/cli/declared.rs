//! What `crm-relay.toml` declares: works, is read-only, and is paused and not deleted when it goes.

use crate::place::Place;

const FILE: &str = r#"
[source.stripe]
provider = "standard-webhooks"
secret = { file = "stripe.txt" }

[source.shop]
provider = "hmac"
header = "X-Shop-Signature"
prefix = "sha256="
secret = "a-secret-of-the-shop-alone"

[[route]]
source = "shop"
destination = "crm"
ttl = "2h"
max_retries = 5
"#;

#[test]
fn declared_sources_verify_are_read_only_and_are_paused_when_they_go() {
    let place = Place::new();
    place.write("stripe.txt", "whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\n");
    place.write("crm-relay.toml", FILE);
    let server = place.server();
    let url = place.server_url();
    let send = |source: &str, provider: &str, sets: &[&str]| {
        let to = format!("{url}/webhook/{source}");
        let mut args = vec!["send", "--to", to.as_str(), "--provider", provider];
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        place.cli(&args).status.code()
    };
    let shop = ["secret=a-secret-of-the-shop-alone", "header=X-Shop-Signature", "prefix=sha256="];
    assert_eq!(send("shop", "hmac", &shop), Some(0));
    assert_eq!(send("shop", "hmac", &["secret=another-secret-than-this", shop[1], shop[2]]), Some(1));
    assert_eq!(send("stripe", "standard-webhooks", &["secret=@stripe.txt"]), Some(0));

    let refused = [
        place.transcript(&place.cli(&["source", "delete", "shop", "--yes"])),
        place.transcript(&place.cli(&["route", "update", "shop", "crm", "--ttl", "3h"])),
        place.transcript(&place.cli(&["route", "show", "shop", "crm"])),
        place.transcript(&place.cli(&["source", "show", "shop"])),
    ];
    insta::assert_snapshot!(refused.join("\n"));

    assert_eq!(server.terminate(), Some(0));
    place.write("crm-relay.toml", "");
    let _server = place.server();
    place.wait_for("server.log", "listening");
    let found = place.json(&["source", "show", "shop"]);
    assert_eq!(found["paused"], true);
    assert_eq!(place.json(&["event", "list", "--source", "shop"])["items"].as_array().unwrap().len(), 1);
    assert!(place.read("server.log").contains("undeclared"));
}
