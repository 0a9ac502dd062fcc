//! One request: read it, ask the core, reply or edit.

use std::rc::Rc;

use portcullis_policy::{
    Attribute, HeaderEdits, LocalReply, Request, authenticate, decide, explain,
};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::attributes::{Connection, pairs};
use crate::host::{self, HostError};
use crate::root::Gate;

/// In a second.
const NANOSECONDS: u64 = 1_000_000_000;
/// The filter state that holds the verified principal, `ISSUER/SUBJECT`.
const PRINCIPAL_STATE: &str = "portcullis.principal";

/// The context of one HTTP stream.
pub(crate) struct Stream {
    pub(crate) gate: Option<Rc<Gate>>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let outcome = match &self.gate {
            Some(gate) => enforce(gate),
            None => Err(HostError),
        };
        // If Envoy did not let us read or change the request, nobody knows what would go on.
        outcome.unwrap_or_else(|HostError| {
            if let Some(gate) = &self.gate {
                gate.metrics.in_doubt();
            }
            refuse()
        })
    }
}

/// The request goes on only if this says so.
fn enforce(gate: &Gate) -> Result<Action, HostError> {
    let set = &gate.set;
    let bytes = host::request_headers()?;
    let all = pairs(&bytes).ok_or(HostError)?;
    let pseudo = |name: &[u8]| {
        all.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    };
    let headers: Vec<(&[u8], &[u8])> = all
        .iter()
        .copied()
        .filter(|(name, _)| !name.starts_with(b":"))
        .collect();
    let needs = set.needs();
    let connection = Connection::read(needs);
    let peer_names: Attribute<Vec<&[u8]>> = match &connection.peer_names {
        Attribute::Known(names) => Attribute::Known(names.iter().map(Vec::as_slice).collect()),
        Attribute::Unreadable => Attribute::Unreadable,
    };
    let request = Request {
        method: pseudo(b":method").unwrap_or_default(),
        scheme: pseudo(b":scheme").unwrap_or_default(),
        authority: pseudo(b":authority"),
        path: pseudo(b":path").unwrap_or_default(),
        headers: &headers,
        source_ip: connection.source_ip,
        remote_ip: connection.remote_ip,
        destination_ip: connection.destination_ip,
        destination_port: connection.destination_port,
        server_name: match &connection.server_name {
            Attribute::Known(name) => Attribute::Known(name.as_slice()),
            Attribute::Unreadable => Attribute::Unreadable,
        },
        peer_names: match &peer_names {
            Attribute::Known(names) => Attribute::Known(names.as_slice()),
            Attribute::Unreadable => Attribute::Unreadable,
        },
        tls: connection.tls,
        metadata: match &connection.metadata {
            Attribute::Known(metadata) => Attribute::Known(metadata),
            Attribute::Unreadable => Attribute::Unreadable,
        },
        now: if needs.now {
            host::now()? / NANOSECONDS
        } else {
            0
        },
    };
    let who = authenticate(set, &request, &gate.verifier);
    gate.metrics.cache(gate.verifier.take_counts());
    let decision = decide(set, &request, &who);
    gate.metrics.decided(decision.verdict, decision.reason);
    if let Some(reply) = decision.reply(set, &request, &who) {
        if host::logs(LogLevel::Info) {
            let summary = explain(set, &request, &who).summary;
            host::log(LogLevel::Info, &format!("{} {}", reply.status, summary));
        }
        send(&reply)?;
        return Ok(Action::Pause);
    }
    edit(who.edits(), &headers)?;
    if let Some(principal) = who.principal() {
        host::set_filter_state(PRINCIPAL_STATE, principal.as_bytes())?;
    }
    Ok(Action::Continue)
}

fn send(reply: &LocalReply) -> Result<(), HostError> {
    let challenge = reply.www_authenticate.as_deref();
    let headers: Vec<(&[u8], &[u8])> = challenge
        .map(|value| (b"www-authenticate".as_slice(), value))
        .into_iter()
        .collect();
    host::send_local_response(
        reply.status,
        &reply.details,
        &headers,
        reply.body.as_bytes(),
    )
}

/// Removes and adds what the token rules say.
fn edit(edits: &HeaderEdits, headers: &[(&[u8], &[u8])]) -> Result<(), HostError> {
    for name in edits.removed() {
        if headers.iter().any(|(present, _)| *present == name) {
            host::remove_request_header(name)?;
        }
    }
    for (name, value) in edits.added() {
        host::add_request_header(name, value)?;
    }
    match edits.path() {
        Some(path) => host::replace_request_header(b":path", path),
        None => Ok(()),
    }
}

/// The reply in doubt. If even that fails, the request stays paused and never reaches the upstream.
fn refuse() -> Action {
    host::log(
        LogLevel::Error,
        "the request cannot be read or changed, so it is denied",
    );
    let sent = host::send_local_response(
        403,
        "portcullis_unreadable_request",
        &[],
        b"RBAC: access denied",
    );
    if sent.is_err() {
        host::log(LogLevel::Error, "the reply cannot be sent");
    }
    Action::Pause
}
