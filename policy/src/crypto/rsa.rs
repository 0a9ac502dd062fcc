//! RSA signatures (RFC 8017), verified by the public key alone.

use super::montgomery::{Modulus, bit_length};
use super::{Hash, without_leading_zeros};

/// A key that Envoy takes: an odd modulus of 512 to 16384 bits, and 3 or 65537 for the exponent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    /// Big-endian, without leading zeros.
    modulus: Box<[u8]>,
    exponent: Exponent,
}

/// The exponents in use are `2^k + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exponent {
    /// 3
    Three,
    /// 65537
    F4,
}

/// Bits of the largest modulus that Envoy takes.
const MAX_BITS: u32 = 16384;
/// Bits of the smallest.
const MIN_BITS: u32 = 512;

impl RsaPublicKey {
    /// A key from big-endian numbers.
    pub(crate) fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let modulus = without_leading_zeros(modulus);
        let exponent = match without_leading_zeros(exponent) {
            [3] => Exponent::Three,
            [1, 0, 1] => Exponent::F4,
            _ => return None,
        };
        let is_odd = modulus.last().is_some_and(|byte| byte % 2 == 1);
        let is_fitting =
            modulus.len() <= 2048 && (MIN_BITS..=MAX_BITS).contains(&bit_length(modulus));
        (is_odd && is_fitting).then(|| Self {
            modulus: modulus.into(),
            exponent,
        })
    }

    /// Big-endian, without leading zeros.
    pub(crate) fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Big-endian, without leading zeros.
    pub(crate) fn exponent(&self) -> &'static [u8] {
        match self.exponent {
            Exponent::Three => &[3],
            Exponent::F4 => &[1, 0, 1],
        }
    }

    /// Of the modulus.
    pub(super) fn bits(&self) -> u32 {
        bit_length(&self.modulus)
    }

    /// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.2): the message is encoded anew and compared in whole.
    pub(super) fn verify_pkcs1(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let digest = hash.digest(&[message]);
        let ending = [prefix(hash).as_slice(), &digest].concat();
        // Three bytes around the padding, and eight bytes of it at least (section 9.2).
        let Some(padding) = self.modulus.len().checked_sub(ending.len() + 3) else {
            return false;
        };
        let encoded = [&[0, 1], vec![0xff; padding].as_slice(), &[0], &ending].concat();
        padding >= 8 && self.recover(signature) == Some(encoded)
    }

    /// RSASSA-PSS (RFC 8017 sections 8.1.2 and 9.1.2) with MGF1 of the same hash, and a salt as long as it.
    pub(super) fn verify_pss(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        self.recover(signature)
            .is_some_and(|recovered| self.is_pss(hash, message, &recovered).unwrap_or(false))
    }

    fn is_pss(&self, hash: Hash, message: &[u8], recovered: &[u8]) -> Option<bool> {
        // One bit less than the modulus has, so that every encoding is below it.
        let bits = self.bits() - 1;
        let length = usize::try_from(bits.div_ceil(8)).ok()?;
        let (front, encoded) = recovered.split_at_checked(recovered.len().checked_sub(length)?)?;
        let (masked, ending) = encoded.split_at_checked(length.checked_sub(hash.len() + 1)?)?;
        let (seed, trailer) = ending.split_at_checked(hash.len())?;
        let padding = masked.len().checked_sub(hash.len() + 1)?;
        let mut block: Vec<u8> = masked.to_vec();
        mask(hash, seed, &mut block);
        let unused = u8::MAX
            .checked_shl(8 - (8 * u32::try_from(length).ok()? - bits))
            .unwrap_or(0);
        let is_unused_zero = masked.first().is_some_and(|first| first & unused == 0);
        if let Some(first) = block.first_mut() {
            *first &= !unused;
        }
        let (zeros, rest) = block.split_at_checked(padding)?;
        let (one, salt) = rest.split_at_checked(1)?;
        let digest = hash.digest(&[&[0; 8], &hash.digest(&[message]), salt]);
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        Some(
            is_zero(front)
                && is_unused_zero
                && is_zero(zeros)
                && one == [1]
                && trailer == [0xbc]
                && seed == digest,
        )
    }

    /// What was signed (RSAVP1, RFC 8017 section 5.2.2), as long as the modulus. `None` for a signature that
    /// is not as long, or not below the modulus.
    pub(crate) fn recover(&self, signature: &[u8]) -> Option<Vec<u8>> {
        // Numbers of one length are ordered as their bytes are.
        if signature.len() != self.modulus.len() || *signature >= *self.modulus {
            return None;
        }
        let squarings = match self.exponent {
            Exponent::Three => 1,
            Exponent::F4 => 16,
        };
        Some(Modulus::new(&self.modulus).power(signature, squarings))
    }
}

/// The DER of a `DigestInfo` up to the digest (RFC 8017 section 9.2, note 1): its last byte is the digest's
/// length, and one other byte names the hash.
fn prefix(hash: Hash) -> [u8; 19] {
    let (name, length) = match hash {
        Hash::Sha256 => (1, 0x20),
        Hash::Sha384 => (2, 0x30),
        Hash::Sha512 => (3, 0x40),
    };
    [
        0x30,
        0x11 + length,
        0x30,
        0x0d,
        0x06,
        0x09,
        0x60,
        0x86,
        0x48,
        0x01,
        0x65,
        0x03,
        0x04,
        0x02,
        name,
        0x05,
        0x00,
        0x04,
        length,
    ]
}

/// Adds MGF1's mask, modulo 2 (RFC 8017 section B.2.1).
fn mask(hash: Hash, seed: &[u8], bytes: &mut [u8]) {
    for (counter, chunk) in (0_u32..).zip(bytes.chunks_mut(hash.len())) {
        let mask = hash.digest(&[seed, &counter.to_be_bytes()]);
        chunk
            .iter_mut()
            .zip(mask)
            .for_each(|(byte, mask)| *byte ^= mask);
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;

    const MESSAGE: &[u8] = b"message";

    /// A key that signs: a prime modulus has the private exponent `1/e` modulo `p - 1`.
    struct Signer {
        modulus: BigUint,
        key: RsaPublicKey,
    }

    /// `2^bits - less`, which is prime.
    fn signer(bits: u32, less: u32) -> Signer {
        let modulus = (BigUint::from(1_u8) << bits) - less;
        let key = RsaPublicKey::new(&modulus.to_bytes_be(), &[1, 0, 1]).unwrap();
        assert_eq!(key.bits(), bits);
        Signer { modulus, key }
    }

    fn signers() -> impl Iterator<Item = Signer> {
        let primes = [
            (512, 569),
            (521, 1),
            (607, 1),
            (1024, 105),
            (1279, 1),
            (2281, 1),
        ];
        primes.into_iter().map(|(bits, less)| signer(bits, less))
    }

    impl Signer {
        fn sign(&self, encoded: &[u8]) -> Vec<u8> {
            let encoded = BigUint::from_bytes_be(encoded);
            assert!(encoded < self.modulus);
            let exponent = BigUint::from(65537_u32)
                .modinv(&(&self.modulus - 1_u8))
                .unwrap();
            self.padded(&encoded.modpow(&exponent, &self.modulus))
        }

        fn padded(&self, number: &BigUint) -> Vec<u8> {
            let digits = number.to_bytes_be();
            [vec![0; self.key.modulus().len() - digits.len()], digits].concat()
        }

        fn takes_pkcs1(&self, encoded: &[u8]) -> bool {
            let signature = self.sign(encoded);
            self.key.verify_pkcs1(Hash::Sha256, MESSAGE, &signature)
        }

        /// The masked encoding of `block` and salt, with what precedes it.
        fn pss(&self, front: &[u8], block: &[u8], salt: &[u8], trailer: u8) -> Vec<u8> {
            let hash = Hash::Sha256;
            let digest = hash.digest(&[&[0; 8], &hash.digest(&[MESSAGE]), salt]);
            let mut masked = [block, salt].concat();
            mask(hash, &digest, &mut masked);
            let unused = (8 - (self.key.bits() - 1) % 8) % 8;
            masked[0] &= 0xff >> unused;
            [front, &masked, &digest, &[trailer]].concat()
        }

        fn takes_pss(&self, encoded: &[u8]) -> bool {
            let signature = self.sign(encoded);
            self.key.verify_pss(Hash::Sha256, MESSAGE, &signature)
        }

        /// In bytes.
        fn pss_length(&self) -> usize {
            usize::try_from((self.key.bits() - 1).div_ceil(8)).unwrap()
        }
    }

    #[test]
    fn pkcs1_has_one_encoding() {
        for signer in signers() {
            let length = signer.key.modulus().len();
            let digest = Hash::Sha256.digest(&[MESSAGE]);
            let ending = [prefix(Hash::Sha256).as_slice(), &digest].concat();
            let encode = |start: &[u8], padding: &[u8], ending: &[u8]| {
                let length = length - start.len() - padding.len() - ending.len() - 1;
                [start, &vec![0xff; length], padding, &[0], ending].concat()
            };
            let good = encode(&[0, 1], &[], &ending);
            assert!(signer.takes_pkcs1(&good));
            assert!(!signer.takes_pkcs1(&encode(&[0, 2], &[], &ending)));
            assert!(!signer.takes_pkcs1(&encode(&[0, 0], &[], &ending)));
            assert!(!signer.takes_pkcs1(&encode(&[0, 1], &[0xfe], &ending)));
            assert!(!signer.takes_pkcs1(&encode(&[0, 1, 0xfe], &[], &ending)));
            assert!(!signer.takes_pkcs1(&encode(&[0, 1, 0], &[], &ending)));
            assert!(!signer.takes_pkcs1(&encode(&[0, 1], &[], &digest)));
            let garbage = [ending.as_slice(), &[0]].concat();
            assert!(!signer.takes_pkcs1(&encode(&[0, 1], &[], &garbage)));
            let other = [prefix(Hash::Sha384).as_slice(), &digest].concat();
            assert!(!signer.takes_pkcs1(&encode(&[0, 1], &[], &other)));
            // A DigestInfo without the NULL.
            let mut short = ending.clone();
            short.drain(15..17);
            short[1] -= 2;
            short[3] -= 2;
            assert!(!signer.takes_pkcs1(&encode(&[0, 1], &[], &short)));
            for at in (0..length).step_by(7) {
                let mut turned = good.clone();
                turned[at] ^= 1;
                assert!(
                    BigUint::from_bytes_be(&turned) >= signer.modulus
                        || !signer.takes_pkcs1(&turned)
                );
            }
        }
    }

    #[test]
    fn pkcs1_needs_eight_bytes_of_padding() {
        let signer = signer(607, 1);
        let digest = Hash::Sha384.digest(&[MESSAGE]);
        let ending = [prefix(Hash::Sha384).as_slice(), &digest].concat();
        let encoded = [&[0, 1], [0xff; 6].as_slice(), &[0], &ending].concat();
        let signature = signer.sign(&encoded);
        assert_eq!(encoded.len(), signature.len());
        assert!(!signer.key.verify_pkcs1(Hash::Sha384, MESSAGE, &signature));
    }

    #[test]
    fn pss_has_one_salt_length() {
        for signer in signers().filter(|signer| signer.key.bits() > 600) {
            let length = signer.pss_length();
            for salt in [0, 20, 31, 32, 33, length - 34] {
                let padding = length - salt - 34;
                let block = [vec![0; padding].as_slice(), &[1]].concat();
                let encoded = signer.pss(&[], &block, &vec![7; salt], 0xbc);
                assert_eq!(signer.takes_pss(&encoded), salt == 32, "{salt}");
            }
        }
    }

    #[test]
    fn pss_has_one_padding() {
        for signer in signers().filter(|signer| signer.key.bits() > 600) {
            let salt = [7; 32];
            let length = signer.pss_length();
            let mut block = vec![0; length - 65];
            let last = block.len() - 1;
            block[last] = 1;
            assert!(signer.takes_pss(&signer.pss(&[], &block, &salt, 0xbc)));
            assert!(!signer.takes_pss(&signer.pss(&[], &block, &salt, 0xbb)));
            for at in 0..length - 65 {
                let mut other = block.clone();
                other[at] ^= 2;
                let encoded = signer.pss(&[], &other, &salt, 0xbc);
                assert!(!signer.takes_pss(&encoded), "{at}");
            }
            let mut good = signer.pss(&[], &block, &salt, 0xbc);
            // The bit that only the modulus has.
            if signer.key.bits() % 8 == 1 {
                good.insert(0, 1);
            } else {
                let bit = (signer.key.bits() - 1) % 8;
                good[0] |= 1 << bit;
            }
            if BigUint::from_bytes_be(&good) < signer.modulus {
                assert!(!signer.takes_pss(&good));
            }
        }
    }

    #[test]
    fn pss_needs_room() {
        // 64 bytes hold neither digest and salt of SHA-256 with two bytes more, nor those of others.
        let signer = signer(512, 569);
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            for byte in [0, 1, 0x7f, 0xff] {
                assert!(!signer.key.verify_pss(hash, MESSAGE, &[byte; 64]));
            }
        }
    }

    #[test]
    fn a_signature_is_a_number_below_the_modulus_at_its_length() {
        for signer in signers().filter(|signer| signer.key.bits() > 600) {
            let key = &signer.key;
            let mut block = vec![0; signer.pss_length() - 65];
            let last = block.len() - 1;
            block[last] = 1;
            let pss = signer.sign(&signer.pss(&[], &block, &[7; 32], 0xbc));
            assert!(key.verify_pss(Hash::Sha256, MESSAGE, &pss));
            assert!(!key.verify_pss(Hash::Sha256, b"other", &pss));
            assert!(!key.verify_pss(Hash::Sha384, MESSAGE, &pss));
            assert!(!key.verify_pkcs1(Hash::Sha256, MESSAGE, &pss));
            assert!(!key.verify_pss(Hash::Sha256, MESSAGE, &[&[0], pss.as_slice()].concat()));
            assert!(!key.verify_pss(Hash::Sha256, MESSAGE, &pss[1..]));
            let more = BigUint::from_bytes_be(&pss) + &signer.modulus;
            if more.to_bytes_be().len() == pss.len() {
                assert_eq!(key.recover(&more.to_bytes_be()), None);
            }
            assert_eq!(key.recover(key.modulus()), None);
            let largest = signer.padded(&(&signer.modulus - 1_u8));
            assert_eq!(key.recover(&largest), Some(largest));
        }
    }

    #[test]
    fn keys_are_those_that_envoy_takes() {
        let takes =
            |modulus: &[u8], exponent: &[u8]| RsaPublicKey::new(modulus, exponent).is_some();
        let modulus = [0xff; 64];
        for exponent in [[3].as_slice(), &[0, 3], &[1, 0, 1], &[0, 0, 1, 0, 1]] {
            assert!(takes(&modulus, exponent));
        }
        for exponent in [
            [].as_slice(),
            &[0],
            &[1],
            &[2],
            &[5],
            &[17],
            &[3, 0],
            &[1, 0, 1, 0],
        ] {
            assert!(!takes(&modulus, exponent));
        }
        assert!(takes(&[[0, 0].as_slice(), &modulus].concat(), &[3]));
        assert!(
            !takes(&[[0x7f].as_slice(), &[0xff; 63]].concat(), &[3]),
            "511 bits"
        );
        assert!(
            !takes(&[[0xff; 63].as_slice(), &[0xfe]].concat(), &[3]),
            "even"
        );
        assert!(takes(&[0xff; 2048], &[3]));
        assert!(
            !takes(&[[1].as_slice(), &[0xff; 2048]].concat(), &[3]),
            "16385 bits"
        );
        assert!(!takes(&[], &[3]));
    }
}
