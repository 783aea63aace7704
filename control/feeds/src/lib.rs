//! Lists that come from elsewhere: an HTTPS address, Microsoft 365's endpoint service, or a named location of the
//! tenant.
//!
//! In flow the documents of others, who may err, be replaced or go away. Out come prefixes, and only after a
//! guard has looked at how they differ from what is in force ([`guard`]): a list that loses or gains much at once
//! is held until a person approves, and neither an error nor an empty answer ever empties one. What is kept of
//! a list is plain text beside a small file about it ([`Feed`]); whoever keeps them decides where and when.

mod feed;
pub mod guard;
pub mod microsoft365;
mod read;

pub use feed::{Approved, Failing, Feed, Held, NotHeld, Taken};
pub use read::{Fetched, Fetcher, Source, Unreadable, Web};
