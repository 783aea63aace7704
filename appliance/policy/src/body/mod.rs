//! Bodies and parameters, read tolerantly and within bounds.
//!
//! Real clients differ in how strictly they write, so nothing here insists; what cannot be read is
//! said to be unreadable, and policy goes on without it. Whatever is read is a copy: the bytes that are
//! forwarded are never touched, but for a SAML request that nobody has signed and that is to ask for more
//! ([`context`]).

pub(crate) mod context;
pub(crate) mod ecp;
pub(crate) mod form;
pub(crate) mod saml;
pub(crate) mod soap;
mod xml;
