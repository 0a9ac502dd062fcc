//! Protection of what workers share. Envoy's shared data can be written by every plugin of the same `vm_id`, and
//! Istio sets none, so a foreign plugin could plant a key set. Each entry carries an HMAC-SHA256 whose key is
//! derived from the plugin's own configuration: whoever cannot read the configuration cannot write an entry that
//! opens. Who can read it can; a recorded entry can be put back, which is why readers also compare versions.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of the code in front of each entry.
const CODE: usize = 32;

/// Seals and opens the entries of one configuration.
#[derive(Clone)]
pub struct Seal {
    key: [u8; CODE],
    label: String,
}

impl Seal {
    /// The seal of a configuration, byte for byte: another configuration opens nothing of it.
    pub fn of(configuration: &[u8]) -> Self {
        let key = code(b"portcullis: sealed shared data 1", &[configuration]);
        let label = code(&key, &[b"label"]);
        let label = label.first_chunk().copied().map(u64::from_be_bytes);
        Self {
            key,
            label: format!("{:016x}", label.unwrap_or_default()),
        }
    }

    /// A name for entries of this configuration, which tells nothing of it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The entry of that name with its code.
    pub fn close(&self, name: &str, content: &[u8]) -> Vec<u8> {
        let code = self.code(name, content);
        [&code, content].concat()
    }

    /// The content of an entry; `None` if it was not closed under this name by this configuration.
    pub fn open<'e>(&self, name: &str, entry: &'e [u8]) -> Option<&'e [u8]> {
        let (found, content) = entry.split_first_chunk::<CODE>()?;
        let wanted = self.code(name, content);
        let difference = wanted
            .iter()
            .zip(found)
            .fold(0, |all, (one, other)| all | (one ^ other));
        (difference == 0).then_some(content)
    }

    fn code(&self, name: &str, content: &[u8]) -> [u8; CODE] {
        // The length keeps name and content apart.
        code(
            &self.key,
            &[
                &u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes(),
                name.as_bytes(),
                content,
            ],
        )
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seal({})", self.label)
    }
}

fn code(key: &[u8; CODE], parts: &[&[u8]]) -> [u8; CODE] {
    // A key shorter than the hash's block is filled up with zeros (RFC 2104 section 2).
    let mut block = [0; 64];
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_configuration_and_name_open() {
        let seal = Seal::of(b"{\"policies\":[]}");
        let entry = seal.close("keys", b"body");
        assert_eq!(seal.open("keys", &entry), Some(&b"body"[..]));
        assert_eq!(seal.open("other", &entry), None);
        assert_eq!(Seal::of(b"{\"policies\":[] }").open("keys", &entry), None);
        assert_eq!(seal.open("keysb", &entry), None);
        for (place, bit) in (0..entry.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut forged = entry.clone();
            forged[place] ^= 1 << bit;
            assert_eq!(seal.open("keys", &forged), None, "{place} {bit}");
        }
        for length in 0..entry.len() {
            assert_eq!(seal.open("keys", &entry[..length]), None);
        }
    }

    #[test]
    fn a_label_names_one_configuration() {
        assert_eq!(Seal::of(b"a").label(), Seal::of(b"a").label());
        assert_ne!(Seal::of(b"a").label(), Seal::of(b"b").label());
        assert_eq!(Seal::of(b"a").label().len(), 16);
    }

    #[test]
    fn an_empty_content_is_sealed_too() {
        let seal = Seal::of(b"");
        assert_eq!(seal.open("n", &seal.close("n", b"")), Some(&b""[..]));
        assert_eq!(seal.open("n", b""), None);
    }
}
