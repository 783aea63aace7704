//! Objects of the directory and their properties, small enough that a tenant of 300,000 users is a matter of
//! megabytes.

use serde_json::Value;
use uuid::Uuid;

/// What an object is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An account of a person.
    User,
    /// A group.
    Group,
    /// A device.
    Device,
    /// An application's account in the tenant.
    ServicePrincipal,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [
        Self::User,
        Self::Group,
        Self::Device,
        Self::ServicePrincipal,
    ];

    /// `@odata.type`
    pub fn odata(self) -> &'static str {
        match self {
            Self::User => "#microsoft.graph.user",
            Self::Group => "#microsoft.graph.group",
            Self::Device => "#microsoft.graph.device",
            Self::ServicePrincipal => "#microsoft.graph.servicePrincipal",
        }
    }

    /// The segment of a path that lists them.
    pub fn path(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Group => "groups",
            Self::Device => "devices",
            Self::ServicePrincipal => "servicePrincipals",
        }
    }

    /// The properties that it may have.
    pub fn properties(self) -> &'static [Property] {
        match self {
            Self::User => USER,
            Self::Group => GROUP,
            Self::Device => DEVICE,
            Self::ServicePrincipal => SERVICE_PRINCIPAL,
        }
    }

    /// Number of the property of that name.
    pub fn key(self, name: &str) -> Option<Key> {
        let found = self
            .properties()
            .iter()
            .position(|property| property.name == name)?;
        Some(u8::try_from(found).expect("no kind has more than 64 properties"))
    }

    /// The properties that a list shows without `$select`.
    pub fn standard(self) -> Mask {
        let standard = self.properties().iter().enumerate();
        standard
            .filter(|(_, property)| property.standard)
            .fold(0, |mask, (key, _)| mask | 1 << key)
    }
}

/// Number of a property in the table of its kind.
pub type Key = u8;

/// A set of properties of one kind, a bit each.
pub type Mask = u64;

/// A property that objects of a kind may have.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Of what form its values are.
    pub form: Form,
    /// Whether a list shows it without being asked.
    pub standard: bool,
}

/// The form of a property's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `Edm.String`
    Text,
    /// `Edm.DateTimeOffset`
    Time,
    /// `Edm.Boolean`
    Flag,
    /// `Collection(Edm.String)`
    Texts,
    /// A complex value, or a collection of such.
    Complex,
}

/// A property's value. What was never set is not there; what was cleared is [`Prop::Null`].
#[derive(Debug, Clone, PartialEq)]
pub enum Prop {
    /// It was cleared.
    Null,
    /// A Boolean.
    Flag(bool),
    /// A text or a moment.
    Text(Box<str>),
    /// A collection of texts.
    Texts(Box<[Box<str>]>),
    /// A complex value.
    Complex(Box<Value>),
}

impl Prop {
    /// From JSON, if it has the form of `property`.
    pub fn from_json(property: &Property, value: &Value) -> Option<Self> {
        Some(match (property.form, value) {
            (_, Value::Null) => Self::Null,
            (Form::Flag, Value::Bool(flag)) => Self::Flag(*flag),
            (Form::Text, Value::String(text)) => Self::Text(text.as_str().into()),
            (Form::Time, Value::String(text)) => {
                let parsed = time::OffsetDateTime::parse(
                    text,
                    &time::format_description::well_known::Rfc3339,
                );
                parsed.ok()?;
                Self::Text(text.as_str().into())
            }
            (Form::Texts, Value::Array(texts)) => {
                let texts = texts.iter().map(|text| text.as_str().map(Into::into));
                Self::Texts(texts.collect::<Option<_>>()?)
            }
            (Form::Complex, value @ (Value::Object(_) | Value::Array(_))) => {
                Self::Complex(Box::new(value.clone()))
            }
            _ => return None,
        })
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => Value::Bool(*flag),
            Self::Text(text) => Value::from(&**text),
            Self::Texts(texts) => texts.iter().map(|text| Value::from(&**text)).collect(),
            Self::Complex(value) => (**value).clone(),
        }
    }
}

/// Whether an object is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is.
    Live,
    /// Soft-deleted at that second since 1970: it can be restored for 30 days.
    Deleted(i64),
    /// Gone for good.
    Purged,
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its id.
    pub id: Uuid,
    /// What it is.
    pub kind: Kind,
    /// Whether it is there.
    pub state: State,
    /// What was ever set, by key.
    pub props: Vec<(Key, Prop)>,
}

impl Object {
    /// The value of a property; nothing when it was never set.
    pub fn prop(&self, key: Key) -> Option<&Prop> {
        let found = self.props.binary_search_by_key(&key, |(key, _)| *key);
        found.ok().map(|at| &self.props[at].1)
    }

    /// Sets a property, and returns what it was.
    pub fn set(&mut self, key: Key, value: Prop) -> Option<Prop> {
        match self.props.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => Some(std::mem::replace(&mut self.props[at].1, value)),
            Err(at) => {
                self.props.insert(at, (key, value));
                None
            }
        }
    }

    /// A text by the property's name; empty when it has none.
    pub fn text(&self, name: &str) -> &str {
        let key = self.kind.key(name);
        match key.and_then(|key| self.prop(key)) {
            Some(Prop::Text(text)) => text,
            _ => "",
        }
    }
}

const fn shown(name: &'static str, form: Form) -> Property {
    Property {
        name,
        form,
        standard: true,
    }
}

const fn asked(name: &'static str, form: Form) -> Property {
    Property {
        name,
        form,
        standard: false,
    }
}

const USER: &[Property] = &[
    shown("businessPhones", Form::Texts),
    shown("displayName", Form::Text),
    shown("givenName", Form::Text),
    shown("jobTitle", Form::Text),
    shown("mail", Form::Text),
    shown("mobilePhone", Form::Text),
    shown("officeLocation", Form::Text),
    shown("preferredLanguage", Form::Text),
    shown("surname", Form::Text),
    shown("userPrincipalName", Form::Text),
    asked("accountEnabled", Form::Flag),
    asked("ageGroup", Form::Text),
    asked("assignedLicenses", Form::Complex),
    asked("assignedPlans", Form::Complex),
    asked("city", Form::Text),
    asked("companyName", Form::Text),
    asked("country", Form::Text),
    asked("createdDateTime", Form::Time),
    asked("creationType", Form::Text),
    asked("department", Form::Text),
    asked("employeeHireDate", Form::Time),
    asked("employeeId", Form::Text),
    asked("employeeLeaveDateTime", Form::Time),
    asked("employeeType", Form::Text),
    asked("externalUserState", Form::Text),
    asked("externalUserStateChangeDateTime", Form::Time),
    asked("identities", Form::Complex),
    asked("lastPasswordChangeDateTime", Form::Time),
    asked("mailNickname", Form::Text),
    asked("onPremisesDistinguishedName", Form::Text),
    asked("onPremisesDomainName", Form::Text),
    asked("onPremisesExtensionAttributes", Form::Complex),
    asked("onPremisesImmutableId", Form::Text),
    asked("onPremisesLastSyncDateTime", Form::Time),
    asked("onPremisesSamAccountName", Form::Text),
    asked("onPremisesSecurityIdentifier", Form::Text),
    asked("onPremisesSyncEnabled", Form::Flag),
    asked("onPremisesUserPrincipalName", Form::Text),
    asked("otherMails", Form::Texts),
    asked("passwordPolicies", Form::Text),
    asked("proxyAddresses", Form::Texts),
    asked("securityIdentifier", Form::Text),
    asked("showInAddressList", Form::Flag),
    asked("signInActivity", Form::Complex),
    asked("signInSessionsValidFromDateTime", Form::Time),
    asked("usageLocation", Form::Text),
    asked("userType", Form::Text),
];

const GROUP: &[Property] = &[
    shown("classification", Form::Text),
    shown("createdDateTime", Form::Time),
    shown("description", Form::Text),
    shown("displayName", Form::Text),
    shown("expirationDateTime", Form::Time),
    shown("groupTypes", Form::Texts),
    shown("isAssignableToRole", Form::Flag),
    shown("mail", Form::Text),
    shown("mailEnabled", Form::Flag),
    shown("mailNickname", Form::Text),
    shown("membershipRule", Form::Text),
    shown("membershipRuleProcessingState", Form::Text),
    shown("onPremisesDomainName", Form::Text),
    shown("onPremisesLastSyncDateTime", Form::Time),
    shown("onPremisesNetBiosName", Form::Text),
    shown("onPremisesSamAccountName", Form::Text),
    shown("onPremisesSecurityIdentifier", Form::Text),
    shown("onPremisesSyncEnabled", Form::Flag),
    shown("preferredDataLocation", Form::Text),
    shown("preferredLanguage", Form::Text),
    shown("proxyAddresses", Form::Texts),
    shown("renewedDateTime", Form::Time),
    shown("securityEnabled", Form::Flag),
    shown("securityIdentifier", Form::Text),
    shown("theme", Form::Text),
    shown("uniqueName", Form::Text),
    shown("visibility", Form::Text),
];

const DEVICE: &[Property] = &[
    shown("accountEnabled", Form::Flag),
    shown("deviceId", Form::Text),
    shown("displayName", Form::Text),
    shown("operatingSystem", Form::Text),
];

const SERVICE_PRINCIPAL: &[Property] = &[
    shown("accountEnabled", Form::Flag),
    shown("appDisplayName", Form::Text),
    shown("appId", Form::Text),
    shown("displayName", Form::Text),
    shown("servicePrincipalType", Form::Text),
];
