//! The synchronisation as a whole, against the lab's tenant over real TLS, by a clock that tests turn.

mod commands;
mod evidence;
mod faults;
mod held;
mod random;
mod restart;
mod stories;
mod world;
