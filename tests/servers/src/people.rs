//! The lab's people: who can sign in, what is claimed about them, with which device and which second factor.
//!
//! In: nothing but literals. Out: [`User`]s for the plan. Ids are made of names, so that every run has the same ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User principal name: what is typed as the user name.
    pub upn: String,
    /// `DOMAIN\name`, also accepted as the user name.
    pub account: String,
    /// Full name.
    pub display_name: String,
    /// Password, in clear.
    pub password: String,
    /// The anchor that joins the on-premises user to the cloud user (base64 of a GUID).
    pub immutable_id: String,
    /// The cloud user's id.
    pub object_id: String,
    /// The security identifier on premises.
    pub sid: String,
    /// Department, issued as a claim.
    pub department: String,
    /// What the user may see, issued as a claim.
    pub access_level: String,
    /// Group names, issued as claims; their ids are [`id_of`] the names.
    pub groups: Vec<String>,
    /// Roles, issued as claims.
    pub roles: Vec<String>,
    /// The code that the second page takes; a user without one cannot give a second factor.
    pub second_factor: Option<String>,
    /// The device that the user signs in with, as far as the service knows it.
    pub device: Option<Device>,
}

/// A device that is known to a federation service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its system.
    pub system: String,
    /// Whether it is registered for this user.
    pub registered: bool,
    /// Whether it is under management.
    pub managed: bool,
    /// Whether it satisfies what management asks for.
    pub compliant: bool,
    /// How it is joined: `Workplace`, `AzureAd` or `ServerAd`.
    pub trust: String,
}

impl User {
    /// The domain of the user principal name, lower case.
    pub fn domain(&self) -> String {
        self.upn
            .rsplit_once('@')
            .map_or_else(String::new, |(_, domain)| domain.to_ascii_lowercase())
    }

    /// The directory's id of the user, as it is spelt there: what [`User::immutable_id`] encodes.
    pub fn object_guid(&self) -> Option<Uuid> {
        let bytes: [u8; 16] = STANDARD.decode(&self.immutable_id).ok()?.try_into().ok()?;
        Some(Uuid::from_bytes_le(bytes))
    }

    /// The ids of the user's groups, in the order of their names.
    pub fn group_ids(&self) -> Vec<String> {
        self.groups
            .iter()
            .map(|name| id_of(name).to_string())
            .collect()
    }
}

/// The id of a thing of the cloud, by its name.
pub fn id_of(name: &str) -> Uuid {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    Uuid::from_slice(&digest.as_ref()[..16]).expect("sixteen bytes make an id")
}

/// Who can sign in: of each domain one, of one three, and one in more groups than a token holds.
pub fn users() -> Vec<User> {
    let groups = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let mut alice = user(
        "alice",
        "mex.corp.example",
        "Alice Arden",
        "Correct-Horse-1",
    );
    "Engineering".clone_into(&mut alice.department);
    "high".clone_into(&mut alice.access_level);
    alice.groups = groups(&["staff", "engineers"]);
    alice.roles = groups(&["Steering.Admin"]);
    alice.device = Some(device("alice", true, true, "ServerAd"));
    let mut bob = user(
        "bob",
        "nomex.corp.example",
        "Bob Bailey",
        "Battery&Staple<2>",
    );
    "Finance".clone_into(&mut bob.department);
    "medium".clone_into(&mut bob.access_level);
    bob.groups = groups(&["staff", "finance"]);
    bob.device = Some(device("bob", true, false, "AzureAd"));
    let carol = user("carol", "mex-adfs.corp.example", "Carol Chen", "Pässwörd-3");
    let mut dave = user(
        "dave",
        "nomex-adfs.corp.example",
        "Dave Dunn",
        "Spaces in here 4",
    );
    dave.groups = groups(&["staff", "contractors"]);
    dave.second_factor = None;
    dave.device = Some(device("dave", false, false, "Workplace"));
    let erin = user(
        "erin",
        "mex-adfs.corp.example",
        "Erin Egger",
        "Often-Here-5",
    );
    let frank = user(
        "frank",
        "mex-adfs.corp.example",
        "Frank Frey",
        "Often-Here-6",
    );
    let mut grace = user("grace", "nomex.corp.example", "Grace Goh", "Everywhere-7");
    "Operations".clone_into(&mut grace.department);
    "high".clone_into(&mut grace.access_level);
    grace.groups = (1..=GROUPS_OF_GRACE)
        .map(|number| format!("project-{number:03}"))
        .collect();
    vec![alice, bob, carol, dave, erin, frank, grace]
}

/// More than the 200 that a JWT holds, and the 150 of an assertion.
const GROUPS_OF_GRACE: usize = 210;

fn user(name: &str, domain: &str, display: &str, password: &str) -> User {
    let upn = format!("{name}@{domain}");
    let number = u32::from_be_bytes(
        id_of(&upn).as_bytes()[..4]
            .try_into()
            .expect("four bytes of sixteen"),
    );
    User {
        account: format!("CORP\\{name}"),
        display_name: display.to_owned(),
        password: password.to_owned(),
        immutable_id: STANDARD.encode(format!("{name:0>16}")),
        object_id: id_of(&upn).to_string(),
        sid: format!(
            "S-1-5-21-1004336348-1177238915-682003330-{}",
            number % 9000 + 1000
        ),
        department: "Sales".to_owned(),
        access_level: "low".to_owned(),
        groups: vec!["staff".to_owned()],
        roles: Vec::new(),
        second_factor: Some(format!("{:06}", number % 1_000_000)),
        device: None,
        upn,
    }
}

fn device(owner: &str, managed: bool, compliant: bool, trust: &str) -> Device {
    let name = format!("{owner}-laptop");
    Device {
        id: id_of(&name).to_string(),
        name,
        system: "Windows".to_owned(),
        registered: true,
        managed,
        compliant,
        trust: trust.to_owned(),
    }
}
