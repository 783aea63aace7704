//! A directory with a configuration, certificates and lists.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use weir_config::{Loaded, Report, load_at};

/// A directory that goes away with this value.
pub struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    /// With `chain.pem` and `key.pem` for both services of the full example, `ca.pem` and a list.
    pub fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        let (chain, key) = certificate(&["sts.corp.example", "*.corp.example"]);
        site.write("chain.pem", &chain);
        site.write("key.pem", &key);
        site.write("ca.pem", &chain);
        site.write(
            "lists/casb.list",
            "# egress of the reverse proxy\n198.51.100.0/25\n",
        );
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    /// Writes `weir.toml` and loads it, at a time when its certificates are valid.
    pub fn load(&self, text: &str) -> Result<Loaded, Report> {
        self.write("weir.toml", text);
        load_at(self.path("weir.toml"), day(2026, 6, 1))
    }

    /// What the configuration is told, with paths from this directory.
    pub fn said(&self, text: &str) -> String {
        let report = match self.load(text) {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        self.plain(&report)
    }

    /// The report as the operator reads it, with paths from this directory.
    pub fn plain(&self, report: &Report) -> String {
        report
            .to_string()
            .replace(&format!("{}/", self.directory.path().display()), "")
    }
}

/// A chain and a key, valid in 2026.
pub fn certificate(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 12, 31);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

pub fn day(year: i32, month: u8, day: u8) -> SystemTime {
    let seconds = date_time_ymd(year, month, day).unix_timestamp();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().expect("after 1970"))
}

pub const FULL: &str = include_str!("../files/full.toml");

/// The full example with one line in place of another.
pub fn with(old: &str, new: &str) -> String {
    assert_eq!(FULL.matches(old).count(), 1, "{old}");
    FULL.replacen(old, new, 1)
}
