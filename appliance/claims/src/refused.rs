//! Why tokens are not believed.

use serde::{Deserialize, Serialize};

/// Why a token is not believed. The words go to the audit log, and hold nothing of the token; the name of
/// the cause as it is serialised is what counters count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// More bytes than any service issues.
    #[error("the token is too large")]
    TooLarge,
    /// Elements or members inside each other, beyond what tokens need.
    #[error("the token is nested too deep")]
    TooDeep,
    /// More elements, comments, CDATA sections or references to characters than tokens hold.
    #[error("the token has too many XML elements")]
    TooManyElements,
    /// More attributes on one element, or in all, than tokens hold.
    #[error("the token has too many XML attributes")]
    TooManyAttributes,
    /// More namespaces declared at one place than tokens need.
    #[error("the token declares too many XML namespaces")]
    TooManyNamespaces,
    /// Not well-formed: XML, JSON or base64.
    #[error("the token is not well-formed")]
    Malformed,
    /// A document type, which could declare entities and change what ids are.
    #[error("the token brings a document type")]
    DocumentType,
    /// An entity that is not one of XML's own five.
    #[error("the token refers to an entity")]
    Entity,
    /// A processing instruction.
    #[error("the token holds a processing instruction")]
    Instruction,
    /// No assertion where one belongs.
    #[error("there is no assertion where one belongs")]
    NoAssertion,
    /// More than one assertion: which of them is meant could be told in two ways.
    #[error("there is more than one assertion")]
    SeveralAssertions,
    /// Neither SAML 1.1 nor SAML 2.0.
    #[error("the assertion is of a version that is not supported")]
    Version,
    /// The sign-in did not succeed.
    #[error("the response's status is not success")]
    Status,
    /// No signature at all.
    #[error("the token is not signed")]
    Unsigned,
    /// More than one signature on one node.
    #[error("there is more than one signature")]
    SeveralSignatures,
    /// A signature that is not the direct child of the assertion or of the response.
    #[error("there is a signature where none belongs")]
    SignatureElsewhere,
    /// A signature whose parts are not exactly those that are expected.
    #[error("the signature has parts that it must not have, or lacks one")]
    SignatureForm,
    /// More than one reference in a signature.
    #[error("the signature refers to more than one thing")]
    SeveralReferences,
    /// The signature covers something else than what it is a child of.
    #[error("the signature covers something else than the token")]
    OtherReference,
    /// An algorithm that is not accepted, or does not fit the key.
    #[error("an algorithm of the signature is not accepted")]
    Algorithm,
    /// A transform that is not accepted.
    #[error("a transform of the signature is not accepted")]
    Transform,
    /// The same id on two elements.
    #[error("two elements of the token have the same id")]
    SameId,
    /// The signature names a key that is not one of the issuer's.
    #[error(
        "the token is signed with a key that its issuer does not publish; fetch the keys again"
    )]
    UnknownKey,
    /// No key of the issuer verifies the signature, or what was signed was changed.
    #[error("the signature does not verify with any key of the issuer")]
    BadSignature,
    /// Somebody else issued it.
    #[error("the issuer is not the service whose keys these are")]
    WrongIssuer,
    /// Something that every such token has is not there.
    #[error("the token lacks something that every such token has")]
    Incomplete,
    /// Something is there twice that can be there once.
    #[error("the token says something twice that can be said once")]
    Repeated,
    /// Text that a comment or an element interrupts, which readers read differently.
    #[error("a name or a value of the token is interrupted by a comment or an element")]
    Interrupted,
    /// A moment that is not a date and time with a zone.
    #[error("a moment in the token cannot be read")]
    Moment,
    /// A condition that is not known, so that whether it holds cannot be told.
    #[error("the token has a condition that is not known")]
    UnknownCondition,
    /// Without an end.
    #[error("the token does not say until when it is valid")]
    NoExpiry,
    /// Too late.
    #[error("the token has expired; compare the clocks if it was just issued")]
    Expired,
    /// Too early.
    #[error("the token is not valid yet; compare the clocks")]
    NotYetValid,
    /// For somebody else.
    #[error("the token is for somebody else")]
    WrongAudience,
    /// Sent to somebody else.
    #[error("the token was sent to another address")]
    WrongRecipient,
    /// Valid only together with a key of its holder.
    #[error("the token is not a bearer token")]
    NotBearer,
    /// A header of a JWT that asks for what is not done: `crit`, `b64`, `zip`.
    #[error("the token's header asks for an extension that is not accepted")]
    Extension,
    /// A JWT for something else than saying who signed in: a sign-out token, a proof of possession.
    #[error("the token is of another kind than those of a sign-in")]
    OtherKind,
    /// A token that only Microsoft Graph can verify.
    #[error("the token is for Microsoft Graph, and nobody else can verify it")]
    ForGraph,
    /// A JWT without `kid`, and several keys that it could mean.
    #[error("the token names no key, and its issuer publishes several")]
    UnnamedKey,
    /// A member of a JWT that is not of the type that it must be.
    #[error("a member of the token is not of the type that it must be")]
    WrongType,
}
