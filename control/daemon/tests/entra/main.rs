//! A tenant in an appliance: its synchronisation runs, its pictures get into force, and people decide about it.

mod acts;
mod credentials;
mod domains;
mod leave;
mod locations;
mod pictures;
mod world;
