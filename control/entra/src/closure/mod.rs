//! Who is in which group, directly and through other groups.
//!
//! Direct edges are the truth, as the tenant tells them: a group and its member. Everything else is found by walking
//! along them, without recursion, so that neither cycles nor long chains do harm. What changes is told for those who
//! are below the change, by walking before and after it ([`Closure::apply`]); only when everything is written for the
//! planes ([`Draft`]) are groups that contain each other taken together first.
//!
//! What is gone counts nowhere: a user who is soft-deleted is in no group, and a group that is gives nothing, and
//! passes nothing on. Disabled users stay where they are, and are marked. Devices and applications are members that
//! nothing is known of. A group whose members may not be read is known to hold those that are told, and nobody is
//! known to be outside of it, nor of the groups that contain it.
//!
//! This is a pure core: no I/O, no clock.

mod apply;
mod ask;
mod condense;
mod draft;
mod graph;
mod walk;

use std::borrow::Borrow;

use crate::model::{Group, Id, MemberKind, User};

pub use apply::{Applied, Move, Moves, Watch, Watched};
pub use ask::{Counts, Member, Way};
pub use draft::{Draft, DraftError, Roles, Since, redraw};

use apply::Scratch;
use graph::Graph;

/// The groups of a tenant, who is in them, and what they are in.
#[derive(Clone, Debug, Default)]
pub struct Closure {
    graph: Graph,
    hidden_is_told: bool,
    scratch: Scratch,
}

/// Takes up a directory as it was kept: everything in any order, each edge once.
#[derive(Clone, Debug, Default)]
pub struct Loader(Closure);

impl Closure {
    /// Takes up a directory as it was kept. See [`Loader`], for sources that can fail.
    pub fn of<U: Borrow<User>, G: Borrow<Group>>(
        users: impl IntoIterator<Item = (Id, U)>,
        groups: impl IntoIterator<Item = (Id, G)>,
        edges: impl IntoIterator<Item = (Id, Id, MemberKind)>,
    ) -> Self {
        let mut loader = Loader::default();
        for (id, user) in users {
            loader.user(id, user.borrow());
        }
        for (id, group) in groups {
            loader.group(id, group.borrow());
        }
        for (group, member, kind) in edges {
            loader.edge(group, member, kind);
        }
        loader.finish()
    }

    /// Says whether members of groups with hidden membership are told (`Member.Read.Hidden`). At first they are not:
    /// then nobody is known to be outside of such a group.
    pub fn set_hidden_is_told(&mut self, told: bool) {
        self.hidden_is_told = told;
    }
}

impl Loader {
    /// A user.
    pub fn user(&mut self, id: Id, user: &User) {
        self.0.graph.put_user(id, Some(user));
    }

    /// A group.
    pub fn group(&mut self, id: Id, group: &Group) {
        self.0.graph.put_group(id, Some(group));
    }

    /// A member of a group.
    pub fn edge(&mut self, group: Id, member: Id, kind: MemberKind) {
        self.0.graph.load_edge(group, member, kind);
    }

    /// All of it.
    pub fn finish(mut self) -> Closure {
        self.0.graph.settle();
        self.0
    }
}
