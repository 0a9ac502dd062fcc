//! One request: read it, ask the core, reply or edit.

use std::cell::Cell;
use std::rc::Rc;

use portcullis_policy::authenticate::TokenFailure;
use portcullis_policy::explain::summary;
use portcullis_policy::{
    Attribute, HeaderEdits, LocalReply, Reason, Request, authenticate, decide, printable,
};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

use crate::attributes::{Connection, pairs};
use crate::host::{self, HostError};
use crate::plugin::{Gate, Hope, Plugin};

/// The filter state that holds the verified principal, `ISSUER/SUBJECT`, as [`printable`] text.
const PRINCIPAL_STATE: &str = "portcullis.principal";
/// A longer principal is cut there, in bytes as written.
const MAX_PRINCIPAL: usize = 1024;

/// The filter state that names the plugin which let the request pass.
const JUDGED_STATE: &str = "portcullis.judged";

/// The context of one HTTP stream.
pub(crate) struct Stream {
    id: u32,
    /// `None` once the request was decided: a stream may live for days, and must not keep policies that long.
    plugin: Option<Rc<Plugin>>,
    /// Whether the request may go on.
    passed: Rc<Cell<bool>>,
}

impl Stream {
    pub(crate) fn new(id: u32, plugin: Rc<Plugin>) -> Self {
        Self {
            id,
            plugin: Some(plugin),
            passed: Rc::default(),
        }
    }

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
        let Some(plugin) = self.plugin.take() else {
            // Headers come once.
            return Action::Pause;
        };
        plugin.receive(self.id);
        match handle(&plugin, self.id, true) {
            Outcome::Forward => {
                self.passed.set(true);
                Action::Continue
            }
            Outcome::Answered => Action::Pause,
            Outcome::Wait => {
                plugin.wait(self.id, &self.passed);
                self.plugin = Some(plugin);
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
        if let Some(plugin) = &self.plugin
            && !self.passed.get()
        {
            plugin.forget(self.id);
        }
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

/// Decides about the request of the stream that host calls speak of, and does what was decided.
pub(crate) fn handle(plugin: &Plugin, stream: u32, may_wait: bool) -> Outcome {
    let decide = |may_catch_up: bool| {
        let gate = plugin.gate().ok_or(HostError)?;
        let how = How {
            stream,
            may_wait,
            may_catch_up,
        };
        let outcome = enforce(plugin, &gate, how);
        if outcome.is_err() {
            gate.metrics.in_doubt();
        }
        outcome
    };
    let outcome = match decide(true) {
        Ok(None) => decide(false),
        decided => decided,
    };
    if let Ok(Some(outcome)) = outcome {
        return outcome;
    }
    // If Envoy did not let us read or change the request, nobody knows what would go on.
    refuse();
    Outcome::Answered
}

/// How a request may be decided.
#[derive(Debug, Clone, Copy)]
struct How {
    stream: u32,
    /// Whether it may wait for keys.
    may_wait: bool,
    /// Whether keys that another worker got may be taken first.
    may_catch_up: bool,
}

/// The request goes on only if this says so. `None` is to be asked again, with keys that have just come.
fn enforce(plugin: &Plugin, gate: &Gate, how: How) -> Result<Option<Outcome>, HostError> {
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
    let mut is_unavailable = false;
    if let Reason::Token(failure) = decision.reason
        && failure.is_for_lack_of_keys()
    {
        if how.may_catch_up && plugin.catch_up(how.stream, &who, set) {
            return Ok(None);
        }
        let hope = if how.may_wait {
            plugin.hope(&who, gate)
        } else {
            Hope::None
        };
        if hope == Hope::Soon {
            return Ok(Some(Outcome::Wait));
        }
        is_unavailable = gate.waiting.answers_unavailable
            && (hope == Hope::NoPlace || failure == TokenFailure::KeysUnavailable);
    }
    gate.metrics.decided(decision.verdict, decision.reason);
    if let Some(reply) = decision.reply(set, &request, &who) {
        if host::logs(LogLevel::Info) {
            plugin.log(&gate.metrics, || {
                format!(
                    "{} {}",
                    reply.status,
                    summary(set, &request, &who, decision)
                )
            });
        }
        if is_unavailable {
            send_unavailable(&reply)?;
        } else {
            send(&reply)?;
        }
        return Ok(Some(Outcome::Answered));
    }
    edit(who.edits(), &headers)?;
    if let Some(principal) = who.principal() {
        let line = printable::write_within(principal.as_bytes(), MAX_PRINCIPAL);
        host::set_filter_state(PRINCIPAL_STATE, line.as_bytes())?;
    }
    if let Ok(Some(other)) = host::property(&[JUDGED_STATE]) {
        plugin.warn_of_another(&other);
    }
    host::set_filter_state(JUDGED_STATE, &plugin.name())?;
    Ok(Some(Outcome::Forward))
}

/// The reply where the configuration asks for 503 while keys are missing: the client may come again.
fn send_unavailable(reply: &LocalReply) -> Result<(), HostError> {
    host::send_local_response(
        503,
        "portcullis_keys_unavailable",
        &[(b"retry-after", b"1")],
        reply.body.as_bytes(),
    )
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
    let mut present: Vec<&[u8]> = headers.iter().map(|(name, _)| *name).collect();
    present.sort_unstable();
    for name in edits.removed() {
        if present.binary_search(&name).is_ok() {
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
