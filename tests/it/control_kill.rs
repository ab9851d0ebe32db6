//! `kill -9` at random moments during writes: what was answered is there, and nothing else but at most the one
//! change that was under way.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyward::authz::{KeyStatus, PresentedKey, RawGrants, Tenant, Timestamp};
use keyward::control::{
    Caller, Control, KeyName, KeySlug, ListKeys, NewKey, OrgSlug, PatchOrgKey, RotateOrgKey,
};
use tokio::runtime::Runtime;

use super::directory;
use crate::control_support::{Clock, START, config, open, runtime};

const KILLS: u64 = 50;
const DIRECTORY: &str = "KEYWARD_TEST_KILL_DIRECTORY";
const CALLER: Caller = Caller::program("kill test");

fn org() -> OrgSlug {
    OrgSlug::parse("acme").unwrap()
}

fn new_key(slug: &str) -> NewKey {
    NewKey {
        tenant: Tenant::from(&org()),
        slug: Some(KeySlug::parse(slug).unwrap()),
        name: KeyName::parse("made").unwrap(),
        owner: None,
        status: KeyStatus::Active,
        expires_at: Some(Timestamp::from_millis(START).plus_seconds(1_000_000)),
        grants: RawGrants::Org {
            permissions: vec![],
            scopes: vec![],
        },
    }
}

/// The change that makes this revision. Each makes exactly one, so that a revision says what must be there.
/// Gives the new secret, where there is one.
fn make(runtime: &Runtime, control: &Control, revision: u64) -> Option<String> {
    let keys = control.keys();
    let slug = slug_of(revision);
    runtime.block_on(async {
        match revision % 4 {
            1 => {
                let made = keys.create_key(CALLER, new_key(&slug)).await.unwrap();
                assert_eq!(made.revision.0, revision);
                Some(made.value.raw.expose().to_owned())
            }
            2 => {
                let patch = PatchOrgKey {
                    name: Some(KeyName::parse("renamed").unwrap()),
                    ..PatchOrgKey::default()
                };
                keys.patch_org_key(CALLER, &org(), &slug, patch)
                    .await
                    .unwrap();
                None
            }
            3 => {
                let rotate = RotateOrgKey::new(None, None).unwrap();
                let rotated = keys
                    .rotate_org_key(CALLER, &org(), &slug, rotate)
                    .await
                    .unwrap();
                Some(rotated.value.raw.expose().to_owned())
            }
            _ => {
                // Every other key goes, so that some stay.
                if revision.is_multiple_of(8) {
                    keys.delete_key(CALLER, Tenant::from(&org()), &slug)
                        .await
                        .unwrap();
                } else {
                    let patch = PatchOrgKey {
                        disabled: Some(true),
                        ..PatchOrgKey::default()
                    };
                    keys.patch_org_key(CALLER, &org(), &slug, patch)
                        .await
                        .unwrap();
                }
                None
            }
        }
    })
}

/// The key that the change of this revision concerns.
fn slug_of(revision: u64) -> String {
    format!("k{}", revision.saturating_sub(1) / 4)
}

/// Name and status of every key after the change of this revision.
fn expected(revision: u64) -> BTreeMap<String, (String, bool)> {
    let mut keys = BTreeMap::new();
    for made in 1..=revision {
        let slug = slug_of(made);
        match made % 4 {
            1 => drop(keys.insert(slug, ("made".to_owned(), false))),
            2 => drop(keys.insert(slug, ("renamed".to_owned(), false))),
            3 => {}
            _ if made % 8 == 0 => drop(keys.remove(&slug)),
            _ => drop(keys.insert(slug, ("renamed".to_owned(), true))),
        }
    }
    keys
}

fn found(runtime: &Runtime, control: &Control) -> BTreeMap<String, (String, bool)> {
    let mut keys = BTreeMap::new();
    let acme = Tenant::from(&org());
    for page in 1.. {
        let asked = ListKeys {
            limit: 200,
            page,
            ..ListKeys::default()
        };
        let list = control.keys().list_keys(&CALLER, &acme, &asked);
        let list = runtime.block_on(list).unwrap().value;
        if list.keys.is_empty() {
            break;
        }
        for key in list.keys {
            let disabled = key.record.status != KeyStatus::Active;
            assert!(matches!(key.record.grants, RawGrants::Org { .. }));
            keys.insert(key.slug.unwrap(), (key.record.name, disabled));
        }
    }
    keys
}

/// The process that is killed. Run as a test of its own it does nothing.
#[test]
fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let runtime = runtime();
    let control = open(&runtime, &config(Path::new(&directory)), &Clock::new()).unwrap();
    let mut output = std::io::stdout();
    for revision in control.keys().revision().0 + 1.. {
        let secret = make(&runtime, &control, revision).unwrap_or_default();
        // Straight to the pipe: what is written here was answered.
        writeln!(output, "\nanswered {revision} {secret}").unwrap();
        output.flush().unwrap();
    }
}

#[test]
fn no_answered_change_is_lost_to_kill_9() {
    let seed: u64 = 0x9e37_79b9_7f4a_7c15;
    println!("seed {seed:#x}");
    let mut dice = seed;
    let directory = directory();
    let runtime = runtime();
    let mut last = 0;
    for kill in 0..KILLS {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let (answered, secrets) = write_and_kill(directory.path(), dice % 8, dice / 8 % 3000);
        let control = open(&runtime, &config(directory.path()), &Clock::new())
            .unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        let revision = control.keys().revision().0;
        let answered = answered.unwrap_or(last);
        assert!(
            revision == answered || revision == answered + 1,
            "kill {kill}: {answered} was answered, the database is at {revision}"
        );
        assert_eq!(found(&runtime, &control), expected(revision), "kill {kill}");
        if let Some((made, secret)) = secrets.last().filter(|(made, _)| made + 1 >= revision) {
            assert!(
                revision.is_multiple_of(4) || works(&runtime, &control, secret),
                "kill {kill}: {made}"
            );
        }
        last = revision;
    }
    assert!(last > KILLS, "only {last} changes were made");
}

/// Lets a process write, kills it some microseconds after so many answers, and gives the last revision that it
/// answered and the secrets.
fn write_and_kill(
    directory: &Path,
    answers: u64,
    microseconds: u64,
) -> (Option<u64>, Vec<(u64, String)>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "control_kill::writes_until_it_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut last = None;
    let mut secrets = Vec::new();
    let mut note = |line: String| {
        let words: Vec<_> = line.split(' ').collect();
        let ["answered", revision, secret] = words[..] else {
            return false;
        };
        let revision = revision.parse().unwrap();
        last = Some(revision);
        if !secret.is_empty() {
            secrets.push((revision, secret.to_owned()));
        }
        true
    };
    let mut seen = 0;
    while seen < answers {
        let Some(line) = lines.next() else {
            panic!("the process that was to be killed ended by itself");
        };
        seen += u64::from(note(line));
    }
    let moment = Instant::now() + Duration::from_micros(microseconds);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(|line| _ = note(line));
    (last, secrets)
}

fn works(runtime: &Runtime, control: &Control, secret: &str) -> bool {
    let shown = PresentedKey::parse(secret.as_bytes()).unwrap();
    let validated = control.keys().validate_org_key("acme", &shown);
    runtime.block_on(validated).unwrap().is_some()
}
