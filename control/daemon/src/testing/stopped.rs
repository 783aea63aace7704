//! What is left of an appliance whose weir-control does not run.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Appliance, FakeKernel, Settings, start, write};
use crate::Error;
use crate::descriptor_store::Inherited;

/// The files and the kernel plane; its directory goes with it.
#[derive(Debug)]
pub struct Stopped {
    pub(super) directory: TempDir,
    /// The kernel plane in memory: it goes on.
    pub kernel: FakeKernel,
    /// How it is started again.
    pub settings: Settings,
}

/// Starts weir-control in a directory that holds a configuration, and goes on until the process is killed.
pub async fn run_in(directory: &Path) {
    let (kernel, settings) = (FakeKernel::default(), Settings::default());
    let started = start(directory, &kernel, &settings, Inherited::default()).await;
    let (_brain, _tasks) = started.expect("there is something to start with");
    std::future::pending::<()>().await;
}

impl Stopped {
    /// A file of the appliance.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of the appliance.
    pub fn write(&self, name: &str, text: &str) {
        write(self.directory.path(), name, text);
    }

    /// Starts weir-control, with what the service manager hands over.
    pub async fn start(self, inherited: Inherited) -> Result<Appliance, Error> {
        let (directory, settings) = (self.directory.path(), &self.settings);
        let (brain, tasks) = start(directory, &self.kernel, settings, inherited).await?;
        Ok(Appliance {
            directory: self.directory,
            brain,
            kernel: self.kernel,
            settings: self.settings,
            tasks,
        })
    }
}
