//! XML signatures over single documents: enveloped, exclusive canonicalisation, RSA-SHA256, the certificate in KeyInfo.
//!
//! In: XML with a [`signature_template`] in it. Out: the same XML, digest and signature filled in. The signature itself
//! is made by an XML-DSig library.

use std::path::Path;

use bergshamra_dsig::DsigContext;
use bergshamra_keys::{KeysManager, loader};

use crate::server::Error;

/// A token-signing key with its certificate.
pub struct Signer {
    keys: KeysManager,
    certificate: String,
    pem: Vec<u8>,
    key_pem: Vec<u8>,
}

impl Signer {
    /// Reads an RSA key (PKCS #8) and its certificate, both PEM.
    pub fn load(key: &Path, certificate: &Path) -> Result<Self, Error> {
        let bad = |path: &Path, reason: String| Error::Material {
            path: path.to_owned(),
            reason,
        };
        let key_pem = std::fs::read(key).map_err(|error| bad(key, error.to_string()))?;
        let pem =
            std::fs::read(certificate).map_err(|error| bad(certificate, error.to_string()))?;
        let mut keys = KeysManager::new();
        keys.add_key(
            loader::load_rsa_private_pem(&key_pem).map_err(|error| bad(key, error.to_string()))?,
        );
        let text = String::from_utf8_lossy(&pem);
        let base64: String = text
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        Ok(Self {
            keys,
            certificate: base64,
            pem,
            key_pem,
        })
    }

    /// The certificate as base64 of its DER form, as metadata and KeyInfo carry it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> &[u8] {
        &self.pem
    }

    /// The key as PEM, for tokens that are not XML.
    pub fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }

    /// Fills in the one signature template of `document`, and changes nothing else.
    pub fn sign(&self, document: &str) -> Result<String, Error> {
        let template = document.replace(CERTIFICATE, &self.certificate);
        bergshamra_dsig::sign::sign_owned(&DsigContext::new(self.keys.clone()), template)
            .map_err(|error| Error::Plan(format!("cannot sign a token: {error}")))
    }
}

/// An empty signature over the element with that id, to stand inside it.
pub fn signature_template(id: &str) -> String {
    format!(
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo><ds:CanonicalizationMethod \
         Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/><ds:SignatureMethod \
         Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\"/><ds:Reference URI=\"#{id}\"><ds:Transforms>\
         <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/><ds:Transform \
         Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/></ds:Transforms><ds:DigestMethod \
         Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/><ds:DigestValue></ds:DigestValue></ds:Reference>\
         </ds:SignedInfo><ds:SignatureValue></ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>\
         {CERTIFICATE}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>"
    )
}

/// Stands for the certificate until the document is signed.
const CERTIFICATE: &str = "{{signing-certificate}}";
