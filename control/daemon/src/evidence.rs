//! Evidence about the tenant, as somebody asks for it: exports that are signed and chained, and by what they are
//! verified.
//!
//! In: what of which time is wanted, and the store that the synchronisation keeps. Out: the whole export in a file
//! without a name, so that a client that reads slowly holds no view of the store; and its line of the chain, which is
//! on the disk before the first byte is handed out. An export whose client has gone is not finished. Everything here
//! blocks.

mod error;
mod stated;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Seek};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use weir_entra::model::Part;
use weir_entra::review::export::{Content, Format, Writer};
use weir_entra::review::exports::{Exports, Key, Signed};
use weir_entra::review::{
    Head, Moment, ReviewError, Row, What, access, head, head_between, joiners, leavers, posture,
};
use weir_entra::store::{Store, StoreError};

pub use error::EvidenceError;
pub use stated::Stated;

/// An account that did not sign in for so long is stale.
const STALE_AFTER: Duration = Duration::days(90);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of what.
    pub what: What,
    /// How it is written.
    pub format: Format,
    /// Of when.
    pub when: When,
}

/// Of when evidence is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As it is.
    Now,
    /// As it was.
    AsOf(Stated),
    /// From a time to another, or until now.
    Between(Stated, Option<Stated>),
}

/// An export that was made.
#[derive(Debug)]
pub struct Export {
    /// What it holds, from its beginning.
    pub file: File,
    /// How it is written.
    pub format: Format,
    /// Its line of the chain.
    pub signed: Signed,
}

/// Whether whoever asked has gone.
#[derive(Clone, Debug, Default)]
pub struct Gone(Arc<AtomicBool>);

/// Says so when it is dropped.
#[derive(Debug)]
pub struct Waiting(Gone);

/// Where exports are kept track of, and the key that signs them.
#[derive(Clone, Debug)]
pub struct Evidence {
    directory: PathBuf,
}

impl Evidence {
    /// That of a state directory.
    pub fn of(state: &Path) -> Self {
        Self {
            directory: state.join("entra").join("evidence"),
        }
    }

    /// The key that signs exports, which is made when there is none.
    pub fn key(&self) -> Result<Key, EvidenceError> {
        self.make_directory()?;
        Ok(Key::of(&self.directory)?)
    }

    /// The line of an export that was handed out.
    pub fn signed(&self, number: u64) -> Result<Signed, EvidenceError> {
        let public = self.key()?.public();
        let signed = Exports::of(&self.directory).signed(number, &public)?;
        signed.ok_or(EvidenceError::NoExport(number))
    }

    /// Makes an export, signs it, and adds it to the chain.
    pub fn export(
        &self,
        store: &Store,
        tenant: Uuid,
        wanted: Wanted,
        now: OffsetDateTime,
        gone: &Gone,
    ) -> Result<Export, EvidenceError> {
        is_read(store, Part::Users)?;
        let key = self.key()?;
        let mut file = self.spool()?;
        let (head, content) = write(&file, store, tenant, wanted, now, gone)?;
        let signed = Exports::of(&self.directory).add(&key, head, content)?;
        file.rewind().map_err(EvidenceError::Spool)?;
        Ok(Export {
            file,
            format: wanted.format,
            signed,
        })
    }

    /// A file without a name: a crash leaves nothing of it.
    fn spool(&self) -> Result<File, EvidenceError> {
        let path = self.directory.join("export.part");
        let make = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            fs::remove_file(&path)?;
            io::Result::Ok(file)
        };
        make().map_err(EvidenceError::Spool)
    }

    fn make_directory(&self) -> Result<(), EvidenceError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory);
        made.map_err(EvidenceError::Spool)
    }
}

impl Gone {
    /// What says so when it is dropped.
    pub fn guard(&self) -> Waiting {
        Waiting(self.clone())
    }

    fn check(&self) -> Result<(), EvidenceError> {
        if self.0.load(Ordering::Relaxed) {
            Err(EvidenceError::Gone)
        } else {
            Ok(())
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a part was ever read.
pub fn is_read(store: &Store, part: Part) -> Result<(), EvidenceError> {
    let state = store.parts()?.remove(&part).unwrap_or_default();
    if state.since.is_some() {
        return Ok(());
    }
    let why = state.failure.map(|failure| failure.code);
    Err(EvidenceError::NeverRead { part, why })
}

fn write(
    file: &File,
    store: &Store,
    tenant: Uuid,
    Wanted { what, format, when }: Wanted,
    now: OffsetDateTime,
    gone: &Gone,
) -> Result<(Head, Content), EvidenceError> {
    if let When::Between(from, until) = when {
        let period = [
            from.begin().min(now),
            until.map_or(now, |until| until.end(now)),
        ];
        for ahead in [Some(from), until].into_iter().flatten() {
            ahead.is_over(now)?;
        }
        if period[1] < period[0] {
            return Err(ReviewError::Backwards.into());
        }
        known_at(store, period[1])?;
        let head = head_between(store, period, tenant, what, now)?;
        let [from, until] = period;
        let content = rows(file, format, &head, gone, |take| match what {
            What::Leavers => leavers(store, from, until, take),
            _ => joiners(store, from, until, take),
        })?;
        return Ok((head, content));
    }
    let moment = match when {
        When::AsOf(at) => {
            at.is_over(now)?;
            let at = at.end(now);
            known_at(store, at)?;
            Moment::as_of(store, at)?
        }
        _ => Moment::now(store, now)?,
    };
    let head = head(store, &moment, tenant, what, now)?;
    let content = match what {
        What::Posture => rows(file, format, &head, gone, |take| {
            posture(&moment, STALE_AFTER, take)
        }),
        _ => rows(file, format, &head, gone, |take| access(&moment, take)),
    };
    Ok((head, content?))
}

/// Whether anybody knows who was there at that time.
fn known_at(store: &Store, at: OffsetDateTime) -> Result<(), EvidenceError> {
    match store.as_of(at)?.user(Uuid::nil()) {
        Err(StoreError::NoEvidence { since, .. }) => Err(EvidenceError::Before { since }),
        known => Ok(known.map(drop)?),
    }
}

type Take<'a, R> = dyn FnMut(&R) -> Result<(), EvidenceError> + 'a;

fn rows<R: Row>(
    file: &File,
    format: Format,
    head: &Head,
    gone: &Gone,
    give: impl FnOnce(&mut Take<'_, R>) -> Result<(), EvidenceError>,
) -> Result<Content, EvidenceError> {
    let mut writer = Writer::<_, R>::begin(BufWriter::new(file), format, head)?;
    give(&mut |row: &R| {
        gone.check()?;
        Ok(writer.row(row)?)
    })?;
    Ok(writer.finish()?)
}
