//! A form on a page, as a browser would fill it in and send it.

/// A form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Where it is sent; empty for where it came from.
    pub action: String,
    /// What is sent, in order.
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The first form of a page. Boxes that are not ticked send nothing.
    pub fn first(page: &str) -> Option<Self> {
        let (_, form) = page.split_once("<form")?;
        let (head, rest) = form.split_once('>')?;
        let inside = rest.split("</form>").next().unwrap_or(rest);
        let tags = inside.split('<').filter(|tag| {
            let name = tag.split_whitespace().next().unwrap_or_default();
            name == "input" || name == "button"
        });
        let fields = tags.filter_map(|tag| {
            let tag = tag.split('>').next().unwrap_or(tag);
            if attribute(tag, "type").as_deref() == Some("checkbox") {
                return None;
            }
            let name = attribute(tag, "name")?;
            Some((name, attribute(tag, "value").unwrap_or_default()))
        });
        Some(Self {
            action: attribute(head, "action").unwrap_or_default(),
            fields: fields.collect(),
        })
    }

    /// What it sends by that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(found, _)| found == name)?;
        Some(value)
    }

    /// Types into the field of that name; whether there is one.
    pub fn fill(&mut self, name: &str, value: &str) -> bool {
        let mut fields = self.fields.iter_mut();
        let field = fields.find(|(found, _)| found == name);
        field.is_some_and(|(_, old)| {
            value.clone_into(old);
            true
        })
    }
}

/// The value of an attribute within a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = format!("{name}=\"");
    let after = tag.match_indices(&start).find_map(|(at, _)| {
        let before = tag[..at].chars().next_back();
        before
            .is_none_or(char::is_whitespace)
            .then(|| &tag[at + start.len()..])
    })?;
    Some(plain(after.split('"').next()?))
}

/// Text of a page without the references in it.
pub fn plain(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let reference = part.split_once(';');
        let found = reference.and_then(|(name, rest)| Some((meant(name)?, rest)));
        if let Some((character, rest)) = found {
            plain.push(character);
            plain.push_str(rest);
        } else {
            plain.push('&');
            plain.push_str(part);
        }
    }
    plain
}

fn meant(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_sends_what_a_browser_would_send() {
        let page = "<html><form id=\"f\" method=\"post\" action=\"https&#x3a;//a.example/?b=1&amp;c\"><div>\
                    <input type=\"hidden\" name=\"wresult\" value=\"&lt;a b=&#34;c&quot;/&gt;\" />\
                    <input name=\"user\" type=\"text\"/><input type=\"checkbox\" name=\"Kmsi\" value=\"true\"/>\
                    <button type=\"submit\" name=\"_go\">Go</button></div></form><form action=\"/\"></form>";
        let mut form = Form::first(page).expect("there is one");
        assert_eq!(form.action, "https://a.example/?b=1&c");
        assert!(form.fill("user", "alice") && !form.fill("Kmsi", "true"));
        let fields: Vec<(&str, &str)> = (form.fields.iter())
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(
            fields,
            [("wresult", "<a b=\"c\"/>"), ("user", "alice"), ("_go", "")]
        );
        assert_eq!(Form::first("<p>No form.</p>"), None);
    }
}
