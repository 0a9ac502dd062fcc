//! What it costs to check a signature, so that one request cannot keep a worker busy. The figures are fixed:
//! every host of the core decides alike, however fast it is.

use super::{Algorithm, PublicKey};

/// The microseconds that one request may spend on signatures.
#[derive(Debug)]
pub(crate) struct Work {
    left: u32,
}

impl Work {
    /// Enough for each key of the largest set, if they are RSA with 2048 bits or P-256.
    const LIMIT: u32 = 8000;

    /// The work of a request.
    pub(crate) fn new() -> Self {
        Self { left: Self::LIMIT }
    }

    /// Whether there is enough left for something that costs so much. If not, nothing is left.
    pub(crate) fn spend(&mut self, cost: u32) -> bool {
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or_default();
        left.is_some()
    }
}

/// Bytes of a message that are hashed, or handed to Envoy, in a microsecond.
const BYTES: usize = 500;

impl PublicKey {
    /// What a signature over a message of so many bytes costs. `None` if a signature of such a length is
    /// never one of the key by the algorithm, which needs no look at it.
    pub(crate) fn cost(
        &self,
        algorithm: Algorithm,
        message: usize,
        signature: usize,
    ) -> Option<u32> {
        let length = match self {
            Self::Rsa(key) => Some(key.modulus().len()),
            Self::Ed25519(_) => Some(64),
            Self::Hmac(_) => Some(algorithm.hash_within(Algorithm::Hs).len()),
            // Leading zeros may be missing, and more may be there.
            Self::P256(_) | Self::P384(_) | Self::P521(_) => None,
        };
        let hashing = u32::try_from(message / BYTES).unwrap_or(u32::MAX);
        length
            .is_none_or(|length| length == signature)
            .then(|| self.cost_of_key(algorithm))?
            .map(|cost| cost.saturating_add(hashing))
    }

    /// The part that depends on type and size, in microseconds. RSASSA-PKCS1-v1_5 and ECDSA are those of Envoy
    /// 1.40's `verify_signature`, called from a plugin; the others those of the code here in Envoy's V8.
    pub(crate) fn cost_of_key(&self, algorithm: Algorithm) -> Option<u32> {
        match self {
            Self::P256(_) => Some(38),
            Self::P384(_) => Some(350),
            Self::P521(_) => Some(900),
            Self::Ed25519(_) => Some(70),
            Self::Hmac(_) => Some(4),
            Self::Rsa(key) => {
                // Quadratic in the length; at most 64 times that of 2048 bits.
                let times = |cost: u32| cost * key.bits().pow(2).div_ceil(2048) / 2048;
                match algorithm {
                    Algorithm::Rs(_) => Some(3 + times(13)),
                    Algorithm::Ps(_) => Some(times(45)),
                    Algorithm::Es(_) | Algorithm::Hs(_) | Algorithm::EdDsa => None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Hash, RustVerifier, SignatureVerifier};

    fn rsa(bits: usize) -> PublicKey {
        PublicKey::rsa(&vec![0xff; bits / 8], &[1, 0, 1]).unwrap()
    }

    #[test]
    fn rsa_is_quadratic() {
        let (pkcs1, pss) = (Algorithm::Rs(Hash::Sha256), Algorithm::Ps(Hash::Sha512));
        for (bits, by_envoy, own) in [
            (512, 3, 2),
            (2048, 16, 45),
            (3072, 32, 101),
            (4096, 55, 180),
            (16384, 835, 2880),
        ] {
            assert_eq!(rsa(bits).cost_of_key(pkcs1), Some(by_envoy), "{bits}");
            assert_eq!(rsa(bits).cost_of_key(pss), Some(own), "{bits}");
        }
    }

    #[test]
    fn what_costs_nothing_never_verifies() {
        let keys = [
            rsa(512),
            PublicKey::Ed25519([1; 32]),
            PublicKey::Hmac((*b"secret").into()),
        ];
        let algorithms = [
            Algorithm::Es(Hash::Sha256),
            Algorithm::Hs(Hash::Sha384),
            Algorithm::Rs(Hash::Sha256),
            Algorithm::Ps(Hash::Sha256),
            Algorithm::EdDsa,
        ];
        for key in &keys {
            for algorithm in algorithms {
                for length in 0..100 {
                    if key.cost(algorithm, 7, length).is_none() {
                        let signature = vec![1; length];
                        assert!(!RustVerifier.verify(key, algorithm, b"message", &signature));
                    }
                }
            }
        }
    }

    #[test]
    fn every_key_can_be_tried_once() {
        for algorithm in [Algorithm::Rs(Hash::Sha256), Algorithm::Ps(Hash::Sha256)] {
            let cost = rsa(16384).cost(algorithm, 100_000, 2048).unwrap();
            assert!(Work::new().spend(cost));
        }
    }

    #[test]
    fn work_ends() {
        let mut work = Work::new();
        assert!((0..8).all(|_| work.spend(1000)));
        assert!(!work.spend(1));
        let mut work = Work::new();
        assert!(work.spend(7999) && !work.spend(2) && !work.spend(1));
    }
}
