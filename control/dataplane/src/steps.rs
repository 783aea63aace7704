//! The steps of what may end at any of them: publishing, opening and migrating.
//!
//! Whoever wants to know how far it is hands in a function that is told each step once it is done. What is
//! in force changes with [`Step::Switched`] alone; at every other step it is what it was before.

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// No program reads the generation any more that will be overwritten.
    Waited,
    /// The nodes of one family are in the next generation.
    Nodes,
    /// The roots of one family are.
    Roots,
    /// The blocks of IPv4 are.
    Blocks,
    /// One service address was written into the next generation, or removed from it; or the first of them
    /// were, once more.
    Address,
    /// One server was.
    Server,
    /// One wheel was.
    Wheel,
    /// The next generation is in force.
    Switched,
    /// New maps are complete, and have no name yet.
    Made,
    /// They have taken their name; in a migration, that of the maps of the other version.
    Named,
    /// The rule and the route for marked packets are there.
    Routed,
    /// The words of the configuration map are written.
    Configured,
    /// The programs are pinned.
    Pinned,
    /// An interface has its programs.
    Attached,
    /// What could be carried over from maps of another version was.
    Carried,
    /// The maps of the other version are gone.
    Removed,
}

/// Whoever is told of the steps.
pub type Watch<'a> = &'a mut dyn FnMut(Step);

/// For whoever does not want to know.
pub(crate) fn nobody(_: Step) {}
