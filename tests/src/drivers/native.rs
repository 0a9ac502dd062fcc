//! The core alone. It also holds the core to its promises: `decide` says what `explain` says, and attributes
//! outside `needs()` never change a decision.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, anyhow};
use portcullis_policy::certificate::{self, Certificate};
use portcullis_policy::crypto::RustVerifier;
use portcullis_policy::diagnostic::Diagnostic;
use portcullis_policy::gateway::Gateway;
use portcullis_policy::normalize::Incoming;
use portcullis_policy::resource::VirtualService;
use portcullis_policy::{
    Attribute, Authenticated, Decision, Explanation, PolicySet, Request, Tls, authenticate,
    compile, decide, explain, printable,
};

use super::{Answer, Driver, Findings, Run, Support, real_now};
use crate::certificates::{Authority, Identity};
use crate::corpus::{self, Entry, Sent};
use crate::outcome::{DecidedBy, Outcome, Upstream};

/// The core alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Native;

impl Driver for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn supports(&self, _: &Entry) -> Support {
        Support::Yes
    }

    fn run(&self, entries: &[&Entry]) -> Result<Vec<Run>> {
        entries.iter().map(|entry| run(entry)).collect()
    }
}

fn run(entry: &Entry) -> Result<Run> {
    let compiled = compile(&entry.resources(), &entry.setting);
    let lines = lines(&compiled.diagnostics);
    let Some(set) = compiled.set else {
        return Ok(Run::Refused(Findings::Lines(lines)));
    };
    let now = entry.scenario.now.unwrap_or_else(real_now);
    let gateway = entry.gateway.as_ref().map(|one| gateway(entry, one));
    let gateway = gateway.transpose()?;
    let answers = entry
        .requests(now)?
        .iter()
        .map(|sent| match &gateway {
            None => answer(entry, &set, incoming(sent, now + sent.at)),
            Some(gateway) => through(gateway, entry, &set, sent, now + sent.at),
        })
        .collect();
    Ok(Run::Requests(Findings::Lines(lines), answers))
}

/// The diagnostics as sorted lines.
fn lines(diagnostics: &[Diagnostic]) -> Vec<String> {
    let mut lines: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| {
            let resource = diagnostic
                .at
                .resource
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!(
                "{} {} {resource} {}",
                diagnostic.severity.as_str(),
                diagnostic.code,
                diagnostic.at.path
            )
        })
        .collect();
    lines.sort();
    lines
}

/// The request as the core takes it from a caller that is not behind Envoy.
pub fn incoming(sent: &Sent, now: u64) -> Incoming {
    let certificate = sent.tls.clone().flatten();
    let identity = certificate
        .as_ref()
        .and_then(|spec| Authority::shared().client(spec).ok());
    let names = certificate.map(|spec| {
        let subject = spec.envoy_subject();
        let names = spec
            .uri
            .into_iter()
            .chain(spec.dns)
            .chain((!subject.is_empty()).then_some(subject));
        names.map(String::into_bytes).collect()
    });
    Incoming {
        method: sent.method.clone().into_bytes(),
        scheme: if sent.tls.is_some() {
            b"https".to_vec()
        } else {
            b"http".to_vec()
        },
        authority: Some(sent.host.clone().into_bytes()),
        path: sent.path.clone(),
        headers: sent.headers.clone(),
        source_ip: sent.source_ip,
        destination_ip: sent.destination_ip,
        destination_port: sent.destination_port,
        server_name: sent.sni.clone().unwrap_or_default().into_bytes(),
        peer_names: names.unwrap_or_default(),
        certificate: match &identity {
            None => Attribute::Known(None),
            Some(identity) => {
                known(identity).map_or(Attribute::Unreadable, |known| Attribute::Known(Some(known)))
            }
        },
        tls: match &sent.tls {
            None => Tls::None,
            Some(None) => Tls::Server,
            Some(Some(_)) => Tls::Mutual,
        },
        server_uri: sent.server_uri.clone(),
        metadata: sent.metadata.clone(),
        now,
    }
}

/// What a proxy knows of a certificate.
fn known(identity: &Identity) -> Option<certificate::Identity> {
    let certificate = Certificate::from_der(&identity.certificate)?;
    certificate::Identity::of(&certificate)
}

/// A gateway, and what it enforces.
struct Hop {
    gateway: Gateway,
    policies: PolicySet,
}

fn gateway(entry: &Entry, gateway: &corpus::Gateway) -> Result<Hop> {
    let service = gateway.virtual_service.as_deref();
    let virtual_service = service.map(|text| {
        VirtualService::read_text(text)
            .map_err(|diagnostics| anyhow!("the gateway's VirtualService: {diagnostics:?}"))
    });
    let own = entry.at_gateway().context("a gateway")?;
    let compiled = compile(&own.resources(), &own.setting);
    Ok(Hop {
        gateway: Gateway {
            principal: gateway.principal.clone(),
            certificate: known(&gateway.identity),
            address: Ipv4Addr::LOCALHOST.into(),
            proxy: Gateway::proxy(entry.scenario.proxy),
            virtual_service: virtual_service.transpose()?,
        },
        policies: compiled
            .set
            .with_context(|| format!("the gateway's policies: {:?}", compiled.diagnostics))?,
    })
}

/// A request that goes to the gateway, and if that lets it through, to the workload.
fn through(hop: &Hop, entry: &Entry, policies: &PolicySet, sent: &Sent, now: u64) -> Answer {
    let refused = |status| {
        Answer::Got(Box::new(Outcome {
            status,
            ..Outcome::default()
        }))
    };
    let client = Incoming {
        // A gateway's certificate is for its hosts.
        server_uri: Vec::new(),
        ..incoming(sent, now)
    };
    let seen = match client.normalized(hop.gateway.proxy) {
        Ok(seen) => seen,
        Err(error) => return refused(error.status()),
    };
    let (own, edits) = seen.with_request(|request| {
        let who = authenticate(&hop.policies, request, &RustVerifier);
        let decision = decide(&hop.policies, request, &who);
        let edits = who.edits().clone();
        (outcome(&hop.policies, request, &who, decision), edits)
    });
    if !own.reached {
        return Answer::Got(Box::new(own));
    }
    match hop.gateway.forward(seen, &edits, sent.server_uri.clone()) {
        Some(forwarded) => answer(entry, policies, forwarded),
        None => refused(404),
    }
}

fn answer(entry: &Entry, policies: &PolicySet, incoming: Incoming) -> Answer {
    let outcome = incoming.with_request(entry.scenario.proxy, |request| {
        let who = authenticate(policies, request, &RustVerifier);
        let decision = decide(policies, request, &who);
        let explanation = explain(policies, request, &who);
        let explained = explanation.decision;
        if decision != explained {
            return Err(format!(
                "decide says {decision:?}, explain says {explained:?}"
            ));
        }
        if let Some(text) = texts(&explanation).find(|text| printable::sentence(text) != *text) {
            return Err(format!("a text is no printable line: {text:?}"));
        }
        let poorer = decide(policies, &without_unneeded(policies, request), &who);
        if decision != poorer {
            return Err(format!(
                "with all attributes {decision:?}, with the needed ones {poorer:?}"
            ));
        }
        Ok(outcome(policies, request, &who, decision))
    });
    match outcome {
        Ok(Ok(outcome)) if entry.scenario.proxy.is_tcp && !outcome.reached => Answer::Closed,
        Ok(Ok(outcome)) => Answer::Got(Box::new(Outcome {
            // Nothing on a connection without HTTP is a header.
            upstream: outcome.upstream.filter(|_| !entry.scenario.proxy.is_tcp),
            ..outcome
        })),
        Ok(Err(broken)) => Answer::Failed(broken),
        Err(refused) => Answer::Got(Box::new(Outcome {
            status: refused.status(),
            ..Outcome::default()
        })),
    }
}

/// Every text of an explanation.
fn texts(explanation: &Explanation) -> impl Iterator<Item = &str> {
    let of_steps = explanation.steps.iter().flat_map(|step| {
        let of_items = step.items.iter().flat_map(|item| {
            let conditions = item.conditions.iter();
            let of_conditions =
                conditions.flat_map(|one| [&one.field, &one.attribute, &one.wanted, &one.got]);
            [&item.title, &item.text].into_iter().chain(of_conditions)
        });
        [&step.text].into_iter().chain(of_items)
    });
    [&explanation.summary]
        .into_iter()
        .chain(of_steps)
        .map(String::as_str)
}

fn without_unneeded<'r>(set: &PolicySet, request: &Request<'r>) -> Request<'r> {
    fn keep<T>(needed: bool, attribute: Attribute<T>) -> Attribute<T> {
        if needed {
            attribute
        } else {
            Attribute::Unreadable
        }
    }
    let needs = set.needs();
    Request {
        source_ip: keep(needs.source_ip, request.source_ip),
        remote_ip: keep(needs.remote_ip, request.remote_ip),
        destination_ip: keep(needs.destination_ip, request.destination_ip),
        destination_port: keep(needs.destination_port, request.destination_port),
        server_name: keep(needs.server_name, request.server_name),
        peer_names: keep(needs.peer_names, request.peer_names),
        certificate: keep(needs.certificate, request.certificate),
        tls: keep(needs.tls, request.tls),
        metadata: keep(needs.metadata, request.metadata),
        now: if needs.now { request.now } else { 0 },
        ..*request
    }
}

fn outcome(
    set: &PolicySet,
    request: &Request<'_>,
    who: &Authenticated,
    decision: Decision,
) -> Outcome {
    let decided_by = decision.reason.rule().and_then(|rule| set.describe(rule));
    let decided_by = decided_by.map_or(DecidedBy::Nobody, |(policy, rule)| {
        DecidedBy::Rule(format!("{}/{}", policy.namespace, policy.name), rule)
    });
    let seen = Outcome {
        decided_by,
        reason: Some(decision.reason.code().to_owned()),
        ..Outcome::default()
    };
    let Some(reply) = decision.reply(set, request, who) else {
        return Outcome {
            status: 200,
            reached: true,
            upstream: Some(upstream(request, who)),
            ..seen
        };
    };
    let reply = reply.sent(request);
    Outcome {
        status: reply.status,
        body: reply.body.into_owned(),
        headers: reply
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), text(value)))
            .collect(),
        ..seen
    }
}

fn upstream(request: &Request<'_>, who: &Authenticated) -> Upstream {
    let edits = who.edits();
    let is_removed = |name: &[u8]| edits.removed().any(|removed| removed == name);
    let kept = request
        .headers
        .iter()
        .copied()
        .filter(|(name, _)| !is_removed(name));
    Upstream {
        path: text(edits.path().unwrap_or(request.path)),
        headers: kept
            .chain(edits.added())
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
