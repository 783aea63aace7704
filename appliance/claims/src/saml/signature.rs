//! Whether an assertion is signed by a key that its issuer publishes.
//!
//! A library that verifies says that *some* node was signed as its document wanted it to be. Before it is
//! asked, the signature must have exactly one form; after it has answered, the node that it verified must be
//! the node that is read.

use bergshamra_dsig::VerifyResult;
use bergshamra_dsig::verify::verify_all_document_with_source;
use uppsala::Document;

use super::DSIG;
use super::place::Place;
use super::tree::Node;
use crate::{Form, Refused, Trust};

/// A signature, and the node that it must cover, which is its parent.
struct Signed<'d> {
    signature: Node<'d>,
    covers: Node<'d>,
}

/// Checks the signature of the assertion, or of the response round it, or both when both are signed.
pub(super) fn check(
    place: &Place<'_>,
    document: &Document<'_>,
    source: &str,
    trust: &Trust,
) -> Result<(), Refused> {
    let mut expected = Vec::new();
    for covers in [Some(place.assertion), place.response]
        .into_iter()
        .flatten()
    {
        let mut own = covers.all(DSIG, "Signature");
        if let Some(signature) = own.next() {
            expected.push(Signed { signature, covers });
        }
        if own.next().is_some() {
            return Err(Refused::SeveralSignatures);
        }
    }
    if place.signatures.is_empty() {
        return Err(Refused::Unsigned);
    }
    if place.signatures.len() != expected.len() {
        return Err(Refused::SignatureElsewhere);
    }
    for signed in &expected {
        let id = match place.form {
            Form::Saml20 => "ID",
            _ => "AssertionID",
        };
        let id = signed.covers.attribute(id).ok_or(Refused::Incomplete)?;
        has_the_form(signed.signature, id)?;
    }
    // Only now: what it spends and whether it opens files depends on what the signature asks of it.
    let verified = verify_all_document_with_source(trust.xml(), document, Some(source))
        .map_err(|_| Refused::BadSignature)?;
    let every = verified.len() == expected.len()
        && expected
            .iter()
            .all(|signed| verified.iter().any(|result| binds(result, signed)));
    if every {
        Ok(())
    } else {
        Err(Refused::BadSignature)
    }
}

/// Whether this is a verified signature over exactly the node that is read.
fn binds(result: &VerifyResult, signed: &Signed<'_>) -> bool {
    let VerifyResult::Valid {
        signature_node,
        references,
        ..
    } = result
    else {
        return false;
    };
    let [reference] = references.as_slice() else {
        return false;
    };
    *signature_node == signed.signature.id()
        && reference.resolved_node == Some(signed.covers.id())
        && reference.digest_verified
}

/// The one form of a signature: SAML core 2.0, 5.4 (an enveloped signature by id with exclusive
/// canonicalisation), and nothing that could be read in two ways.
fn has_the_form(signature: Node<'_>, id: &str) -> Result<(), Refused> {
    let parts = parts_of(signature, &["Id"])?;
    let (info, value) = match parts.as_slice() {
        [info, value] => (*info, *value),
        [info, value, key] if key.is(DSIG, "KeyInfo") => (*info, *value),
        _ => return Err(Refused::SignatureForm),
    };
    if !info.is(DSIG, "SignedInfo") || !value.is(DSIG, "SignatureValue") {
        return Err(Refused::SignatureForm);
    }
    value.text()?;

    let inside = parts_of(info, &["Id"])?;
    if inside
        .iter()
        .filter(|part| part.is(DSIG, "Reference"))
        .count()
        > 1
    {
        return Err(Refused::SeveralReferences);
    }
    let [canonicalization, method, reference] = named(
        &inside,
        ["CanonicalizationMethod", "SignatureMethod", "Reference"],
    )?;
    if algorithm(canonicalization)? != EXCLUSIVE {
        return Err(Refused::Algorithm);
    }
    inclusive_prefixes(canonicalization)?;
    if !SIGNATURES.contains(&algorithm(method)?) || method.children().next().is_some() {
        return Err(Refused::Algorithm);
    }

    let inside = parts_of(reference, &["Id", "Type", "URI"])?;
    if reference
        .attribute("URI")
        .and_then(|uri| uri.strip_prefix('#'))
        != Some(id)
    {
        return Err(Refused::OtherReference);
    }
    let [transforms, digest, value] =
        named(&inside, ["Transforms", "DigestMethod", "DigestValue"])?;
    if !DIGESTS.contains(&algorithm(digest)?) || digest.children().next().is_some() {
        return Err(Refused::Algorithm);
    }
    value.text()?;

    let inside = parts_of(transforms, &[])?;
    let [enveloped, exclusive] = inside.as_slice() else {
        return Err(Refused::Transform);
    };
    let accepted = enveloped.is(DSIG, "Transform")
        && algorithm(*enveloped)? == ENVELOPED
        && enveloped.children().next().is_none()
        && exclusive.is(DSIG, "Transform")
        && algorithm(*exclusive)? == EXCLUSIVE;
    if !accepted {
        return Err(Refused::Transform);
    }
    inclusive_prefixes(*exclusive)
}

/// The child elements of a part of a signature, which has nothing else in it and no other attributes.
fn parts_of<'d>(node: Node<'d>, attributes: &[&str]) -> Result<Vec<Node<'d>>, Refused> {
    let expected = node
        .attributes()
        .all(|(namespace, name, _)| namespace.is_none() && attributes.contains(&name));
    match node.elements_alone() {
        Some(parts) if expected => Ok(parts),
        _ => Err(Refused::SignatureForm),
    }
}

/// Three parts with these names, in this order.
fn named<'d>(parts: &[Node<'d>], names: [&str; 3]) -> Result<[Node<'d>; 3], Refused> {
    let parts: [Node<'_>; 3] = parts.try_into().map_err(|_| Refused::SignatureForm)?;
    let right = parts
        .iter()
        .zip(names)
        .all(|(part, name)| part.is(DSIG, name));
    if right {
        Ok(parts)
    } else {
        Err(Refused::SignatureForm)
    }
}

fn algorithm(node: Node<'_>) -> Result<&str, Refused> {
    parts_of(node, &["Algorithm"])?;
    node.attribute("Algorithm").ok_or(Refused::SignatureForm)
}

/// Exclusive canonicalisation may name prefixes to keep, a few.
fn inclusive_prefixes(node: Node<'_>) -> Result<(), Refused> {
    let inside = parts_of(node, &["Algorithm"])?;
    let prefixes = match inside.as_slice() {
        [] => return Ok(()),
        [prefixes] if prefixes.is(EXCLUSIVE, "InclusiveNamespaces") => *prefixes,
        _ => return Err(Refused::SignatureForm),
    };
    let list = prefixes.attribute("PrefixList").unwrap_or_default();
    if parts_of(prefixes, &["PrefixList"])?.is_empty()
        && list.len() <= MOST_BYTES_OF_PREFIXES
        && list.split_whitespace().count() <= MOST_PREFIXES
    {
        Ok(())
    } else {
        Err(Refused::SignatureForm)
    }
}

/// Longest list of prefixes.
const MOST_BYTES_OF_PREFIXES: usize = 128;
/// Most prefixes in it: each is looked for at every element.
const MOST_PREFIXES: usize = 4;

const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/// Signatures that are accepted: RSA and elliptic curves with SHA-2.
const SIGNATURES: [&str; 7] = [
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
];

/// Digests that are accepted.
const DIGESTS: [&str; 3] = [
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
];
