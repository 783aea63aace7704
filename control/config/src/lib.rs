//! The configuration file: read, checked, and turned into what the rest of Weir works with.
//!
//! In: one TOML file, and the certificates, keys and list files that it names. Out: [`Config`], in
//! which every value is typed and every path resolved, and a [`Report`] of everything that is wrong
//! or doubtful with it, each with file, line, column and what to write instead. All problems of a file
//! are reported at once.
//!
//! This crate reads files and, in [`load`], the clock (certificates expire). It never changes
//! anything, never opens the network, and never puts key material into a message.

mod by_list;
mod certificate;
mod check;
mod config;
mod diagnostic;
mod entra;
mod file;
pub mod init;
mod load;
mod read;
mod reader;
mod rehearse;
mod replies;
mod schema;
mod servers;
mod source;
mod syntax;
mod tokens;
mod users;

pub use by_list::ByList;
pub use certificate::{end_of, words_of};
pub use config::{
    Appliance, CertificateFiles, Config, Contents, Directory, Grants, HookSetting, Kernel,
    ListSource, Loaded, Managed, Nat, Outbound, ProxyDown, Remote, Service, Upstream,
};
pub use diagnostic::{Diagnostic, Report, Severity};
pub use entra::{CredentialSource, Entra, GroupClass};
pub use file::read_file;
pub use load::{
    load, load_at, load_lists, load_lists_with, load_text, read_configuration, sha256,
    state_directory,
};
pub use rehearse::{Whole, load_rules};
pub use schema::closest;
pub use tokens::{KeyPlace, KeySource, KeySources, Tokens};
pub use users::{load_countries, load_users, load_users_with};
