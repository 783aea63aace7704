//! A tenant as Graph tells it: pages of the delta functions of users and groups (JSON, 200 objects each).

use serde_json::{Map, Value, json};
use weir_entra::model::{Group, Id, MemberKind, Text, User};

use crate::tenant::Tenant;

/// Objects of a page, and members that one page tells of a group.
const PAGE: usize = 200;
/// Where the next changes are told, in the words of Graph.
const LINK: &str = "https://graph.microsoft.com/v1.0/groups/delta?$deltatoken=0123456789abcdef";

/// All users that are live.
pub fn users(tenant: &Tenant) -> impl Iterator<Item = Vec<u8>> {
    let live = tenant.users().filter(|(_, user)| user.gone.is_none());
    pages(live.map(|(id, told)| user(id, &told)))
}

/// All groups that are live, then all members of each, at most [`PAGE`] at a time.
pub fn groups(tenant: &Tenant) -> impl Iterator<Item = Vec<u8>> {
    let live = tenant.groups().filter(|(_, group)| group.gone.is_none());
    let groups = live.map(|(id, told)| group(id, &told));
    let mut edges = tenant.edges().peekable();
    let members = std::iter::from_fn(move || {
        let (group, ..) = *edges.peek()?;
        let mut told = Vec::with_capacity(PAGE);
        while told.len() < PAGE {
            let Some((_, member, kind)) = edges.next_if(|(of, ..)| *of == group) else {
                break;
            };
            told.push(json!({ "@odata.type": name(kind), "id": member }));
        }
        Some(json!({ "id": group, "members@delta": told }))
    });
    pages(groups.chain(members))
}

/// The page of a round in which one person left a group, or came.
pub fn one_member(group: Id, member: Id, left: bool) -> Vec<u8> {
    let mut told = json!({ "@odata.type": name(MemberKind::User), "id": member });
    if left {
        told["@removed"] = json!({ "reason": "deleted" });
    }
    let group = json!({ "id": group, "members@delta": [told] });
    json!({ "@odata.deltaLink": LINK, "value": [group] })
        .to_string()
        .into_bytes()
}

fn pages(mut objects: impl Iterator<Item = Value>) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let page: Vec<Value> = objects.by_ref().take(PAGE).collect();
        // Which of them is the last one the reader of pages need not know.
        let page = (!page.is_empty()).then(|| json!({ "@odata.nextLink": LINK, "value": page }));
        page.map(|page| page.to_string().into_bytes())
    })
}

fn user(id: Id, user: &User) -> Value {
    let mut told = texts(&Text::OF_USERS, |text| user.texts.get(&text));
    told.insert("id".into(), json!(id));
    told.insert("accountEnabled".into(), json!(user.enabled));
    Value::Object(told)
}

fn group(id: Id, group: &Group) -> Value {
    let mut told = texts(&Text::OF_GROUPS, |text| group.texts.get(&text));
    told.insert("id".into(), json!(id));
    told.insert("securityEnabled".into(), json!(group.security));
    Value::Object(told)
}

/// Properties without a value are told too, as null.
fn texts<'a>(
    all: &[(Text, &str)],
    value: impl Fn(Text) -> Option<&'a String>,
) -> Map<String, Value> {
    let all = all.iter();
    all.map(|(text, name)| ((*name).to_owned(), json!(value(*text))))
        .collect()
}

fn name(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Group => "#microsoft.graph.group",
        MemberKind::Device => "#microsoft.graph.device",
        _ => "#microsoft.graph.user",
    }
}
