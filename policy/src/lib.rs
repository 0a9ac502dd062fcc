//! The core of Portcullis: everything that decides or explains.
//!
//! It knows no host: no I/O, no clock, no randomness, no logging, no global state. Policies go in as text
//! ([`source`], [`resource`]), become a [`PolicySet`] ([`compile`]), and a request meets them in two steps:
//! [`authenticate`] looks at its tokens, [`decide`] or [`explain`] at the rules.
//!
//! What it decides is what Istio decides. Where this crate says "Envoy", it means Envoy 1.40 with the
//! configuration that istiod generates.

pub mod authenticate;
pub mod certificate;
pub mod compile;
pub mod config;
pub mod crypto;
pub mod decision;
pub mod diagnostic;
pub mod envoy_version;
mod evaluate;
pub mod explain;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
mod identify;
pub mod matcher;
pub mod normalize;
pub mod policy_set;
pub mod printable;
pub mod remote_keys;
pub mod request;
pub mod reserved_headers;
pub mod resource;
#[cfg(feature = "yaml")]
pub mod scenario;
mod sorted;
pub mod source;
pub mod time;

pub use authenticate::{Authenticated, authenticate};
pub use compile::{Compiled, Setting, compile};
pub use decision::{Decision, LocalReply, Reason, SentReply, Verdict};
pub use evaluate::decide;
pub use explain::{Explanation, explain};
pub use identify::CertificateFailure;
pub use policy_set::{Needs, PolicySet, RuleId, TokenHandling};
pub use request::{Attribute, HeaderEdits, Metadata, MetadataValue, Request, Tls};
