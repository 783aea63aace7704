//! What the tenant says, in the kernel plane. How, is told where the books of grants are kept.

use weir_entra::sync::Revision;

use super::super::Brain;
use crate::tenant::InForce;

impl Brain {
    /// Acts on what must not wait for a picture: accounts that are shut out or let in again, members who come and
    /// go, sessions that are void.
    pub(crate) async fn revise(&self, revision: Revision) {
        self.hear_revision(&revision).await;
    }

    /// Gives and takes what groups say of everybody who holds a grant, and makes good what no revision told.
    pub(crate) async fn rebind(&self, in_force: &InForce) {
        self.hear_picture(Some(in_force)).await;
    }
}
