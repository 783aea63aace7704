//! What the machine says on its serial line.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// How many lines are shown of a machine that does not say what it should.
const LAST_LINES: usize = 15;

/// A serial line, read to its end, as often as the machine is switched on.
#[derive(Debug)]
pub struct Console {
    log: PathBuf,
    lines: UnboundedReceiver<String>,
    said: Vec<String>,
}

impl Console {
    /// What is said will be in `log` too; what was there is gone.
    pub fn new(log: &Path) -> Result<Self> {
        File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let (_, lines) = unbounded_channel();
        Ok(Self {
            log: log.to_owned(),
            lines,
            said: Vec::new(),
        })
    }

    /// Reads `line` from now on, once the one before has ended.
    pub async fn read(&mut self, line: ChildStdout) -> Result<()> {
        while let Some(text) = self.lines.recv().await {
            self.said.push(text);
        }
        let mut file = File::options()
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let (say, lines) = unbounded_channel();
        self.lines = lines;
        tokio::spawn(async move {
            let mut parts = BufReader::new(line).split(b'\n');
            while let Ok(Some(part)) = parts.next_segment().await {
                let text = String::from_utf8_lossy(&part).trim_end().to_owned();
                // A log that cannot be written must not stop the machine.
                let _ = writeln!(file, "{text}");
                if say.send(text).is_err() {
                    break;
                }
            }
        });
        Ok(())
    }

    /// Waits until a line with these words comes.
    pub async fn heard(&mut self, words: &str, patience: Duration) -> Result<()> {
        let wanted = async {
            while let Some(line) = self.lines.recv().await {
                let found = line.contains(words);
                self.said.push(line);
                if found {
                    return true;
                }
            }
            false
        };
        let why = match timeout(patience, wanted).await {
            Ok(true) => return Ok(()),
            Ok(false) => "has ended".to_owned(),
            Err(_) => format!("did not say \"{words}\" within {} s", patience.as_secs()),
        };
        let last = self.said.len().saturating_sub(LAST_LINES);
        bail!(
            "the machine {why}; its console is in {}\n    {}",
            self.log.display(),
            self.said[last..].join("\n    ")
        );
    }

    /// Everything that was said until now.
    pub fn said(&mut self) -> String {
        while let Ok(line) = self.lines.try_recv() {
            self.said.push(line);
        }
        self.said.join("\n")
    }
}
