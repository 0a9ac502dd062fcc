//! One request: read it, ask the core, reply or edit.

use std::cell::Cell;
use std::rc::Rc;

use portcullis_policy::{
    Attribute, HeaderEdits, LocalReply, Reason, Request, authenticate, decide, explain,
};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::attributes::{Connection, pairs};
use crate::host::{self, HostError};
use crate::root::{Gate, Hope, Plugin};

/// The filter state that holds the verified principal, `ISSUER/SUBJECT`.
const PRINCIPAL_STATE: &str = "portcullis.principal";

/// The context of one HTTP stream.
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) plugin: Rc<Plugin>,
    /// Whether the request may go on.
    pub(crate) passed: Rc<Cell<bool>>,
}

impl Stream {
    /// Where `allow_on_headers_stop_iteration` is set, a body or trailers that pass would take the paused
    /// headers along.
    fn rest(&self) -> Action {
        if self.passed.get() {
            Action::Continue
        } else {
            Action::Pause
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match handle(&self.plugin, true) {
            Outcome::Forward => {
                self.passed.set(true);
                Action::Continue
            }
            Outcome::Answered => Action::Pause,
            Outcome::Wait => {
                self.plugin.wait(self.id, &self.passed);
                Action::Pause
            }
        }
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.rest()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.rest()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.plugin.forget(self.id);
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes on.
    Forward,
    /// The client got a reply.
    Answered,
    /// The keys for its token may come soon.
    Wait,
}

/// Decides about the request that host calls speak of, and does what was decided.
pub(crate) fn handle(plugin: &Plugin, may_wait: bool) -> Outcome {
    let gate = plugin.gate();
    let outcome = match &gate {
        Some(gate) => enforce(plugin, gate, may_wait),
        None => Err(HostError),
    };
    // If Envoy did not let us read or change the request, nobody knows what would go on.
    outcome.unwrap_or_else(|HostError| {
        if let Some(gate) = &gate {
            gate.metrics.in_doubt();
        }
        refuse();
        Outcome::Answered
    })
}

/// The request goes on only if this says so.
fn enforce(plugin: &Plugin, gate: &Gate, may_wait: bool) -> Result<Outcome, HostError> {
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
    let peer_names = connection.peer_names.as_ref();
    let peer_names: Attribute<Vec<&[u8]>> =
        peer_names.map(|names| names.iter().map(Vec::as_slice).collect());
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
        server_name: connection.server_name.as_ref().map(Vec::as_slice),
        peer_names: peer_names.as_ref().map(Vec::as_slice),
        certificate: connection.certificate.as_ref().map(Option::as_ref),
        tls: connection.tls,
        metadata: connection.metadata.as_ref(),
        now: if needs.now { host::seconds()? } else { 0 },
    };
    let who = authenticate(set, &request, &gate.verifier);
    gate.metrics.cache(gate.verifier.take_counts());
    let decision = decide(set, &request, &who);
    if matches!(decision.reason, Reason::Token(_)) {
        match plugin.hope(&who, set, request.now) {
            Hope::NewKeys if plugin.take_keys() => return Ok(handle(plugin, may_wait)),
            Hope::Soon if may_wait => return Ok(Outcome::Wait),
            _ => {}
        }
    }
    gate.metrics.decided(decision.verdict, decision.reason);
    if let Some(reply) = decision.reply(set, &request, &who) {
        if host::logs(LogLevel::Info) {
            let summary = explain(set, &request, &who).summary;
            host::log(LogLevel::Info, &format!("{} {}", reply.status, summary));
        }
        send(&reply)?;
        return Ok(Outcome::Answered);
    }
    edit(who.edits(), &headers)?;
    if let Some(principal) = who.principal() {
        host::set_filter_state(PRINCIPAL_STATE, principal.as_bytes())?;
    }
    Ok(Outcome::Forward)
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
fn refuse() {
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
}
