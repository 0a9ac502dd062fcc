//! From resources to a [`PolicySet`] for one workload. All diagnostics are collected; one error and there is
//! no set, since a set that lost a rule would decide something nobody wrote.

mod authentication;
mod certificates;
mod condition;
mod identity;
mod peer;
mod rules;
mod selection;
mod traps;

use std::collections::BTreeMap;

pub use crate::authenticate::{TokenMode, TokenSettings};
use crate::diagnostic::{Code, Diagnostic, Location, Severity};
use crate::policy_set::{
    CertificateRules, Clause, IdentitySource, Needs, PeerModes, Policy, PolicySet, RuleId, Test,
    identity,
};
use crate::resource::{
    Action, AuthorizationPolicy, CertificateAuthentication, PeerAuthentication,
    RequestAuthentication, Resource, Resources,
};
use crate::sorted::sorted;

/// What holds for the whole mesh (Istio's `MeshConfig`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// `rootNamespace`: its policies are for every namespace.
    pub root_namespace: String,
    /// `trustDomain`
    pub trust_domain: String,
    /// `trustDomainAliases`
    pub trust_domain_aliases: Vec<String>,
    /// Whether istiod's validating webhook guards the cluster. Without it, istiod drops a value that it cannot
    /// use, or the rule around it, and so do we.
    pub validating_webhook: bool,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".into(),
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            validating_webhook: true,
        }
    }
}

/// The workload whose requests are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is a gateway, whose servers set their own TLS: `PeerAuthentication` is not for it.
    pub is_gateway: bool,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            labels: BTreeMap::new(),
            is_gateway: false,
        }
    }
}

/// The key set behind a `jwksUri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetSource {
    /// The `jwksUri` of the policies.
    pub uri: String,
    /// The key set as text.
    pub jwks: String,
    /// Where this was configured.
    pub at: Location,
}

/// Everything that compiling reads.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The mesh.
    pub mesh: Mesh,
    /// The workload.
    pub workload: Workload,
    /// Key sets by their URI.
    pub key_sets: Vec<KeySetSource>,
    /// Whether the port is not declared as HTTP. Conditions on requests are dropped: with their rule in ALLOW,
    /// alone in the other actions.
    pub is_tcp: bool,
    /// Whether key sets that are not given can be fetched.
    pub fetches_keys: bool,
    /// How tokens and keys are read.
    pub tokens: TokenSettings,
    /// Who is to enforce the policies.
    pub enforcer: Enforcer,
    /// What to say of a policy that is for another workload.
    pub unselected: Unselected,
    /// Whether tokens stay in the request, whatever the rules say. Policies do not see them any more than they would
    /// otherwise.
    pub keeps_tokens: bool,
}

/// What to do about policies that are for other workloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unselected {
    /// Leave them aside: workloads share one text.
    #[default]
    Ignore,
    /// Refuse them: they were put where only this workload reads them.
    Refuse,
}

/// Who enforces policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Enforcer {
    /// This crate, with all attributes of a request at hand.
    #[default]
    Core,
    /// The plugin, which sees a request through Envoy's attributes only.
    Plugin,
    /// Istio itself, which knows nothing of what Portcullis adds.
    Istio,
}

/// The outcome of compiling.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The set, unless there is an error.
    pub set: Option<PolicySet>,
    /// Everything there is to say, the findings of reading included.
    pub diagnostics: Vec<Diagnostic>,
    /// For each of [`Resources::items`], whether it is for the workload.
    pub selected: Vec<bool>,
}

/// Compiles all resources that select the workload. The others are checked as well.
pub fn compile(resources: &Resources, setting: &Setting) -> Compiled {
    let mut diagnostics = Diagnostics(resources.diagnostics.clone());
    let selected: Vec<bool> = resources
        .items
        .iter()
        .map(|resource| selection::selects(resource, setting))
        .collect();
    let mut authentications: Vec<&RequestAuthentication> = Vec::new();
    let mut policies: Vec<Policy> = Vec::new();
    let mut peers: Vec<&PeerAuthentication> = Vec::new();
    let mut certificates: Vec<&CertificateAuthentication> = Vec::new();
    for (resource, selected) in resources.items.iter().zip(&selected) {
        match resource {
            Resource::RequestAuthentication(resource) => {
                authentication::check(resource, setting, &mut diagnostics);
                if *selected && !setting.is_tcp {
                    authentications.push(resource);
                }
            }
            Resource::AuthorizationPolicy(resource) => {
                let policy = rules::compile(resource, setting, &mut diagnostics);
                if *selected && !resource.dry_run {
                    policies.push(policy);
                }
            }
            Resource::PeerAuthentication(resource) => {
                if *selected {
                    peers.push(resource);
                }
            }
            Resource::CertificateAuthentication(resource) => {
                certificates::check(resource, setting, &mut diagnostics);
                if *selected {
                    certificates.push(resource);
                }
            }
        }
    }
    let has_errors = |diagnostics: &Diagnostics| {
        diagnostics
            .0
            .iter()
            .any(|one| one.severity == Severity::Error)
    };
    // What is wrong comes first: a policy that cannot be used selects nothing worth a warning.
    if !has_errors(&diagnostics) {
        selection::report(resources, &selected, setting, &mut diagnostics);
    }
    let providers = authentication::providers(&authentications, setting);
    let mut ignored = Diagnostics(Vec::new());
    let peer = peer::modes(&peers, setting, &mut ignored);
    let certificates = certificates::rules(&certificates, setting);
    if certificates.is_none() {
        report_sourceless(&policies, &mut diagnostics);
    }
    if let Some(certificates) = &certificates {
        certificates::report_shared(certificates, &providers, &mut diagnostics);
    }
    if setting.enforcer == Enforcer::Plugin {
        report_companion(&policies, certificates.as_ref(), &mut diagnostics);
    }
    if !has_errors(&diagnostics) {
        diagnostics.0.append(&mut ignored.0);
        traps::report(resources, &selected, &setting.tokens, &mut diagnostics);
    }
    let set = (!has_errors(&diagnostics))
        .then(|| assemble(setting, peer, certificates, policies, providers));
    Compiled {
        set,
        diagnostics: diagnostics.0,
        selected,
    }
}

fn assemble(
    setting: &Setting,
    peer: Option<PeerModes>,
    certificates: Option<CertificateRules>,
    policies: Vec<Policy>,
    providers: Vec<crate::policy_set::Provider>,
) -> PolicySet {
    let output_headers: Vec<Box<[u8]>> = providers
        .iter()
        .flat_map(|provider| {
            provider
                .payload_header
                .iter()
                .cloned()
                .chain(provider.claim_headers.iter().map(|(name, _)| name.clone()))
        })
        .collect();
    let mut output_headers = sorted(output_headers, Ord::cmp);
    output_headers.dedup();
    let mut needs = Needs {
        now: !providers.is_empty(),
        tls: peer.is_some(),
        destination_port: peer.as_ref().is_some_and(|peer| !peer.ports.is_empty()),
        ..Needs::default()
    };
    let clauses = policies.iter().flat_map(Policy::clauses);
    for clause in clauses {
        needs.add(clause);
    }
    if let Some(certificates) = &certificates {
        needs.add_rules(certificates);
    }
    PolicySet {
        peer,
        certificates,
        audit: in_order(&policies, Action::Audit),
        deny: in_order(&policies, Action::Deny),
        allow: in_order(&policies, Action::Allow),
        has_allow: policies.iter().any(|policy| policy.action == Action::Allow),
        policies: policies.into(),
        tokens: setting.tokens.mode.clone(),
        providers: providers.into(),
        keeps_tokens: setting.keeps_tokens,
        output_headers: output_headers.into(),
        removes_twins: setting.tokens.removes_twins(),
        needs,
    }
}

/// Envoy keeps RBAC policies in a sorted map, so rule 10 comes before rule 2.
fn in_order(policies: &[Policy], action: Action) -> Box<[RuleId]> {
    let mut rules: Vec<(String, RuleId)> = Vec::new();
    for (policy, index) in policies.iter().zip(0_u32..) {
        if policy.action == action {
            let kept = policy.rules.iter().zip(0_u32..);
            for (_, rule) in kept.filter(|(rule, _)| !rule.is_dropped) {
                rules.push((
                    identity(&policy.at, rule),
                    RuleId {
                        policy: index,
                        rule,
                    },
                ));
            }
        }
    }
    let rules = sorted(rules, Ord::cmp);
    rules.into_iter().map(|(_, id)| id).collect()
}

impl Needs {
    fn add_rules(&mut self, certificates: &CertificateRules) {
        for rule in &certificates.rules {
            self.certificate |= matches!(rule.source, IdentitySource::Connection);
            self.peer_names |= !rule.senders.principals.is_empty();
            self.source_ip |= !rule.senders.ranges.is_empty();
        }
        self.now = true;
    }

    fn add(&mut self, clause: &Clause) {
        match clause.test {
            Test::PeerName(_) => self.peer_names = true,
            Test::SourceIp(_) => self.source_ip = true,
            Test::RemoteIp(_) => self.remote_ip = true,
            Test::DestinationIp(_) => self.destination_ip = true,
            Test::DestinationPort(_) => self.destination_port = true,
            Test::ServerName(_) => self.server_name = true,
            Test::Metadata { .. } => self.metadata = true,
            Test::Host(_)
            | Test::Method(_)
            | Test::Path(_)
            | Test::Header { .. }
            | Test::RequestPrincipal(_)
            | Test::Claim { .. }
            | Test::Certificate { .. } => {}
        }
    }
}

/// Envoy has no attribute for the TCP peer, so a plugin needs help from a filter in front of it.
fn report_companion(
    policies: &[Policy],
    certificates: Option<&CertificateRules>,
    diagnostics: &mut Diagnostics,
) {
    let clauses = clauses_of(policies, |test| matches!(test, Test::SourceIp(_)));
    let rules = certificates.into_iter().flat_map(|one| &one.rules);
    let senders = rules.filter(|rule| !rule.senders.ranges.is_empty());
    let senders = senders.map(|rule| Location {
        path: rule.at.path.key("trustedSenders").key("ipBlocks"),
        ..rule.at.clone()
    });
    for at in clauses.chain(senders) {
        diagnostics.0.push(Diagnostic {
            code: Code::NeedsCompanion,
            severity: Severity::Warning,
            message: "Envoy does not tell a plugin the TCP peer; without help this never lets a request through".into(),
            help: Some("apply docs/source-ip-envoyfilter.yaml".into()),
            at,
            span: None,
        });
    }
}

/// Without a resource that says where certificates come from, none is known: a condition would decide by guess.
fn report_sourceless(policies: &[Policy], diagnostics: &mut Diagnostics) {
    let is_about_certificates = |test: &Test| matches!(test, Test::Certificate { .. });
    for at in clauses_of(policies, is_about_certificates) {
        diagnostics.0.push(Diagnostic {
            code: Code::NoCertificateAuthentication,
            severity: Severity::Error,
            message: "no CertificateAuthentication for the workload says where its clients' certificates come from".into(),
            help: Some("add one, with `certificateRules: [{from: {connection: {}}}]` for the proxy's own TLS".into()),
            at,
            span: None,
        });
    }
}

/// Where the clauses with such tests stand.
fn clauses_of<'p>(
    policies: &'p [Policy],
    is_such: impl Fn(&Test) -> bool + Copy + 'p,
) -> impl Iterator<Item = Location> + 'p {
    policies.iter().flat_map(move |policy| {
        let clauses = policy.clauses().filter(move |clause| is_such(&clause.test));
        clauses.map(|clause| Location {
            path: clause.at.clone(),
            ..policy.at.clone()
        })
    })
}

/// The diagnostics of all resources, in the order of reading.
#[derive(Debug)]
pub(crate) struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    fn push(
        &mut self,
        at: &impl HasLocation,
        code: Code,
        severity: Severity,
        path: &crate::source::FieldPath,
        message: impl Into<String>,
        help: &str,
    ) {
        self.0.push(Diagnostic {
            code,
            severity,
            message: message.into(),
            help: (!help.is_empty()).then(|| help.to_owned()),
            at: Location {
                path: path.clone(),
                ..at.location().clone()
            },
            span: None,
        });
    }
}

/// What stands somewhere in a text.
trait HasLocation {
    fn location(&self) -> &Location;
}

impl HasLocation for AuthorizationPolicy {
    fn location(&self) -> &Location {
        &self.metadata.at
    }
}

impl HasLocation for RequestAuthentication {
    fn location(&self) -> &Location {
        &self.metadata.at
    }
}

impl HasLocation for PeerAuthentication {
    fn location(&self) -> &Location {
        &self.metadata.at
    }
}

impl HasLocation for CertificateAuthentication {
    fn location(&self) -> &Location {
        &self.metadata.at
    }
}

impl HasLocation for Resource {
    fn location(&self) -> &Location {
        &self.metadata().at
    }
}
