//! Section 6: which rules apply, and which one decides.

use keyward::authz::{RawRule, Value};

use super::condition::{self, Item, Placeholders, Truth};
use super::pattern;

/// The resource of a check: an attribute without a value is unknown.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    pub attributes: Vec<(String, Option<Value>)>,
    pub complete: bool,
}

/// What is asked of the rules.
#[derive(Debug, Clone)]
pub struct Check {
    pub action: String,
    pub subject: String,
    pub resource: Resource,
    pub field: Option<String>,
    pub any_field: bool,
}

/// Whether the rules allow, and the index of the rule that decides. No rule: denied.
pub fn judge(rules: &[RawRule], check: &Check, placeholders: &Placeholders) -> (bool, Option<u16>) {
    let mut order: Vec<(usize, &RawRule)> = rules.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| match (a.priority, b.priority) {
        (None, None) => a.inverted.cmp(&b.inverted),
        (a, b) => {
            let number = |it: Option<f64>| it.unwrap_or(f64::NEG_INFINITY);
            number(a)
                .partial_cmp(&number(b))
                .expect("a priority is a number")
        }
    });
    let last = order
        .into_iter()
        .rfind(|(_, rule)| applies(rule, check, placeholders));
    match last {
        None => (false, None),
        Some((index, rule)) => (!rule.inverted, u16::try_from(index).ok()),
    }
}

fn applies(rule: &RawRule, check: &Check, placeholders: &Placeholders) -> bool {
    let holds =
        |written: &[String], any: &str, asked: &str| written.iter().any(|w| w == any || w == asked);
    // Without subjects a rule is about all; so is one whose actions could not be read.
    let matches = (rule.action.is_empty() || holds(&rule.action, "manage", &check.action))
        && (rule.subject.is_empty() || holds(&rule.subject, "all", &check.subject));
    if !matches || !is_good(rule) {
        return matches && rule.inverted;
    }
    if rule.role.is_some() {
        return false;
    }
    let top = |name: &str| match check.resource.attributes.iter().find(|(n, _)| n == name) {
        Some((_, Some(value))) => Item::Known(value.clone()),
        None if check.resource.complete => Item::Missing,
        Some((_, None)) | None => Item::Unknown,
    };
    let conditions = match &rule.conditions {
        None => Truth::True,
        Some(conditions) => condition::hold(conditions, &top, placeholders),
    };
    let enough = if rule.inverted {
        Truth::Unknown
    } else {
        Truth::True
    };
    conditions >= enough && fields_apply(rule, check)
}

fn fields_apply(rule: &RawRule, check: &Check) -> bool {
    let asked = check.field.as_ref().filter(|field| !field.is_empty());
    match (&rule.fields, asked) {
        (None, _) => true,
        (Some(fields), Some(asked)) => fields.iter().any(|pattern| pattern::field(pattern, asked)),
        (Some(_), None) if check.any_field => !rule.inverted,
        (Some(fields), None) => rule.inverted || fields.iter().any(|pattern| pattern == "**"),
    }
}

/// Whether a rule would be taken on write.
pub fn is_good(rule: &RawRule) -> bool {
    let conditions = rule
        .conditions
        .as_ref()
        .is_none_or(|it| condition::are_good(it, 1));
    let readable = rule.unreadable.is_none() && !rule.action.is_empty();
    readable && conditions && rule.fields.as_ref().is_none_or(|it| !it.is_empty())
}
