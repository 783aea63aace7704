//! What an appliance is told of the lab's tenant.

use std::fmt::Write as _;

use crate::lab::Entra;
use crate::material;
use crate::world::populate::APP;

impl Entra {
    /// `[entra]` of an appliance's configuration, with a credential that the tenant takes; `more` stands in the table, or
    /// begins others of it.
    pub fn configuration(&self, more: &str) -> String {
        let ca = self.ca_file();
        let directory = ca.parent().expect("it lies in a folder");
        let [certificate, key] =
            [material::APP, material::APP_KEY].map(|name| material::path(directory, name));
        let mut text = format!(
            "[entra]\ntenant = \"{}\"\napplication = \"{APP}\"\nlogin = \"{}\"\ngraph = \"{}\"\nca = \"{}\"\n",
            self.tenant(),
            self.login(),
            self.graph(),
            ca.display(),
        );
        // What stands in the table itself comes before other tables.
        let tables = if more.starts_with('[') {
            Some(0)
        } else {
            more.find("\n[")
        };
        let (own, others) = more.split_at(tables.unwrap_or(more.len()));
        let (certificate, key) = (certificate.display(), key.display());
        let credential =
            format!("[entra.credential]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        write!(text, "{own}\n{credential}{others}\n").expect("a String takes everything");
        text
    }
}
