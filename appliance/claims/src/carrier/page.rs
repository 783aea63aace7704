//! The page whose form sends a token on, read as a browser reads it.
//!
//! `lol_html` finds the tags, attributes and scripts as a browser's tokenizer does, and stops where a browser's
//! tree would decide. Which form a field belongs to is then clear, as long as nothing stands in the page
//! that moves fields between forms: whatever does is trouble, and trouble counts where a token is.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use lol_html::html_content::{Element, EndTag, TextChunk, TextType};
use lol_html::{
    DocumentContentHandlers, ElementContentHandlers, HtmlRewriter, MemorySettings, Settings,
};
use url::Url;

use super::fields::{self, Named, is_code, named};
use super::references::decoded;
use super::{By, Carried, Unreadable, marks};

/// Memory for the tags that are open, in bytes: about a thousand deep.
const MAX_OPEN: usize = 128 << 10;
/// Most end tags: each may be compared with all that is open.
const MAX_ENDS: usize = 16 << 10;
const HTML: &str = "http://www.w3.org/1999/xhtml";
/// Charsets that have ASCII where UTF-8 has it.
const ASCII_ALIKE: [&str; 6] = [
    "us-ascii",
    "ascii",
    "iso-8859-1",
    "iso-8859-15",
    "latin1",
    "windows-1252",
];

/// A form with a token, or a code.
#[derive(Debug)]
pub(super) struct TokenForm {
    /// Names and values of its fields, in order; values of those that are not about tokens are left out.
    pub(super) fields: Vec<(String, String)>,
    /// Where it is sent.
    pub(super) action: Url,
    /// Where the value of its attribute `action` stands in the body, without quotes.
    pub(super) place: Range<usize>,
    /// The page limits where forms may be sent.
    pub(super) limited: bool,
}

impl TokenForm {
    pub(super) fn carried(&self) -> Carried {
        let action = self.action.to_string();
        fields::carried(&self.fields, By::Form { action })
    }
}

/// The one form of a page that carries something; none in a page that carries nothing.
pub(super) fn read(
    body: &[u8],
    charset: Option<&str>,
    url: &Url,
) -> Result<Option<TokenForm>, Unreadable> {
    if body.starts_with(b"\xfe\xff") || body.starts_with(b"\xff\xfe") || body.contains(&0) {
        return Err(Unreadable("the page is not UTF-8"));
    }
    if body.windows(2).filter(|two| two == b"</").count() > MAX_ENDS {
        return Err(Unreadable("the page has too many elements"));
    }
    let (charset, start) = match body.strip_prefix(b"\xef\xbb\xbf") {
        Some(_) => (Some("utf-8"), 3),
        None => (charset, 0),
    };
    let text = String::from_utf8_lossy(&body[start..]);
    let reading = Rc::new(RefCell::new(Reading::default()));
    walk(&text, &reading).map_err(|()| Unreadable("the page is not read alike by all browsers"))?;
    let mut reading = reading.take();
    reading.end();
    reading.judge_charset(charset, &text, &body[start..])?;
    reading.result(url, start)
}

fn walk(text: &str, reading: &Rc<RefCell<Reading>>) -> Result<(), ()> {
    let (tags, texts, comments) = (Rc::clone(reading), Rc::clone(reading), Rc::clone(reading));
    let on_tag = move |element: &mut Element<'_, '_>| {
        let tag = element.tag_name();
        if matches!(tag.as_str(), "form" | "select") && element.can_have_content() {
            let (ends, number) = (Rc::clone(&tags), tags.borrow().tags);
            let opened = tag.clone();
            element.on_end_tag(Box::new(move |end: &mut EndTag<'_>| {
                ends.borrow_mut().closed(&opened, number, &end.name());
                Ok(())
            }))?;
        }
        tags.borrow_mut().tag(&tag, element);
        Ok(())
    };
    let on_text = move |chunk: &mut TextChunk<'_>| {
        texts.borrow_mut().text(chunk);
        Ok(())
    };
    let on_comment = move |comment: &mut lol_html::html_content::Comment<'_>| {
        comments.borrow_mut().marked |= marks::in_text(&comment.text());
        Ok(())
    };
    let all = "*".parse().expect("`*` is a selector");
    let mut memory = MemorySettings::new();
    memory.max_allowed_memory_usage = MAX_OPEN;
    memory.preallocated_parsing_buffer_size = 0;
    let mut settings = Settings::new();
    settings.element_content_handlers = vec![(
        std::borrow::Cow::Owned(all),
        ElementContentHandlers::default().element(on_tag),
    )];
    settings.document_content_handlers = vec![
        DocumentContentHandlers::default()
            .text(on_text)
            .comments(on_comment),
    ];
    settings.memory_settings = memory;
    settings.strict = true;
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    rewriter.write(text.as_bytes()).map_err(|_| ())?;
    rewriter.end().map_err(|_| ())
}

/// An attribute.
struct Attribute {
    name: String,
    /// Its text; `None` when not everybody reads it alike.
    value: Option<String>,
    place: Option<Range<usize>>,
}

/// Fields of a form.
#[derive(Default)]
struct Form {
    fields: Vec<(String, String)>,
    action: Option<String>,
    place: Option<Range<usize>>,
    /// Number of its tag.
    tag: usize,
    has_token: bool,
}

/// What has been seen of a page.
#[derive(Default)]
struct Reading {
    /// Tags that were opened.
    tags: usize,
    open: Option<Form>,
    /// The form with a token.
    found: Option<Form>,
    /// Something looks like a token and is not a field of a form.
    marked: bool,
    /// What leaves it open who gets which field.
    trouble: Option<&'static str>,
    selects: BTreeSet<usize>,
    limited: bool,
    charset: Option<String>,
    /// Text of the script, or the like, that is being read.
    raw: String,
}

impl Reading {
    fn trouble(&mut self, what: &'static str) {
        self.trouble.get_or_insert(what);
    }

    fn tag(&mut self, tag: &str, element: &Element<'_, '_>) {
        let number = self.tags;
        self.tags += 1;
        let html = element.namespace_uri() == HTML;
        let attributes: Vec<Attribute> = element
            .attributes()
            .iter()
            .map(|attribute| Attribute {
                name: attribute.name(),
                value: decoded(&attribute.value()),
                place: attribute.value_source_location().map(|at| at.bytes()),
            })
            .collect();
        let mut names = BTreeSet::new();
        if !attributes
            .iter()
            .all(|attribute| names.insert(attribute.name.as_str()))
        {
            self.trouble("an element has an attribute twice");
        }
        let is = |names: &[&str]| names.contains(&tag);
        if is(&[
            "form", "input", "select", "button", "textarea", "base", "meta",
        ]) && !html
        {
            self.trouble("a form, or a field, stands in foreign content");
        }
        if is(&["template", "frameset", "datalist", "plaintext"]) {
            self.trouble("the page has an element in which fields are not what they seem");
        }
        if is(&["svg", "math"]) && self.open.is_some() {
            self.trouble("there is foreign content in a form");
        }
        if names.contains("form")
            || ["formaction", "formmethod", "formenctype"]
                .iter()
                .any(|name| names.contains(name))
        {
            self.trouble("a field or a button says by itself where it is sent");
        }
        match tag {
            "base" if names.contains("href") => self.trouble("the page has a <base>"),
            "fieldset" if names.contains("disabled") => self.trouble("fields are disabled"),
            "meta" => self.meta(&attributes),
            "select" => {
                self.selects.insert(number);
            }
            "form" => self.form(number, &attributes),
            _ => {}
        }
        if tag == "input" && self.token(&attributes) {
            return;
        }
        for attribute in &attributes {
            self.attribute(tag, attribute);
        }
    }

    /// An attribute of anything but a token's field.
    fn attribute(&mut self, tag: &str, attribute: &Attribute) {
        match (attribute.name.as_str(), &attribute.value) {
            ("name", None) => self.marked = true,
            ("name", Some(name)) => {
                // A field named `code` that is shown asks for one.
                let asks = tag == "input" && name.eq_ignore_ascii_case("code");
                self.marked |= named(name) != Named::No && !asks;
            }
            ("value", _) if tag == "input" => {}
            (_, None) => {}
            (name, Some(value)) => {
                self.marked |= marks::in_code(value);
                if name.starts_with("on") {
                    self.script(value);
                }
            }
        }
    }

    fn meta(&mut self, attributes: &[Attribute]) {
        let content = value(attributes, "content").unwrap_or_default();
        if let Some(charset) = value(attributes, "charset") {
            self.charset.get_or_insert(charset.to_owned());
        }
        let about = value(attributes, "http-equiv").unwrap_or_default();
        if about.eq_ignore_ascii_case("refresh") {
            self.trouble("the page leads elsewhere by itself (meta refresh)");
        } else if about.eq_ignore_ascii_case("content-type") {
            if let (_, Some(charset)) = super::media_type(content) {
                self.charset.get_or_insert(charset.to_owned());
            }
        } else if about.eq_ignore_ascii_case("content-security-policy") {
            self.limited |= content.to_ascii_lowercase().contains("form-action");
        }
    }

    fn form(&mut self, number: usize, attributes: &[Attribute]) {
        if self.open.is_some() {
            return self.trouble("there is a form in a form");
        }
        let is = |name: &str, wanted: &[&str]| {
            attribute(attributes, name).is_some_and(|given| {
                let given = given
                    .value
                    .as_deref()
                    .unwrap_or("?")
                    .trim()
                    .to_ascii_lowercase();
                wanted.contains(&given.as_str())
            })
        };
        let has = |name: &str| attribute(attributes, name).is_some();
        // Counts only if it turns out to hold a token.
        let plain = is("method", &["post"])
            && (!has("enctype") || is("enctype", &["application/x-www-form-urlencoded"]))
            && (!has("accept-charset") || is("accept-charset", &["utf-8"]));
        let action = attribute(attributes, "action").filter(|_| plain && self.selects.is_empty());
        self.open = Some(Form {
            action: action.and_then(|action| action.value.clone()),
            place: action.and_then(|action| action.place.clone()),
            tag: number,
            ..Form::default()
        });
    }

    /// Whether an `input` is a token's field, which then belongs to the form that is open.
    fn token(&mut self, attributes: &[Attribute]) -> bool {
        let Some(name) = attribute(attributes, "name") else {
            return false;
        };
        let Some(name) = name.value.clone() else {
            return false;
        };
        let kind = value(attributes, "type").unwrap_or_default();
        let hidden = kind.trim().eq_ignore_ascii_case("hidden");
        let filled = attribute(attributes, "value");
        let is_token = match named(&name) {
            Named::Is("code") => hidden || filled.is_some_and(|filled| filled.place_len() > 0),
            Named::Is(_) => true,
            Named::No | Named::Perhaps => {
                filled.is_some_and(|filled| is_code(&name, filled.value.as_deref()))
            }
        };
        let Some(form) = &mut self.open else {
            self.marked |= is_token;
            return false;
        };
        if !is_token {
            form.fields.push((name, String::new()));
            return false;
        }
        form.has_token = true;
        if !self.selects.is_empty() {
            self.trouble
                .get_or_insert("a token's field stands in a list");
        }
        let value = filled.and_then(|filled| filled.value.clone());
        match value {
            Some(value) if hidden && attribute(attributes, "disabled").is_none() => {
                form.fields.push((name, value));
            }
            _ => self.trouble("a token's field is not a plain hidden one"),
        }
        true
    }

    fn closed(&mut self, tag: &str, number: usize, by: &str) {
        if tag == "select" {
            self.selects.remove(&number);
        }
        if by != tag {
            self.trouble("a form, or a list, is ended by something else");
        }
        if tag == "form" && self.open.as_ref().is_some_and(|form| form.tag == number) {
            self.ended();
        }
    }

    fn ended(&mut self) {
        let Some(form) = self.open.take().filter(|form| form.has_token) else {
            return;
        };
        if self.found.replace(form).is_some() {
            self.trouble("more than one form holds a token");
        }
    }

    fn text(&mut self, chunk: &TextChunk<'_>) {
        let kind = chunk.text_type();
        if kind == TextType::Data {
            return;
        }
        self.raw.push_str(chunk.as_str());
        if chunk.last_in_text_node() {
            let raw = std::mem::take(&mut self.raw);
            if kind == TextType::ScriptData {
                self.marked |= marks::in_code(&raw);
                self.script(&raw);
                return;
            }
            self.marked |= marks::in_text(&raw);
            let raw = raw.to_ascii_lowercase();
            if raw.contains("<form") || raw.contains("</form") {
                self.trouble("there is a form that only some browsers see");
            }
        }
    }

    /// A script that says where forms go, or writes the page.
    fn script(&mut self, script: &str) {
        let writes = [".action", "formaction", "document.write"];
        if writes.iter().any(|what| script.contains(what)) {
            self.trouble("a script changes the page, or where its form is sent");
        }
    }

    /// The end of the page.
    fn end(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        self.marked |= marks::in_code(&raw);
        if self.open.is_some() {
            self.trouble("a form does not end");
            self.ended();
        }
    }

    fn judge_charset(
        &mut self,
        charset: Option<&str>,
        text: &str,
        body: &[u8],
    ) -> Result<(), Unreadable> {
        let charset = charset
            .or(self.charset.as_deref())
            .map(str::to_ascii_lowercase);
        let alike = |name: &str| ASCII_ALIKE.contains(&name);
        let clear = match charset.as_deref().map(str::trim) {
            Some("utf-8" | "utf8") => text.as_bytes() == body,
            Some(other) if !alike(other) => {
                return Err(Unreadable("the page is not UTF-8"));
            }
            Some(_) | None => body.is_ascii(),
        };
        if !clear {
            self.trouble("the page is not UTF-8");
        }
        Ok(())
    }

    fn result(self, url: &Url, start: usize) -> Result<Option<TokenForm>, Unreadable> {
        if self.marked {
            let why = "something looks like a token and is not a field of the page's form";
            return Err(Unreadable(self.trouble.unwrap_or(why)));
        }
        let Some(form) = self.found else {
            return Ok(None);
        };
        if let Some(why) = self.trouble {
            return Err(Unreadable(why));
        }
        let target = form.action.as_deref().map(|action| url.join(action));
        let (Some(Ok(action)), Some(place)) = (target, form.place) else {
            return Err(Unreadable(
                "the form with the token is not posted to a plain address",
            ));
        };
        Ok(Some(TokenForm {
            fields: form.fields,
            action,
            place: place.start + start..place.end + start,
            limited: self.limited,
        }))
    }
}

impl Attribute {
    fn place_len(&self) -> usize {
        self.place.as_ref().map_or(0, Range::len)
    }
}

fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name == name)
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attribute(attributes, name).and_then(|attribute| attribute.value.as_deref())
}
