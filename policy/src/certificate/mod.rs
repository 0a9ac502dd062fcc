//! Client certificates: reading them, and the ways in which a proxy tells of them.

pub(crate) mod der;
pub(crate) mod hex;
mod name;
mod x509;

pub use name::{AttributeType, DistinguishedName, NameOrder};
pub use x509::Certificate;
pub(crate) use x509::public_key;
