//! The nearest miss: which rule came closest, and what it lacks.

use super::{Condition, RuleTrace};
use crate::evaluate::Part;

/// The conditions whose change would make the rule match: of several `from` or `to` entries, those of the
/// entry that lacks the least.
pub(super) fn missing(conditions: &[Condition]) -> Vec<&Condition> {
    let mut missing = best_group(conditions, |part| match part {
        Part::From(group) => Some(group),
        Part::To(_) | Part::When => None,
    });
    missing.extend(best_group(conditions, |part| match part {
        Part::To(group) => Some(group),
        Part::From(_) | Part::When => None,
    }));
    missing.extend(
        conditions
            .iter()
            .filter(|condition| condition.part == Part::When && !condition.holds),
    );
    missing
}

fn best_group(
    conditions: &[Condition],
    group_of: impl Fn(Part) -> Option<usize>,
) -> Vec<&Condition> {
    let groups = conditions
        .iter()
        .filter_map(|condition| group_of(condition.part))
        .max()
        .map_or(0, |last| last + 1);
    (0..groups)
        .map(|group| {
            conditions
                .iter()
                .filter(|condition| group_of(condition.part) == Some(group) && !condition.holds)
                .collect::<Vec<_>>()
        })
        .min_by_key(Vec::len)
        .unwrap_or_default()
}

/// The rule that lacks the fewest conditions, then the one of which most hold, then the first.
pub(super) fn closest<'t>(
    rules: impl Iterator<Item = &'t RuleTrace>,
) -> Option<(&'t RuleTrace, Vec<&'t Condition>)> {
    rules
        .map(|rule| (rule, missing(&rule.conditions)))
        .min_by_key(|(rule, missing)| {
            let holding = rule
                .conditions
                .iter()
                .filter(|condition| condition.holds)
                .count();
            (missing.len(), std::cmp::Reverse(holding))
        })
}

/// What made a rule match, in brackets, for a denial: its conditions that hold.
pub(super) fn because(conditions: &[Condition]) -> String {
    let holding: Vec<String> = conditions
        .iter()
        .filter(|condition| condition.holds)
        .map(|condition| format!("{} {}", condition.attribute, condition.got))
        .collect();
    if holding.is_empty() {
        String::new()
    } else {
        format!(" ({})", holding.join("; "))
    }
}
