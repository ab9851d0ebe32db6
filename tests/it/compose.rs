//! `docker/compose.yaml` says what this version understands: its commands are typed, and its configuration is checked.
//!
//! No container is started; nothing here needs an engine for them.

use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode as _, Yaml};

use crate::e2e_support::{Ended, finish, keyward};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn compose() -> Yaml<'static> {
    let text = std::fs::read_to_string(root().join("docker/compose.yaml")).unwrap();
    let text: &'static str = Box::leak(text.into_boxed_str());
    Yaml::load_from_str(text).unwrap().remove(0)
}

/// The services that are this program, and their names.
fn ours(compose: &Yaml<'static>) -> Vec<(String, Yaml<'static>)> {
    let services = compose["services"].as_mapping().unwrap();
    let ours = services
        .iter()
        .filter(|(_, service)| service["image"].as_str() == Some("keyward"));
    ours.map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone()))
        .collect()
}

fn words(service: &Yaml<'static>) -> Vec<String> {
    let words = service["command"].as_sequence().unwrap();
    words
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

/// Runs a command with the environment of a service, in which what comes from outside has a value that fits.
fn run(service: &Yaml<'static>, arguments: &[String]) -> Ended {
    let mut command = keyward();
    command.args(arguments);
    for (name, value) in service["environment"].as_mapping().unwrap() {
        let value = value.as_str().unwrap_or_default();
        let value = if value.contains("${") {
            "secret-of-the-test-".repeat(2)
        } else {
            value.to_owned()
        };
        command.env(name.as_str().unwrap(), value);
    }
    finish(&mut command, "")
}

#[test]
fn every_command_is_one_that_this_version_takes() {
    let services = ours(&compose());
    assert_eq!(services.len(), 4, "two control planes and two gateways");
    for (name, service) in services {
        // Help comes only when what stands before it was understood.
        let words = [words(&service), vec!["--help".to_owned()]].concat();
        let ended = run(&service, &words);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        let mistyped = [&words[..1], &["--no-such-flag".to_owned()], &words[1..]].concat();
        assert_eq!(run(&service, &mistyped).code, Some(2), "{name}");
    }
}

#[test]
fn every_configuration_is_one_that_this_version_takes() {
    let services = ours(&compose());
    let gateways: Vec<_> = services
        .iter()
        .filter(|(_, service)| words(service)[0] == "run")
        .collect();
    assert_eq!(gateways.len(), 2);
    for (name, service) in gateways {
        let mut words = words(service);
        words[0] = "check".to_owned();
        let file = words.last_mut().unwrap();
        *file = mounted(service, file).display().to_string();
        let ended = run(service, &words);
        assert_eq!(
            ended.code,
            Some(0),
            "{name}: {}{}",
            ended.stdout,
            ended.stderr
        );
    }
}

/// The file of the repository that a service finds at `path`.
fn mounted(service: &Yaml<'static>, path: &str) -> PathBuf {
    let volumes = service["volumes"].as_sequence().unwrap();
    let found = volumes.iter().find_map(|volume| {
        let (from, to) = volume.as_str()?.split_once(':')?;
        let to = to.trim_end_matches(":ro");
        (to == path).then(|| root().join("docker").join(from))
    });
    let found = found.expect("the file is mounted");
    assert!(Path::new(&found).is_file(), "{}", found.display());
    found
}

/// Secrets come from the environment: a default would be the same everywhere.
#[test]
fn no_secret_stands_in_it() {
    let text = std::fs::read_to_string(root().join("docker/compose.yaml")).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        for name in [
            "POSTGRES_PASSWORD:",
            "KEYWARD_ADMIN_TOKEN:",
            "KEYWARD_GATEWAY_TOKEN:",
        ] {
            if let Some(value) = line.trim().strip_prefix(name) {
                assert!(
                    value.trim().starts_with("${") && value.ends_with(":?}"),
                    "{line}"
                );
            }
        }
    }
}
