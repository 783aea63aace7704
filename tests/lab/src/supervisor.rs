//! Starts the lab's processes, waits until they say that they are ready, keeps their logs, and stops them in the
//! reverse order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a process may take to say that it is ready.
const READY: Duration = Duration::from_secs(30);
/// How long a process may take to end when it is asked to; then it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Lines of a log that are shown when its process ends unexpectedly.
const LAST_LINES: usize = 12;

/// The processes of a lab.
#[derive(Debug)]
pub struct Supervisor {
    logs: PathBuf,
    running: Vec<Running>,
    ended: mpsc::UnboundedReceiver<Ended>,
    ends: mpsc::UnboundedSender<Ended>,
}

/// A process that ended although nobody asked it to.
#[derive(Debug)]
struct Ended {
    name: String,
    status: String,
    said: Tail,
    log: PathBuf,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

/// The last lines that a process said.
type Tail = Arc<Mutex<VecDeque<String>>>;

impl Supervisor {
    /// Logs go below `logs`, a file per process.
    pub fn new(logs: &Path) -> Result<Self> {
        std::fs::create_dir_all(logs)
            .with_context(|| format!("cannot make the directory {}", logs.display()))?;
        let (ends, ended) = mpsc::unbounded_channel();
        Ok(Self {
            logs: logs.to_owned(),
            running: Vec::new(),
            ended,
            ends,
        })
    }

    /// Starts `command` as `name`; with `ready`, waits for a line that holds these words. Returns the process id.
    pub async fn start(
        &mut self,
        name: &str,
        mut command: Command,
        ready: Option<&str>,
    ) -> Result<u32> {
        use std::os::unix::process::CommandExt;
        // A group of its own: Ctrl-C on the terminal is for us, and we stop the others in order.
        command.process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let program = command.get_program().to_owned();
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        let pid = child.id().expect("it was not waited for yet");
        let log = self.logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let (tail, sink) = (Tail::default(), Arc::new(Mutex::new(file)));
        let (say_ready, mut is_ready) = mpsc::unbounded_channel();
        let streams: [Option<Box<dyn AsyncRead + Unpin + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let (tail, sink, say_ready) = (tail.clone(), sink.clone(), say_ready.clone());
            let words = ready.map(ToOwned::to_owned);
            tokio::spawn(
                async move { copy(stream, &tail, &sink, words.as_deref(), &say_ready).await },
            );
        }
        drop(say_ready);
        if ready.is_some() {
            let answer = timeout(READY, is_ready.recv()).await;
            if !matches!(answer, Ok(Some(()))) {
                let why = match child.try_wait() {
                    Ok(Some(status)) => format!("ended before it was ready ({status})"),
                    _ if answer.is_ok() => "ended before it was ready".to_owned(),
                    _ => format!("was not ready within {} s", READY.as_secs()),
                };
                let _ = child.kill().await;
                bail!("{}", story(name, &why, &tail, &log));
            }
        }
        let (stop, stopped) = oneshot::channel();
        let ends = self.ends.clone();
        let name = name.to_owned();
        let done = tokio::spawn(async move {
            if let Some(status) = watch(child, stopped).await {
                // Nobody hears it when the lab goes down at the same time.
                let _ = ends.send(Ended {
                    name,
                    status: status.to_string(),
                    said: tail,
                    log,
                });
            }
        });
        self.running.push(Running { stop, done });
        Ok(pid)
    }

    /// Waits until a process ends although nobody asked it to; says which, and its last words.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.ended.recv().await {
            Some(ended) => {
                anyhow!(
                    "{}",
                    story(&ended.name, &ended.status, &ended.said, &ended.log)
                )
            }
            // The sender lives in self.
            None => std::future::pending().await,
        }
    }

    /// Stops everything, the last started first.
    pub async fn stop(&mut self) {
        while let Some(running) = self.running.pop() {
            // An error means that it ended before.
            let _ = running.stop.send(());
            let _ = running.done.await;
        }
    }
}

/// Waits for the end of `child`, or ends it when asked; the status when nobody asked.
async fn watch(mut child: Child, stopped: oneshot::Receiver<()>) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status.ok(),
        asked = stopped => {
            if asked.is_err() {
                // The supervisor is gone; dropping the child kills it.
                return None;
            }
        }
    }
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    None
}

async fn copy(
    stream: impl AsyncRead + Unpin,
    tail: &Tail,
    sink: &Mutex<File>,
    words: Option<&str>,
    ready: &mpsc::UnboundedSender<()>,
) {
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        // A log that cannot be written must not stop the process whose log it is.
        let _ = writeln!(sink.lock().expect("nobody panics with the log"), "{line}");
        if words.is_some_and(|words| line.contains(words)) {
            let _ = ready.send(());
        }
        let mut tail = tail.lock().expect("nobody panics with the tail");
        tail.push_back(line);
        if tail.len() > LAST_LINES {
            tail.pop_front();
        }
    }
}

fn story(name: &str, what: &str, tail: &Tail, log: &Path) -> String {
    let tail = tail.lock().expect("nobody panics with the tail");
    let mut text = format!("{name}: {what}; its log is {}", log.display());
    for line in tail.iter() {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    #[tokio::test]
    async fn a_process_that_says_ready_runs_until_it_is_stopped() {
        let logs = tempfile::tempdir().expect("a temporary directory");
        let mut supervisor = Supervisor::new(logs.path()).expect("it is writable");
        let pid = supervisor
            .start(
                "server",
                shell("echo server: ready; exec sleep 1000"),
                Some("server: ready"),
            )
            .await
            .expect("it says so");
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        supervisor.stop().await;
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        let log = std::fs::read_to_string(logs.path().join("server.log")).expect("a log");
        assert_eq!(log, "server: ready\n");
    }

    #[tokio::test]
    async fn a_process_that_ends_early_is_named_with_its_last_words() {
        let logs = tempfile::tempdir().expect("a temporary directory");
        let mut supervisor = Supervisor::new(logs.path()).expect("it is writable");
        let error = supervisor
            .start(
                "server",
                shell("echo no such file >&2; exit 3"),
                Some("ready"),
            )
            .await
            .expect_err("it never says so");
        let text = error.to_string();
        assert!(
            text.starts_with("server: ended before it was ready"),
            "{text}"
        );
        assert!(text.contains("no such file"), "{text}");
    }

    #[tokio::test]
    async fn a_process_that_ends_later_is_reported() {
        let logs = tempfile::tempdir().expect("a temporary directory");
        let mut supervisor = Supervisor::new(logs.path()).expect("it is writable");
        supervisor
            .start(
                "server",
                shell("echo ready; read line < /dev/null; exit 7"),
                Some("ready"),
            )
            .await
            .expect("it says so");
        let text = supervisor.failure().await.to_string();
        assert!(text.contains("exit status: 7"), "{text}");
    }
}
