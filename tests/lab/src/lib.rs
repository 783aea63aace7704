//! The lab: a small Internet made of network namespaces on one machine, with Weir in the middle.
//!
//! ```text
//!  clients ─ inet ── weir ── idp          inet: clients of every class, and the Internet's router
//!              │                          weir: weir-control and weir-proxy
//!            cloud                        idp: the federation services; cloud: what they federate with
//! ```
//!
//! What flows in: the built binaries (`weir-control`, `weir-proxy`, `weir-lab-servers`), the kernel object, a Python
//! with `msal`, and the tools of the system (`ip`, `nft`, `curl`, `chromium`). What flows out: a standing lab described
//! by `lab.json`, or a demonstration: a table of sign-ins, each with who decided it and by which rule.
//!
//! It links no crate of the appliance: it drives the built programs as any outsider does, and what it expects of them is
//! written by hand from the default policy. It must never touch the machine's own network, and never leave anything
//! behind: see [`cleanup`].

pub mod args;
pub mod cleanup;
pub mod demo;
pub mod exec;
pub mod hosts;
pub mod lab;
pub mod machine;
pub mod netns;
pub mod require;
pub mod settings;
pub mod sources;
pub mod supervisor;
pub mod tenant;
pub mod topology;
pub mod weir;
