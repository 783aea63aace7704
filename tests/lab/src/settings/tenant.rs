//! How Weir is told to keep a tenant's directory in step, and what it signs in with.

use std::fmt::Write as _;
use std::path::PathBuf;

use weir_lab_servers::plan::Plan;

use crate::tenant::{APPLICATION, CALLBACK};

/// The tenant, as the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// What Weir signs in with.
    pub credential: Slot,
    /// What it signs in with soon.
    pub next: Option<Slot>,
    /// A list of managed sources comes from the tenant's named location of this name.
    pub location: Option<&'static str>,
}

/// A certificate of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The one that the application was registered with.
    First,
    /// Another, made later.
    Second,
    /// One that ends soon.
    Ending,
}

impl Tenant {
    /// With the first certificate.
    pub const USUAL: Self = Self {
        credential: Slot::First,
        next: None,
        location: None,
    };

    /// `[entra]`, and the list. Nothing is read by itself while a row is done: each round is asked for.
    pub(super) fn table(self, plan: &Plan) -> String {
        let cloud = &plan.cloud;
        let mut text = format!(
            r#"
[entra]
tenant = "{}"
application = "{APPLICATION}"
login = "https://{}"
graph = "https://{}"
ca = "{}"
callback = "{CALLBACK}"
[entra.every]
users = "12h"
groups = "12h"
roles = "12h"
locations = "12h"
[entra.limits]
users = {{ floor = 10, percent = 5 }}
"#,
            cloud.tenant,
            cloud.sign_in.host,
            cloud.graph.host,
            plan.files().ca().display(),
        );
        let slots = [
            ("credential", Some(self.credential)),
            ("next_credential", self.next),
        ];
        for (key, slot) in slots {
            let Some([certificate, private]) = slot.map(|slot| slot.files(plan)) else {
                continue;
            };
            write!(
                text,
                "[entra.{key}]\ncertificate = \"{}\"\nkey = \"{}\"\n",
                certificate.display(),
                private.display()
            )
            .expect("writing to a string does not fail");
        }
        if let Some(location) = self.location {
            write!(
                text,
                "\n[[list]]\nname = \"plant\"\nclass = \"managed\"\nnamed_location = \"{location}\"\n"
            )
            .expect("writing to a string does not fail");
        }
        text
    }
}

impl Slot {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::First, Self::Second, Self::Ending];

    /// Certificate and key, as Weir reads them. They are Weir's own: a disconnection destroys them.
    pub fn files(self, plan: &Plan) -> [PathBuf; 2] {
        let name = match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Ending => "ending",
        };
        let directory = plan.directory.join("etc/entra");
        ["pem", "key"].map(|kind| directory.join(format!("{name}.{kind}")))
    }
}
