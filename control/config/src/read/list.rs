//! `[[list]]`

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use weir_abi::Class;
use weir_tables::Scope;

use super::remote::{self, DraftRemote};
use super::values;
use crate::reader::{At, Context, Span, Table};

/// A list as far as it could be read.
pub(crate) struct DraftList {
    pub(crate) name: Option<At<String>>,
    pub(crate) class: Option<At<Class>>,
    pub(crate) scope: Scope,
    pub(crate) cut: bool,
    pub(crate) contents: Option<DraftContents>,
    pub(crate) span: Span,
}

/// Where its prefixes stand.
pub(crate) enum DraftContents {
    Inline { prefixes: Vec<IpNet>, span: Span },
    File(At<PathBuf>),
    Remote(DraftRemote),
}

impl DraftList {
    pub(crate) fn file(&self) -> Option<&At<PathBuf>> {
        match &self.contents {
            Some(DraftContents::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(crate) fn remote(&self) -> Option<&DraftRemote> {
        match &self.contents {
            Some(DraftContents::Remote(remote)) => Some(remote),
            _ => None,
        }
    }
}

const CLASSES: &[(&str, Class)] = &[
    ("managed", Class::Managed),
    ("bypass", Class::Bypass),
    ("blocked", Class::Blocked),
    ("relay", Class::Relay),
];

const SCOPES: &[(&str, Scope)] = &[("all", Scope::All), ("web", Scope::Web)];

pub(crate) fn read(context: &Context<'_>, table: &Table<'_>, base: &Path) -> DraftList {
    let class = table.word("class", CLASSES);
    if !table.has("class") {
        let help = "say what its sources are: `class = \"managed\"`, `\"bypass\"`, `\"blocked\"` or \
                    `\"relay\"`";
        table.missing("class", help);
    }
    let scope = table.word("scope", SCOPES);
    if let (Some(scope), Some(class)) = (&scope, &class)
        && scope.value == Scope::Web
        && class.value != Class::Bypass
    {
        context.error(
            &scope.span,
            format!("a {} list cannot be for browsers only", class.value.name()),
            "`scope = \"web\"` exempts browsers on `bypass` lists; remove it",
        );
    }
    let cut = table.boolean("cut");
    if let (Some(true), Some(class)) = (cut, &class)
        && class.value != Class::Blocked
    {
        context.error(
            &table.key_span("cut"),
            format!("a {} list cannot end flows", class.value.name()),
            "`cut = true` ends the flows of sources on `blocked` lists at once; remove it",
        );
    }
    let contents = contents(
        context,
        table,
        class.as_ref().map(|class| class.value),
        base,
    );
    DraftList {
        name: values::name(context, table, "hq-egress"),
        class,
        scope: scope.map_or(Scope::All, |scope| scope.value),
        cut: cut.unwrap_or(false),
        contents,
        span: table.span.clone(),
    }
}

/// The keys that say where entries stand: each list has one of them.
const PLACES: [&str; 5] = ["prefixes", "file", "url", "microsoft365", "named_location"];

fn contents(
    context: &Context<'_>,
    table: &Table<'_>,
    class: Option<Class>,
    base: &Path,
) -> Option<DraftContents> {
    let written: Vec<_> = PLACES.into_iter().filter(|key| table.has(key)).collect();
    remote::misplaced(context, table, &written);
    match written.as_slice() {
        ["prefixes"] => Some(DraftContents::Inline {
            prefixes: table
                .strings("prefixes")?
                .iter()
                .filter_map(|item| values::prefix(context, item))
                .collect(),
            span: table.key_span("prefixes"),
        }),
        ["file"] => table.string("file").map(|file| {
            DraftContents::File(At {
                value: base.join(&file.value),
                span: file.span,
            })
        }),
        [key] => remote::read(context, table, key, class, base).map(DraftContents::Remote),
        [] => {
            let help = "write `prefixes = [\"203.0.113.0/24\"]`, or `file = \"lists/NAME.list\"` for a \
                        list that can be edited while Weir runs";
            table.missing("prefixes", help);
            None
        }
        [first, .., last] => {
            let article = match *last {
                "file" | "named_location" => "a ",
                _ => "",
            };
            context.error(
                &table.key_span(last),
                format!("this list has both `{first}` and {article}`{last}`"),
                "keep one of them; only a list with a `file` can be edited by `weir lists add`",
            );
            None
        }
    }
}
