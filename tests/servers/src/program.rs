//! How the lab's programs run: what they say goes to standard error, and what fails is said in one line.

use std::error::Error;
use std::process::ExitCode;

/// Runs a program of that name until it is done.
pub fn run(name: &str, program: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for what a program serves.
pub fn wait<T>(serving: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    Ok(runtime.block_on(serving))
}
