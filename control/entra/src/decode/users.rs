//! Users.

use std::collections::BTreeMap;

use serde::de::MapAccess;

use super::patch::{Patch, Read, moment, told};
use super::{Malformed, envelope};
use crate::model::{Item, Page, Text, UserPatch};

/// A page of changes.
pub fn changes(body: &[u8]) -> Result<Page<Item<UserPatch>>, Malformed> {
    let page = envelope::changes::<Read<UserPatch>>(body)?;
    Ok(page.map(|Read(item)| item))
}

/// A page of the list.
pub fn list(body: &[u8]) -> Result<Page<Item<UserPatch>>, Malformed> {
    let page = envelope::list::<Read<UserPatch>>(body)?;
    Ok(page.map(|Read(item)| item))
}

impl Patch for UserPatch {
    const TEXTS: &'static [(Text, &'static str)] = &Text::OF_USERS;

    fn texts(&mut self) -> &mut BTreeMap<Text, Option<String>> {
        &mut self.texts
    }

    fn take<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<bool, M::Error> {
        match name {
            "accountEnabled" => self.enabled = told(map)?,
            "proxyAddresses" => self.addresses = told(map)?,
            "createdDateTime" => self.created = moment(map)?,
            "signInSessionsValidFromDateTime" => self.sessions_valid_from = moment(map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
