//! What leaves for Entra and Graph, what comes of what they answer, and what never leaves.

mod batch;
mod consent;
mod credentials;
mod graph;
mod lab;
mod links;
mod network;
#[path = "../support/mod.rs"]
mod support;
mod throttle;
mod tokens;
