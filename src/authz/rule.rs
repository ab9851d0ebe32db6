//! CASL rules of workspace keys, made safe where CASL is lenient.
//!
//! (This module becomes a folder: condition, field, pattern.)

use super::record::RawRule;
use super::value::Resource;

/// Why a rule is refused on write: which rule, where in it, what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {place}: {message}")]
pub struct InvalidRule {
    /// Index as written.
    pub rule: usize,
    /// For example `conditions.id.$in`.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// What a request asks of the rules.
#[derive(Debug, Clone, Copy)]
pub struct RuleCheck<'a> {
    /// The action.
    pub action: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// The instance.
    pub resource: &'a Resource<'a>,
    /// The field asked for; `None`: the whole.
    pub field: Option<&'a str>,
    /// CASL's reading of a check without a field: an allow with `fields` applies, a deny with `fields` does not.
    pub any_field: bool,
}

/// What the rules answer. The index is that of the rule as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleVerdict {
    /// The last rule that applies allows.
    Allowed(u16),
    /// The last rule that applies denies.
    Denied(u16),
    /// No rule applies.
    NoMatch,
}

/// Compiled rules in the order of evaluation.
#[derive(Debug, Clone)]
pub struct RuleSet {}

/// What placeholders in conditions resolve from. An absent one makes its condition unknown.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlaceholderValues<'a> {
    /// `${user.id}`
    pub user_id: Option<&'a str>,
    /// `${session.id}`
    pub session_id: Option<&'a str>,
    /// `${subject.id}`
    pub subject_id: Option<&'a str>,
}

impl RuleSet {
    /// Compiles rules as written. What cannot be compiled grants nothing as an allow and always applies as a deny.
    pub fn compile(written: &[RawRule], placeholders: PlaceholderValues<'_>) -> Self {
        let _ = (written, placeholders);
        unimplemented!()
    }

    /// Judges a check: the last rule that applies decides.
    pub fn judge(&self, check: &RuleCheck<'_>) -> RuleVerdict {
        let _ = check;
        unimplemented!()
    }

    /// Checks rules on write.
    ///
    /// # Errors
    /// The first fault, with its rule and place.
    pub fn validate(written: &[RawRule]) -> Result<(), InvalidRule> {
        let _ = written;
        unimplemented!()
    }
}
