//! What an administrator is told about gateways: whether a change is in force at each.

use crate::e2e_control::Alone;
use crate::e2e_support::{Ended, Quickstart, finish, keyward};

const ADMIN: &str = "admin-token-of-the-tests-0123456789";
const NEW_KEY: [&str; 8] = [
    "keys",
    "create",
    "--org",
    "acme",
    "--slug",
    "ci",
    "--expires-in",
    "90d",
];

fn administer(place: &str, token: &str, words: &[&str]) -> Ended {
    let mut command = keyward();
    command.args(words).args(["--control", place]);
    finish(command.env("KEYWARD_ADMIN_TOKEN", token), "")
}

#[test]
fn a_change_that_all_have_is_said_to_be_in_force() {
    let quickstart = Quickstart::start();
    let words = [&NEW_KEY[..], &["--wait"]].concat();
    let ended = administer(quickstart.control(), quickstart.admin_token(), &words);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let last = ended.stdout.lines().last();
    assert_eq!(
        last,
        Some("in force at 1 of 1 gateways"),
        "{}",
        ended.stdout
    );
}

#[test]
fn where_nobody_follows_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let alone = Alone::start(directory.path(), &[]);
    let place = format!("http://{}", alone.address);
    let words = [&NEW_KEY[..], &["--wait=1", "--json"]].concat();
    let ended = administer(&place, ADMIN, &words);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stdout.lines().count(),
        1,
        "only the answer: {}",
        ended.stdout
    );
    let words = ["keys", "revoke", "--org", "acme", "ci", "--wait"];
    let ended = administer(&place, ADMIN, &words);
    assert_eq!(
        ended.stdout,
        "deleted\nno gateway follows this control plane\n"
    );
}
