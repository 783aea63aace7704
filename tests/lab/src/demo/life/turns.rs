//! A configuration that changes all the time: rules, a list and a certificate, one reload after the other, while clients
//! ask without pause on kept connections and on new ones. No request may fail, and every answer must be one generation's
//! alone, of those that were in force while it was waited for.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Lived, Ward};
use crate::demo::client::{Client, Connection, address};
use crate::sources::{Class, Family};

/// Clients of each kind.
const CLIENTS: usize = 2;
/// Every so many turns a reload is to be confirmed, and is.
const CONFIRMED: u64 = 10;
/// What they ask for: the beginning of a sign-in, which the rule of the turn answers.
const SIGN_IN: &str = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline";
/// What the managed client asks for, past the proxy.
const PART: &str = "/adfs/portal/logo/logo.svg";

/// Which turns there can be answers of.
#[derive(Debug, Default)]
struct Clock {
    /// Both planes work with it.
    in_force: AtomicU64,
    /// It was offered.
    offered: AtomicU64,
    /// The clients are to end.
    over: AtomicU64,
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    kept: u64,
    new: u64,
    managed: u64,
    wrong: Vec<String>,
}

#[derive(Clone)]
struct Hand {
    clock: Arc<Clock>,
    seen: Arc<Mutex<Seen>>,
    client: Client,
    from: IpAddr,
    to: SocketAddr,
}

impl Ward<'_> {
    /// Does the row.
    pub(super) async fn take_turns(
        &self,
        turns: u64,
        family: Family,
        lived: &mut Lived,
    ) -> Result<()> {
        let directory = self.lab.etc();
        let path = directory.join("weir.toml");
        let usual = fs::read_to_string(&path).context("the row's settings are there")?;
        let files = self.lab.plan.files();
        let chain = files.chain("adfs");
        let leaf = fs::read_to_string(&chain)?;
        let longer = directory.join("longer.pem");
        fs::write(&longer, leaf + &fs::read_to_string(files.ca())?)?;
        let from = Class::Unmanaged.source().address(family);
        let text = |turn: u64| {
            let usual = match turn % 2 {
                0 => usual.replace(&chain.display().to_string(), &longer.display().to_string()),
                _ => usual.clone(),
            };
            of_turn(usual, turn, from)
        };
        let hand = Hand {
            clock: Arc::default(),
            seen: Arc::default(),
            client: self.client.anew(),
            from,
            to: address(self.lab, "adfs", family)?,
        };
        self.turn(&path, &text(0), 0, &hand.clock).await?;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(hand.clone().keep());
            clients.spawn(hand.clone().come());
        }
        let (managed, sts) = (
            Class::Managed.source().address(family),
            address(self.lab, "sts", family)?,
        );
        let managed = self.client.connect(Some(managed), sts, "sts.corp.example");
        clients.spawn(hand.clone().managed(managed.await?));
        let begun = Instant::now();
        let mut longest = 0;
        for turn in 1..=turns {
            let asked = Instant::now();
            self.turn(&path, &text(turn), turn, &hand.clock).await?;
            longest = longest.max(asked.elapsed().as_millis());
        }
        let took = begun.elapsed();
        hand.clock.over.store(1, Ordering::SeqCst);
        while clients.join_next().await.is_some() {}
        let seen = hand.seen.lock().expect("no client panics while it notes");
        lived.state(
            seen.wrong.is_empty(),
            format!(
                "{turns} reloads in {:.1} s (the longest {longest} ms), every {CONFIRMED}th of them confirmed",
                took.as_secs_f64()
            ),
            format!(
                "{} requests failed, such as: {}",
                seen.wrong.len(),
                seen.wrong.first().map_or("", String::as_str)
            ),
        );
        lived.state(
            seen.kept > turns && seen.new > 0 && seen.managed > 0,
            format!(
                "{} answers on {CLIENTS} kept connections, {} on new ones, {} past the proxy: none failed, each of one \
                 generation",
                seen.kept, seen.new, seen.managed
            ),
            "there was hardly any traffic".to_owned(),
        );
        Ok(())
    }

    /// Puts the configuration of a turn in force.
    async fn turn(
        &self,
        path: &std::path::Path,
        text: &str,
        turn: u64,
        clock: &Clock,
    ) -> Result<()> {
        fs::write(path, text)?;
        clock.offered.store(turn, Ordering::SeqCst);
        let confirmed = turn > 0 && turn.is_multiple_of(CONFIRMED);
        let body = if confirmed {
            json!({ "confirm_within": 60 })
        } else {
            json!({})
        };
        self.control
            .ask("POST", "/v1/reload", Some(&body))
            .await
            .with_context(|| format!("turn {turn} is refused"))?;
        clock.in_force.store(turn, Ordering::SeqCst);
        if confirmed {
            self.control.ask("POST", "/v1/confirm", None).await?;
        }
        Ok(())
    }
}

/// What a turn adds to the usual configuration: the client is on a list in every other turn, and rules say which turn it is
/// by which class it has.
fn of_turn(mut text: String, turn: u64, client: IpAddr) -> String {
    let listed = match (turn % 2, client) {
        (0, client) => client.to_string(),
        (_, IpAddr::V4(_)) => "203.0.113.251".to_owned(),
        (_, IpAddr::V6(_)) => "2001:db8:a9::fb".to_owned(),
    };
    let list =
        format!("\n[[list]]\nname = \"turn\"\nclass = \"bypass\"\nprefixes = [\"{listed}\"]\n");
    text.push_str(&list);
    for class in ["bypass", "unmanaged"] {
        write!(
            text,
            "\n[[rule]]\nname = \"turn-{class}\"\nwhen = {{ source = \"{client}\", class = \"{class}\" }}\n\
             then = {{ decision = \"redirect\", target = \"https://turn.example/{turn}/{class}\", reason = \"turn {turn}\" }}\n"
        )
        .expect("a String takes everything");
    }
    text
}

impl Hand {
    /// Asks on one connection for as long as the row goes on.
    async fn keep(self) {
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(error) => return self.note(|seen| &mut seen.kept, Err(error)),
        };
        while self.goes_on() {
            let asked = self.ask(&mut connection).await;
            let broke = asked.is_err();
            self.note(|seen| &mut seen.kept, asked);
            if broke {
                return;
            }
        }
    }

    /// Asks on one connection after the other.
    async fn come(self) {
        while self.goes_on() {
            let asked = async {
                let mut connection = self.open().await?;
                self.ask(&mut connection).await
            };
            let asked = asked.await;
            self.note(|seen| &mut seen.new, asked);
        }
    }

    /// Asks past the proxy.
    async fn managed(self, mut connection: Connection) {
        while self.goes_on() {
            let asked = async {
                let status = connection.get(PART).await?;
                ensure!(status == 200, "status {status} past the proxy");
                Ok(())
            };
            let asked = asked.await;
            let broke = asked.is_err();
            self.note(|seen| &mut seen.managed, asked);
            if broke {
                return;
            }
        }
    }

    /// Opens a connection, and holds the certificates that are shown against the turns in which that was.
    async fn open(&self) -> Result<Connection> {
        let first = self.clock.in_force.load(Ordering::SeqCst);
        let opening = self
            .client
            .connect(Some(self.from), self.to, "adfs.corp.example");
        let connection = opening.await?;
        let last = self.clock.offered.load(Ordering::SeqCst);
        let shown = connection.certificates;
        // The leaf and the authority, which the longer chain has twice.
        let fits = |turn: u64| shown == if turn.is_multiple_of(2) { 3 } else { 2 };
        ensure!(
            (first..=last).any(fits),
            "{shown} certificates between turn {first} and {last}"
        );
        Ok(connection)
    }

    /// Asks, and holds the answer against the turns in which that was: rules and lists of one of them.
    async fn ask(&self, connection: &mut Connection) -> Result<()> {
        let first = self.clock.in_force.load(Ordering::SeqCst);
        let (status, location) = connection.ask(SIGN_IN).await?;
        let last = self.clock.offered.load(Ordering::SeqCst);
        let said = location.strip_prefix("https://turn.example/");
        let said = said.and_then(|said| said.split_once('/'));
        let (turn, class) =
            said.with_context(|| format!("status {status} to `{location}` of no turn"))?;
        let turn: u64 = turn.parse()?;
        let listed = if turn.is_multiple_of(2) {
            "bypass"
        } else {
            "unmanaged"
        };
        ensure!(class == listed, "turn {turn} took its client for {class}");
        ensure!(
            (first..=last).contains(&turn),
            "turn {turn} answers between turn {first} and {last}"
        );
        Ok(())
    }

    fn goes_on(&self) -> bool {
        self.clock.over.load(Ordering::SeqCst) == 0
    }

    fn note(&self, of: impl FnOnce(&mut Seen) -> &mut u64, asked: Result<()>) {
        let mut seen = self.seen.lock().expect("no client panics while it notes");
        match asked {
            Ok(()) => *of(&mut seen) += 1,
            Err(error) => seen.wrong.push(format!("{error:#}")),
        }
    }
}
