//! Fields that hold tokens, wherever they are sent from.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{By, Carried, Found, Kind, unreadable};

/// Names of fields that hold a token or lead to one, in lower case.
pub(super) const NAMES: [&str; 6] = [
    "wresult",
    "samlresponse",
    "id_token",
    "access_token",
    "code",
    "samlart",
];

/// Whether a name is one of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It is not.
    No,
    /// It is, for everybody.
    Is(&'static str),
    /// It is for some: .NET passes over soft hyphens and control characters, PHP reads `id.token` as `id_token`.
    Perhaps,
}

pub(super) fn named(name: &str) -> Named {
    if let Some(known) = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return Named::Is(known);
    }
    let visible = |text: &str| -> String { text.chars().filter(char::is_ascii_graphic).collect() };
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let (seen, spelt) = (visible(name), letters(name));
    let alike = NAMES.iter().any(|known| {
        known.eq_ignore_ascii_case(&seen) || (*known != "code" && letters(known) == spelt)
    });
    if alike { Named::Perhaps } else { Named::No }
}

/// What fields carry that are sent together.
pub(super) fn carried(fields: &[(String, String)], by: By) -> Carried {
    let mut held: Vec<(&'static str, &str)> = Vec::new();
    for (name, value) in fields {
        match named(name) {
            Named::No => {}
            Named::Perhaps => return unreadable("a field is named almost like one for a token"),
            Named::Is(name) if held.iter().any(|(other, _)| *other == name) => {
                return Carried::Several;
            }
            Named::Is(name) => held.push((name, value)),
        }
    }
    let of = |name: &str| {
        held.iter()
            .find(|(held, _)| *held == name)
            .map(|(_, value)| *value)
    };
    let whole = ["wresult", "samlresponse", "id_token"];
    let first = whole
        .iter()
        .filter_map(|name| of(name).map(|value| (*name, value)));
    let mut first = first.collect::<Vec<_>>().into_iter();
    let chosen = match (first.next(), first.next()) {
        (Some(_), Some(_)) => return Carried::Several,
        (Some(chosen), None) => chosen,
        (None, _) => match (of("access_token"), of("code").or(of("samlart"))) {
            (Some(token), _) => ("access_token", token),
            (None, Some("")) => return unreadable("the field for a code is empty"),
            (None, Some(_)) => return Carried::Code(by),
            (None, None)
                if fields
                    .iter()
                    .any(|(name, value)| is_code(name, Some(value))) =>
            {
                return Carried::Code(by);
            }
            (None, None) => return Carried::Nothing,
        },
    };
    let (name, value) = chosen;
    let text = match name {
        "wresult" => xml(value.to_owned()).map(|text| (Kind::Wresult, text)),
        "samlresponse" => unpacked(value).map(|text| (Kind::SamlResponse, text)),
        "id_token" => match value.split('.').count() {
            3 => Ok((Kind::IdToken, value.to_owned())),
            5 => return Carried::Opaque(by),
            _ => Err("the id_token is not a JWT"),
        },
        _ if value.is_empty() => Err("the field for an access token is empty"),
        _ if value.starts_with("eyJ") && value.split('.').count() == 3 => {
            Ok((Kind::AccessToken, value.to_owned()))
        }
        _ => return Carried::Opaque(by),
    };
    match text {
        Err(why) => unreadable(why),
        Ok((kind, text)) => Carried::Token(Found {
            kind,
            text,
            by,
            others: fields
                .iter()
                .map(|(other, _)| other.clone())
                .filter(|other| !other.eq_ignore_ascii_case(name))
                .collect(),
        }),
    }
}

/// Whether a field is what its value makes it: a ticket of CAS (protocol 3.0, section 3.1), or a whole answer,
/// signed or encrypted, with a code or tokens in it (JARM, section 2.3: `query.jwt`, `fragment.jwt` and
/// `form_post.jwt`). A value that cannot be read may be any.
pub(super) fn is_code(name: &str, value: Option<&str>) -> bool {
    let begins = [("response", "eyJ"), ("ticket", "ST-")];
    begins.iter().any(|(known, begin)| {
        known.eq_ignore_ascii_case(name) && value.is_none_or(|value| value.starts_with(begin))
    })
}

/// The XML of a `SAMLResponse` of the POST binding (SAML bindings 3.5.4): base64 that may be broken into
/// lines, and nothing else; what decoders disagree about is refused.
fn unpacked(value: &str) -> Result<String, &'static str> {
    let clean: Vec<u8> = value
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\t'))
        .collect();
    let bytes = BASE64_STANDARD
        .decode(clean)
        .map_err(|_| "the SAMLResponse is not plain base64")?;
    String::from_utf8(bytes)
        .map_err(|_| "the SAMLResponse is not XML in UTF-8")
        .and_then(xml)
}

/// XML that everybody takes for UTF-8, without its byte order mark.
pub(super) fn xml(mut text: String) -> Result<String, &'static str> {
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    if !text.trim_ascii_start().starts_with('<') {
        return Err("where a token is expected there is no XML");
    }
    if text.contains('\0') {
        return Err("the XML has characters that XML cannot have");
    }
    let declaration = text
        .strip_prefix("<?xml")
        .and_then(|rest| rest.split_once("?>"))
        .map(|(declaration, _)| declaration.to_ascii_lowercase());
    let encoding = declaration.as_deref().and_then(|declaration| {
        let (_, rest) = declaration.split_once("encoding")?;
        let quoted = rest.trim_start_matches([' ', '\t', '\r', '\n', '=']);
        quoted.get(1..)?.split(['"', '\'']).next()
    });
    match encoding {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(text),
        Some(_) => Err("the XML says that it is not UTF-8"),
    }
}
