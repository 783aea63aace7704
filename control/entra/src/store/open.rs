//! Opening the file: whose it is, of which format, and whether it can be believed.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, StorageError, WriteTransaction};

use super::StoreError;
use super::migrate::{Off, STEPS, Step, VERSION, migrate, put_version};
use super::tables::{
    DOCUMENTS, EDGES, GROUPS, HELD, HELD_CHANGES, JOURNAL, META, META_TENANT, META_VERSION, PARTS,
    USERS, encode, get,
};
use crate::model::Id;

/// So much of the file is kept in memory.
const CACHE: usize = 64 << 20;

/// A damaged file that was moved aside. An empty store stands in its place, so that every part is read in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedAside {
    /// Where it is now.
    pub to: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for MovedAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the directory store was damaged ({}) and is now {}; the tenant is read in full, and evidence begins anew",
            self.why,
            self.to.display()
        )
    }
}

/// Opens the file, or makes it.
pub(crate) fn open(path: &Path, tenant: Id) -> Result<(Database, Option<MovedAside>), StoreError> {
    open_as(path, tenant, VERSION, STEPS)
}

fn open_as(
    path: &Path,
    tenant: Id,
    version: u32,
    steps: &[Step],
) -> Result<(Database, Option<MovedAside>), StoreError> {
    make(path, tenant, version)?;
    let (database, moved) = match builder().open(path) {
        Ok(database) => (database, None),
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            return Err(StoreError::InUse {
                path: path.to_owned(),
            });
        }
        Err(error) if is_damage(&error) => {
            let to = move_aside(path)?;
            make(path, tenant, version)?;
            let why = error.to_string();
            (again(path)?, Some(MovedAside { to, why }))
        }
        Err(error) => return Err(database_error(error)),
    };
    let transaction = database.begin_write()?;
    claim(&transaction, path, tenant, version, steps)?;
    transaction.commit()?;
    Ok((database, moved))
}

/// Opens a file again that this process had open.
pub(crate) fn again(path: &Path) -> Result<Database, StoreError> {
    builder().open(path).map_err(database_error)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE)
        // Damage is found here, and not by whoever reads a row later.
        .set_check_integrity_on_open(true);
    builder
}

fn database_error(error: DatabaseError) -> StoreError {
    StoreError::Database(Box::new(error.into()))
}

/// Makes the file if there is none, beside its place at first, so that half a file never lies there; nobody else
/// may ever read it.
fn make(path: &Path, tenant: Id, version: u32) -> Result<(), StoreError> {
    let failed = |doing| {
        move |source| StoreError::File {
            doing,
            path: path.to_owned(),
            source,
        }
    };
    if !fs::exists(path).map_err(failed("look for"))? {
        let beside = beside(path, "new");
        // Left over from a crash.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("make")(error));
            }
            _ => (),
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(failed("make"))?;
        let database = builder().create(&beside).map_err(database_error)?;
        let transaction = database.begin_write()?;
        begin(&transaction, tenant, version)?;
        transaction.commit()?;
        database.close().map_err(database_error)?;
        // Unlike a rename, a link takes nobody's place who was faster.
        match fs::hard_link(&beside, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make")(error));
            }
            _ => fs::remove_file(&beside).map_err(failed("make"))?,
        }
        // The name is on the disk when its directory is.
        let directory = path
            .parent()
            .filter(|directory| *directory != Path::new(""));
        let directory = File::open(directory.unwrap_or(Path::new(".")));
        directory
            .and_then(|directory| directory.sync_all())
            .map_err(failed("make"))?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("protect"))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".");
    beside.push(ending);
    PathBuf::from(beside)
}

fn is_damage(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |source| StoreError::File {
        doing: "move aside",
        path: path.to_owned(),
        source,
    };
    for number in 1.. {
        let to = beside(path, &format!("damaged-{number}"));
        if !fs::exists(&to).map_err(failed)? {
            fs::rename(path, &to).map_err(failed)?;
            return Ok(to);
        }
    }
    unreachable!("there are fewer files than numbers")
}

/// Lets the file pass if it is the tenant's, and brings it to this format.
fn claim(
    transaction: &WriteTransaction,
    path: &Path,
    tenant: Id,
    version: u32,
    steps: &[Step],
) -> Result<(), StoreError> {
    let path = || path.to_owned();
    let foreign = || StoreError::Foreign { path: path() };
    let (found, theirs): (Option<u32>, Option<Id>) = {
        let meta = transaction.open_table(META).map_err(|_| foreign())?;
        let found = get(&meta, "the format", META_VERSION)?;
        (found, get(&meta, "the tenant", META_TENANT)?)
    };
    let (Some(found), Some(theirs)) = (found, theirs) else {
        return Err(foreign());
    };
    if theirs != tenant {
        return Err(StoreError::OtherTenant {
            path: path(),
            theirs,
            ours: tenant,
        });
    }
    migrate(transaction, found, version, steps)?.map_err(|off| match off {
        Off::Older => StoreError::Older {
            path: path(),
            found,
        },
        Off::Newer => StoreError::Newer {
            path: path(),
            found,
        },
    })
}

/// Makes an empty file a tenant's. Reading a table that was never written to is an error; so all of them are there
/// from the beginning.
fn begin(transaction: &WriteTransaction, tenant: Id, version: u32) -> Result<(), StoreError> {
    put_version(transaction, version)?;
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_TENANT, encode(&tenant).as_slice())?;
    transaction.open_table(USERS)?;
    transaction.open_table(GROUPS)?;
    transaction.open_table(EDGES)?;
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(PARTS)?;
    transaction.open_table(JOURNAL)?;
    transaction.open_table(HELD)?;
    transaction.open_table(HELD_CHANGES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::TableDefinition;

    use super::*;

    const OLD: TableDefinition<&str, &str> = TableDefinition::new("people");
    const NEW: TableDefinition<&str, u64> = TableDefinition::new("lengths");

    fn lengths(transaction: &WriteTransaction) -> Result<(), StoreError> {
        let old = transaction.open_table(OLD)?;
        let mut new = transaction.open_table(NEW)?;
        for row in redb::ReadableTable::iter(&old)? {
            let (name, text) = row?;
            new.insert(name.value(), text.value().len() as u64)?;
        }
        Ok(())
    }

    fn fails(transaction: &WriteTransaction) -> Result<(), StoreError> {
        transaction.open_table(NEW)?.insert("half", 1)?;
        Err(StoreError::Damaged { what: "a test" })
    }

    fn version_of(database: &Database) -> Option<u32> {
        let transaction = database.begin_write().expect("nobody else writes");
        let meta = transaction.open_table(META).expect("it is there");
        get(&meta, "the format", META_VERSION).expect("it is a number")
    }

    /// A file of format 0, which has people, and format 1, which has lengths of them.
    fn of_version_0(path: &Path, tenant: Id) {
        let (database, _) = open_as(path, tenant, 0, &[]).expect("it is new");
        let transaction = database.begin_write().expect("nobody else writes");
        {
            let mut old = transaction.open_table(OLD).expect("it opens");
            old.insert("ann", "four").expect("there is room");
        }
        transaction.commit().expect("there is room");
    }

    #[test]
    fn an_older_format_is_brought_up_by_its_step() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("store");
        let tenant = Id::from_u128(1);
        of_version_0(&path, tenant);

        let (database, moved) = open_as(&path, tenant, 1, &[lengths]).expect("a step leads here");
        assert_eq!(moved, None);
        assert_eq!(version_of(&database), Some(1));
        let transaction = database.begin_write().expect("nobody else writes");
        let new = transaction.open_table(NEW).expect("the step made it");
        let length = redb::ReadableTable::get(&new, "ann").expect("it reads");
        assert_eq!(length.map(|length| length.value()), Some(4));
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_format_whole() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("store");
        let tenant = Id::from_u128(1);
        of_version_0(&path, tenant);

        let failed = open_as(&path, tenant, 2, &[lengths, fails]);
        assert!(matches!(
            failed,
            Err(StoreError::Damaged { what: "a test" })
        ));
        let (database, _) = open_as(&path, tenant, 0, &[]).expect("it is as it was");
        assert_eq!(version_of(&database), Some(0));
        let transaction = database.begin_write().expect("nobody else writes");
        let tables = transaction.list_tables().expect("they are listed");
        let names: Vec<_> = tables
            .map(|table| redb::TableHandle::name(&table).to_owned())
            .collect();
        assert!(names.contains(&"people".to_owned()) && !names.contains(&"lengths".to_owned()));
    }

    #[test]
    fn a_format_from_which_no_step_leads_here_is_refused() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("store");
        let tenant = Id::from_u128(1);
        of_version_0(&path, tenant);

        let refused = open_as(&path, tenant, 2, &[lengths]);
        assert!(matches!(refused, Err(StoreError::Older { found: 0, .. })));
    }
}
