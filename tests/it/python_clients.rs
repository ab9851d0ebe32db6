//! Programs in Python that meet the control plane as strangers do: the published client of orq.ai, and Schemathesis on
//! our own description.
//!
//! Exact versions are installed from PyPI into the target directory, once. Where Python or the registry is missing,
//! the tests say so and pass; with `KEYWARD_PYTHON=required` they fail instead.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::control_support::{ADMIN, Plane};

/// The seed of what Schemathesis tries, where `KEYWARD_SEED` is not set.
const SEED: &str = "1";
/// Examples that Schemathesis tries of each operation, where `KEYWARD_EXAMPLES` is not set.
const EXAMPLES: &str = "25";
/// What Schemathesis looks at in each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth";

/// A directory of the repository.
fn python_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// The interpreter of an environment in which these requirements are installed; `None`, and a message, where that
/// cannot be.
fn interpreter(requirements: &str) -> Option<PathBuf> {
    install(&python_files().join(requirements)).map_or_else(
        |why| {
            let required = std::env::var_os("KEYWARD_PYTHON").is_some();
            assert!(!required, "{requirements} cannot be installed: {why}");
            eprintln!("skipped: {requirements} cannot be installed: {why}");
            None
        },
        Some,
    )
}

fn install(requirements: &Path) -> Result<PathBuf, String> {
    let wanted = fs::read(requirements).map_err(|error| error.to_string())?;
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = cache.join(format!("python-{:016x}", hasher.finish()));
    let python = |place: &Path| place.join("bin/python");
    if python(&place).exists() {
        return Ok(python(&place));
    }
    // Made beside its place and moved there whole, so that nobody meets half of it.
    fs::create_dir_all(cache).map_err(|error| error.to_string())?;
    let temporary = tempfile::tempdir_in(cache).map_err(|error| error.to_string())?;
    let made = temporary.path().join("environment");
    succeeds(Command::new("python3").args(["-m", "venv"]).arg(&made))?;
    let mut pip = Command::new(python(&made));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    pip.args([
        "--no-deps",
        "--only-binary",
        ":all:",
        "--retries",
        "1",
        "--requirement",
    ]);
    succeeds(pip.arg(requirements))?;
    match fs::rename(&made, &place) {
        Err(error) if !python(&place).exists() => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(python(&place)),
    }
}

/// Runs a command; its last words where it fails.
fn succeeds(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Err(error) => Err(format!("{}: {error}", command.get_program().display())),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(last_words(&output)),
    }
}

fn last_words(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// Runs a program to its end, without any proxy between it and this machine.
fn run(command: &mut Command) -> io::Result<Output> {
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").output()
}

/// Asserts that a program is content, and gives what it said.
fn assert_success(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    println!("{said}");
    said
}

#[test]
fn the_published_client_of_orq_works_unchanged() {
    let Some(python) = interpreter("orq-requirements.txt") else {
        return;
    };
    let plane = Plane::start();
    let output = run(Command::new(python)
        .arg(python_files().join("orq_client.py"))
        .env("KEYWARD_URL", format!("http://{}", plane.address))
        .env("KEYWARD_ADMIN_TOKEN", ADMIN));
    assert_success(&output.unwrap());
}

#[test]
fn no_request_meets_an_answer_that_is_not_described() {
    let Some(python) = interpreter("schemathesis-requirements.txt") else {
        return;
    };
    let plane = Plane::start();
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{}/openapi.json", plane.address))
        .args(["--header", &format!("Authorization: Bearer {ADMIN}")])
        .args([
            "--checks",
            CHECKS,
            "--phases",
            "examples,coverage,fuzzing,stateful",
        ])
        .args(["--seed", &setting("KEYWARD_SEED", SEED)])
        .args([
            "--generation-with-security-parameters",
            "false",
            "--max-examples",
            &setting("KEYWARD_EXAMPLES", EXAMPLES),
        ])
        // Its body is lines, for which schemathesis has no serializer; `control_transfer` sends it the bad ones.
        .args(["--exclude-path", "/v1/import"])
        .args(["--generation-database", "none", "--no-color"])
        .current_dir(directory.path());
    assert_success(&run(&mut command).unwrap());
    let after = plane.admin("GET", "/v2/api-keys/capabilities", None);
    assert_eq!(after.status, 200);
    assert!(after.body["domains"] != json!([]));
}
