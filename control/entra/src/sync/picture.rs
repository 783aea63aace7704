//! What was kept, in memory, and as it is drawn for the planes: at most one drawing at a time, each with all that
//! changed since the one before.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use time::OffsetDateTime;
use weir_directory::{Head, Snapshot};

use super::roles;
use crate::closure::{
    Applied, Closure, DraftError, Loader, Moves, Roles, Since, Watch, Watched, redraw,
};
use crate::guard::Guard;
use crate::health::Finding;
use crate::model::{Changes, Id, Part};
use crate::store::{Store, StoreError};

/// So many moves into groups and out of them are told one by one.
const MOST_MOVES: usize = 20_000;

/// A picture of the tenant that is to be published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Grows with each.
    pub epoch: u64,
    /// A snapshot ([`weir_directory::Snapshot`]).
    pub bytes: Arc<[u8]>,
}

/// What a round changed that somebody must act on at once. Whoever is named in several lists lost something first,
/// and got it back: revoke first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Who came, went, was disabled, and moved between groups.
    pub applied: Applied,
    /// Users that were told of, and since when their sessions count; earlier ones are void.
    pub sessions: Vec<(Id, OffsetDateTime)>,
    /// Every picture with a higher number has it, and none up to this one.
    pub epoch: u64,
}

/// What is in memory, and what is to be drawn.
pub(super) struct Picture {
    tenant: Id,
    closure: Arc<Closure>,
    drawn: Arc<Drawn>,
    changes: Changes,
    touched: BTreeSet<Id>,
    /// Whether something else is to be drawn: roles, or that all is still as it was.
    is_dirty: bool,
}

/// A snapshot that was drawn.
pub(super) struct Drawn {
    bytes: Arc<[u8]>,
    snapshot: Snapshot<Arc<[u8]>>,
}

/// A drawing to be made.
pub(super) struct Drawing {
    head: Head,
    closure: Arc<Closure>,
    before: Arc<Drawn>,
    changes: Changes,
    touched: Vec<Id>,
}

/// Why nothing can be drawn.
#[derive(Debug, thiserror::Error)]
pub(super) enum DrawError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error("the snapshot that was just drawn cannot be read: {0}")]
    Unreadable(String),
}

impl DrawError {
    pub(super) fn finding(&self) -> Finding {
        Finding::of_store(self, None)
    }
}

impl Picture {
    /// Takes up what is kept, and draws it. Blocks.
    pub(super) fn of(
        store: &Store,
        tenant: Id,
        epoch: u64,
        now: OffsetDateTime,
        hidden_is_told: bool,
    ) -> Result<Self, DrawError> {
        let head = head(store, tenant, epoch, now)?;
        let roles = roles::Kept::read(store)?;
        let view = store.read()?;
        let mut loader = Loader::default();
        for user in view.users()? {
            let (id, user) = user?;
            loader.user(id, &user);
        }
        for group in view.groups()? {
            let (id, group) = group?;
            loader.group(id, &group);
        }
        for edge in view.edges()? {
            let (group, member, kind) = edge?;
            loader.edge(group, member, kind);
        }
        let mut closure = loader.finish();
        closure.set_hidden_is_told(hidden_is_told);
        let bytes = closure.draw(head, |draft| -> Result<(), DrawError> {
            for group in view.groups()? {
                let (id, group) = group?;
                draft.group(id, &group)?;
            }
            for user in view.users()? {
                let (id, user) = user?;
                draft.user(id, &user)?;
            }
            Ok(draft.roles(&roles.as_roles())?)
        })?;
        Ok(Self {
            tenant,
            closure: Arc::new(closure),
            drawn: Arc::new(Drawn::parse(bytes)?),
            changes: Changes::default(),
            touched: BTreeSet::new(),
            is_dirty: false,
        })
    }

    /// Takes up what a round changed, and says what is to be acted on. Blocks.
    pub(super) fn apply(&mut self, changes: Changes, guard: &Guard) -> Revision {
        let groups: BTreeSet<Id> = guard
            .watched
            .groups
            .union(&guard.watched.denying)
            .copied()
            .collect();
        let watch = Watch {
            groups: if groups.is_empty() {
                Watched::All
            } else {
                Watched::Only(&groups)
            },
            most: MOST_MOVES,
        };
        let applied = Arc::make_mut(&mut self.closure).apply(&changes, &watch);
        let users = changes.users.iter();
        let sessions = users
            .filter_map(|(id, user)| Some((*id, user.as_ref()?.sessions_valid_from?)))
            .collect();
        self.touched.extend(&applied.touched);
        self.is_dirty |= changes.documents.contains(&Part::Roles);
        self.changes.users.extend(changes.users);
        self.changes.groups.extend(changes.groups);
        // Edges are in the closure, and drawn from there.
        self.is_dirty |= !changes.edges.is_empty();
        Revision {
            applied,
            sessions,
            epoch: 0,
        }
    }

    /// Says whether members of hidden groups are told.
    pub(super) fn set_hidden_is_told(&mut self, told: bool) {
        Arc::make_mut(&mut self.closure).set_hidden_is_told(told);
        self.is_dirty = true;
    }

    /// Has it drawn again although nothing changed.
    pub(super) fn refresh(&mut self) {
        self.is_dirty = true;
    }

    /// Whether what is drawn is not what is known.
    pub(super) fn is_behind(&self) -> bool {
        self.is_dirty || !self.changes.users.is_empty() || !self.changes.groups.is_empty()
    }

    /// What is to be drawn.
    pub(super) fn begin(
        &mut self,
        store: &Store,
        epoch: u64,
        now: OffsetDateTime,
    ) -> Result<Drawing, StoreError> {
        let head = head(store, self.tenant, epoch, now)?;
        self.is_dirty = false;
        Ok(Drawing {
            head,
            closure: Arc::clone(&self.closure),
            before: Arc::clone(&self.drawn),
            changes: std::mem::take(&mut self.changes),
            touched: std::mem::take(&mut self.touched).into_iter().collect(),
        })
    }

    /// What was drawn.
    pub(super) fn drawn(&mut self, drawn: Drawn) {
        self.drawn = Arc::new(drawn);
    }

    /// What is to be published.
    pub(super) fn published(&self) -> Published {
        Published {
            epoch: self.drawn.snapshot.head().epoch,
            bytes: Arc::clone(&self.drawn.bytes),
        }
    }

    /// When the parts were last seen to be as they are drawn, in seconds.
    pub(super) fn checked(&self) -> [Option<i64>; 3] {
        self.drawn.snapshot.head().checked
    }
}

impl Drawing {
    /// Draws it. Blocks.
    pub(super) fn draw(self, store: &Store) -> Result<Drawn, DrawError> {
        let roles = roles::Kept::read(store)?;
        let since = Since {
            changes: &self.changes,
            touched: &self.touched,
        };
        let before = &self.before.snapshot;
        Drawn::parse(redraw(
            &self.closure,
            self.head,
            before,
            since,
            &roles.as_roles(),
        )?)
    }
}

impl Drawn {
    fn parse(bytes: Vec<u8>) -> Result<Self, DrawError> {
        let bytes: Arc<[u8]> = bytes.into();
        let snapshot = Snapshot::parse(Arc::clone(&bytes));
        let snapshot = snapshot.map_err(|error| DrawError::Unreadable(error.to_string()))?;
        Ok(Self { bytes, snapshot })
    }
}

impl Revision {
    /// Whether there is anything to act on.
    pub(super) fn is_empty(&self) -> bool {
        let Applied {
            moves,
            disabled,
            gone,
            back,
            ..
        } = &self.applied;
        *moves == Moves::default()
            && disabled.is_empty()
            && gone.is_empty()
            && back.is_empty()
            && self.sessions.is_empty()
    }

    /// Adds what came later, while nobody listened. Nothing that was lost is forgotten.
    pub(super) fn add(&mut self, later: Self) {
        let Applied {
            moves,
            touched,
            disabled,
            gone,
            back,
        } = later.applied;
        let lost: HashSet<&Id> = disabled.iter().chain(&gone).collect();
        self.applied.back.retain(|id| !lost.contains(id));
        if moves != Moves::default() {
            // Whoever missed one of them looks at everybody again.
            self.applied.moves = Moves::Many;
        }
        let own = &mut self.applied;
        for (list, more) in [
            (&mut own.touched, touched),
            (&mut own.disabled, disabled),
            (&mut own.gone, gone),
            (&mut own.back, back),
        ] {
            list.extend(more);
            list.sort_unstable();
            list.dedup();
        }
        self.sessions.extend(later.sessions);
        self.epoch = self.epoch.max(later.epoch);
    }
}

impl roles::Kept {
    fn as_roles(&self) -> Roles<'_> {
        Roles {
            assignments: &self.assignments,
            names: Some(&self.names),
        }
    }
}

fn head(store: &Store, tenant: Id, epoch: u64, now: OffsetDateTime) -> Result<Head, StoreError> {
    let parts = store.parts()?;
    let checked = [Part::Users, Part::Groups, Part::Roles].map(|part| {
        let state = parts.get(&part)?;
        Some(state.last_success?.unix_timestamp())
    });
    Ok(Head {
        tenant,
        epoch,
        taken_at: now.unix_timestamp(),
        checked,
    })
}
