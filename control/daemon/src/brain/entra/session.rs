//! A synchronisation that runs, and what is heard of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_config::CredentialSource;
use weir_entra::guard::Guard;
use weir_entra::sync::{CommandError, Opened, Published, Revision};

use super::super::Brain;
use crate::tenant::Tenant;
use crate::tenant::credentials::{Slot, stamps_of_one};
use crate::tenant::setup::Asked;
use crate::watch::{Stamps, Watch};

/// How often it is asked how it stands.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What came of the trial of a credential.
pub(super) struct Tried {
    pub(super) slot: Slot,
    pub(super) from: (CredentialSource, Stamps),
    pub(super) outcome: Result<(), CommandError>,
}

/// See the module. What runs of it ends when it is dropped.
pub(super) struct Session {
    pub(super) asked: Asked,
    pub(super) tenant: Arc<Tenant>,
    /// What runs: it, and whoever listens.
    tasks: JoinSet<()>,
    /// The credential that is tried.
    pub(super) trial: JoinSet<Tried>,
    /// Where the credential comes from that is in use, as it was then.
    pub(super) in_use: (CredentialSource, Stamps),
    /// The files of credentials, as they were read.
    pub(super) stamps: Stamps,
    pub(super) watch: Watch,
    /// The configuration names other files.
    pub(super) is_renamed: bool,
    /// When a credential that was refused is tried again.
    pub(super) try_again: Option<Instant>,
    /// Of which kind the credential is that is in use.
    pub(super) kind: &'static str,
    /// The credential from before.
    pub(super) former: Option<Slot>,
    /// The picture and the generation for which names were looked up.
    pub(super) named: Option<(u64, u64)>,
    pub(super) guard: Option<Guard>,
    pub(super) look_at: Instant,
}

impl Session {
    /// Has it run.
    pub(super) fn begin(
        me: Arc<Brain>,
        asked: Asked,
        tenant: Arc<Tenant>,
        opened: Opened,
        slot: Slot,
        stamps: Stamps,
    ) -> Self {
        let source = slot.of(&asked.entra).expect("it was just chosen");
        let in_use = (source.clone(), stamps_of_one(source, &stamps));
        let mut tasks = JoinSet::new();
        tasks.spawn(opened.engine.run());
        tasks.spawn(listen(
            me,
            asked.clone(),
            opened.snapshots,
            opened.revisions,
        ));
        Self {
            asked,
            tenant,
            tasks,
            trial: JoinSet::new(),
            in_use,
            stamps,
            watch: Watch::default(),
            is_renamed: false,
            try_again: None,
            kind: "",
            former: None,
            named: None,
            guard: None,
            look_at: Instant::now(),
        }
    }

    /// Takes in what the configuration says now, where that does not end it.
    pub(super) fn take(&mut self, asked: Asked) {
        let sources = |asked: &Asked| {
            let entra = &asked.entra;
            (entra.credential.clone(), entra.next_credential.clone())
        };
        self.is_renamed |= sources(&self.asked) != sources(&asked);
        self.tenant = Arc::new(Tenant {
            config: asked.entra.clone(),
            ..Tenant::clone(&self.tenant)
        });
        self.asked = asked;
        self.named = self.named.map(|(_, number)| (0, number));
    }

    /// Why it has ended, if it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.tasks.try_join_next().map(|ended| match ended {
            Ok(()) => "nobody speaks to it any more".to_owned(),
            Err(error) => error.to_string(),
        })
    }

    /// Ends it.
    pub(super) async fn close(mut self) {
        self.trial.shutdown().await;
        self.tasks.shutdown().await;
    }
}

/// Acts on what it tells, until it ends.
async fn listen(
    brain: Arc<Brain>,
    asked: Asked,
    mut snapshots: watch::Receiver<Option<Published>>,
    mut revisions: mpsc::Receiver<Revision>,
) {
    let at_once = async {
        while let Some(revision) = revisions.recv().await {
            brain.revise(revision).await;
        }
    };
    let pictures = async {
        loop {
            let published = snapshots.borrow_and_update().clone();
            if let Some(published) = published {
                brain.take_picture(&asked, published).await;
            }
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::join!(at_once, pictures);
}
