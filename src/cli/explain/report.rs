//! A decision in words: for people step by step, for programs as one JSON object.
//!
//! Reads everything off the decision and the steps that led to it; judges nothing.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::authz::{
    Decision, Denial, Determination, KeyRecord, Permit, RawGrants, RouteTable, Tenant,
};
use crate::telemetry::redact::Redactor;
use crate::wire::needed;
use crate::wire::time::format_rfc3339;

/// What one step came to.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Which step.
    pub step: &'static str,
    /// What it came to.
    pub outcome: String,
}

/// The whole explanation.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The status of the refusal; 200 stands for whatever the upstream answers.
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    /// The route.
    pub route: Option<String>,
    /// The key.
    pub key_id: Option<String>,
    /// What in the grants decided.
    pub determined_by: Value,
    /// What would have been needed.
    pub needed: Option<Value>,
    /// Why a request passes although no key was judged.
    pub passes_as: Option<&'static str>,
    /// The refusal that a `shadow` route lets pass.
    pub shadowed: Option<&'static str>,
    /// How it came to that.
    pub steps: Vec<Step>,
}

impl Report {
    /// Reads a decision. `record` is the key's, as it is stored.
    pub fn new(
        decision: &Decision,
        routes: &RouteTable,
        record: Option<&KeyRecord>,
        steps: Vec<Step>,
    ) -> Self {
        let report = match decision {
            Decision::Allow(permit) => Self::allow(permit, routes, record),
            Decision::Deny(denial) => Self::deny(denial, routes, record),
        };
        Self { steps, ..report }
    }

    fn allow(permit: &Permit, routes: &RouteTable, record: Option<&KeyRecord>) -> Self {
        Self {
            decision: "allow",
            status: 200,
            reason: None,
            route: routes.spec(permit.route()).map(|spec| spec.name.clone()),
            key_id: permit.principal().map(|principal| principal.id.to_string()),
            determined_by: determined_by(permit.determined_by(), record),
            needed: None,
            passes_as: permit.unjudged().map(|passes| passes.as_str()),
            shadowed: permit.shadowed().map(|denial| denial.reason.as_str()),
            steps: Vec::new(),
        }
    }

    fn deny(denial: &Denial, routes: &RouteTable, record: Option<&KeyRecord>) -> Self {
        let route = denial.route.and_then(|route| routes.spec(route));
        Self {
            decision: "deny",
            status: denial.reason.status(),
            reason: Some(denial.reason.as_str()),
            route: route.map(|spec| spec.name.clone()),
            key_id: denial
                .principal
                .as_ref()
                .map(|principal| principal.id.to_string()),
            determined_by: denial
                .determined_by
                .as_ref()
                .map_or(Value::Null, |by| determined_by(by, record)),
            needed: denial.needed.as_ref().map(needed::to_json).map(redacted),
            passes_as: None,
            shadowed: None,
            steps: Vec::new(),
        }
    }

    /// Prints it for people.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn print(&self, out: &mut dyn Write, colour: bool) -> io::Result<()> {
        for Step { step, outcome } in &self.steps {
            writeln!(out, "{step:<12} {outcome}")?;
        }
        for (name, value) in [
            ("determined", &self.determined_by),
            ("needed", self.needed.as_ref().unwrap_or(&Value::Null)),
        ] {
            if !value.is_null() {
                writeln!(out, "{name:<12} {value}")?;
            }
        }
        let (start, end) = match (colour, self.decision) {
            (false, _) => ("", ""),
            (true, "allow") => ("\u{1b}[32m", "\u{1b}[0m"),
            (true, _) => ("\u{1b}[31m", "\u{1b}[0m"),
        };
        let detail = match (self.reason, self.passes_as, self.shadowed) {
            (Some(reason), ..) => format!(" {} {reason}", self.status),
            (None, _, Some(reason)) => format!(" in shadow: would be refused as {reason}"),
            (None, Some(passes), None) => format!(" as {passes}"),
            (None, None, None) => String::new(),
        };
        writeln!(
            out,
            "{:<12} {start}{}{end}{detail}",
            "decision", self.decision
        )
    }
}

/// A value without secrets: what a route needs may come from the path of the request.
fn redacted(value: Value) -> Value {
    match value {
        Value::String(text) => Redactor::default().text(text.as_bytes()).into(),
        Value::Array(items) => items.into_iter().map(redacted).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, redacted(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A key in words, without anything secret.
pub fn key_in_words(record: &KeyRecord) -> String {
    let tenant = match &record.tenant {
        Tenant::Org(slug) => format!("organisation {slug}"),
        Tenant::Workspace(id) => format!("workspace {id}"),
        Tenant::Access => "access".to_owned(),
    };
    let expiry = record.expires_at.map_or_else(
        || "never expires".to_owned(),
        |at| format!("expires {}", format_rfc3339(at)),
    );
    format!(
        "{} \"{}\" of {tenant}, {:?}, {expiry}",
        record.id, record.name, record.status
    )
}

/// What decided, with the grants as they were written rather than their places in the list.
fn determined_by(determination: &Determination, record: Option<&KeyRecord>) -> Value {
    match determination {
        Determination::Nothing => Value::Null,
        Determination::Grants { permissions, scope } => {
            let (written, scopes) = match record.map(|record| &record.grants) {
                Some(RawGrants::Org {
                    permissions,
                    scopes,
                }) => (permissions.as_slice(), scopes.as_slice()),
                Some(RawGrants::Workspace { .. } | RawGrants::Access(_)) | None => {
                    (&[][..], &[][..])
                }
            };
            let permissions: Vec<_> = permissions
                .iter()
                .filter_map(|index| written.get(usize::from(*index)))
                .collect();
            let scope = scope.and_then(|index| scopes.get(usize::from(index)));
            json!({ "permissions": permissions, "scope": scope })
        }
        Determination::Rule(index) => json!({ "rule": index }),
        Determination::Access { domain, level } => {
            json!({ "domain": &**domain, "level": level.as_str() })
        }
    }
}
