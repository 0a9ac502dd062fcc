//! How one value of a policy meets one value of a request. One matcher a file; each is built once, when
//! policies compile, and never parses again. All compare bytes: that is what a peer sends.

mod cidr;
mod path_template;
mod peer_name;
mod request_principal;
mod string;

pub use cidr::Cidr;
pub use path_template::{PathTemplate, TemplateError};
pub use peer_name::PeerNameMatcher;
pub use request_principal::RequestPrincipalMatcher;
pub use string::{Case, StringMatcher};
