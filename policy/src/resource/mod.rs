//! The resources that people write, one file a kind: wire types with every field of the API, decoded from
//! [`Node`](crate::source::Node)s. Decoding returns what it understood *and* all it has to say.

mod authorization_policy;
mod certificate_authentication;
mod decode;
mod metadata;
mod peer_authentication;
mod request_authentication;
mod reserved_header;
mod virtual_service;

pub use authorization_policy::{Action, AuthorizationPolicy, Condition, Group, Rule};
pub use certificate_authentication::{
    CertificateAuthentication, CertificateRule, CertificateSource, NameMatch, TokenBinding,
    TrustedSenders,
};
pub(crate) use certificate_authentication::{FIELD_HELP, NAME_HELP};
pub use decode::{Decoder, Field, Object, Text};
pub use metadata::{Metadata, PolicyTargetReference, Scope};
pub use peer_authentication::{MutualTlsMode, PeerAuthentication};
pub use request_authentication::{
    ClaimToHeader, JwtHeader, JwtRule, KeySource, RequestAuthentication,
};
pub use reserved_header::{RESERVED_HEADERS, ReservedHeader};
pub use virtual_service::{HttpMatch, HttpRoute, Part, PeerField, TextMatch, VirtualService};

use crate::diagnostic::{Code, Diagnostic, Location, ResourceId, Severity};
use crate::source::{FieldPath, Node};

/// A resource that takes part in decisions.
#[derive(Debug, Clone)]
pub enum Resource {
    /// `security.istio.io` `RequestAuthentication`.
    RequestAuthentication(RequestAuthentication),
    /// `security.istio.io` `AuthorizationPolicy`.
    AuthorizationPolicy(AuthorizationPolicy),
    /// `security.istio.io` `PeerAuthentication`.
    PeerAuthentication(PeerAuthentication),
    /// `portcullis.dev` `CertificateAuthentication`.
    CertificateAuthentication(CertificateAuthentication),
}

/// The resources of a text and what there is to say about it.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// In the order of the text.
    pub items: Vec<Resource>,
    /// Errors, warnings and notes, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// The namespace of a resource that names none, as `kubectl` has it.
const DEFAULT_NAMESPACE: &str = "default";

/// Kinds of the API groups that we read which decide about requests, and which we do not enforce yet.
const NOT_ENFORCED: &[(&str, &str)] = &[
    ("authentication.istio.io", "Policy"),
    ("authentication.istio.io", "MeshPolicy"),
    ("gateway.kyma-project.io", "APIRule"),
];

impl Resources {
    /// Reads a text of YAML documents, or of JSON, which is YAML. Returns the documents as well: places are
    /// looked up in them. What comes before a syntax error is read.
    #[cfg(feature = "yaml")]
    pub fn read_text(text: &str) -> (Self, Vec<Node>) {
        let (documents, error) = crate::source::from_yaml(text);
        let mut resources = Self::read(&documents);
        resources.diagnostics.extend(error.map(Diagnostic::from));
        (resources, documents)
    }

    /// Reads the documents of a text, Kubernetes `List`s included.
    pub fn read(documents: &[Node]) -> Self {
        let mut resources = Self::default();
        for (index, document) in documents.iter().enumerate() {
            resources.read_one(Some(index), document, &FieldPath::root(), DEFAULT_NAMESPACE);
        }
        resources.refuse_twins();
        resources
    }

    /// Reads the items of a list that stands at `path` of a configuration. One that names no namespace is in
    /// `namespace`, or in `default`.
    pub(crate) fn read_list<'n>(
        items: impl IntoIterator<Item = (FieldPath, &'n Node)>,
        namespace: Option<&str>,
    ) -> Self {
        let mut resources = Self::default();
        for (path, node) in items {
            resources.read_one(None, node, &path, namespace.unwrap_or(DEFAULT_NAMESPACE));
        }
        resources.refuse_twins();
        resources
    }

    fn read_one(
        &mut self,
        document: Option<usize>,
        node: &Node,
        path: &FieldPath,
        namespace: &str,
    ) {
        let text = |key: &str| node.get(key).and_then(Node::as_str);
        if text("kind").is_some_and(|kind| kind == "List")
            && let Some(crate::source::Value::Sequence(list)) =
                node.get("items").map(|node| &node.value)
        {
            let items = path.key("items");
            for (index, item) in list.iter().enumerate() {
                self.read_one(document, item, &items.index(index), namespace);
            }
            return;
        }
        let mut decoder = Decoder::new(Location {
            document,
            resource: None,
            path: path.clone(),
        });
        if let Some(resource) = read_resource(&mut decoder, node, namespace) {
            self.items.push(resource);
        }
        self.diagnostics.append(&mut decoder.into_diagnostics());
    }

    /// The first resource that selects workloads by labels.
    pub fn selects_by_labels(&self) -> Option<&ResourceId> {
        let mut items = self.items.iter();
        let first = items.find(|resource| !resource.scope().match_labels.is_empty())?;
        Some(&first.metadata().id)
    }

    /// Kubernetes has one object of a kind, namespace and name.
    fn refuse_twins(&mut self) {
        let metadata: Vec<&Metadata> = self.items.iter().map(Resource::metadata).collect();
        let mut twins = Vec::new();
        for (position, one) in metadata.iter().enumerate() {
            if metadata
                .iter()
                .take(position)
                .any(|earlier| earlier.id == one.id)
            {
                twins.push(Diagnostic {
                    code: Code::DuplicateResource,
                    severity: Severity::Error,
                    message: format!("`{}` is given twice", one.id),
                    help: Some(
                        "a cluster keeps only the last one applied: remove or rename one".into(),
                    ),
                    at: Location {
                        path: one.at.path.key("metadata").key("name"),
                        ..one.at.clone()
                    },
                    span: None,
                });
            }
        }
        self.diagnostics.append(&mut twins);
    }
}

impl Resource {
    /// What every resource has.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::RequestAuthentication(resource) => &resource.metadata,
            Self::AuthorizationPolicy(resource) => &resource.metadata,
            Self::PeerAuthentication(resource) => &resource.metadata,
            Self::CertificateAuthentication(resource) => &resource.metadata,
        }
    }

    /// Which workloads the resource is for.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::RequestAuthentication(resource) => &resource.scope,
            Self::AuthorizationPolicy(resource) => &resource.scope,
            Self::PeerAuthentication(resource) => &resource.scope,
            Self::CertificateAuthentication(resource) => &resource.scope,
        }
    }
}

fn read_resource(decoder: &mut Decoder, node: &Node, namespace: &str) -> Option<Resource> {
    let root = decoder.root(node);
    let object = decoder.object(&root)?;
    let kind = decoder.required_string(&object, "kind")?;
    let api_version = decoder.required_string(&object, "apiVersion")?;
    let group = api_version
        .text
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let version = api_version
        .text
        .split_once('/')
        .map_or("", |(_, version)| version)
        .to_owned();
    decoder.name_resource(ResourceId {
        kind: kind.text.clone(),
        namespace: name_in(node, "namespace").unwrap_or(namespace).to_owned(),
        name: name_in(node, "name").unwrap_or_default().to_owned(),
    });
    if NOT_ENFORCED.contains(&(group.as_str(), kind.text.as_str())) {
        decoder.error(
            Code::NotEnforced,
            &kind.at,
            format!("`{}` is not enforced yet", kind.text),
            "remove it here; leaving it out silently would decide differently from the cluster",
        );
        return None;
    }
    if group == "portcullis.dev" {
        return read_own(decoder, &object, &kind, &api_version);
    }
    let decides = matches!(
        kind.text.as_str(),
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" | "List"
    );
    if group != "security.istio.io" && decides {
        decoder.error(
            Code::UnknownKind,
            &api_version.at,
            format!(
                "`{}` of `{}` is not one of Istio's security API",
                kind.text, api_version.text
            ),
            "use security.istio.io/v1, and a list under `items` of a List",
        );
        return None;
    }
    if group != "security.istio.io" {
        decoder.report(
            Code::IgnoredKind,
            Severity::Info,
            &kind.at,
            format!(
                "`{}` of `{}` takes no part in decisions",
                kind.text, api_version.text
            ),
            None,
        );
        return None;
    }
    if !matches!(version.as_str(), "v1" | "v1beta1") {
        decoder.error(
            Code::UnknownKind,
            &api_version.at,
            format!(
                "`{}` is not a version of Istio's security API",
                api_version.text
            ),
            "use security.istio.io/v1 or security.istio.io/v1beta1",
        );
        return None;
    }
    match kind.text.as_str() {
        "RequestAuthentication" => {
            RequestAuthentication::decode(decoder, &object).map(Resource::RequestAuthentication)
        }
        "AuthorizationPolicy" => {
            AuthorizationPolicy::decode(decoder, &object).map(Resource::AuthorizationPolicy)
        }
        "PeerAuthentication" => {
            PeerAuthentication::decode(decoder, &object).map(Resource::PeerAuthentication)
        }
        other => {
            decoder.error(
                Code::UnknownKind,
                &kind.at,
                format!("`{other}` is not a kind of Istio's security API"),
                "use RequestAuthentication, AuthorizationPolicy or PeerAuthentication",
            );
            None
        }
    }
}

fn read_own(
    decoder: &mut Decoder,
    object: &Object<'_>,
    kind: &Text,
    api_version: &Text,
) -> Option<Resource> {
    if kind.text == "CertificateAuthentication" && api_version.text == "portcullis.dev/v1alpha1" {
        return CertificateAuthentication::decode(decoder, object)
            .map(Resource::CertificateAuthentication);
    }
    decoder.error(
        Code::UnknownKind,
        &api_version.at,
        format!("`{}` of `{}` is unknown", kind.text, api_version.text),
        "Portcullis has CertificateAuthentication of portcullis.dev/v1alpha1",
    );
    None
}

fn name_in<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get("metadata")
        .and_then(|metadata| metadata.get(key))
        .and_then(Node::as_str)
}
