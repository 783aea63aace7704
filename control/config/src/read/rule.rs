//! `[[rule]]`

use std::collections::BTreeMap;

use weir_policy::{GrantSpec, RuleSpec, ThenSpec, TimeSpec, Values, WhenSpec};

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
    /// Says where a field stands, and with which values.
    pub(crate) fn add(&mut self, path: &str, key: Span, values: Vec<At<String>>) {
        self.keys.insert(path.to_owned(), key);
        self.values.insert(path.to_owned(), values);
    }

    /// The words of a key, and where they stand.
    fn values_at(&mut self, table: &Table<'_>, path: &str, key: &str) -> Values {
        if !table.has(key) {
            return Values::Absent;
        }
        let items = table.one_or_more(key);
        let words = items
            .iter()
            .flatten()
            .map(|item| item.value.clone())
            .collect();
        let is_read = items.is_some();
        let field = format!("{path}.{key}");
        self.add(&field, table.key_span(key), items.unwrap_or_default());
        if is_read {
            one_or_many(words)
        } else {
            Values::Absent
        }
    }

    /// The words of each name in a key, and where they stand.
    fn lists_at(
        &mut self,
        table: &Table<'_>,
        path: &str,
        key: &str,
        example: &str,
    ) -> BTreeMap<String, Values> {
        let field = format!("{path}.{key}");
        if table.has(key) {
            self.add(&field, table.key_span(key), Vec::new());
        }
        let mut all = BTreeMap::new();
        for (name, items) in table.lists_by_name(key, example) {
            let words = items.iter().map(|item| item.value.clone()).collect();
            self.add(&format!("{field}.{}", name.value), name.span, items);
            all.insert(name.value, one_or_many(words));
        }
        all
    }

    /// The text of a key, and where it stands.
    fn text_at(&mut self, table: &Table<'_>, path: &str, key: &str) -> Option<String> {
        let item = table.string(key)?;
        let text = item.value.clone();
        let field = format!("{path}.{key}");
        self.add(&field, table.key_span(key), vec![item]);
        Some(text)
    }

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
    let mut values = |key: &str| fields.values_at(table, path, key);
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
        service: values("service"),
        group: values("group"),
        role: values("role"),
        device: values("device"),
        method: values("method"),
        country: values("country"),
        location: values("location"),
        claim: BTreeMap::new(),
        attribute: BTreeMap::new(),
        authenticated_within: fields.text_at(table, path, "authenticated_within"),
        time: None,
        inside_network: table.boolean("inside_network"),
        not: None,
    };
    if table.has("inside_network") {
        let field = format!("{path}.inside_network");
        fields.add(&field, table.key_span("inside_network"), Vec::new());
    }
    let example = "claim = { department = \"it\" }";
    spec.claim = fields.lists_at(table, path, "claim", example);
    let example = "attribute = { department = \"Sales\" }";
    spec.attribute = fields.lists_at(table, path, "attribute", example);
    if let Some(time) = table.table("time", &schema::TIME) {
        let path = format!("{path}.time");
        fields.add(&path, table.key_span("time"), Vec::new());
        spec.time = Some(TimeSpec {
            days: fields.values_at(&time, &path, "days"),
            from: fields.text_at(&time, &path, "from"),
            to: fields.text_at(&time, &path, "to"),
            zone: fields.text_at(&time, &path, "zone"),
        });
    }
    if let Some(not) = table.table("not", &schema::WHEN) {
        let path = format!("{path}.not");
        fields.keys.insert(path.clone(), table.key_span("not"));
        spec.not = Some(Box::new(read_when(&not, &path, fields)));
    }
    spec
}

fn read_then(table: &Table<'_>, fields: &mut Fields) -> Option<ThenSpec> {
    let mut value = |key: &str| fields.text_at(table, "then", key);
    let (decision, reason, target) = (value("decision"), value("reason"), value("target"));
    let within = value("within");
    let grant = table.table("grant", &schema::GRANT).and_then(|grant| {
        fields.add("then.grant", table.key_span("grant"), Vec::new());
        for (key, example) in [("class", "class = \"managed\""), ("for", "for = \"30m\"")] {
            if !grant.has(key) {
                grant.missing(key, format!("write `{example}`"));
            }
        }
        Some(GrantSpec {
            class: fields.text_at(&grant, "then.grant", "class")?,
            lasts: fields.text_at(&grant, "then.grant", "for")?,
            kernel: grant.boolean("kernel").unwrap_or(false),
        })
    });
    if decision.is_none() && !table.has("decision") {
        let help = "write `decision = \"pass\"`, `\"redirect\"`, `\"block\"` or `\"step-up\"`";
        table.missing("decision", help);
    }
    Some(ThenSpec {
        decision: decision?,
        reason,
        target,
        within,
        grant,
    })
}

fn one_or_many(words: Vec<String>) -> Values {
    match <[String; 1]>::try_from(words) {
        Ok([one]) => Values::One(one),
        Err(several) => Values::Many(several),
    }
}
