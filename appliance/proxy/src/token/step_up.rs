//! Asks the sign-in server for multi-factor authentication. Whether it happened, the token tells.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use weir_policy::{Binding, Context, Facts, Flow, MfaSpec, NotAsked, ask_for_context};

/// How a request asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// It does already.
    Asked,
    /// With this query.
    Query(String),
    /// With this form.
    Form(String),
    /// Not at all; why, as the end of a sentence for people.
    NoWay(&'static str),
}

/// What a request says.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Its query, raw.
    pub query: Option<&'a str>,
    /// The form in its body, raw, where there is one that can be read.
    pub form: Option<&'a str>,
}

/// How a request asks for it: by `wauth` of WS-Federation (1.2, section 13.2.2), by `RequestedAuthnContext` of
/// SAML (core 3.3.2.2.1), or by `acr_values` of OpenID Connect (Core 1.0, section 3.1.2.1), in the place of
/// whatever the client asks for. Who goes on with a sign-in asks for nothing: what was asked for when it
/// began, holds. What is signed is never changed.
pub fn ask(said: Said<'_>, facts: &Facts, mfa: &MfaSpec) -> Ask {
    let query = said.query.unwrap_or_default();
    match facts.flow {
        _ if facts.step => {
            Ask::NoWay("the sign-in has begun already, and this browser does not say how")
        }
        Flow::Passive if has(query, "wa") => by_parameter(query, "wauth", mfa.wauth.as_deref()),
        Flow::Passive => by_message(said, mfa.authn_context.as_deref()),
        // What stands in a request object is all that counts (RFC 9101, section 6.3).
        Flow::OauthBrowser if has(query, "request") || has(query, "request_uri") => {
            Ask::NoWay(SIGNED)
        }
        Flow::OauthBrowser if has(query, "client_id") => {
            by_parameter(query, "acr_values", mfa.acr_values.as_deref())
        }
        _ => Ask::NoWay(UNREADABLE),
    }
}

const SIGNED: &str = "the application signs what it asks for";
const UNREADABLE: &str = "what the application asks for cannot be read here";
const UNKNOWN: &str = "how to ask it by this protocol is not known";

fn by_parameter(query: &str, name: &str, value: Option<&str>) -> Ask {
    let Some(value) = value else {
        return Ask::NoWay(UNKNOWN);
    };
    let mut given = query.split('&').filter(|pair| name_of(pair) == name);
    let first = given.next().map(value_of);
    if first.is_some_and(|first| first.as_deref() == Some(value)) && given.next().is_none() {
        return Ask::Asked;
    }
    let mut asked: String = query
        .split('&')
        .filter(|pair| name_of(pair) != name)
        .fold(String::new(), |all, pair| all + pair + "&");
    asked.push_str(name);
    asked.push('=');
    asked.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    Ask::Query(asked)
}

/// The message stands in the query or in the form, once, and no signature beside it (bindings 3.4.4.1; for
/// SimpleSign, in the form).
fn by_message(said: Said<'_>, class: Option<&str>) -> Ask {
    let (query, form) = (
        said.query.unwrap_or_default(),
        said.form.unwrap_or_default(),
    );
    if [query, form]
        .iter()
        .any(|pairs| has(pairs, "signature") || has(pairs, "sigalg"))
    {
        return Ask::NoWay(SIGNED);
    }
    let places = [(query, Binding::Redirect), (form, Binding::Post)];
    let mut found = places.into_iter().flat_map(|(pairs, binding)| {
        let messages = pairs.split('&').filter(|pair| name_of(pair) == MESSAGE);
        messages.map(move |pair| (pairs, pair, binding))
    });
    let (Some((pairs, pair, binding)), None) = (found.next(), found.next()) else {
        return Ask::NoWay(UNREADABLE);
    };
    let Some(class) = class else {
        return Ask::NoWay(UNKNOWN);
    };
    let Some(message) = value_of(pair) else {
        return Ask::NoWay(UNREADABLE);
    };
    match ask_for_context(&message, binding, class) {
        Ok(Context::Asked) => Ask::Asked,
        Ok(Context::With(message)) => {
            let name = pair.split('=').next().unwrap_or_default();
            let message = utf8_percent_encode(&message, NON_ALPHANUMERIC);
            let changed = pairs.replacen(pair, &format!("{name}={message}"), 1);
            match binding {
                Binding::Redirect => Ask::Query(changed),
                Binding::Post => Ask::Form(changed),
            }
        }
        Err(NotAsked::Signed) => Ask::NoWay(SIGNED),
        Err(NotAsked::Unreadable) => Ask::NoWay(UNREADABLE),
    }
}

/// Name of the parameter that holds a SAML request, in lower case.
const MESSAGE: &str = "samlrequest";

fn has(pairs: &str, name: &str) -> bool {
    pairs.split('&').any(|pair| name_of(pair) == name)
}

fn value_of(pair: &str) -> Option<String> {
    let (_, value) = pair.split_once('=')?;
    let value = value.replace('+', " ");
    let value = percent_decode_str(&value).decode_utf8().ok()?;
    Some(value.into_owned())
}

/// Name of a parameter, as a server may read it: decoded, whatever its case, without blanks around it.
fn name_of(pair: &str) -> String {
    let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
    let name = percent_decode_str(&name).decode_utf8_lossy();
    name.trim().to_lowercase()
}
