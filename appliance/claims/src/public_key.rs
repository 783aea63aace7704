//! Public keys: what they are made of, and which of them are used.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384};
use x509_parser::public_key::PublicKey as Parsed;

use crate::KeyError;

/// A key that may be used. Two documents that publish the same key hold equal ones.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The two coordinates of a point on the curve, each of the curve's length.
    Ec {
        curve: Curve,
        x: Vec<u8>,
        y: Vec<u8>,
    },
}

/// Curves, by their names in a JWK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Curve {
    P256,
    P384,
}

/// An algorithm of JWTs, by its name there.
pub(crate) struct Fit {
    pub(crate) name: &'static str,
    pub(crate) algorithm: Algorithm,
}

const RSA: [Fit; 2] = [
    Fit {
        name: "RS256",
        algorithm: Algorithm::RS256,
    },
    Fit {
        name: "PS256",
        algorithm: Algorithm::PS256,
    },
];
const P256: [Fit; 1] = [Fit {
    name: "ES256",
    algorithm: Algorithm::ES256,
}];
const P384: [Fit; 1] = [Fit {
    name: "ES384",
    algorithm: Algorithm::ES384,
}];

/// The algorithm of this name, if it is one that is used.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    let all = [&RSA[..], &P256, &P384].into_iter().flatten();
    let mut named = all.filter(|fit| fit.name == name);
    named.next().map(|fit| fit.algorithm)
}

impl PublicKey {
    /// An RSA key of a modulus and an exponent.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let n = without_zeros(n);
        let e = without_zeros(e);
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        match bits {
            0..2048 => return Err(KeyError::Weak(bits)),
            2048..=8192 => {}
            _ => return Err(KeyError::TooStrong(bits)),
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        if !odd(n) || !odd(e) || e.len() > 4 || e == [1] {
            return Err(KeyError::Odd);
        }
        Ok(Self::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    /// A point on a curve.
    pub(crate) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let (algorithm, length): (&'static dyn VerificationAlgorithm, _) = match curve {
            Curve::P256 => (&ECDSA_P256_SHA256_FIXED, 32),
            Curve::P384 => (&ECDSA_P384_SHA384_FIXED, 48),
        };
        if x.len() != length || y.len() != length {
            return Err(KeyError::Unreadable);
        }
        ParsedPublicKey::new(algorithm, [&[4], x, y].concat()).map_err(|_| KeyError::Unreadable)?;
        Ok(Self::Ec {
            curve,
            x: x.to_vec(),
            y: y.to_vec(),
        })
    }

    /// The key of a certificate.
    pub(crate) fn of_certificate(certificate: &X509Certificate<'_>) -> Result<Self, KeyError> {
        let info = certificate.public_key();
        match info.parsed().map_err(|_| KeyError::Unreadable)? {
            Parsed::RSA(key) => Self::rsa(key.modulus, key.exponent),
            Parsed::EC(point) => {
                let named = info.algorithm.parameters.as_ref();
                let named = named
                    .and_then(|any| any.as_oid().ok())
                    .ok_or(KeyError::Kind)?;
                let curve = match named {
                    _ if named == OID_EC_P256 => Curve::P256,
                    _ if named == OID_NIST_EC_P384 => Curve::P384,
                    _ => return Err(KeyError::Kind),
                };
                let [4, both @ ..] = point.data() else {
                    return Err(KeyError::Unreadable);
                };
                let (x, y) = both.split_at(both.len() / 2);
                Self::ec(curve, x, y)
            }
            _ => Err(KeyError::Kind),
        }
    }

    /// The algorithms that it may sign JWTs with, unless its publisher names one.
    pub(crate) fn algorithms(&self) -> &'static [Fit] {
        match self {
            Self::Rsa { .. } => &RSA,
            Self::Ec {
                curve: Curve::P256, ..
            } => &P256,
            Self::Ec {
                curve: Curve::P384, ..
            } => &P384,
        }
    }

    /// The members of a JWK that make up the key.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let named = match self {
            Self::Rsa { n, e } => vec![("kty", "RSA".into()), ("n", number(n)), ("e", number(e))],
            Self::Ec { curve, x, y } => {
                let curve = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                };
                let numbers = [("x", number(x)), ("y", number(y))];
                [("kty", "EC".into()), ("crv", curve.to_owned())]
                    .into_iter()
                    .chain(numbers)
                    .collect()
            }
        };
        named
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.into()))
            .collect()
    }

    /// The key, as the library for JWTs takes it.
    pub(crate) fn for_jwt(&self) -> DecodingKey {
        match self {
            Self::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            // Despite its name it takes the point, uncompressed.
            Self::Ec { x, y, .. } => DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat()),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { n, .. } => write!(f, "RSA, {} bytes", n.len()),
            Self::Ec { curve, .. } => write!(f, "{curve:?}"),
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
