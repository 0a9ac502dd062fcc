//! Kubernetes objects as JSON, read strictly: a field that nobody here knows is an error, because
//! an oracle that skips a misspelt field would agree with a product that skips it too.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    RequestAuthentication,
    AuthorizationPolicy,
    PeerAuthentication,
}

#[derive(Debug)]
pub(super) struct Resource<'a> {
    pub(super) kind: Kind,
    /// `default` if the object names none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// `metadata.creationTimestamp`; empty, which sorts first, if the object has none.
    pub(super) created: &'a str,
    /// The annotation `istio.io/dry-run`, as written.
    pub(super) dry_run: Option<&'a str>,
    pub(super) spec: Fields<'a>,
}

/// The `RequestAuthentication` and `AuthorizationPolicy` objects among `objects`, in their order.
///
/// # Errors
///
/// An object of these kinds has no name, has a misshapen `metadata` or `spec`, or occurs twice.
pub(super) fn security_resources(objects: &[Value]) -> Result<Vec<Resource<'_>>> {
    let mut seen = BTreeSet::new();
    let mut resources = Vec::new();
    for object in objects {
        let group = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'))
            .map(|(group, _)| group);
        let kind = match object["kind"].as_str() {
            _ if group != Some("security.istio.io") => continue,
            Some("RequestAuthentication") => Kind::RequestAuthentication,
            Some("AuthorizationPolicy") => Kind::AuthorizationPolicy,
            Some("PeerAuthentication") => Kind::PeerAuthentication,
            _ => continue,
        };
        let metadata = Fields::new(format!("{kind:?}: metadata"), object.get("metadata"))?;
        let name = metadata
            .text("name")?
            .with_context(|| format!("{kind:?}: metadata.name is missing"))?;
        let namespace = metadata
            .text("namespace")?
            .filter(|name| !name.is_empty())
            .unwrap_or("default");
        let id = format!("{kind:?} {namespace}/{name}");
        if !seen.insert(id.clone()) {
            bail!("{id} occurs twice");
        }
        resources.push(Resource {
            kind,
            namespace,
            name,
            created: metadata.text("creationTimestamp")?.unwrap_or_default(),
            dry_run: metadata.child("annotations")?.text("istio.io/dry-run")?,
            spec: Fields::new(format!("{id}: spec"), object.get("spec"))?,
        });
    }
    Ok(resources)
}

/// A JSON object and where it stands. An object that is absent or null has no members.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    /// Begins every error about this object: `AuthorizationPolicy foo/x: spec.rules[0]`.
    pub(super) at: String,
    members: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    fn new(at: String, value: Option<&'a Value>) -> Result<Self> {
        match value {
            None | Some(Value::Null) => Ok(Self { at, members: None }),
            Some(Value::Object(members)) => Ok(Self {
                at,
                members: Some(members),
            }),
            Some(_) => bail!("{at} must be an object"),
        }
    }

    fn member(&self, name: &str) -> Option<&'a Value> {
        self.members
            .and_then(|members| members.get(name))
            .filter(|value| !value.is_null())
    }

    /// Whether a member of this name is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.member(name).is_some()
    }

    /// Refuses every member that is not in `names`.
    pub(super) fn expect_only(&self, names: &[&str]) -> Result<()> {
        let unknown = self
            .members
            .into_iter()
            .flat_map(Map::keys)
            .find(|name| !names.contains(&name.as_str()));
        match unknown {
            Some(name) => bail!("{}: unknown field `{name}`", self.at),
            None => Ok(()),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.member(name) else {
            return Ok(None);
        };
        let text = value
            .as_str()
            .with_context(|| format!("{}.{name} must be a string", self.at))?;
        Ok(Some(text))
    }

    /// A boolean; absent is false.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        let Some(value) = self.member(name) else {
            return Ok(false);
        };
        value
            .as_bool()
            .with_context(|| format!("{}.{name} must be a boolean", self.at))
    }

    fn list(&self, name: &str) -> Result<&'a [Value]> {
        let Some(value) = self.member(name) else {
            return Ok(&[]);
        };
        let items = value
            .as_array()
            .with_context(|| format!("{}.{name} must be a list", self.at))?;
        Ok(items)
    }

    /// A list of strings; absent is empty.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>> {
        let items = self.list(name)?.iter().enumerate();
        items
            .map(|(index, item)| {
                item.as_str()
                    .with_context(|| format!("{}.{name}[{index}] must be a string", self.at))
            })
            .collect()
    }

    /// Every member, all of which must be strings.
    pub(super) fn all_texts(&self) -> Result<Vec<(&'a str, &'a str)>> {
        let members = self.members.into_iter().flatten();
        members
            .map(|(name, value)| {
                let text = value
                    .as_str()
                    .with_context(|| format!("{}.{name} must be a string", self.at))?;
                Ok((name.as_str(), text))
            })
            .collect()
    }

    /// Every member's name, with the members as objects.
    pub(super) fn all_children(&self) -> Result<Vec<(&'a str, Fields<'a>)>> {
        let members = self.members.into_iter().flatten();
        members
            .map(|(name, _)| Ok((name.as_str(), self.child(name)?)))
            .collect()
    }

    pub(super) fn child(&self, name: &str) -> Result<Fields<'a>> {
        Fields::new(format!("{}.{name}", self.at), self.member(name))
    }

    /// A list of objects; absent is empty, and no item may be null.
    pub(super) fn children(&self, name: &str) -> Result<Vec<Fields<'a>>> {
        let items = self.list(name)?.iter().enumerate();
        items
            .map(|(index, item)| {
                let at = format!("{}.{name}[{index}]", self.at);
                if item.is_null() {
                    bail!("{at} must be an object");
                }
                Fields::new(at, Some(item))
            })
            .collect()
    }
}
