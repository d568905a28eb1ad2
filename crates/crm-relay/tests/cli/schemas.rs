//! Compose files, manifests and workflows: they follow the schemas of those who read them, and name settings, commands and targets
//! that exist.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crm_relay::config::settings::SETTINGS;
use serde_json::Value;

use crate::{
    contrib::{files, read, root},
    place::Place,
};

/// A program that `scripts/setup` installs.
fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vendors").join("schemas/venv/bin").join(name)
}

fn run(program: &str, args: &[&str]) -> Output {
    let ran = Command::new(installed(program)).args(args).current_dir(root()).output();
    ran.unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it"))
}

/// The documents of a YAML file.
pub(crate) fn yaml(path: &str) -> Vec<Value> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1]))), default=str))";
    let read = run("python", &["-c", script, path]);
    assert!(read.status.success(), "{path}: {}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&read.stdout).unwrap()
}

fn follows(program: &str, args: &[&str], files: &[&str]) {
    let checked = run(program, &[args, files].concat());
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && !said.contains("FAIL"), "{said}");
}

fn workflows() -> Vec<String> {
    let entries = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    entries.map(|entry| format!(".github/workflows/{}", entry.unwrap().file_name().to_str().unwrap())).collect()
}

/// Every object below a value.
fn objects(value: &Value) -> Vec<&serde_json::Map<String, Value>> {
    let below = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    value.as_object().into_iter().chain(below.into_iter().flat_map(objects)).collect()
}

fn is_setting(variable: &str) -> bool {
    let is = |name: &str| SETTINGS.iter().any(|setting| setting.name == name);
    is(variable) || variable.strip_suffix("_FILE").is_some_and(is)
}

#[test]
fn compose_files_follow_the_schema_and_name_settings() {
    let names = ["compose.yaml", "compose.client.yaml", "compose.redis.yaml"];
    follows("check-jsonschema", &["--builtin-schema", "vendor.compose-spec"], &names);
    let place = Place::new();
    for name in names {
        let file = &yaml(name)[0];
        let services = file["services"].as_object().unwrap().iter();
        for (service, what) in services.filter(|(_, what)| what["image"].as_str().unwrap().contains("crm-relay")) {
            for variable in what["environment"].as_object().into_iter().flat_map(|map| map.keys()) {
                assert!(is_setting(variable), "{name}, {service}: {variable}");
            }
            is_understood(&place, &what["command"]);
            // Whatever stands in .env, not only what a file here happens to name.
            let takes_settings = what["command"] != serde_json::json!(["receive", "--listen", "0.0.0.0:3000"]);
            let wanted = serde_json::json!([{ "path": ".env", "required": false }]);
            assert_eq!(what["env_file"] == wanted, takes_settings, "{name}, {service}");
            if let Some(test) = what["healthcheck"]["test"].as_array() {
                assert_eq!(test[..2], ["CMD", "/bin/crm-relay"]);
                is_understood(&place, &Value::Array(test[2..].to_vec()));
            }
        }
    }
}

/// What a failover takes: three that can be elected from, three that elect, and each is told who the others are.
#[test]
fn the_servers_of_a_compose_file_share_a_store_that_outlives_its_primary() {
    let file = &yaml("compose.redis.yaml")[0];
    let services = file["services"].as_object().unwrap();
    let named = |begin: &str| services.iter().filter(|(name, _)| name.starts_with(begin)).collect::<Vec<_>>();
    let (servers, nodes, sentinels) = (named("server-"), named("redis-"), named("sentinel-"));
    assert_eq!((servers.len(), nodes.len(), sentinels.len()), (2, 3, 3));
    let url = servers[0].1["environment"]["REDIS_URL"].as_str().unwrap();
    for (name, sentinel) in &sentinels {
        assert!(url.contains(&format!("{name}:26379")), "{url}");
        assert!(sentinel["command"].to_string().contains("sentinel monitor relay redis-1 6379 2"));
    }
    let alike = |service: &Value| {
        let mut settings = service["environment"].as_object().unwrap().clone();
        settings.remove("CONSUMER_NAME").unwrap();
        settings
    };
    assert_eq!(alike(servers[0].1), alike(servers[1].1), "servers on one store are configured alike");
    for (name, node) in nodes {
        assert_eq!(node["hostname"].as_str(), Some(name.as_str()));
        assert!(node["volumes"].to_string().contains("./contrib/redis/redis.conf:"));
        assert!(node["command"].to_string().contains("min-replicas-to-write 1"));
        assert!(node["ports"].is_null(), "nobody else reaches it");
    }
    assert_eq!(file["networks"]["store"]["internal"], true);
}

#[test]
fn manifests_follow_the_schemas_and_name_settings() {
    let all = files();
    let manifests: Vec<&str> = all.iter().map(String::as_str).filter(|file| file.contains("kubernetes/")).collect();
    assert_eq!(manifests.len(), 3);
    follows("kubernetes-validate", &["--strict"], &manifests);
    let place = Place::new();
    for name in manifests {
        for document in yaml(name) {
            for container in document["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
                for variable in container["env"].as_array().unwrap() {
                    let variable = variable["name"].as_str().unwrap();
                    assert!(is_setting(variable), "{name}: {variable}");
                }
                is_understood(&place, &container["args"]);
                // Probes ask for what listeners answer.
                let ports: Vec<&Value> =
                    container["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
                for probe in objects(container).iter().filter_map(|map| map.get("httpGet")) {
                    assert!(["/livez", "/readyz"].contains(&probe["path"].as_str().unwrap()), "{probe}");
                    assert!(ports.contains(&&probe["port"]), "{probe}");
                }
            }
        }
    }
}

/// The Dockerfile sets settings and runs commands that there are, and takes its images from whoever it is told.
#[test]
fn the_image_is_started_as_the_program_wants_it() {
    let file = read("Dockerfile");
    let place = Place::new();
    for line in file.lines().filter_map(|line| line.strip_prefix("ENV ")) {
        assert!(is_setting(line.split('=').next().unwrap()), "{line}");
    }
    for command in file.lines().filter_map(|line| line.split("CMD [").nth(1)) {
        let words: Vec<Value> = serde_json::from_str(&format!("[{command}")).unwrap();
        let words = words.into_iter().filter(|word| word != "/bin/crm-relay").collect();
        is_understood(&place, &Value::Array(words));
    }
    for from in file.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let from = from.split(' ').next().unwrap();
        let is_stage = file.contains(&format!(" AS {from}\n"));
        assert!(from == "scratch" || from.starts_with("${") || is_stage, "{from}");
    }
    for image in file.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once("_IMAGE=")) {
        assert!(!image.1.contains('/'), "no host of a registry: {}", image.1);
    }
}

/// The program reads these words.
fn is_understood(place: &Place, words: &Value) {
    let words: Vec<&str> = words.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).chain(["-h"]).collect();
    assert!(place.run(&words, &[]).status.success(), "{words:?}");
}

/// Workflows call targets and scripts that there are.
#[test]
fn workflows_follow_the_schema_and_call_what_there_is() {
    let names = workflows();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(names.len() >= 3);
    follows("check-jsonschema", &["--builtin-schema", "vendor.github-workflows"], &names);
    let makefile = read("Makefile");
    let mut called = 0;
    for name in names {
        let file = yaml(name);
        for script in objects(&file[0]).iter().filter_map(|map| map.get("run")?.as_str()) {
            for (at, start) in script.match_indices("make ") {
                let rest = &script[at + start.len()..];
                let target = rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next().unwrap();
                assert!(makefile.contains(&format!("\n{target}:")), "{name}: make {target}");
                called += 1;
            }
            for (at, _) in script.match_indices("scripts/") {
                let path = script[at..].split(|c: char| !(c.is_ascii_lowercase() || "/-".contains(c))).next().unwrap();
                assert!(root().join(path).exists(), "{name}: {path}");
            }
        }
    }
    assert!(called >= 8, "{called}");
}
