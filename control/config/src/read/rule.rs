//! `[[rule]]`

use std::collections::BTreeMap;

use weir_policy::{RuleSpec, ThenSpec, Values, WhenSpec};

use crate::reader::{At, Context, Span, Table};
use crate::schema;

/// A rule as far as it could be read.
pub(crate) struct DraftRule {
    pub(crate) name: Option<At<String>>,
    /// `None` when a part without which it is no rule is missing.
    pub(crate) spec: Option<RuleSpec>,
    pub(crate) fields: Fields,
    pub(crate) span: Span,
}

/// Where the fields of a rule stand, by their path (`when.flow`, `when.not.user`, `then.target`).
#[derive(Default)]
pub(crate) struct Fields {
    keys: BTreeMap<String, Span>,
    values: BTreeMap<String, Vec<At<String>>>,
}

impl Fields {
    /// The value that a message about this field quotes, else the field, else what holds it.
    pub(crate) fn span(&self, path: &str, message: &str) -> Option<Span> {
        let quoted = self
            .values
            .get(path)
            .into_iter()
            .flatten()
            .find(|item| message.contains(&format!("`{}`", item.value)));
        if let Some(item) = quoted {
            return Some(item.span.clone());
        }
        let mut path = path;
        loop {
            if let Some(span) = self.keys.get(path) {
                return Some(span.clone());
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// Each value of a field and of its namesakes inside `not`.
    pub(crate) fn values_of(&self, key: &str) -> impl Iterator<Item = &At<String>> {
        let suffix = format!(".{key}");
        let fields = self
            .values
            .iter()
            .filter(move |(path, _)| path.ends_with(&suffix));
        fields.flat_map(|(_, items)| items)
    }
}

pub(crate) fn read(context: &Context<'_>, table: &Table<'_>) -> DraftRule {
    let name = table.string("name");
    if !table.has("name") {
        let help = "write `name = \"...\"`: it stands in every event that the rule decides";
        table.missing("name", help);
    }
    let name = name.filter(|name| {
        let possible = !name.value.is_empty()
            && name.value.len() <= 63
            && name
                .value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !possible {
            let help = "names have 1 to 63 letters, digits, `-`, `_` or `.`";
            context.error(
                &name.span,
                format!("`{}` cannot be a name", name.value),
                help,
            );
        }
        possible
    });
    let mut fields = Fields::default();
    fields.keys.insert("name".into(), table.key_span("name"));
    fields
        .values
        .insert("name".into(), name.clone().into_iter().collect());
    let when = match table.table("when", &schema::WHEN) {
        Some(when) => read_when(&when, "when", &mut fields),
        None => WhenSpec::default(),
    };
    if table.has("when") {
        fields.keys.insert("when".into(), table.key_span("when"));
    }
    let then = table.table("then", &schema::THEN);
    if table.has("then") {
        fields.keys.insert("then".into(), table.key_span("then"));
    } else {
        let help = "say what is done: `then = { decision = \"block\", reason = \"...\" }`";
        table.missing("then", help);
    }
    let then = then.and_then(|then| read_then(&then, &mut fields));
    let spec = name.as_ref().zip(then).map(|(name, then)| RuleSpec {
        name: name.value.clone(),
        when,
        then,
    });
    DraftRule {
        name,
        spec,
        fields,
        span: table.span.clone(),
    }
}

fn read_when(table: &Table<'_>, path: &str, fields: &mut Fields) -> WhenSpec {
    let mut values = |key: &str| {
        let items = table.one_or_more(key);
        let field = format!("{path}.{key}");
        if table.has(key) {
            fields.keys.insert(field.clone(), table.key_span(key));
        }
        let Some(items) = items else {
            return Values::Absent;
        };
        let words: Vec<String> = items.iter().map(|item| item.value.clone()).collect();
        fields.values.insert(field, items);
        match <[String; 1]>::try_from(words) {
            Ok([one]) => Values::One(one),
            Err(several) => Values::Many(several),
        }
    };
    let mut spec = WhenSpec {
        class: values("class"),
        list: values("list"),
        source: values("source"),
        flow: values("flow"),
        client: values("client"),
        host: values("host"),
        relying_party: values("relying_party"),
        application: values("application"),
        user: values("user"),
        not: None,
    };
    if let Some(not) = table.table("not", &schema::WHEN) {
        let path = format!("{path}.not");
        fields.keys.insert(path.clone(), table.key_span("not"));
        spec.not = Some(Box::new(read_when(&not, &path, fields)));
    }
    spec
}

fn read_then(table: &Table<'_>, fields: &mut Fields) -> Option<ThenSpec> {
    let mut value = |key: &str| {
        let item = table.string(key)?;
        let field = format!("then.{key}");
        fields.keys.insert(field.clone(), table.key_span(key));
        let text = item.value.clone();
        fields.values.insert(field, vec![item]);
        Some(text)
    };
    let (decision, reason, target) = (value("decision"), value("reason"), value("target"));
    if decision.is_none() && !table.has("decision") {
        let help = "write `decision = \"pass\"`, `\"redirect\"` or `\"block\"`";
        table.missing("decision", help);
    }
    Some(ThenSpec {
        decision: decision?,
        reason,
        target,
    })
}
