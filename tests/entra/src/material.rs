//! The lab's keys and certificates: an authority, a server certificate, the key that signs tokens, and an application's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use weir_lab_servers::pki::{authority, server_leaf, token_signer};
use weir_lab_servers::plan::write_private;

/// Names and contents (PEM) of the files.
#[derive(Debug, Clone)]
pub struct Material {
    files: [(&'static str, String); 7],
}

/// The authority's certificate.
pub const CA: &str = "ca.pem";
/// The servers' chain.
pub const CHAIN: &str = "server.pem";
/// The servers' key.
pub const KEY: &str = "server.key";
/// The certificate of the key that signs tokens.
pub const SIGNING: &str = "signing.pem";
/// The key that signs tokens.
pub const SIGNING_KEY: &str = "signing.key";
/// The application's certificate.
pub const APP: &str = "app.pem";
/// The application's key.
pub const APP_KEY: &str = "app.key";

impl Material {
    /// New, for servers with these names.
    pub fn new(names: &[String]) -> Result<Self, weir_lab_servers::pki::Error> {
        let ca = authority("Weir Lab Cloud Authority")?;
        let (chain, key) = server_leaf(&ca, names)?;
        let (signing, signing_key) = token_signer("Entra Signing")?;
        let (app, app_key) = token_signer("weir-directory-sync")?;
        Ok(Self {
            files: [
                (CA, ca.pem()),
                (CHAIN, chain),
                (KEY, key),
                (SIGNING, signing),
                (SIGNING_KEY, signing_key),
                (APP, app),
                (APP_KEY, app_key),
            ],
        })
    }

    /// For `localhost` and the names of the global cloud: made once in a process.
    pub fn shared() -> &'static Self {
        static MADE: OnceLock<Material> = OnceLock::new();
        MADE.get_or_init(|| {
            let names = NAMES.map(str::to_owned);
            Self::new(&names).expect("the names are good and the algorithms known")
        })
    }

    /// What stands in `directory`.
    pub fn load(directory: &Path) -> io::Result<Self> {
        let mut files =
            [CA, CHAIN, KEY, SIGNING, SIGNING_KEY, APP, APP_KEY].map(|name| (name, String::new()));
        for (name, content) in &mut files {
            *content = std::fs::read_to_string(directory.join(*name))?;
        }
        Ok(Self { files })
    }

    /// Writes them into `directory`.
    pub fn save(&self, directory: &Path) -> io::Result<()> {
        for (name, content) in &self.files {
            write_private(&path(directory, name), content.as_bytes())?;
        }
        Ok(())
    }

    /// One of them, as PEM.
    pub fn get(&self, wanted: &str) -> &str {
        let found = self.files.iter().find(|(name, _)| *name == wanted);
        found.map_or("", |(_, content)| content.as_str())
    }
}

/// The host names of the servers' certificate.
pub const NAMES: [&str; 3] = [
    "localhost",
    "login.microsoftonline.com",
    "graph.microsoft.com",
];

/// Where one of them stands.
pub fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}
