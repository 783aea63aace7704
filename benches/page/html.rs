//! Markup that is well-formed, whatever the words in it are.

pub(super) use crate::report::thousands;

/// Markup, as it grows.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup of ours.
    pub(super) fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// Adds words.
    pub(super) fn text(&mut self, text: &str) {
        self.0.push_str(&escaped(text));
    }

    /// Adds an element with words in it. Attributes are ours, and may follow its name.
    pub(super) fn element(&mut self, name: &str, text: &str) {
        let closing = name.split(' ').next().unwrap_or(name);
        self.raw(&format!("<{name}>"));
        self.text(text);
        self.raw(&format!("</{closing}>\n"));
    }

    /// Adds a table. Columns that hold numbers are set to the right.
    pub(super) fn table(&mut self, caption: &str, head: &[&str], rows: &[Vec<Cell>]) {
        self.raw("<div class=\"scroll\"><table>\n");
        self.element("caption", caption);
        self.raw("<thead><tr>");
        for (at, name) in head.iter().enumerate() {
            let number = rows
                .iter()
                .any(|row| matches!(row.get(at), Some(Cell::Number(_))));
            let class = if number { " class=\"number\"" } else { "" };
            self.element(&format!("th scope=\"col\"{class}"), name);
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.raw("<tr>");
            for (at, cell) in row.iter().enumerate() {
                match cell {
                    Cell::Text(text) if at == 0 => self.element("th scope=\"row\"", text),
                    Cell::Text(text) => self.element("td", text),
                    Cell::Number(text) => self.element("td class=\"number\"", text),
                    Cell::Key(class, text) => {
                        self.raw("<th scope=\"row\">");
                        self.raw(&format!("<span class=\"key {class}\"></span>"));
                        self.text(text);
                        self.raw("</th>\n");
                    }
                }
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody>\n</table></div>\n");
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// What stands in a table.
pub(super) enum Cell {
    Text(String),
    Number(String),
    /// Words, and the colour that stands for them in a plot.
    Key(&'static str, String),
}

/// Words as they may stand in markup and in attributes. Control characters are no part of either.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// A measured number as people read it, without decimals.
pub(super) fn whole(number: f64) -> String {
    let rounded = format!("{:.0}", number.max(0.0));
    rounded.parse().map_or(rounded, thousands)
}

/// A share, in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A part of a whole.
pub(super) fn share(part: u64, of: u64) -> f64 {
    crate::live::float(part) / crate::live::float(of.max(1))
}
