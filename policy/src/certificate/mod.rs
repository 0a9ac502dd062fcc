//! Client certificates: reading them, and the ways in which a proxy tells of them.

pub(crate) mod der;
pub mod forwarded;
pub(crate) mod hex;
mod identity;
mod made_up;
mod name;
mod x509;

pub use identity::{CertificateField, Identity};
pub use name::{AttributeType, DistinguishedName, NameOrder};
pub use x509::Certificate;
pub(crate) use x509::public_key;
