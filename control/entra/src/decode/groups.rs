//! Groups and their members.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess};

use super::fields::Guid;
use super::patch::{Patch, Read, told};
use super::{Malformed, envelope};
use crate::model::{Edge, GroupPatch, Id, Item, MemberKind, Page, Text};

/// A page of changes, with those of members.
pub fn changes(body: &[u8]) -> Result<Page<Item<GroupPatch>>, Malformed> {
    let page = envelope::changes::<Read<GroupPatch>>(body)?;
    Ok(page.map(|Read(item)| item))
}

/// A page of the list, without members.
pub fn list(body: &[u8]) -> Result<Page<Item<GroupPatch>>, Malformed> {
    let page = envelope::list::<Read<GroupPatch>>(body)?;
    Ok(page.map(|Read(item)| item))
}

/// A page of the members of one group.
pub fn members(body: &[u8]) -> Result<Page<Edge>, Malformed> {
    #[derive(Deserialize)]
    struct Owned {
        #[serde(rename = "@odata.type", default)]
        kind: Option<String>,
        id: Guid,
    }
    let page = envelope::list::<Owned>(body)?;
    Ok(page.map(|member| Edge {
        member: member.id.0,
        kind: kind(member.kind.as_deref()),
        is_member: true,
    }))
}

/// Which groups the tenant says that a user is in (`checkMemberGroups`).
pub fn checked(body: &[u8]) -> Result<Vec<Id>, Malformed> {
    let page = envelope::list::<Guid>(body)?;
    Ok(page.items.into_iter().map(|guid| guid.0).collect())
}

/// An entry of `members@delta`.
#[derive(Deserialize)]
struct Member<'a> {
    #[serde(rename = "@odata.type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    id: Guid,
    #[serde(rename = "@removed", default)]
    removed: Option<IgnoredAny>,
}

impl Patch for GroupPatch {
    const TEXTS: &'static [(Text, &'static str)] = &Text::OF_GROUPS;

    fn texts(&mut self) -> &mut BTreeMap<Text, Option<String>> {
        &mut self.texts
    }

    fn take<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<bool, M::Error> {
        match name {
            "securityEnabled" => self.security = told(map)?,
            "mailEnabled" => self.mail_enabled = told(map)?,
            "groupTypes" => self.types = told(map)?,
            "isAssignableToRole" => self.role_assignable = told(map)?,
            "members@delta" => {
                let members = map.next_value::<Option<Vec<Member<'de>>>>()?;
                self.members
                    .extend(members.into_iter().flatten().map(|member| Edge {
                        member: member.id.0,
                        kind: kind(member.kind.as_deref()),
                        is_member: member.removed.is_none(),
                    }));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn kind(odata: Option<&str>) -> MemberKind {
    let name = odata.map(|odata| odata.trim_start_matches('#'));
    match name {
        Some("microsoft.graph.user") => MemberKind::User,
        Some("microsoft.graph.group") => MemberKind::Group,
        Some("microsoft.graph.device") => MemberKind::Device,
        Some("microsoft.graph.servicePrincipal") => MemberKind::ServicePrincipal,
        _ => MemberKind::Other,
    }
}
