//! Many flows over several servers, while servers die and come back, the lists change, and a process hands
//! the plane over to the next: none of the flows of the servers that live is moved.
//!
//! `WEIR_LONG=1` makes it a test of thousands of connections.

mod bed;
mod crowd;
mod farm;
mod plane;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bed::{Bed, within};
use crowd::{GO_ON, Talker, moving, raise_limit, serve};
use farm::Farm;
use plane::{services, sts};
use weir_abi::{Class, Reason, Topology, Verdict};
use weir_dataplane::{Dataplane, HookChoice, Options, SynBudget, SynBudgets};
use weir_fixtures::source;
use weir_tables::{History, KernelTables};

/// The servers' letters; the proxy's is another.
const SERVERS: &[u8] = b"abc";
const PROXY: u8 = b'p';
/// No server is dead.
const NOBODY: u8 = 0;
/// How long a short connection waits for a server that may just have died.
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn flows_stay_with_servers_that_live_at_tcx() {
    flows_stay_with_servers_that_live("flows_stay_with_servers_that_live_at_tcx", HookChoice::Tcx);
}

#[test]
fn flows_stay_with_servers_that_live_at_xdp() {
    flows_stay_with_servers_that_live("flows_stay_with_servers_that_live_at_xdp", HookChoice::Xdp);
}

fn flows_stay_with_servers_that_live(name: &str, hook: HookChoice) {
    let count = if std::env::var_os("WEIR_LONG").is_some() {
        2000
    } else {
        300
    };
    plane::story_at(hook, name, |bed| {
        raise_limit();
        let farm = Farm::new(bed, SERVERS.len());
        farm.own_the_service();
        for six in [false, true] {
            for (server, letter) in farm.servers.iter().zip(SERVERS) {
                serve(server, sts(six, 443), *letter, false);
            }
            serve(&bed.router, sts(six, 443), PROXY, true);
        }
        let mut scene = Scene::new(bed, &farm);
        scene.flip();
        let load = Load::default();
        let told = thread::scope(|scope| {
            let crowds = [false, true].map(|six| {
                let (load, client) = (&load, &bed.client);
                let lasting = scope.spawn(move || within(client, || load.last(six, count)));
                let short = scope.spawn(move || within(client, || load.come_and_go(six)));
                [lasting, short]
            });
            let end = Stop(&load.stop);
            // All began while the source was managed.
            load.rounds(2, 2);
            scene.play(&load);
            drop(end);
            crowds.map(|crowd| crowd.map(|part| part.join().expect("it tells what it saw")))
        });
        for ([lasting, short], family) in told.into_iter().zip(["IPv4", "IPv6"]) {
            println!("{name}: {family}: {lasting:?}; short ones {short:?}");
            assert_eq!(lasting.troubles, Vec::<String>::new(), "{family}");
            assert_eq!(short.troubles, Vec::<String>::new(), "{family}");
            assert_eq!(lasting.by.values().sum::<usize>(), count);
            for server in SERVERS {
                let share = lasting.by.get(server).copied().unwrap_or_default();
                assert!(share > count / 6, "{lasting:?}");
            }
            assert!(
                short.by.len() == SERVERS.len() + 1,
                "all were met: {short:?}"
            );
        }
        let counters = scene.plane().counters().expect("readable");
        let lost: Vec<_> = (counters.iter())
            .filter(|c| matches!(c.reason, Reason::NoServer | Reason::NoRoute))
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
        let kept = plane::find(&counters, Class::Unmanaged, Verdict::Forward, Reason::Kept);
        assert!(kept.packets > 0, "{counters:?}");
    });
}

/// Whoever changes things.
struct Scene<'a> {
    bed: &'a Bed,
    farm: &'a Farm,
    options: Options,
    plane: Option<Dataplane>,
    turns: [KernelTables; 2],
    turn: usize,
}

impl<'a> Scene<'a> {
    fn new(bed: &'a Bed, farm: &'a Farm) -> Self {
        let none = SynBudget::of(0);
        let options = Options {
            budgets: SynBudgets {
                proxied: none,
                forwarded: none,
            },
            ..bed.options.clone()
        };
        let mut plane = Dataplane::open(&options).unwrap_or_else(|error| panic!("{error}"));
        plane.set_services(&services()).expect("two services");
        farm::serve(&mut plane, Topology::Dsr, &[true; SERVERS.len()]);
        let lists = [moving(Class::Managed), moving(Class::Unmanaged)];
        let history = History::of(&lists[0]).and(&History::of(&lists[1]));
        Self {
            bed,
            farm,
            options,
            plane: Some(plane),
            turns: lists.map(|lists| KernelTables::compile(&lists, &history)),
            turn: 0,
        }
    }

    fn plane(&mut self) -> &mut Dataplane {
        self.plane.as_mut().expect("taken for a moment only")
    }

    /// The source becomes managed, or unmanaged again.
    fn flip(&mut self) {
        let turn = self.turn;
        self.turn += 1;
        let tables = self.turns[turn % 2].clone();
        self.plane().publish(&tables).expect("a small generation");
    }

    /// Each server dies in turn, is found dead, and comes back; in between another process takes over.
    fn play(&mut self, load: &Load) {
        let mut up = [true; SERVERS.len()];
        for (index, letter) in SERVERS.iter().enumerate() {
            load.dead.store(*letter, Ordering::Relaxed);
            // None of those that last waits for it any more.
            load.rounds(2, 0);
            silence(self.bed, &self.farm.servers[index], true);
            load.rounds(1, 0);
            up[index] = false;
            farm::serve(self.plane(), Topology::Dsr, &up);
            load.noticed.store(true, Ordering::Relaxed);
            self.flips(load);
            self.plane = None;
            self.plane = Some(Dataplane::open(&self.options).expect("pins of this version"));
            self.flips(load);
            silence(self.bed, &self.farm.servers[index], false);
            load.noticed.store(false, Ordering::Relaxed);
            up[index] = true;
            farm::serve(self.plane(), Topology::Dsr, &up);
            load.dead.store(NOBODY, Ordering::Relaxed);
            self.flips(load);
        }
    }

    /// An even number of changes, each of which everybody lives through.
    fn flips(&mut self, load: &Load) {
        for _ in 0..4 {
            self.flip();
            load.rounds(1, 3);
        }
    }
}

/// Ends the load, also when whoever changes things fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What both families' connections share.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// The letter of a server from which nobody may expect an answer.
    dead: AtomicU8,
    /// Whether the plane knows of it.
    noticed: AtomicBool,
    /// Rounds of the lasting connections, and connections that came and went, of each family.
    rounds: [AtomicUsize; 2],
    gone: [AtomicUsize; 2],
}

/// What became of some connections.
#[derive(Debug, Default)]
struct Told {
    by: BTreeMap<u8, usize>,
    /// Those that met a server that died in that moment.
    ventured: usize,
    troubles: Vec<String>,
}

impl Told {
    fn count(&mut self, talker: &Talker) {
        let who = talker.who().expect("it answered");
        *self.by.entry(who).or_default() += 1;
    }
}

impl Load {
    /// Waits until the lasting connections of both families had so many whole rounds from now on, and so
    /// many others came and went.
    fn rounds(&self, rounds: usize, gone: usize) {
        let now = |of: &[AtomicUsize; 2]| of.each_ref().map(|n| n.load(Ordering::Relaxed));
        let (before, went) = (now(&self.rounds), now(&self.gone));
        let is_more = |before: [usize; 2], of, more| {
            before
                .iter()
                .zip(now(of))
                .all(|(before, now)| now >= before + more)
        };
        let is_over =
            || is_more(before, &self.rounds, rounds + 1) && is_more(went, &self.gone, gone);
        while !self.stop.load(Ordering::Relaxed) && !is_over() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Connections that begin at once and stay.
    fn last(&self, six: bool, count: usize) -> Told {
        let mut told = Told::default();
        let from = source(Class::Unmanaged, six);
        let mut talkers = Vec::new();
        while talkers.len() < count {
            let mut talker = Talker::new(from, 0, sts(six, 443)).expect("a server listens");
            talker.talk(GO_ON).expect("an answer");
            told.count(&talker);
            talkers.push(talker);
        }
        while !self.stop.load(Ordering::Relaxed) && told.troubles.is_empty() {
            let dead = self.dead.load(Ordering::Relaxed);
            for talker in talkers
                .iter_mut()
                .filter(|talker| talker.who() != Some(dead))
            {
                if let Err(error) = talker.talk(GO_ON) {
                    told.troubles.push(format!("{error} {talker:?}"));
                }
            }
            self.rounds[usize::from(six)].fetch_add(1, Ordering::Relaxed);
        }
        // Also those whose server was dead for a while.
        for talker in &mut talkers {
            if let Err(error) = talker.talk(GO_ON) {
                told.troubles
                    .push(format!("at the end: {error} {talker:?}"));
            }
        }
        self.stop.store(true, Ordering::Relaxed);
        told
    }

    /// Connections that live for a moment, one after the other.
    fn come_and_go(&self, six: bool) -> Told {
        let mut told = Told::default();
        let from = source(Class::Unmanaged, six);
        while !self.stop.load(Ordering::Relaxed) && told.troubles.is_empty() {
            // One that begins may meet the server that is about to be found dead.
            let ventures = !self.noticed.load(Ordering::Relaxed);
            let talk = || -> std::io::Result<Talker> {
                let mut talker = Talker::new(from, 0, sts(six, 443))?;
                if ventures {
                    talker.be_patient(PATIENCE);
                }
                for _ in 0..2 {
                    talker.talk(GO_ON)?;
                }
                Ok(talker)
            };
            match talk() {
                Ok(talker) => told.count(&talker),
                Err(_) if ventures && self.dead.load(Ordering::Relaxed) != NOBODY => {
                    told.ventured += 1;
                }
                Err(error) => told.troubles.push(error.to_string()),
            }
            self.gone[usize::from(six)].fetch_add(1, Ordering::Relaxed);
        }
        self.stop.store(true, Ordering::Relaxed);
        told
    }
}

/// Has a server neither hear nor say anything, or again.
fn silence(bed: &Bed, server: &str, dead: bool) {
    let policy = if dead { "drop" } else { "accept" };
    let mut rules = String::from("table inet dead {\n");
    for hook in ["input", "output"] {
        let chain = format!("type filter hook {hook} priority 0; policy {policy};");
        let _ = writeln!(rules, "chain {hook} {{ {chain} }}");
    }
    bed.nft(server, &(rules + "}\n"));
}
