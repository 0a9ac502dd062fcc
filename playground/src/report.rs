//! From the core's values to those of the page.

use portcullis_policy::explain::{self, Explanation, Outcome, Stage};
use portcullis_policy::source::Position;
use portcullis_policy::{Authenticated, Reason, Request, Verdict, diagnostic, normalize};

use crate::engine::{Loaded, Text};
use crate::wire::{
    self, Condition, Diagnostic, Header, HeaderEdits, Item, Report, SeenRequest, Step,
};

pub(crate) fn report(
    loaded: &Loaded,
    request: &Request<'_>,
    who: &Authenticated,
    explanation: &Explanation,
    raw_path: &[u8],
) -> Report {
    let decision = explanation.decision;
    // A connection that is not HTTP is closed without an answer.
    let is_tcp = loaded.proxy.is_tcp;
    let reply = decision
        .reply(&loaded.set, request, who)
        .filter(|_| !is_tcp);
    let outcome = match (decision.verdict, decision.reason) {
        (Verdict::Allow, _) => "allow",
        (Verdict::Deny, Reason::Token(_)) => "unauthenticated",
        (Verdict::Deny, _) => "deny",
    };
    let sent = reply.as_ref().map(|reply| reply.sent(request));
    let decided_by = decision
        .reason
        .rule()
        .and_then(|rule| loaded.set.describe(rule));
    let mut steps = Vec::new();
    if request.path != raw_path {
        steps.push(normalize_step(request.path));
    }
    steps.extend(explanation.steps.iter().map(|one| step(loaded, one)));
    Report {
        outcome: outcome.into(),
        status: match &sent {
            Some(sent) => sent.status,
            None if decision.verdict == Verdict::Deny => 0,
            None => 200,
        },
        body: sent
            .as_ref()
            .map_or_else(String::new, |sent| sent.body.clone().into_owned()),
        headers: sent.map_or_else(Vec::new, |sent| {
            sent.headers
                .into_iter()
                .map(|(name, value)| header(name.as_bytes(), &value))
                .collect()
        }),
        reason: decision.reason.code().into(),
        summary: explanation.summary.clone(),
        policy: decided_by.map(|(policy, _)| format!("{}/{}", policy.namespace, policy.name)),
        rule: decided_by.map(|(_, rule)| rule),
        details: reply.map_or_else(String::new, |reply| reply.details),
        decided: explanation
            .decided
            .as_ref()
            .and_then(|at| loaded.text.range(at, None)),
        request: Some(SeenRequest {
            path: text(request.path),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| header(name, value))
                .collect(),
        }),
        steps,
        upstream: if decision.verdict == Verdict::Allow {
            edits(request, who)
        } else {
            no_edits()
        },
        error: None,
    }
}

pub(crate) fn cannot_decide(error: &str) -> Report {
    Report {
        error: Some(error.to_owned()),
        summary: error.to_owned(),
        ..without_policies("cannot-decide", 0)
    }
}

pub(crate) fn refused(refused: normalize::Refused) -> Report {
    Report {
        summary: format!(
            "the proxy refuses the request before any policy is asked: {}",
            refused.message()
        ),
        ..without_policies("refused", refused.status())
    }
}

pub(crate) fn not_routed() -> Report {
    Report {
        summary: "the gateway has no route for the request, so no policy is asked".into(),
        ..without_policies("refused", 404)
    }
}

fn without_policies(outcome: &str, status: u16) -> Report {
    Report {
        outcome: outcome.into(),
        status,
        body: String::new(),
        headers: Vec::new(),
        reason: outcome.into(),
        summary: String::new(),
        policy: None,
        rule: None,
        details: String::new(),
        decided: None,
        request: None,
        steps: Vec::new(),
        upstream: no_edits(),
        error: None,
    }
}

fn normalize_step(path: &[u8]) -> Step {
    Step {
        id: "normalize".into(),
        title: "Path".into(),
        outcome: "pass".into(),
        text: format!(
            "the proxy makes the path `{}`",
            String::from_utf8_lossy(path)
        ),
        items: Vec::new(),
    }
}

fn step(loaded: &Loaded, step: &explain::Step) -> Step {
    let (id, title) = match step.stage {
        Stage::Certificate => ("certificate", "Client certificate"),
        Stage::Token => ("token", "Tokens"),
        Stage::Audit => ("audit", "AUDIT policies"),
        Stage::Deny => ("deny", "DENY policies"),
        Stage::Allow => ("allow", "ALLOW policies"),
    };
    let items = step.items.iter().map(|item| Item {
        title: item.title.clone(),
        outcome: outcome(item.outcome),
        text: item.text.clone(),
        range: loaded.text.range(&item.at, None),
        conditions: item
            .conditions
            .iter()
            .map(|condition| Condition {
                field: condition.field.clone(),
                attribute: condition.attribute.clone(),
                wanted: condition.wanted.clone(),
                got: condition.got.clone(),
                holds: condition.holds,
                range: loaded.text.range(&condition.at, None),
            })
            .collect(),
    });
    Step {
        id: id.into(),
        title: title.into(),
        outcome: outcome(step.outcome),
        text: step.text.clone(),
        items: items.collect(),
    }
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Skip => "skip",
    }
    .into()
}

fn no_edits() -> HeaderEdits {
    HeaderEdits {
        path: None,
        remove: Vec::new(),
        add: Vec::new(),
    }
}

/// The changes, without removals of headers that the request does not have.
fn edits(request: &Request<'_>, who: &Authenticated) -> HeaderEdits {
    let edits = who.edits();
    let is_present = |name: &&[u8]| request.headers.iter().any(|(present, _)| present == name);
    HeaderEdits {
        path: edits.path().map(text),
        remove: edits.removed().filter(is_present).map(text).collect(),
        add: edits
            .added()
            .map(|(name, value)| header(name, value))
            .collect(),
    }
}

fn header(name: &[u8], value: &[u8]) -> Header {
    Header {
        name: text(name),
        value: text(value),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn diagnostics(diagnostics: &[diagnostic::Diagnostic], text: &Text) -> Vec<Diagnostic> {
    let wire = |diagnostic: &diagnostic::Diagnostic| Diagnostic {
        code: diagnostic.code.as_str().into(),
        severity: diagnostic.severity.as_str().into(),
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
        resource: diagnostic.at.resource.as_ref().map(ToString::to_string),
        path: diagnostic.at.path.to_string(),
        range: text.range(&diagnostic.at, diagnostic.span),
    };
    diagnostics.iter().map(wire).collect()
}

pub(crate) fn position(position: Position) -> wire::Position {
    wire::Position {
        offset: position.offset,
        line: position.line,
        column: position.column,
    }
}

/// What the page says about the proxy; what it leaves out is Istio's default.
pub(crate) fn proxy(proxy: Option<&wire::Proxy>) -> normalize::Proxy {
    let Some(proxy) = proxy else {
        return normalize::Proxy::default();
    };
    let trusted_proxies = usize::from(proxy.num_trusted_proxies.unwrap_or_default());
    let mode = proxy
        .path_normalization
        .as_deref()
        .and_then(normalize::PathNormalization::parse);
    normalize::Proxy {
        kind: match proxy.kind.as_str() {
            "gateway" => normalize::ProxyKind::Gateway { trusted_proxies },
            _ => normalize::ProxyKind::Sidecar,
        },
        path_normalization: mode.unwrap_or_default(),
        is_tcp: proxy.tcp,
    }
}
