//! `/v1/entra`: the tenant, and what is done about it.

use http::Response;
use weir_api::entra::{ConnectRequest, DecideRequest, DisconnectRequest, SyncRequest};

use super::answer::{actor, done};
use super::{Body, Peer, Server};
use crate::Error;

/// What is asked of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenant {
    /// `GET /v1/entra`
    Show,
    /// `POST /v1/entra/check`
    Check,
    /// `POST /v1/entra/connect`
    Connect(ConnectRequest),
    /// `POST /v1/entra/sync`
    Sync(SyncRequest),
    /// `POST /v1/entra/approve`
    Approve(DecideRequest),
    /// `POST /v1/entra/discard`
    Discard(DecideRequest),
    /// `POST /v1/entra/disconnect`
    Disconnect(DisconnectRequest),
}

impl Server {
    pub(super) async fn tenant(&self, peer: Peer, wanted: Tenant) -> Result<Response<Body>, Error> {
        let brain = &self.brain;
        let who = actor(peer).await;
        Ok(match wanted {
            Tenant::Show => done(&brain.entra().await?),
            Tenant::Check => done(&brain.check_entra(who).await?),
            Tenant::Connect(wanted) => done(&brain.connect_entra(who, wanted.callback).await?),
            Tenant::Sync(wanted) => done(&brain.sync_entra(who, wanted.part, wanted.full).await?),
            Tenant::Approve(held) => done(&brain.decide_entra(who, held.digest, true).await?),
            Tenant::Discard(held) => done(&brain.decide_entra(who, held.digest, false).await?),
            Tenant::Disconnect(wanted) => done(&brain.disconnect_entra(who, wanted.purge).await?),
        })
    }
}
