//! Grants, from what a proxy tells to what the kernel holds, what administrators do about them, and what a
//! restart finds.

mod earned;
mod kept;
mod stage;
mod taken;
