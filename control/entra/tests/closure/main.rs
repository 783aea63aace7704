//! Who is in which group, held against a model that takes no care of time.

mod chains;
mod drawn;
mod naive;
mod random;
mod stories;
