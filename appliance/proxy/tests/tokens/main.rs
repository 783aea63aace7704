//! Tokens on their way to the browser: what rules make of them, and what becomes of the answer.

#[path = "../common/mod.rs"]
mod common;
mod decided;
mod done;
mod held;
#[path = "../../../claims/tests/support/mod.rs"]
mod issuer;
mod large;
mod stage;
