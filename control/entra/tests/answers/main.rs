//! What answers of Graph mean, byte by byte, and what a person is told to do about those that are none.

mod corpus;
mod documents;
mod health;
mod pages;
mod schema;
