//! Scenario files for the page.

use portcullis_policy::compile::{Enforcer, TokenMode};
use portcullis_policy::normalize;
use portcullis_policy::scenario::{self, Case, Scenario, TokenSource};

use crate::engine::Text;
use crate::report;
use crate::wire::{
    Certificate, Header, Mesh, Proxy, ScenarioExpectation, ScenarioFile, ScenarioGateway,
    ScenarioInput, ScenarioKeySet, ScenarioRead, ScenarioRequest, TokenPlace, TokenSpec, Workload,
};

pub(crate) fn read(text: &str) -> ScenarioRead {
    match Scenario::read(text) {
        Ok(scenario) => ScenarioRead::Scenario {
            ok: true,
            scenario: Box::new(file(scenario)),
        },
        Err(diagnostics) => ScenarioRead::Failure {
            ok: false,
            diagnostics: report::diagnostics(&diagnostics, &Text::bare(text)),
        },
    }
}

fn file(scenario: Scenario) -> ScenarioFile {
    let (kind, num_trusted_proxies) = match scenario.proxy.kind {
        normalize::ProxyKind::Sidecar => ("sidecar", None),
        normalize::ProxyKind::Gateway { trusted_proxies } => {
            ("gateway", u16::try_from(trusted_proxies).ok())
        }
    };
    let (tokens, token_type) = match scenario.tokens.mode {
        TokenMode::Envoy => ("envoy", None),
        TokenMode::Strict { token_type } => ("strict", token_type),
    };
    ScenarioFile {
        description: scenario.description,
        policies: scenario.policies,
        mesh: Mesh {
            root_namespace: Some(scenario.mesh.root_namespace),
            trust_domain: Some(scenario.mesh.trust_domain),
            trust_domain_aliases: scenario.mesh.trust_domain_aliases,
            validating_webhook: Some(scenario.mesh.validating_webhook),
        },
        workload: Workload {
            namespace: scenario.workload.namespace,
            labels: scenario.workload.labels,
        },
        proxy: Proxy {
            kind: kind.into(),
            num_trusted_proxies,
            path_normalization: Some(scenario.proxy.path_normalization.as_str().into()),
            tcp: scenario.proxy.is_tcp,
        },
        gateway: scenario.gateway.map(|gateway| ScenarioGateway {
            principal: gateway.principal,
            virtual_service: gateway.virtual_service,
            has_policies: gateway.policies.is_some(),
        }),
        jwks: scenario
            .key_sets
            .into_iter()
            .map(|spec| ScenarioKeySet {
                uri: spec.uri,
                keys: spec.keys,
                jwks: spec.jwks,
            })
            .collect(),
        tokens: tokens.into(),
        token_type,
        remove_twins: scenario.tokens.removes_twins,
        doubt_published_keys: !scenario.tokens.accepts_published_keys,
        enforced_by: match scenario.enforcer {
            Enforcer::Core | Enforcer::Plugin => "portcullis",
            Enforcer::Istio => "istio",
        }
        .into(),
        now: scenario.now,
        requests: scenario.requests.into_iter().map(request).collect(),
    }
}

fn request(case: Case) -> ScenarioRequest {
    let spec = case.request;
    let (certificate, named_certificate) = match spec.certificate {
        Some(scenario::Certificate::Named(name)) => (None, Some(name)),
        other => (other.map(certificate), None),
    };
    ScenarioRequest {
        name: case.name,
        request: ScenarioInput {
            method: spec.method,
            host: spec.host,
            path: spec.path,
            headers: spec
                .headers
                .into_iter()
                .map(|(name, value)| Header { name, value })
                .collect(),
            tokens: spec.tokens.into_iter().map(token).collect(),
            source_ip: spec.source_ip,
            destination_ip: spec.destination_ip,
            destination_port: spec.destination_port,
            certificate,
            named_certificate,
            at: spec.at,
        },
        expect: ScenarioExpectation {
            status: case.expect.status,
        },
    }
}

/// TLS without a certificate is one without names.
fn certificate(certificate: scenario::Certificate) -> Certificate {
    let (uri, dns, subject) = match certificate {
        scenario::Certificate::None | scenario::Certificate::Named(_) => Default::default(),
        scenario::Certificate::Inline {
            uri, dns, subject, ..
        } => (uri, dns, subject),
    };
    let attributes: Vec<String> = subject
        .iter()
        .rev()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Certificate {
        uri,
        dns,
        subject: attributes.join(","),
        pem: None,
    }
}

fn token(token: scenario::Token) -> TokenSpec {
    let place = match token.place {
        scenario::TokenPlace::Header { name, prefix } => TokenPlace::Header { name, prefix },
        scenario::TokenPlace::Param(name) => TokenPlace::Param { name },
        scenario::TokenPlace::Cookie(name) => TokenPlace::Cookie { name },
    };
    match token.source {
        TokenSource::Raw(raw) => TokenSpec {
            place,
            raw: Some(raw),
            key: None,
            kid: None,
            claims: None,
        },
        TokenSource::Minted {
            key,
            key_id,
            claims,
            ..
        } => TokenSpec {
            place,
            raw: None,
            key: Some(key),
            kid: key_id,
            claims: Some(claims),
        },
        TokenSource::Forged { key, payload, .. } => TokenSpec {
            place,
            raw: None,
            key: Some(key),
            kid: None,
            claims: Some(payload),
        },
    }
}
