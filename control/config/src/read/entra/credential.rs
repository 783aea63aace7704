//! `[entra.credential]` and `[entra.next_credential]`.

use std::path::Path;

use weir_entra::credential::Assigned;

use super::guid;
use crate::entra::CredentialSource;
use crate::reader::{At, Context, Span, Table};
use crate::schema::{self, Section};

/// A credential, and where its files are named.
pub(crate) struct DraftCredential {
    pub(crate) source: CredentialSource,
    /// The certificate or the secret; the identity where there is no file.
    pub(crate) span: Span,
    /// The key, or the same.
    pub(crate) key_span: Span,
}

/// Each is one of these.
const KINDS: [&str; 3] = ["certificate", "secret", "managed_identity"];

/// The one that is signed in with.
pub(super) fn present(
    context: &Context<'_>,
    table: &Table<'_>,
    base: &Path,
) -> Option<DraftCredential> {
    if !table.has("credential") && !table.is_misspelt("credential") {
        table.missing(
            "credential",
            "write these lines, with the files of a certificate that is registered with the application:\n\
             [entra.credential]\ncertificate = \"entra.pem\"\nkey = \"entra.key\"",
        );
    }
    read(
        context,
        table,
        "credential",
        &schema::ENTRA_CREDENTIAL,
        base,
    )
}

/// The one that comes next.
pub(super) fn next(
    context: &Context<'_>,
    table: &Table<'_>,
    base: &Path,
) -> Option<DraftCredential> {
    read(
        context,
        table,
        "next_credential",
        &schema::ENTRA_NEXT_CREDENTIAL,
        base,
    )
}

fn read(
    context: &Context<'_>,
    table: &Table<'_>,
    key: &str,
    section: &'static Section,
    base: &Path,
) -> Option<DraftCredential> {
    let table = table.table(key, section)?;
    let written: Vec<_> = KINDS.into_iter().filter(|key| table.has(key)).collect();
    if table.has("expires") && !table.has("secret") && !written.is_empty() {
        context.error(
            &table.key_span("expires"),
            "`expires` is for a secret",
            "a certificate says itself until when it is valid, and an identity needs no renewal: remove it",
        );
    }
    if table.has("key") && !table.has("certificate") {
        let help = "name the certificate of the key too: write `certificate = \"entra.pem\"`";
        table.missing("certificate", help);
        return None;
    }
    match written.as_slice() {
        ["certificate"] => certificate(&table, base),
        ["secret"] => secret(context, &table, base),
        [_] => managed_identity(context, &table),
        [] => {
            let help = "name the files of a certificate that is registered with the application: \
                        `certificate = \"entra.pem\"` and `key = \"entra.key\"`";
            table.missing("certificate", help);
            None
        }
        [first, .., last] => {
            context.error(
                &table.key_span(last),
                format!("this credential has both `{first}` and `{last}`"),
                "keep one of them; what is to come after it belongs in `[entra.next_credential]`",
            );
            None
        }
    }
}

fn certificate(table: &Table<'_>, base: &Path) -> Option<DraftCredential> {
    if !table.has("key") {
        let help = "write `key = \"entra.key\"`; one file may hold both: name it twice";
        table.missing("key", help);
    }
    let (certificate, key) = (table.string("certificate"), table.string("key"));
    let (certificate, key) = (certificate?, key?);
    Some(DraftCredential {
        source: CredentialSource::Certificate {
            certificate: base.join(&certificate.value),
            key: base.join(&key.value),
        },
        span: certificate.span,
        key_span: key.span,
    })
}

fn secret(context: &Context<'_>, table: &Table<'_>, base: &Path) -> Option<DraftCredential> {
    let At { value, span } = table.string("secret")?;
    let expires = table.date("expires");
    if !table.has("expires") {
        context.warning(
            &span,
            "nobody can warn before this secret expires",
            "the portal shows its day: write `expires = 2027-01-31`; Entra does not tell it with the secret",
        );
    }
    Some(DraftCredential {
        source: CredentialSource::Secret {
            file: base.join(value),
            expires: expires.map(|expires| expires.value),
        },
        key_span: span.clone(),
        span,
    })
}

fn managed_identity(context: &Context<'_>, table: &Table<'_>) -> Option<DraftCredential> {
    let key = "managed_identity";
    let span = table.value_span(key);
    let assigned = if table.is_string(key) {
        let At { value, .. } = table.string(key)?;
        let Some(id) = guid(&value) else {
            let help = "write the client id of an identity that is given to this machine, or `true` for its own";
            context.error(&span, format!("`{value}` is no id"), help);
            return None;
        };
        Assigned::Client(id)
    } else if table.boolean(key)? {
        Assigned::System
    } else {
        let help = "name another credential, or write `managed_identity = true`";
        context.error(&span, "this credential is none", help);
        return None;
    };
    Some(DraftCredential {
        source: CredentialSource::ManagedIdentity(assigned),
        key_span: span.clone(),
        span,
    })
}
