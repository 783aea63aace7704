//! An appliance whose tenant is the lab's, and read.

use std::time::Duration;

use weir_control::testing::{Appliance, Settings, grants};
use weir_lab_entra::Entra;
use weir_lab_entra::world::Quirks;

/// The tenant and the appliance.
pub struct Tenant {
    /// The tenant.
    pub lab: Entra,
    /// The appliance, with a rule that names group `staff`, and grants that group `engineers` bounds.
    pub appliance: Appliance,
}

/// How often is looked for the synchronisation.
const LOOK: Duration = Duration::from_millis(20);

impl Tenant {
    /// Starts both; all parts were read once.
    pub async fn start() -> Self {
        let tenant = Self::of(|_| ()).await;
        let synchronised = loop {
            match tenant.appliance.brain.tenant() {
                Some(synchronised) => break synchronised,
                None => tokio::time::sleep(LOOK).await,
            }
        };
        let synced = synchronised.handle.sync(None, false).await;
        for one in synced.expect("it runs") {
            let outcome = one.outcome;
            outcome.unwrap_or_else(|finding| panic!("{:?}: {finding}", one.part));
        }
        tenant
    }

    /// Starts both; the tenant does not know the application, so that nothing can be read.
    pub async fn unread() -> Self {
        Self::of(|lab| lab.world().apps.clear()).await
    }

    async fn of(change: impl FnOnce(&Entra)) -> Self {
        let lab = Entra::start().await;
        {
            let mut world = lab.world();
            world.quirks = Quirks::none();
            world.throttle.on = false;
        }
        change(&lab);
        let lists = "[[list]]\nname = \"hq-egress\"";
        let entra =
            lab.configuration("[[entra.group]]\ngroup = \"engineers\"\nclass = \"unmanaged\"\n");
        let edits = grants()
            .into_iter()
            .chain([(lists, format!("{entra}{lists}"))]);
        let appliance = Appliance::start_with(Settings {
            edits: edits.collect(),
            ..Settings::default()
        })
        .await;
        Self { lab, appliance }
    }
}
