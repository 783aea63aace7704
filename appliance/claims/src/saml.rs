//! SAML assertions, 1.1 and 2.0, and what they travel in.
//!
//! A document goes through four steps, each in front of the more expensive one: bounds on its size and shape
//! ([`guard`]), the one place where its assertion can be ([`place`]), the signature that must be that
//! assertion's own ([`signature`]), and what it says ([`read`]) with whether that holds here and now. All
//! but the first work on one tree, parsed once: what was verified is what is read.

mod guard;
mod hold;
mod place;
mod read;
mod signature;
mod tree;

use uppsala::Parser;

use crate::{Expected, Refused, Token, Trust};
use place::Found;
use tree::Node;

/// Looks at a document that holds one assertion: the assertion itself, a WS-Trust response or collection
/// (2005/02 and 1.3), a SOAP 1.1 or 1.2 envelope with one, or a SAML 2.0 `Response`.
///
/// A response whose assertion is inside it may carry the signature, or the assertion may, or both; then both
/// must verify. A value that is not plain text is left out, and its claim type is `missing`; a value that is
/// nil is no value.
pub fn look(document: &str, trust: &Trust, expected: &Expected<'_>) -> Token {
    let refused = |why| Token::Refused { why, said: None };
    if let Err(why) = guard::within_bounds(document) {
        return refused(why);
    }
    let Ok(parsed) = Parser::new().with_forbid_dtd(true).parse(document) else {
        return refused(Refused::Malformed);
    };
    let Some(root) = parsed
        .document_element()
        .and_then(|id| Node::new(&parsed, id))
    else {
        return refused(Refused::Malformed);
    };
    let place = match place::find(root) {
        Ok(Found::Assertion(place)) => place,
        Ok(Found::Encrypted) => return Token::Opaque,
        Err(why) => return refused(why),
    };
    let signed = signature::check(&place, &parsed, document, trust);
    let reading = match (read::read(&place), signed) {
        (Ok(reading), Ok(())) => reading,
        (Ok(reading), Err(why)) => {
            let said = Some(Box::new(reading.claims));
            return Token::Refused { why, said };
        }
        (Err(_), Err(why)) | (Err(why), Ok(())) => return refused(why),
    };
    match hold::here_and_now(&reading, &place, trust, expected) {
        Ok(()) => Token::Verified(reading.claims),
        Err(why) => Token::Refused {
            why,
            said: Some(Box::new(reading.claims)),
        },
    }
}

/// Namespace of XML signatures.
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
/// Namespace of SAML 1.1 assertions.
const SAML11: &str = "urn:oasis:names:tc:SAML:1.0:assertion";
/// Namespace of SAML 2.0 assertions.
const SAML20: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
