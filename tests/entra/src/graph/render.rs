//! Objects and collections as JSON text, written as they are read: a page is never built twice.

use serde_json::Value;
use uuid::Uuid;

use super::query::{DELETED, ID, Selected};
use crate::world::clock::written;
use crate::world::directory::{Slot, View};
use crate::world::object::{Form, Mask, Prop, State};

/// A JSON object that is being written.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> Object<'a> {
    /// Begins one.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, begun: false }
    }

    /// Begins a member; its value is to be written next.
    pub fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if self.begun {
            self.out.push(b',');
        }
        self.begun = true;
        text(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A member with a text.
    pub fn text(&mut self, name: &str, value: &str) {
        text(self.name(name), value);
    }

    /// A member with any value.
    pub fn value(&mut self, name: &str, value: &Value) {
        json(self.name(name), value);
    }

    /// A member with an id.
    pub fn id(&mut self, id: Uuid) {
        let out = self.name("id");
        out.push(b'"');
        let mut buffer = Uuid::encode_buffer();
        out.extend(id.hyphenated().encode_lower(&mut buffer).bytes());
        out.push(b'"');
    }

    /// Ends it.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// Which properties of an object are written, and how.
#[derive(Debug, Clone, Copy)]
pub enum Tell {
    /// All that are selected; what was never set is null.
    All,
    /// Those of all that are selected that were ever set.
    Set,
    /// Of those that are selected only these.
    Changed(Mask),
    /// None: the right to read them is missing.
    Nothing,
}

/// Writes the properties of the object at `slot`, and its id where it is selected.
pub fn properties(
    object: &mut Object<'_>,
    view: &View<'_>,
    slot: Slot,
    selected: Selected,
    tell: Tell,
) {
    let known = view.object(slot);
    for (key, property) in known.kind.properties().iter().enumerate() {
        let bit = 1 << key;
        if !selected.shows(bit) {
            continue;
        }
        let key = u8::try_from(key).expect("no kind has more than 64 properties");
        let value = match tell {
            Tell::Changed(changed) if changed & bit == 0 => continue,
            Tell::Nothing => None,
            _ => view.prop(slot, key),
        };
        match (value, tell) {
            (Some(value), _) => prop(object.name(property.name), value, property.form),
            (None, Tell::All | Tell::Nothing) => {
                prop(object.name(property.name), &Prop::Null, property.form);
            }
            (None, Tell::Set | Tell::Changed(_)) => {}
        }
    }
    if selected.shows(DELETED) && matches!(tell, Tell::All) {
        let deleted = match view.state(slot) {
            State::Deleted(at) => time::OffsetDateTime::from_unix_timestamp(at)
                .map(written)
                .ok(),
            State::Live | State::Purged => None,
        };
        object.value("deletedDateTime", &deleted.into());
    }
    if selected.shows(ID) {
        object.id(known.id);
    }
}

/// What stands around the items of a collection.
#[derive(Debug, Default)]
pub struct Envelope {
    /// What follows `$metadata#`.
    pub context: String,
    /// `@odata.count`
    pub count: Option<usize>,
    /// `@odata.nextLink`
    pub next: Option<String>,
    /// `@odata.deltaLink`
    pub delta: Option<String>,
}

impl Envelope {
    /// The collection of `items`, which are written JSON with commas between them.
    pub fn around(&self, graph: &str, items: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(items.len() + 512);
        let mut page = Object::new(&mut out);
        let context = format!("{graph}/v1.0/$metadata#{}", self.context);
        page.text("@odata.context", &context);
        if let Some(count) = self.count {
            page.value("@odata.count", &count.into());
        }
        for (name, link) in [
            ("@odata.nextLink", &self.next),
            ("@odata.deltaLink", &self.delta),
        ] {
            if let Some(link) = link {
                page.text(name, link);
            }
        }
        let value = page.name("value");
        value.push(b'[');
        value.extend(items);
        value.push(b']');
        page.end();
        out
    }
}

/// Begins one more item.
pub fn item(items: &mut Vec<u8>) -> Object<'_> {
    if !items.is_empty() {
        items.push(b',');
    }
    Object::new(items)
}

/// Writes JSON.
pub fn json(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("writing to memory succeeds");
}

fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing to memory succeeds");
}

fn prop(out: &mut Vec<u8>, value: &Prop, form: Form) {
    match value {
        Prop::Text(value) => text(out, value),
        Prop::Flag(flag) => out.extend(if *flag { &b"true"[..] } else { b"false" }),
        Prop::Null if form == Form::Texts => out.extend(b"[]"),
        Prop::Null => out.extend(b"null"),
        Prop::Texts(_) | Prop::Complex(_) => json(out, &value.to_json()),
    }
}
