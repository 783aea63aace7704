//! `[profile.NAME]`

use weir_policy::{MfaSpec, PRESETS, Profile, ProfileChoice, ProfileError, ProfileSpec, RowSpec};

use super::rule::Fields;
use crate::reader::{At, Context, Span, Table};
use crate::schema;

/// A profile of one's own.
pub(crate) struct DraftProfile {
    pub(crate) name: At<String>,
    /// `None` when something is wrong with it, which has been said.
    pub(crate) spec: Option<ProfileSpec>,
}

pub(crate) fn read(context: &Context<'_>, name: At<String>, table: &Table<'_>) -> DraftProfile {
    let mut fields = Fields::default();
    if PRESETS.contains(&name.value.as_str()) {
        let message = format!("`{}` is a profile that comes with Weir", name.value);
        let help = format!(
            "choose another name, and begin from it: `[profile.my-{0}]` with `like = \"{0}\"`",
            name.value
        );
        context.error(&name.span, message, help);
    }
    let one = |fields: &mut Fields, table: &Table<'_>, key: &'static str, path: &str| {
        let item = table.string(key);
        fields.add(path, table.key_span(key), item.iter().cloned().collect());
        item.map(|item| item.value)
    };
    let many = |fields: &mut Fields, table: &Table<'_>, key: &'static str, path: &str| {
        let items = table.one_or_more(key).unwrap_or_default();
        let values = items.iter().map(|item| item.value.clone()).collect();
        fields.add(path, table.key_span(key), items);
        values
    };
    let mut rows = Vec::new();
    for (index, row) in table
        .tables("rows", &schema::PROFILE_ROW)
        .iter()
        .enumerate()
    {
        fields.add(&format!("rows.{index}"), row.span.clone(), Vec::new());
        for (key, help) in [
            (
                "path",
                "say which requests it means: `path = \"/sso/login\"`",
            ),
            ("flow", "say what they are: `flow = \"passive\"`"),
        ] {
            if !row.has(key) {
                row.missing(key, help);
            }
        }
        let at = |key| format!("rows.{index}.{key}");
        rows.push(RowSpec {
            methods: many(&mut fields, row, "methods", &at("methods")),
            path: one(&mut fields, row, "path", &at("path")).unwrap_or_default(),
            flow: one(&mut fields, row, "flow", &at("flow")).unwrap_or_default(),
            reads: many(&mut fields, row, "reads", &at("reads")),
        });
    }
    let mfa = table.table("mfa", &schema::PROFILE_MFA);
    let spec = ProfileSpec {
        like: one(&mut fields, table, "like", "like"),
        rows,
        users: many(&mut fields, table, "users", "users"),
        passwords: many(&mut fields, table, "passwords", "passwords"),
        relying_parties: many(&mut fields, table, "relying_parties", "relying_parties"),
        steps: many(&mut fields, table, "steps", "steps"),
        sign_out: one(&mut fields, table, "sign_out", "sign_out"),
        metadata: one(&mut fields, table, "metadata", "metadata"),
        jwks: one(&mut fields, table, "jwks", "jwks"),
        discovery: one(&mut fields, table, "discovery", "discovery"),
        health: one(&mut fields, table, "health", "health"),
        mfa: mfa.map_or_else(MfaSpec::default, |mfa| MfaSpec {
            wauth: one(&mut fields, &mfa, "wauth", "mfa"),
            authn_context: one(&mut fields, &mfa, "authn_context", "mfa"),
            acr_values: one(&mut fields, &mfa, "acr_values", "mfa"),
        }),
    };
    let errors = Profile::compile(&ProfileChoice::Own(Box::new(spec.clone()))).err();
    for error in errors.iter().flatten() {
        // What is missing has been said where it is missing, at the same place.
        let span = place(&fields, error).unwrap_or_else(|| table.span.clone());
        if !context.has_error_at(&span) {
            let (message, help) = crate::check::advice(&error.message, error.suggestion.as_deref());
            context.error(&span, message, help);
        }
    }
    DraftProfile {
        name,
        spec: errors.is_none().then_some(spec),
    }
}

fn place(fields: &Fields, error: &ProfileError) -> Option<Span> {
    let path = match error.row {
        Some(row) => format!("rows.{row}.{}", error.field),
        None => error.field.to_owned(),
    };
    fields.span(&path, &error.message)
}
