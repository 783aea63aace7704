//! One module for each verb.

pub mod capture;
pub mod check;
pub mod claims;
pub mod completions;
pub mod entra;
pub mod entra_sign_ins;
pub mod events;
pub mod explain;
pub mod flows;
pub mod grants;
pub mod init;
pub mod keys;
pub mod lists;
pub mod man;
pub mod reload;
pub mod review;
pub mod rules;
pub mod status;
pub mod top;
