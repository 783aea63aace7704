//! Whether what an assertion says holds here and now.

use super::place::Place;
use super::read::{Confirmation, Reading};
use crate::{Expected, Refused, Trust};

/// Whether its issuer is the one whose keys these are, its time is now, it is for one of the expected
/// audiences, and whoever bears it may present it where it was sent.
pub(super) fn here_and_now(
    reading: &Reading<'_>,
    place: &Place<'_>,
    trust: &Trust,
    expected: &Expected<'_>,
) -> Result<(), Refused> {
    let claims = &reading.claims;
    expected.holds(claims, trust)?;
    if reading
        .sender
        .as_ref()
        .is_some_and(|sender| *sender != claims.issuer)
    {
        return Err(Refused::WrongIssuer);
    }
    if reading.restricted && claims.audiences.is_empty() {
        return Err(Refused::WrongAudience);
    }
    let elsewhere = |address: &str| expected.recipient.is_some_and(|here| here != address);
    let response = place.response;
    if response
        .and_then(|response| response.attribute("Destination"))
        .is_some_and(elsewhere)
    {
        return Err(Refused::WrongRecipient);
    }
    let mut why = Refused::NotBearer;
    for confirmation in &reading.bearers {
        match confirmed(confirmation, response.is_some(), expected) {
            Ok(()) => return Ok(()),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

/// One confirmation of a bearer. In a `Response` it must name an end and the address (SAML profiles 2.0,
/// 4.1.4.3); elsewhere it is held to what it names.
fn confirmed(
    confirmation: &Confirmation<'_>,
    in_response: bool,
    expected: &Expected<'_>,
) -> Result<(), Refused> {
    match confirmation.not_after {
        Some(end) if expected.over(end) => return Err(Refused::Expired),
        None if in_response => return Err(Refused::NoExpiry),
        _ => {}
    }
    if confirmation
        .not_before
        .is_some_and(|begin| !expected.begun(begin))
    {
        return Err(Refused::NotYetValid);
    }
    match (confirmation.recipient, expected.recipient) {
        (Some(named), Some(here)) if named != here => Err(Refused::WrongRecipient),
        (None, Some(_)) if in_response => Err(Refused::WrongRecipient),
        _ => Ok(()),
    }
}
