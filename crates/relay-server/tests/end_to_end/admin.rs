//! What operators see and change.

use serde_json::{Value, json};

use crate::{
    bench::{ADMIN_TOKEN, API_KEY, Bench},
    http,
};

#[tokio::test]
async fn the_admin_listener_wants_its_token_and_the_socket_does_not() {
    let bench = Bench::start().await;
    let authorized = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
    assert_eq!(http::tcp(bench.admin, "GET", "/api/v1/status", "", b"").await.status, 401);
    assert_eq!(http::tcp(bench.admin, "GET", "/api/v1/status", "Authorization: Bearer x\r\n", b"").await.status, 401);
    assert_eq!(http::tcp(bench.admin, "GET", "/api/v1/status", &authorized, b"").await.status, 200);
    let document = http::tcp(bench.admin, "GET", "/api/openapi.json", &authorized, b"").await;
    assert_eq!((document.status, document.json()["openapi"].as_str().map(|version| &version[..2])), (200, Some("3.")));
    assert_eq!(http::tcp(bench.admin, "GET", "/api/openapi.json", "", b"").await.status, 401);
    for open in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(http::tcp(bench.admin, "GET", open, "", b"").await.status, 200, "{open}");
    }
    assert_eq!(bench.ask("/api/v1/status").await["status"], "ok");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(bench.data_dir.join("admin.sock")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    bench.finish().await;
}

/// I24: what was acknowledged is counted when an operator asks, however lately somebody else did; and it is in the end for everybody.
#[tokio::test]
async fn what_was_acknowledged_is_counted_when_an_operator_asks() {
    let bench = Bench::start().await;
    let authorized = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
    for sent in 1..=10 {
        // There is a look by now that knows nothing of the next.
        bench.get("/health", "").await;
        assert_eq!(bench.post(b"{}").await.status, 202);
        let asked = if sent % 2 == 0 {
            bench.ask("/api/v1/status").await
        } else {
            bench.get("/health", &authorized).await.json()
        };
        assert_eq!(asked["webhooks_received"], sent);
    }
    bench.until_holds(|| async { bench.get("/health", "").await.json()["webhooks_received"] == 10 }).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_source_comes_with_its_route_and_its_secrets_are_never_shown() {
    let bench = Bench::start().await;
    let secret = "a-signing-secret-of-the-tests";
    let new = json!({
        "name": "shop",
        "provider": "hmac",
        "parameters": [["secret", secret], ["header", "X-Signature"]],
        "destination": "crm",
    });
    let made = bench.command("POST", "/api/v1/sources", new.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["destinations"], json!(["crm"]));
    let taken = bench.command("POST", "/api/v1/sources", new).await;
    assert_eq!((taken.status, taken.json()["code"].clone()), (409, json!("taken")));
    for path in ["/api/v1/sources", "/api/v1/sources/shop", "/api/v1/status"] {
        assert!(!bench.ask(path).await.to_string().contains(secret), "{path}");
    }
    assert_eq!(bench.post_to("/webhook/shop", "X-Signature: 00\r\n", b"{}").await.status, 401);
    assert_eq!(bench.command("DELETE", "/api/v1/sources/shop", json!(null)).await.status, 204);
    assert_eq!(bench.post_to("/webhook/shop", "X-Signature: 00\r\n", b"{}").await.status, 404);
    bench.finish().await;
}

#[tokio::test]
async fn faults_say_what_would_be_right() {
    let bench = Bench::start().await;
    for (method, path, body, status, words) in [
        ("GET", "/api/v1/sources/crn", json!(null), 404, "known: default"),
        ("POST", "/api/v1/sources", json!({"name": "A b", "provider": "hmac"}), 400, "1 to 63 of a-z"),
        ("POST", "/api/v1/sources", json!({"name": "a", "provider": "hmak"}), 400, "did you mean hmac?"),
        (
            "POST",
            "/api/v1/tokens",
            json!({"name": "t", "destinations": ["crn"]}),
            400,
            "no route leads to \"crn\"; known: default. Make one: crm-relay route create SOURCE crn",
        ),
        ("DELETE", "/api/v1/routes/default/default", json!(null), 409, "create another route first"),
        ("GET", "/api/v1/deliveries?state=gone", json!(null), 400, "known: ready, scheduled"),
        ("GET", "/api/v1/events/evt_1", json!(null), 404, "no event evt_1"),
        ("GET", "/api/v1/events/evt_z", json!(null), 400, "evt_"),
        ("GET", "/api/v1/deliveries/evt_0192", json!(null), 400, "delivery list --event evt_0192"),
        ("POST", "/api/v1/dead/redrive", json!({"ids": ["evt_0192"]}), 400, "an event's id"),
        ("POST", "/api/v1/dead/purge", json!({"all": true, "rate": 1}), 400, "becomes ready again"),
        ("POST", "/api/v1/events/replay", json!({}), 400, "ask for all"),
        ("POST", "/api/v1/events/replay", json!({"all": true, "rate": 0}), 400, "want 0.01 to 10000"),
        ("POST", "/api/v1/sources/default/rotate", json!({"set": [["key", "x"]]}), 400, "to replace"),
        ("POST", "/api/v1/dead/purge", json!({}), 400, "ask for all"),
        ("POST", "/api/v1/dead/purge", json!({"al": true}), 400, "unknown field"),
        ("POST", "/api/v1/store/backup", json!({"into": "/here"}), 400, "whoever asks for it writes it"),
        ("GET", "/api/v1/nothing", json!(null), 404, "below /api/v1"),
        ("PUT", "/api/v1/sources", json!({}), 405, "PUT is not understood here"),
        ("POST", "/metrics", json!({}), 405, "POST is not understood here"),
        ("GET", "/api/v1/sources/%ff", json!(null), 400, "UTF-8"),
        ("GET", "/api/v1/events?limit=4294967296", json!(null), 400, "limit"),
        ("POST", "/api/v1/tokens", json!(["t"]), 400, "invalid length"),
    ] {
        let reply = bench.command(method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        assert!(reply.head.contains("application/problem+json"), "{path}");
        assert!(reply.json()["detail"].as_str().unwrap().contains(words), "{path}: {}", reply.text());
    }
    bench.finish().await;
}

/// What operators did is listed, newest first, by who did it and by what was done; no secret is in it.
#[tokio::test]
async fn the_audit_log_says_who_did_what() {
    let bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/tokens", json!({"name": "crm", "destinations": ["default"]})).await;
    let secret = made.json()["token"].as_str().unwrap().to_owned();
    bench.command("POST", "/api/v1/destinations/default/pause", json!(null)).await;
    let authorized = format!("Authorization: Bearer {ADMIN_TOKEN}\r\n");
    let named = format!("{authorized}Relay-User: ada\r\n");
    let revoked = http::tcp(bench.admin, "DELETE", "/api/v1/tokens/crm", &named, b"").await;
    assert_eq!(revoked.status, 204);

    let actions = |log: &Value| {
        let items = log["items"].as_array().unwrap().iter();
        items.map(|line| format!("{} {}", line["who"], line["action"]).replace('"', "")).collect::<Vec<_>>()
    };
    let log = bench.ask("/api/v1/audit-log").await;
    let did = actions(&log);
    assert_eq!(did[..3], ["admin token.revoke", "cli destination.pause", "cli token.create"], "{log:#}");
    let origin = |at: usize| log["items"][at]["origin"].clone();
    assert!(origin(0)["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{log:#}");
    assert_eq!((&origin(0)["credential"], &origin(0)["claimed_user"]), (&json!("ADMIN_TOKEN"), &json!("ada")));
    assert_eq!(origin(1)["uid"], std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&bench.data_dir).unwrap()));
    assert_eq!((&origin(1)["peer"], &origin(1)["credential"]), (&json!(null), &json!(null)));
    assert!(!log.to_string().contains(ADMIN_TOKEN));
    assert!(!log.to_string().contains(&secret));
    let of_tokens = bench.ask("/api/v1/audit-log?action=token&limit=1").await;
    assert_eq!(actions(&of_tokens), ["admin token.revoke"]);
    let next = of_tokens["next"].as_str().unwrap();
    let rest = bench.ask(&format!("/api/v1/audit-log?action=token&limit=1&cursor={next}")).await;
    assert_eq!(actions(&rest), ["cli token.create"]);
    let by_token = bench.ask("/api/v1/audit-log?who=admin&since=2000-01-01T00:00:00Z").await;
    assert_eq!(actions(&by_token), ["admin token.revoke"]);
    assert_eq!(bench.ask("/api/v1/audit-log?until=2000-01-01T00:00:00Z").await["items"], json!([]));
    for (query, words) in [("limit=0", "want 1 to 1000"), ("since=now", "want a time"), ("by=cli", "unknown field")] {
        let refused = bench.command("GET", &format!("/api/v1/audit-log?{query}"), json!(null)).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    bench.finish().await;
}

/// I3: a header value that is no text is shown whole.
#[tokio::test]
async fn header_values_are_shown_byte_for_byte() {
    let bench = Bench::start().await;
    let head =
        format!("POST /webhook HTTP/1.1\r\nHost: relay\r\nX-API-Key: {API_KEY}\r\nContent-Length: 2\r\nX-Name: J");
    let raw = [head.as_bytes(), b"\xf6rg\r\nX-Plain: \xc3\xb6\r\nConnection: close\r\n\r\n{}"].concat();
    let reply = http::raw(bench.public, &raw).await;
    let event = reply.json()["event_id"].as_str().unwrap().to_owned();
    let shown = bench.ask(&format!("/api/v1/events/{event}")).await;
    let headers = shown["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-name", "J\u{fffd}rg", "4af67267"])), "{shown:#}");
    assert!(headers.contains(&json!(["x-plain", "\u{f6}"])), "{shown:#}");
    bench.finish().await;
}

/// A cursor that no page gave out begins nothing anew: neither a list nor, worse, a command.
#[tokio::test]
async fn a_cursor_of_ones_own_is_refused_with_what_would_be_right() {
    let bench = Bench::start().await;
    bench.post(b"{}").await;
    bench.post(b"{}").await;
    let own = bench.ask("/api/v1/deliveries?limit=1").await["next"].as_str().unwrap().to_owned();
    let lists = ["events", "dead", "dead/summary", "audit-log", "dead?since=2000-01-01T00:00:00Z", "deliveries"];
    for cursor in ["x", "", "%00", "-1", "99999999999999999999", "%F0%9F%92%A5", "evt_", "1", &format!("{own}0"), &own]
    {
        for list in lists {
            let (list, rest) = list.split_once('?').unwrap_or((list, ""));
            let path = format!("/api/v1/{list}?cursor={cursor}&{rest}");
            // The order of dead letters is that of deliveries, unless a time is asked for.
            let fits = cursor == own && rest.is_empty() && ["deliveries", "dead", "dead/summary"].contains(&list);
            let reply = bench.command("GET", &path, json!(null)).await;
            assert_eq!(reply.status, if fits { 200 } else { 400 }, "{list} {cursor}: {}", reply.text());
            assert!(fits || reply.text().contains("want the "), "{list} {cursor}: {}", reply.text());
        }
        let commands = [
            ("events/replay", json!({"all": true, "cursor": cursor})),
            ("events/replay", json!({"all": true, "cursor": cursor, "dry_run": true})),
            ("dead/redrive", json!({"all": true, "cursor": cursor, "status": 500, "since": "2000-01-01T00:00:00Z"})),
            ("dead/purge", json!({"all": true, "cursor": cursor, "limit": 1, "until": "2000-01-01T00:00:00Z"})),
            ("dead/purge", json!({"all": true, "cursor": cursor})),
            ("deliveries/cancel", json!({"all": true, "cursor": format!("{cursor}7"), "error": "x"})),
        ];
        for (path, body) in commands {
            let reply = bench.command("POST", &format!("/api/v1/{path}"), body).await;
            assert_eq!(reply.status, 400, "{path} {cursor}: {}", reply.text());
        }
    }
    let deliveries = bench.ask("/api/v1/deliveries").await["items"].as_array().unwrap().len();
    assert_eq!(deliveries, 2, "nothing was replayed");
    bench.finish().await;
}

/// I12: a replay given again under its job makes nothing twice, and goes on where more is asked for; another command under that
/// job does nothing.
#[tokio::test]
async fn a_replay_under_its_job_is_done_once() {
    let bench = Bench::start().await;
    for _ in 0..3 {
        bench.post(b"{}").await;
    }
    let job = "job_0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a";
    let replay = |more: Value| {
        let mut body = json!({"source": "default", "until": "2099-01-01T00:00:00Z", "job": job});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.command("POST", "/api/v1/events/replay", body)
    };
    let done = replay(json!({"limit": 2})).await.json();
    assert_eq!((&done["job"], &done["matched"], &done["changed"]), (&json!(job), &json!(2), &json!(2)));
    assert_eq!(replay(json!({"limit": 2, "dry_run": false})).await.json(), done);
    for _ in 0..2 {
        let all = replay(json!({})).await.json();
        assert_eq!((&all["matched"], &all["changed"], &all["next"]), (&json!(3), &json!(3), &json!(null)));
    }
    let other = replay(json!({"destination": "default"})).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("conflict")), "{}", other.text());
    let purge = bench.command("POST", "/api/v1/deliveries/cancel", json!({"all": true, "job": job})).await;
    assert_eq!(purge.status, 409, "{}", purge.text());
    let deliveries = bench.ask("/api/v1/deliveries").await["items"].as_array().unwrap().len();
    assert_eq!(deliveries, 6);
    bench.finish().await;
}

/// I12: a command that brings its preview does what that counted, once; what has come since is left.
#[tokio::test]
async fn a_command_with_its_preview_leaves_what_came_later() {
    let bench = Bench::start().await;
    bench.post(b"{}").await;
    bench.post(b"{}").await;
    let asked = |path: &'static str, more: Value| {
        let mut body = json!({"source": "default"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.command("POST", path, body)
    };
    let cancel = |more: Value| asked("/api/v1/deliveries/cancel", more);
    let replay = |more: Value| asked("/api/v1/events/replay", more);
    let counted = cancel(json!({"dry_run": true})).await.json();
    let split = json!([{"destination": "default", "count": 2}]);
    assert_eq!((&counted["matched"], &counted["split"]), (&json!(2), &split), "{counted:#}");
    let replays = replay(json!({"dry_run": true})).await.json();
    assert_eq!((&replays["matched"], &replays["split"]), (&json!(2), &split), "{replays:#}");
    bench.post(b"{}").await;

    let (preview, job) = (counted["preview"].clone(), counted["job"].clone());
    let other_job = "job_0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a";
    for (ask, words) in [
        (json!({"preview": preview, "destination": "default"}), "of another command"),
        (json!({"preview": preview, "status": 500}), "of another command"),
        (json!({"preview": preview, "job": other_job}), "want that job or none"),
        (json!({"preview": "prv1.mine"}), "not whole"),
        (json!({"preview": replays["preview"]}), "of another command"),
    ] {
        let refused = cancel(ask).await;
        let code = refused.json()["code"].clone();
        assert_eq!((refused.status, code), (409, json!("conflict")), "{}", refused.text());
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    bench.until("ready", 3).await;
    let done = cancel(json!({"preview": preview})).await.json();
    assert_eq!((&done["job"], &done["matched"], &done["changed"]), (&job, &json!(2), &json!(2)), "{done:#}");
    let used = cancel(json!({"preview": preview})).await;
    assert!(used.status == 409 && used.text().contains("has changed 2"), "{}", used.text());
    // An answer that was lost is asked for again by the job.
    assert_eq!(cancel(json!({"preview": preview, "job": job})).await.json(), done);
    bench.until("ready", 1).await;
    let done = replay(json!({"preview": replays["preview"], "limit": 1})).await.json();
    assert_eq!((&done["matched"], &done["job"]), (&json!(1), &replays["job"]));
    let rest = replay(json!({"preview": replays["preview"], "job": replays["job"]})).await.json();
    assert_eq!((&rest["matched"], &rest["changed"]), (&json!(2), &json!(2)), "of three");
    bench.finish().await;
}

/// I12: how far a job is stands in the store; one that is stopped does nothing more, whoever goes on with it.
#[tokio::test]
async fn a_job_is_looked_at_and_stopped() {
    let bench = Bench::start().await;
    for _ in 0..3 {
        bench.post(b"{}").await;
    }
    let job = "job_0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a";
    let path = format!("/api/v1/jobs/{job}");
    let unknown = bench.command("GET", &path, json!(null)).await;
    assert!(unknown.status == 404 && unknown.text().contains("it has not begun"), "{}", unknown.text());
    let cancel = |limit: u64| {
        let body = json!({"all": true, "job": job, "limit": limit});
        bench.command("POST", "/api/v1/deliveries/cancel", body)
    };
    assert_eq!(cancel(1).await.json()["changed"], 1);
    let going = json!({"job": job, "matched": 1, "changed": 1, "is_over": false});
    assert_eq!(bench.ask(&path).await, going);
    let stopped = bench.command("POST", &format!("{path}/stop"), json!(null)).await;
    let over = json!({"job": job, "matched": 1, "changed": 1, "is_over": true, "stopped_by": "cli"});
    assert_eq!((stopped.status, stopped.json()), (200, over.clone()), "{}", stopped.text());
    let rest = cancel(3).await.json();
    assert_eq!((&rest["changed"], &rest["next"]), (&json!(1), &json!(null)), "{rest:#}");
    assert_eq!(rest["stopped_by"], over["stopped_by"], "whoever runs it is told: {rest:#}");
    assert_eq!(bench.command("POST", &format!("{path}/stop"), json!(null)).await.json(), over, "again");
    bench.until("ready", 2).await;
    assert!(bench.store.audit_log().iter().any(|entry| entry.action == "job.stop" && entry.subject == job));
    bench.finish().await;
}

/// I21: a key opens its source from its creation to its revocation.
#[tokio::test]
async fn a_key_is_shown_once_and_refused_once_revoked() {
    let bench = Bench::start().await;
    let made = bench.command("POST", "/api/v1/keys", json!({"source": "default", "name": "shop"})).await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let headers = format!("Authorization: Bearer {key}\r\n");
    assert_eq!(bench.post_to("/webhook", &headers, b"{}").await.status, 202);
    assert!(!bench.ask("/api/v1/keys").await.to_string().contains(&key));
    assert_eq!(bench.command("DELETE", "/api/v1/keys/default/shop", json!(null)).await.status, 204);
    assert_eq!(bench.post_to("/webhook", &headers, b"{}").await.status, 401);
    assert_eq!(bench.post(b"{}").await.status, 202, "the other key goes on");
    bench.finish().await;
}

/// I13: a second route makes a second delivery; a deleted one makes no more.
#[tokio::test]
async fn each_route_of_a_source_makes_its_own_delivery() {
    let bench = Bench::start().await;
    let route = json!({"source": "default", "destination": "erp", "ttl_ms": 60_000, "max_retries": 2});
    let made = bench.command("POST", "/api/v1/routes", route).await;
    assert_eq!((made.status, &made.json()["ttl_ms"]), (201, &json!(60_000)), "{}", made.text());
    // The answer to a command comes once it holds: the next webhook goes the new way, and none goes the old one.
    for made in 1..=20 {
        bench.post(b"{}").await;
        let found = bench.ask("/api/v1/deliveries?destination=erp").await;
        assert_eq!(found["items"].as_array().unwrap().len(), made);
        let path = "/api/v1/routes/default/erp";
        assert_eq!(bench.command("DELETE", path, json!(null)).await.status, 204);
        bench.post(b"{}").await;
        let found = bench.ask("/api/v1/deliveries?destination=erp").await;
        assert_eq!(found["items"].as_array().unwrap().len(), made);
        let route = json!({"source": "default", "destination": "erp", "ttl_ms": 60_000, "max_retries": 2});
        assert_eq!(bench.command("POST", "/api/v1/routes", route).await.status, 201);
    }
    let too_long = json!({"max_retries": 2, "schedule_ms": [60_000, 60_000], "ttl_ms": 60_000});
    let refused = bench.command("PATCH", "/api/v1/routes/default/erp", too_long).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(bench.command("DELETE", "/api/v1/routes/default/erp", json!(null)).await.status, 204);
    bench.finish().await;
}

#[tokio::test]
async fn open_deliveries_are_cancelled_and_dead_letters_purged() {
    let bench = Bench::start().await;
    bench.post(b"{}").await;
    bench.post(b"{}").await;
    let done = bench.command("POST", "/api/v1/deliveries/cancel", json!({"destination": "default"})).await.json();
    assert_eq!(done["changed"], 2, "{done:#}");
    bench.until("cancelled", 2).await;
    let done = bench.command("POST", "/api/v1/dead/purge", json!({"all": true})).await.json();
    assert_eq!(done["matched"], 0, "cancelled ones are no dead letters");
    assert!(bench.store.audit_log().iter().any(|entry| entry.action == "delivery.cancel" && entry.who == "cli"));
    bench.finish().await;
}

/// I24: `/readyz` and `/health` tell strangers how it is, and only operators why.
#[tokio::test]
async fn health_shows_totals_to_all_and_reasons_to_operators() {
    let bench = Bench::start().await;
    bench.post(b"{}").await;
    assert_eq!(bench.get("/readyz", "").await.status, 200);
    assert_eq!(bench.get("/livez", "").await.status, 200);
    bench.until_holds(|| async { bench.get("/health", "").await.json()["webhooks_received"] == 1 }).await;
    let health = bench.get("/health", "").await.json();
    assert_eq!(health["queue_depth"], 1);
    assert_eq!(health["store"]["backend"], "memory");
    assert_eq!(health.get("reasons"), None);
    let health = bench.get("/health", &format!("Authorization: Bearer {ADMIN_TOKEN}\r\n")).await.json();
    assert_eq!(health["reasons"], json!([]));
    assert_eq!(bench.get("/nothing", "").await.status, 404);
    bench.finish().await;
}

#[tokio::test]
async fn metrics_count_what_was_accepted_and_refused() {
    let bench = Bench::start().await;
    bench.post(b"{}").await;
    bench.post_to("/webhook", "X-API-Key: crk_wrong\r\n", b"{}").await;
    bench
        .until_holds(|| async {
            let page = http::tcp(bench.admin, "GET", "/metrics", "", b"").await.text();
            page.contains("crm_relay_events_accepted_total{source=\"default\"} 1")
                && page.contains("crm_relay_requests_refused_total{source=\"default\"")
                && page.contains("crm_relay_deliveries{destination=\"default\",state=\"ready\"} 1")
                && page.contains("crm_relay_commit_seconds_count 1")
                && !page.contains(API_KEY)
        })
        .await;
    bench.finish().await;
}
