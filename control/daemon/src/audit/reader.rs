//! Reads the audit log through memory and files alike, without blocking anybody: what memory holds no
//! more is read from the files, a part at a time, where reading may block.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;
use weir_api::{Looked, Record};

use super::history::PART;
use super::{Audit, Filter, History, Last, Part};

/// So many bytes of files are read at most to find one line.
const MOST: u64 = 512 << 20;

/// Reads lines from memory, or from the files where memory does not reach.
#[derive(Debug)]
pub struct Reader {
    audit: Arc<Audit>,
    readers: Arc<Semaphore>,
    filter: Filter,
    history: Option<History>,
}

impl Reader {
    /// Reads what a filter wants; of all that read files at a time, `readers` has the places.
    pub fn new(audit: &Arc<Audit>, readers: &Arc<Semaphore>, filter: Filter) -> Self {
        Self {
            audit: Arc::clone(audit),
            readers: Arc::clone(readers),
            filter,
            history: None,
        }
    }

    /// Whether only lines since a time are wanted.
    pub fn is_since(&self) -> bool {
        self.filter.since.is_some()
    }

    /// The newest line that matches, and how far back was looked for it: [`MOST`] bytes of files at most.
    pub async fn newest(&mut self) -> io::Result<(Option<Record>, Looked)> {
        let until = self.audit.newest();
        let (oldest, since) = self.audit.oldest().unwrap_or((until + 1, String::new()));
        let mut looked = Looked {
            oldest,
            since: Some(since).filter(|since| !since.is_empty()),
            cut: false,
        };
        let (mut missing, before) = match self.audit.last(1, &self.filter) {
            Last::After(after) => return Ok((self.first_after(after, until).await?, looked)),
            Last::Further { missing, before } => (missing, before),
        };
        for _ in 0..MOST / PART {
            let (found, left, oldest) = self
                .in_files(move |history, filter| {
                    let mut missing = missing;
                    let found = history.last(&mut missing, before, filter)?;
                    Ok((found, missing, history.oldest()))
                })
                .await?;
            missing = left;
            if let Some((oldest, time)) = oldest.filter(|(oldest, _)| *oldest < looked.oldest) {
                (looked.oldest, looked.since) = (oldest, Some(time));
            }
            if let Some(after) = found {
                self.history = None;
                let found = match missing {
                    0 => self.first_after(after, until).await?,
                    _ => None,
                };
                return Ok((found, looked));
            }
        }
        looked.cut = true;
        Ok((None, looked))
    }

    /// The first line behind a number that matches; none behind `until`.
    async fn first_after(&mut self, after: u64, until: u64) -> io::Result<Option<Record>> {
        let mut seen = after;
        while seen < until {
            let part = self.after(seen, 1).await?;
            if part.lines > 0 {
                return Ok(serde_json::from_str(&part.text).ok());
            }
            seen = part.seen;
        }
        Ok(None)
    }

    /// Lines behind a number; always gets on.
    pub async fn after(&mut self, after: u64, limit: usize) -> io::Result<Part> {
        if let Some(part) = self.audit.after(after, limit, &self.filter) {
            self.history = None;
            return Ok(part);
        }
        let read =
            move |history: &mut History, filter: &Filter| history.after(after, limit, filter);
        if let Some(part) = self.in_files(read).await? {
            return Ok(part);
        }
        // What memory holds no more and the files do not hold is lost: the numbers show it.
        let oldest = self.audit.oldest();
        let oldest = oldest.map_or_else(|| self.audit.newest() + 1, |(oldest, _)| oldest);
        Ok(Part {
            seen: after.max(oldest - 1),
            ..Part::default()
        })
    }

    /// The number in front of the newest lines that match.
    pub async fn last(&mut self, limit: usize) -> io::Result<u64> {
        let (mut missing, before) = match self.audit.last(limit, &self.filter) {
            Last::After(after) => return Ok(after),
            Last::Further { missing, before } => (missing, before),
        };
        loop {
            let read = move |history: &mut History, filter: &Filter| {
                let mut missing = missing;
                let found = history.last(&mut missing, before, filter)?;
                Ok((found, missing))
            };
            let (found, left) = self.in_files(read).await?;
            if let Some(after) = found {
                self.history = None;
                return Ok(after);
            }
            missing = left;
        }
    }

    /// The number in front of what happened since a time.
    pub async fn since(&mut self) -> io::Result<u64> {
        if let (Some((seq, time)), Some(early)) = (self.audit.oldest(), self.filter.early())
            && time < early
        {
            return Ok(seq - 1);
        }
        self.in_files(|history, filter| history.since(filter)).await
    }

    /// Runs a part of the reading where it may block.
    async fn in_files<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&mut History, &Filter) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = Arc::clone(&self.readers).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let mut history = self.history.take().unwrap_or_else(|| self.audit.history());
        let filter = self.filter.clone();
        let (history, done) = tokio::task::spawn_blocking(move || {
            let done = read(&mut history, &filter);
            drop(place);
            (history, done)
        })
        .await
        .map_err(io::Error::other)?;
        self.history = Some(history);
        done
    }
}
