//! What an assertion says.

use std::collections::{BTreeMap, BTreeSet};

use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::place::Place;
use super::tree::Node;
use super::{SAML11, SAML20};
use crate::{Claims, Form, Refused};

/// What an assertion says, and on which terms.
pub(super) struct Reading<'d> {
    /// What it says. Its audiences are those that every restriction allows.
    pub(super) claims: Claims,
    /// Who says to have sent it: the issuer of the response round it.
    pub(super) sender: Option<String>,
    /// Whether it is for certain audiences alone.
    pub(super) restricted: bool,
    /// On which terms its bearer is the subject: any one of these.
    pub(super) bearers: Vec<Confirmation<'d>>,
}

/// Terms of a confirmation by mere possession.
#[derive(Default)]
pub(super) struct Confirmation<'d> {
    /// Where it must be presented.
    pub(super) recipient: Option<&'d str>,
    /// From when on.
    pub(super) not_before: Option<UtcDateTime>,
    /// Until when.
    pub(super) not_after: Option<UtcDateTime>,
}

/// Reads the assertion, all of it or nothing.
pub(super) fn read<'d>(place: &Place<'d>) -> Result<Reading<'d>, Refused> {
    let assertion = place.assertion;
    let mut said = Said::default();
    let (namespace, id, issuer, restriction) = if place.form == Form::Saml20 {
        let issuer = assertion.only(SAML20, "Issuer")?;
        let issuer = issuer.map(Node::text).transpose()?;
        said.statements20(assertion)?;
        (SAML20, "ID", issuer, "AudienceRestriction")
    } else {
        let issuer = assertion.attribute("Issuer").map(str::to_owned);
        said.statements11(assertion)?;
        let restriction = "AudienceRestrictionCondition";
        (SAML11, "AssertionID", issuer, restriction)
    };
    let conditions = assertion.only(namespace, "Conditions")?;
    let terms = Terms::of(conditions, namespace, restriction)?;
    let confirmed = said.bearers.iter().filter_map(|bearer| bearer.not_after);
    let not_after = terms.not_after.or(confirmed.max());
    let sender = match place.response {
        Some(response) => response.only(SAML20, "Issuer")?,
        None => None,
    };
    Ok(Reading {
        claims: Claims {
            form: place.form,
            issuer: named(issuer)?,
            id: named(assertion.attribute(id).map(str::to_owned))?,
            audiences: terms.audiences.iter().flatten().cloned().collect(),
            subject: said.subject,
            issued: Some(moment(assertion, "IssueInstant")?.ok_or(Refused::Incomplete)?),
            not_before: terms.not_before,
            not_after: not_after.ok_or(Refused::NoExpiry)?,
            authenticated: said.authenticated,
            methods: said.methods,
            values: said.values,
            missing: said.missing,
        },
        sender: sender.map(Node::text).transpose()?,
        restricted: terms.audiences.is_some(),
        bearers: said.bearers,
    })
}

/// What its conditions say.
struct Terms {
    not_before: Option<UtcDateTime>,
    not_after: Option<UtcDateTime>,
    /// Those that every restriction allows; nothing when none restricts.
    audiences: Option<Vec<String>>,
}

impl Terms {
    fn of(
        conditions: Option<Node<'_>>,
        namespace: &str,
        restriction: &str,
    ) -> Result<Self, Refused> {
        let mut terms = Self {
            not_before: None,
            not_after: None,
            audiences: None,
        };
        let Some(conditions) = conditions else {
            return Ok(terms);
        };
        terms.not_before = moment(conditions, "NotBefore")?;
        terms.not_after = moment(conditions, "NotOnOrAfter")?;
        for condition in conditions.children() {
            match condition.name_in(namespace) {
                Some(name) if name == restriction => {
                    let allowed = condition.all(namespace, "Audience").map(Node::uri);
                    let mut allowed = allowed.collect::<Result<Vec<_>, _>>()?;
                    if let Some(before) = terms.audiences {
                        allowed.retain(|audience| before.contains(audience));
                    }
                    terms.audiences = Some(allowed);
                }
                Some("OneTimeUse" | "ProxyRestriction" | "DoNotCacheCondition") => {}
                _ => return Err(Refused::UnknownCondition),
            }
        }
        Ok(terms)
    }
}

/// What its statements say.
#[derive(Default)]
struct Said<'d> {
    subject: Option<String>,
    bearers: Vec<Confirmation<'d>>,
    /// The earliest moment that any statement or claim tells.
    authenticated: Option<UtcDateTime>,
    methods: Vec<String>,
    values: BTreeMap<String, Vec<String>>,
    missing: BTreeSet<String>,
}

impl<'d> Said<'d> {
    fn statements11(&mut self, assertion: Node<'d>) -> Result<(), Refused> {
        let (mut confirmed, mut bearer) = (false, false);
        for statement in assertion.children() {
            if let Some(subject) = statement.only(SAML11, "Subject")? {
                self.subject(subject.only(SAML11, "NameIdentifier")?)?;
                if let Some(confirmation) = subject.only(SAML11, "SubjectConfirmation")? {
                    confirmed = true;
                    for method in confirmation.all(SAML11, "ConfirmationMethod") {
                        bearer |= method.uri()? == BEARER11;
                    }
                }
            }
            match statement.name_in(SAML11) {
                Some("AuthenticationStatement") => {
                    self.authenticated(moment(statement, "AuthenticationInstant")?);
                    self.methods.extend(
                        statement
                            .attribute("AuthenticationMethod")
                            .map(str::to_owned),
                    );
                }
                Some("AttributeStatement") => {
                    for attribute in statement.all(SAML11, "Attribute") {
                        let part = |name| attribute.attribute(name).ok_or(Refused::Incomplete);
                        let kind =
                            format!("{}/{}", part("AttributeNamespace")?, part("AttributeName")?);
                        self.attribute(&kind, attribute.all(SAML11, "AttributeValue"))?;
                    }
                }
                _ => {}
            }
        }
        if bearer || !confirmed {
            self.bearers.push(Confirmation::default());
        }
        Ok(())
    }

    fn statements20(&mut self, assertion: Node<'d>) -> Result<(), Refused> {
        let subject = assertion.only(SAML20, "Subject")?;
        let subject = subject.ok_or(Refused::Incomplete)?;
        self.subject(subject.only(SAML20, "NameID")?)?;
        for confirmation in subject.all(SAML20, "SubjectConfirmation") {
            if confirmation.attribute("Method").map(str::trim) != Some(BEARER20) {
                continue;
            }
            let data = confirmation.only(SAML20, "SubjectConfirmationData")?;
            self.bearers.push(match data {
                Some(data) => Confirmation {
                    recipient: data.attribute("Recipient"),
                    not_before: moment(data, "NotBefore")?,
                    not_after: moment(data, "NotOnOrAfter")?,
                },
                None => Confirmation::default(),
            });
        }
        for statement in assertion.children() {
            match statement.name_in(SAML20) {
                Some("AuthnStatement") => {
                    self.authenticated(moment(statement, "AuthnInstant")?);
                    let context = statement.only(SAML20, "AuthnContext")?;
                    if let Some(class) = context
                        .map(|context| context.only(SAML20, "AuthnContextClassRef"))
                        .transpose()?
                        .flatten()
                    {
                        self.methods.push(class.uri()?);
                    }
                }
                Some("AttributeStatement") => {
                    for attribute in statement.all(SAML20, "Attribute") {
                        let kind = named(attribute.attribute("Name").map(str::to_owned))?;
                        self.attribute(&kind, attribute.all(SAML20, "AttributeValue"))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All statements must be about one subject.
    fn subject(&mut self, name: Option<Node<'_>>) -> Result<(), Refused> {
        let name = name.map(Node::text).transpose()?;
        if self.subject.is_some() && name.is_some() && self.subject != name {
            return Err(Refused::Repeated);
        }
        self.subject = name.or(self.subject.take());
        Ok(())
    }

    fn authenticated(&mut self, moment: Option<UtcDateTime>) {
        self.authenticated = [self.authenticated, moment].into_iter().flatten().min();
    }

    fn attribute(
        &mut self,
        kind: &str,
        values: impl Iterator<Item = Node<'d>>,
    ) -> Result<(), Refused> {
        for value in values {
            if matches!(value.attribute_in(INSTANCE, "nil"), Some("true" | "1")) {
                continue;
            }
            if value.children().next().is_some() {
                self.missing.insert(kind.to_owned());
                continue;
            }
            let text = value.text()?;
            match kind {
                METHOD | METHODS => self.methods.push(text.clone()),
                INSTANT => self.authenticated(UtcDateTime::parse(text.trim(), &Rfc3339).ok()),
                LINK => {
                    self.missing.insert(GROUPS.to_owned());
                }
                _ => {}
            }
            // Long lists are of one type: its name is copied once.
            match self.values.get_mut(kind) {
                Some(known) => known.push(text),
                None => {
                    self.values.insert(kind.to_owned(), vec![text]);
                }
            }
        }
        Ok(())
    }
}

/// A name that must be there.
fn named(text: Option<String>) -> Result<String, Refused> {
    text.filter(|text| !text.is_empty())
        .ok_or(Refused::Incomplete)
}

/// The moment that an attribute tells.
fn moment(node: Node<'_>, attribute: &str) -> Result<Option<UtcDateTime>, Refused> {
    let text = node.attribute(attribute).map(str::trim);
    let moment = text.map(|text| UtcDateTime::parse(text, &Rfc3339));
    moment.transpose().map_err(|_| Refused::Moment)
}

const BEARER11: &str = "urn:oasis:names:tc:SAML:1.0:cm:bearer";
const BEARER20: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const METHOD: &str = "http://schemas.microsoft.com/ws/2008/06/identity/claims/authenticationmethod";
const METHODS: &str = "http://schemas.microsoft.com/claims/authnmethodsreferences";
const INSTANT: &str =
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/authenticationinstant";
const LINK: &str = "http://schemas.microsoft.com/claims/groups.link";
const GROUPS: &str = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups";
