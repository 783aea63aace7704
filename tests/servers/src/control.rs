//! What a federation service is told while it runs: which product it is, which keys it signs with, and what it does
//! otherwise than usual.
//!
//! In: one small JSON file per service, read anew for every request, so that whoever conducts the lab writes it and
//! goes on. Out: a [`Control`]. A single request can ask for a [`Twist`] too, in the header field `x-lab-twist` or the
//! query parameter `lab_twist`, several separated by commas.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::http::Request;
use crate::plan::{Files, Plan, Product, ServicePlan, write_private};

/// The state of a service that can be changed while it runs. What the file does not name is as usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Which product the service is, if it is not the plan's.
    pub product: Option<Product>,
    /// Which token-signing keys are in use.
    pub keys: Keys,
    /// What is done otherwise, for everybody.
    pub twists: Vec<Twist>,
    /// The same, for single users by principal name.
    pub users: BTreeMap<String, Vec<Twist>>,
}

/// Which token-signing keys a service uses and publishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// Signs with the first key, publishes the second too.
    #[default]
    First,
    /// Signs with the second key, still publishes the first.
    Rolled,
    /// Signs with the third key, publishes the fourth too: nothing is as it was.
    Replaced,
}

/// What a service does otherwise than usual. Those that do not fit the token at hand change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Twist {
    /// The token has no signature.
    Unsigned,
    /// The token is signed with a key that the service does not publish.
    Foreign,
    /// The token was good until an hour ago.
    Expired,
    /// The token is for somebody else.
    Audience,
    /// The token is changed after it was signed: an assertion is wrapped around the signed one.
    Wrapped,
    /// A second assertion, changed, stands beside the signed one.
    Doubled,
    /// The token is encrypted: a blob of the right shape.
    Encrypted,
    /// SAML: the response is signed, the assertion in it is not.
    ResponseSigned,
    /// SAML: only a reference to the response is handed over.
    Artifact,
    /// OAuth: the answer is in the query of a redirection, whatever was asked.
    Query,
    /// OAuth: the answer is in the fragment of a redirection, whatever was asked.
    Fragment,
    /// OAuth: the answer is a form, whatever was asked.
    FormPost,
    /// The service does not know the device.
    NoDevice,
}

impl Keys {
    /// Positions of the signing key and of the other published one among a service's keys.
    pub fn positions(self) -> [usize; 2] {
        match self {
            Self::First => [0, 1],
            Self::Rolled => [1, 0],
            Self::Replaced => [2, 3],
        }
    }
}

impl Control {
    /// What the service is told now; the usual, if it was never told anything.
    pub fn load(files: Files<'_>, service: &str) -> io::Result<Self> {
        match std::fs::read(files.control(service)) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Tells the service, in one step: from its next request on.
    pub fn save(&self, files: Files<'_>, service: &str) -> io::Result<()> {
        let path = files.control(service);
        let new = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self).expect("string keys only");
        write_private(&new, &text)?;
        std::fs::rename(new, path)
    }

    /// What is done otherwise for this user.
    pub fn twists_for(&self, upn: &str) -> impl Iterator<Item = Twist> {
        let own = self
            .users
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(upn))
            .map_or(&[][..], |(_, twists)| twists);
        self.twists.iter().chain(own).copied()
    }
}

/// The service of that name, as it is told to be now. What cannot be read changes nothing here: the service itself
/// complains of it.
pub fn service_now(plan: &Plan, name: &str) -> Option<ServicePlan> {
    let mut service = plan.service(name)?.clone();
    if let Ok(control) = Control::load(plan.files(), name) {
        service.product = control.product.unwrap_or(service.product);
    }
    Some(service)
}

/// What the request itself asks for, or the word that is not known.
pub fn asked(request: &Request) -> Result<Vec<Twist>, String> {
    let query = request.query();
    [request.header("x-lab-twist"), query.get("lab_twist")]
        .into_iter()
        .flatten()
        .flat_map(|words| words.split(','))
        .map(|word| {
            <Twist as clap::ValueEnum>::from_str(word.trim(), false)
                .map_err(|_| format!("lab_twist: there is no {word}"))
        })
        .collect()
}
