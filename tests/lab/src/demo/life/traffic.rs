//! Steady traffic in both planes, and what its clients saw of what was done to Weir meanwhile.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::demo::client::{Client, Connection, address};
use crate::lab::Lab;
use crate::sources::{Class, Family};

/// Connections that are kept open through the proxy.
pub const KEPT: usize = 4;
/// How often each of them, and the managed one, asks.
const ASK: Duration = Duration::from_millis(50);
/// How often a new client comes.
const COME: Duration = Duration::from_millis(100);
/// What those ask for that stay: a picture of the page.
const PART: &str = "/adfs/portal/logo/logo.svg";
/// What new ones ask for.
const SIGN_IN: &str = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=a";

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub struct Saw {
    /// Answers on the one managed connection, which the kernel forwards.
    pub managed: usize,
    /// Why that connection ended, if it did.
    pub managed_broken: Option<String>,
    /// Answers on the kept connections.
    pub kept: usize,
    /// How often one of them broke, and was opened anew.
    pub kept_broken: usize,
    /// New clients that are done.
    pub new: Vec<Newcomer>,
}

/// A new client.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// When it came.
    pub came: Instant,
    /// How long it took from its first packet to its answer.
    pub took: Duration,
    /// What was wrong, when it did not get what it had to.
    pub wrong: Option<String>,
}

/// Clients at work, as long as this lives.
#[derive(Debug)]
pub struct Traffic {
    saw: Arc<Mutex<Saw>>,
    /// Counts what was seen; whoever waits for more looks again.
    more: watch::Sender<u64>,
    closing: watch::Sender<bool>,
    tasks: JoinSet<()>,
    newcomers: tokio::task::JoinHandle<()>,
}

/// What every client has.
#[derive(Clone)]
struct Hand {
    saw: Arc<Mutex<Saw>>,
    more: watch::Sender<u64>,
}

impl Traffic {
    /// Begins, and waits until every kind of client has had an answer.
    pub async fn begin(lab: &Lab, client: &Client, family: Family) -> Result<Self> {
        let hand = Hand {
            saw: Arc::default(),
            more: watch::Sender::new(0),
        };
        let (sts, adfs) = (address(lab, "sts", family)?, address(lab, "adfs", family)?);
        let source = move |class: Class| Some(class.source().address(family));
        let mut tasks = JoinSet::new();
        let managed = client.connect(source(Class::Managed), sts, "sts.corp.example");
        let managed = managed.await.context("the managed connection")?;
        tasks.spawn(hand.clone().managed(managed));
        for _ in 0..KEPT {
            let (hand, client) = (hand.clone(), client.clone());
            let open = async move || {
                client
                    .connect(source(Class::Bypass), adfs, "adfs.corp.example")
                    .await
            };
            tasks.spawn(hand.keep(open));
        }
        let closing = watch::Sender::new(false);
        let (own, client, mut closes) = (hand.clone(), client.clone(), closing.subscribe());
        let newcomers = tokio::spawn(async move {
            let mut every = interval(COME);
            let mut under_way = JoinSet::new();
            loop {
                tokio::select! {
                    _ = every.tick() => {
                        let (hand, client) = (own.clone(), client.clone());
                        under_way.spawn(async move {
                            let came = Instant::now();
                            let asked = async {
                                let from = source(Class::Unmanaged);
                                let mut connection =
                                    client.connect(from, adfs, "adfs.corp.example").await?;
                                connection.get(SIGN_IN).await
                            };
                            let wrong = match asked.await {
                                Ok(302) => None,
                                Ok(status) => Some(format!("status {status}")),
                                Err(error) => Some(format!("{error:#}")),
                            };
                            let took = came.elapsed();
                            hand.note(|saw| saw.new.push(Newcomer { came, took, wrong }));
                        });
                    }
                    Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                    _ = closes.wait_for(|closing| *closing) => break,
                }
            }
            while under_way.join_next().await.is_some() {}
        });
        let traffic = Self {
            saw: hand.saw,
            more: hand.more,
            closing,
            tasks,
            newcomers,
        };
        traffic
            .until(|saw| saw.managed > 0 && saw.kept > KEPT && !saw.new.is_empty())
            .await?;
        Ok(traffic)
    }

    /// Waits until the clients have seen that.
    pub async fn until(&self, is_so: impl Fn(&Saw) -> bool) -> Result<()> {
        let mut more = self.more.subscribe();
        let seen = more.wait_for(|_| is_so(&lock(&self.saw))).await;
        if seen.is_err() {
            bail!("the clients are gone");
        }
        Ok(())
    }

    /// What was seen so far.
    pub fn saw(&self) -> Saw {
        lock(&self.saw).clone()
    }

    /// Lets no new client come, waits for those that are under way, and says what was seen.
    pub async fn end(mut self) -> Result<Saw> {
        self.closing.send_replace(true);
        (&mut self.newcomers).await?;
        self.tasks.shutdown().await;
        Ok(self.saw())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.newcomers.abort();
    }
}

impl Hand {
    fn note(&self, change: impl FnOnce(&mut Saw)) {
        change(&mut lock(&self.saw));
        self.more.send_modify(|count| *count += 1);
    }

    /// Asks on one connection, as long as it lasts: nobody opens it anew.
    async fn managed(self, mut connection: Connection) {
        loop {
            match connection.get(PART).await {
                Ok(200) => self.note(|saw| saw.managed += 1),
                Ok(status) => {
                    return self.note(|saw| saw.managed_broken = Some(format!("status {status}")));
                }
                Err(error) => {
                    return self.note(|saw| saw.managed_broken = Some(format!("{error:#}")));
                }
            }
            sleep(ASK).await;
        }
    }

    /// Asks on one connection after the other, each as long as it lasts.
    async fn keep(self, open: impl AsyncFn() -> Result<Connection>) {
        loop {
            if let Ok(mut connection) = open().await {
                while connection.get(PART).await.is_ok() {
                    self.note(|saw| saw.kept += 1);
                    sleep(ASK).await;
                }
                self.note(|saw| saw.kept_broken += 1);
            }
            sleep(ASK).await;
        }
    }
}

fn lock(saw: &Mutex<Saw>) -> MutexGuard<'_, Saw> {
    saw.lock().expect("no client panics while it notes")
}
