//! CASL rules of workspace keys, made safe where CASL is lenient.
//!
//! A rule set is compiled once and judged without allocating. What a rule cannot tell is unknown, and unknown is
//! no: it never makes an allow apply and never keeps a deny from applying. It knows no key, no route and no JSON text.

mod compile;
mod condition;
mod field;
mod path;
mod pattern;
mod placeholder;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use smallvec::SmallVec;

use self::compile::Compiler;
pub use self::compile::{
    CONDITIONS_MAX, FIELDS_MAX, LEVELS_MAX, NAMES_MAX, OPERANDS_MAX, PATH_SEGMENTS_MAX,
    PATTERNS_MAX, RULES_MAX,
};
use self::condition::{Conditions, Document, Truth};
pub use self::field::FIELD_BYTES_MAX;
use self::field::Fields;
pub use self::pattern::{PATTERN_BYTES_MAX, PATTERN_REPEAT_MAX};
pub use self::placeholder::PlaceholderValues;
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
    /// The field asked for; `None`, and an empty name too: the whole.
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
pub struct RuleSet {
    /// INVARIANT: the first of them that applies decides. Rules that can never apply are left out.
    rules: Vec<Rule>,
}

impl RuleSet {
    /// Compiles rules as written. What cannot be compiled grants nothing as an allow, and as a deny applies to
    /// whatever its actions and subjects concern.
    pub fn compile(written: &[RawRule], placeholders: PlaceholderValues<'_>) -> Self {
        let mut order: Vec<(usize, &RawRule)> = written.iter().enumerate().collect();
        // The sort is stable; what decides comes first, hence the reversal.
        order.sort_by(|(_, one), (_, other)| precedence(one, other));
        order.reverse();
        let mut compiler = Compiler::new(placeholders);
        let too_many = written.len() > RULES_MAX;
        let rules = order.into_iter().filter_map(|(index, raw)| {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let compiled = if too_many {
                None
            } else {
                compiler.rule(raw).ok()
            };
            match compiled {
                Some(body) => Rule::well_formed(index, raw, body),
                None => Rule::malformed(index, raw),
            }
        });
        Self {
            rules: rules.collect(),
        }
    }

    /// Judges a check: the last rule that applies decides.
    pub fn judge(&self, check: &RuleCheck<'_>) -> RuleVerdict {
        match self.rules.iter().find(|rule| rule.applies(check)) {
            None => RuleVerdict::NoMatch,
            Some(rule) => match rule.effect {
                Effect::Allow => RuleVerdict::Allowed(rule.index),
                Effect::Deny => RuleVerdict::Denied(rule.index),
            },
        }
    }

    /// Checks rules on write.
    ///
    /// # Errors
    /// The first fault, with its rule and place.
    pub fn validate(written: &[RawRule]) -> Result<(), InvalidRule> {
        if written.len() > RULES_MAX {
            return Err(InvalidRule {
                rule: RULES_MAX,
                place: "rules".to_owned(),
                message: format!("more than {RULES_MAX} rules"),
            });
        }
        let mut compiler = Compiler::new(PlaceholderValues::default());
        for (rule, raw) in written.iter().enumerate() {
            compiler.rule(raw).map_err(|fault| InvalidRule {
                rule,
                place: fault.place,
                message: fault.message,
            })?;
        }
        Ok(())
    }
}

/// Without priority first, allows before denies; then by ascending priority.
fn precedence(one: &RawRule, other: &RawRule) -> Ordering {
    match (one.priority, other.priority) {
        (None, None) => one.inverted.cmp(&other.inverted),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        // A priority that is no number is refused on write; in data it counts as the highest.
        (Some(one), Some(other)) => one
            .partial_cmp(&other)
            .unwrap_or_else(|| one.is_nan().cmp(&other.is_nan())),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

impl Effect {
    fn of(raw: &RawRule) -> Self {
        if raw.inverted {
            Self::Deny
        } else {
            Self::Allow
        }
    }
}

#[derive(Debug, Clone)]
struct Rule {
    /// As written.
    index: u16,
    effect: Effect,
    actions: Names,
    subjects: Names,
    body: Body,
}

/// When a rule applies to what its actions and subjects concern.
#[derive(Debug, Clone)]
enum Body {
    /// Always: a malformed deny.
    Always,
    When {
        /// `None`: all fields.
        fields: Option<Fields>,
        conditions: Conditions,
    },
}

impl Rule {
    const ANY_ACTION: &str = "manage";
    const ANY_SUBJECT: &str = "all";

    /// `None`: it can never apply. A key holds no role, so a rule for roles is none for keys.
    fn well_formed(index: u16, raw: &RawRule, body: Body) -> Option<Self> {
        raw.role.is_none().then(|| Self {
            index,
            effect: Effect::of(raw),
            actions: Names::of(&raw.action, Self::ANY_ACTION),
            subjects: Names::of(&raw.subject, Self::ANY_SUBJECT),
            body,
        })
    }

    fn malformed(index: u16, raw: &RawRule) -> Option<Self> {
        match Effect::of(raw) {
            Effect::Allow => None,
            Effect::Deny => Some(Self {
                index,
                effect: Effect::Deny,
                actions: Names::of(&raw.action, Self::ANY_ACTION),
                subjects: Names::of(&raw.subject, Self::ANY_SUBJECT),
                body: Body::Always,
            }),
        }
    }

    fn applies(&self, check: &RuleCheck<'_>) -> bool {
        self.actions.hold(check.action)
            && self.subjects.hold(check.subject)
            && match &self.body {
                Body::Always => true,
                Body::When { fields, conditions } => {
                    self.suffices(asked_of(fields.as_ref(), check, self.effect))
                        && self.suffices(conditions.test(Document::Resource(check.resource)))
                }
            }
    }

    /// An allow needs to be certain, a deny needs only to be possible.
    fn suffices(&self, truth: Truth) -> bool {
        match self.effect {
            Effect::Allow => truth == Truth::True,
            Effect::Deny => truth != Truth::False,
        }
    }
}

/// Whether a rule with these fields is about what the check asks for.
fn asked_of(fields: Option<&Fields>, check: &RuleCheck<'_>, effect: Effect) -> Truth {
    let Some(fields) = fields else {
        return Truth::True;
    };
    match check.field {
        Some(field) if !field.is_empty() => fields.cover(field),
        // The whole: allowed only by a rule for all fields, denied by a rule for any.
        Some(_) | None => match (effect, check.any_field) {
            (Effect::Allow, false) => Truth::from(fields.cover_the_whole()),
            (Effect::Deny, false) | (Effect::Allow, true) => Truth::True,
            (Effect::Deny, true) => Truth::False,
        },
    }
}

/// Actions or subjects, of which one name stands for any. Nearly always one.
#[derive(Debug, Clone)]
struct Names {
    any: bool,
    names: SmallVec<[Box<str>; 1]>,
}

impl Names {
    /// No name at all is any: a rule without subject is CASL's `all`, and a deny whose actions cannot be read must
    /// be taken for one of every action. (An allow without actions is malformed and does not come here.)
    fn of(written: &[String], any: &str) -> Self {
        Self {
            any: written.is_empty() || written.iter().any(|name| name == any),
            names: written.iter().map(|name| name.as_str().into()).collect(),
        }
    }

    fn hold(&self, asked: &str) -> bool {
        self.any || self.names.iter().any(|name| **name == *asked)
    }
}
