//! Rules as Keyward judges them and as the real CASL does: never more is allowed, and every difference is on a list.
//!
//! `tests/casl/judge.mjs` runs CASL from npm and holds the list. Keyward's side goes through `keyward decide`. Without
//! Node.js, npm, or a registry that answers, the comparison is skipped, and says so.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use keyward::authz::{RawRule, Value};
use keyward::wire::{rule::write_rule, value::to_json};
use serde_json::{Map, Value as Json, json};

use crate::authz_properties::{SEED, setting};
use crate::e2e_support::keyward;
use crate::generate::Gen;
use crate::generate::rule::{check, rules};
use crate::model::rule::Check;

const PINNED: &str = "tests/casl";
/// Checks where nothing else is asked for: `decide` of a debug build takes its time.
const CHECKS: u64 = 20_000;
/// Checks that one pair of processes answers.
const CHECKS_AT_ONCE: u64 = 100_000;
/// What npm says when there is no network, as opposed to something wrong with what is pinned.
const UNREACHABLE: [&str; 8] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ERR_SOCKET_TIMEOUT",
];
/// Names that JavaScript knows in every object, array or string, or that look like positions.
const HOSTILE: [&str; 12] = [
    "length",
    "tags.length",
    "id.length",
    "items.length",
    "toString",
    "hasOwnProperty",
    "meta.toString",
    "items.valueOf",
    "tags.-1",
    "tags.00",
    "tags.1e0",
    "id.0",
];

#[test]
fn the_lock_file_names_no_registry() {
    let lock = fs::read_to_string(pinned().join("package-lock.json")).unwrap();
    assert!(
        lock.contains("\"integrity\"")
            && !lock.contains("\"resolved\"")
            && !lock.contains("registry")
    );
}

#[test]
fn rules_never_allow_what_casl_denies_and_differ_only_as_intended() {
    let directory = tempfile::tempdir().unwrap();
    if let Err(why) = install(directory.path()) {
        eprintln!("skipped, Keyward was not compared with CASL: {why}");
        return;
    }
    let (seed, count) = (
        setting("KEYWARD_SEED", SEED),
        setting("KEYWARD_CHECKS", CHECKS),
    );
    let mut tally = Tally::default();
    for first in (0..count).step_by(CHECKS_AT_ONCE as usize) {
        let seeds = seed + first..seed + count.min(first + CHECKS_AT_ONCE);
        compare(directory.path(), seeds, &mut tally);
    }
    println!("CASL: {count} checks from seed {seed}: {tally:?}");
    assert!(
        tally.compared * 2 >= count,
        "most checks are of rules that may be written"
    );
    assert!(tally.allowed * 6 >= tally.compared, "enough checks allow");
}

/// How the checks came out.
#[derive(Debug, Default)]
struct Tally {
    /// Rules that may be written, and so were compared.
    compared: u64,
    /// Keyward allows.
    allowed: u64,
    /// CASL allows, Keyward does not, as the list has it.
    stricter: u64,
    /// CASL raises an error.
    errors: u64,
}

fn pinned() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(PINNED)
}

/// Installs the pinned CASL into a directory, or says why that is not possible here.
fn install(directory: &Path) -> Result<(), String> {
    for tool in ["node", "npm"] {
        let version = Command::new(tool).arg("--version").output();
        if !version.is_ok_and(|version| version.status.success()) {
            return Err(format!(
                "there is no `{tool}` (install Node.js 20 or newer)"
            ));
        }
    }
    for file in ["package.json", "package-lock.json", ".npmrc", "judge.mjs"] {
        fs::copy(pinned().join(file), directory.join(file)).unwrap();
    }
    let installed = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
        ])
        .args(["--fetch-retries=1", "--fetch-timeout=30000"])
        .current_dir(directory)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&installed.stderr);
    if installed.status.success() {
        Ok(())
    } else if UNREACHABLE.iter().any(|code| told.contains(code)) {
        Err(format!("npm reaches no registry:\n{told}"))
    } else {
        panic!("npm cannot install what {PINNED} pins:\n{told}");
    }
}

/// One line of `keyward decide`.
struct Line {
    seed: u64,
    text: String,
    /// It has names that JavaScript finds where no JSON has any. Keyward takes what they lead to for unknown, so that
    /// it need not be CASL's answer.
    is_strange: bool,
}

/// A check on a complete resource, and rules that were made for it.
fn line(seed: u64) -> Line {
    let mut g = Gen::new(seed);
    let mut check = check(&mut g);
    check.resource.complete = true;
    check
        .resource
        .attributes
        .retain(|(_, value)| value.is_some());
    let mut rules = rules(&mut g, &check);
    let is_strange = g.percent(10);
    if is_strange {
        estrange(&mut g, &mut rules);
    }
    Line {
        seed,
        text: written(&check, &rules).to_string(),
        is_strange,
    }
}

/// Lets some conditions be about names that JavaScript has ideas about.
fn estrange(g: &mut Gen, rules: &mut [RawRule]) {
    for rule in rules {
        if let Some(Value::Object(conditions)) = &mut rule.conditions {
            let name = g.pick(&HOSTILE);
            if let Some(condition) = conditions.first_mut() {
                condition.0 = name.into();
            }
        }
    }
}

fn written(check: &Check, rules: &[RawRule]) -> Json {
    let attributes = check.resource.attributes.iter();
    let resource: Map<_, _> = attributes
        .filter_map(|(name, value)| Some((name.clone(), to_json(value.as_ref()?))))
        .collect();
    json!({
        "grants": {"rules": rules.iter().map(write_rule).collect::<Vec<_>>()},
        "check": {
            "action": check.action, "subject": check.subject, "resource": resource, "complete": true,
            "field": check.field, "any_field": check.any_field,
        },
    })
}

/// Lets both answer the checks of these seeds.
fn compare(directory: &Path, seeds: std::ops::Range<u64>, tally: &mut Tally) {
    let lines: Vec<Line> = seeds.map(line).collect();
    let input = directory.join("lines");
    let mut file = BufWriter::new(File::create(&input).unwrap());
    for line in &lines {
        writeln!(file, "{}", line.text).unwrap();
    }
    file.into_inner().unwrap();
    let ours = answers(keyward().arg("decide"), &input);
    let theirs = answers(
        Command::new("node").arg("judge.mjs").current_dir(directory),
        &input,
    );
    assert_eq!((ours.len(), theirs.len()), (lines.len(), lines.len()));
    for (line, (ours, theirs)) in lines.iter().zip(ours.iter().zip(&theirs)) {
        tally.note(line, ours, theirs);
    }
}

impl Tally {
    fn note(&mut self, line: &Line, ours: &Json, theirs: &Json) {
        let replay = || {
            let Line { seed, text, .. } = line;
            format!("KEYWARD_SEED={seed} KEYWARD_CHECKS=1\n{text}\nKeyward {ours}\nCASL {theirs}")
        };
        assert!(ours.get("error").is_none(), "{}", replay());
        if ours.get("refused").is_some() {
            return;
        }
        let allowed = ours["decision"] == json!("allow");
        let plain = theirs["plain"].as_bool();
        // Where CASL raises an error, another rule may still allow: the list says what the erring one comes to.
        let may_allow = plain.unwrap_or(theirs["ours"] == json!(true));
        assert!(!allowed || may_allow, "an over-grant: {}", replay());
        assert!(
            line.is_strange || json!(allowed) == theirs["ours"],
            "another answer, and not on the list: {}",
            replay()
        );
        self.compared += 1;
        self.allowed += u64::from(allowed);
        self.stricter += u64::from(!allowed && plain == Some(true));
        self.errors += u64::from(plain.is_none());
    }
}

/// What a program answers to the lines of a file.
fn answers(command: &mut Command, input: &Path) -> Vec<Json> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(File::open(input).unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let text = String::from_utf8(stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
