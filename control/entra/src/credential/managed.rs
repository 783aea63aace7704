//! The identity of the machine that Weir runs on: Azure's instance metadata service hands out tokens for it.

use url::Url;

use crate::model::Id;

/// Where every machine in Azure finds the service.
const SERVICE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// The version of the interface.
const VERSION: &str = "2018-02-01";

/// A managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedIdentity {
    service: Url,
    assigned: Assigned,
}

/// Which of the machine's identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// The machine's own.
    System,
    /// One given to it, by its application id.
    Client(Id),
    /// One given to it, by its object id.
    Object(Id),
    /// One given to it, by its resource id.
    Resource(String),
}

impl ManagedIdentity {
    /// At the address where Azure has the service.
    pub fn new(assigned: Assigned) -> Self {
        let service = Url::parse(SERVICE).expect("the constant is an address");
        Self::at(service, assigned)
    }

    /// Elsewhere.
    pub fn at(service: Url, assigned: Assigned) -> Self {
        Self { service, assigned }
    }

    /// What is asked for a token, but for the resource.
    pub(crate) fn address(&self) -> Url {
        let mut url = self.service.clone();
        url.query_pairs_mut().append_pair("api-version", VERSION);
        match &self.assigned {
            Assigned::System => (),
            Assigned::Client(id) => add(&mut url, "client_id", &id.to_string()),
            Assigned::Object(id) => add(&mut url, "object_id", &id.to_string()),
            Assigned::Resource(id) => add(&mut url, "msi_res_id", id),
        }
        url
    }

    /// What is asked for a token.
    pub(crate) fn token_url(&self, resource: &str) -> Url {
        let mut url = self.address();
        add(&mut url, "resource", resource);
        url
    }
}

fn add(url: &mut Url, name: &str, value: &str) {
    url.query_pairs_mut().append_pair(name, value);
}
