//! Rounds from Graph's bytes to what both planes read: pages decoded, staged, committed to the store on the disk,
//! taken up by the closure, drawn and checked.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde_json::json;
use time::OffsetDateTime;
use weir_benches::report::{Limit, Report, Spread};
use weir_directory::Snapshot;
use weir_entra::closure::{Closure, DraftError, Loader, Roles, Since, Watch, Watched, redraw};
use weir_entra::decode;
use weir_entra::guard::Guard;
use weir_entra::model::{Changes, Id, Part};
use weir_entra::round::{Kind, Outcome, Round};
use weir_entra::store::Store;

use crate::cost::{self, Cost, measured};
use crate::tenant::Tenant;
use crate::{WATCHED, head, megabytes, pages, tell_steps};

/// Measures the first rounds of a tenant, and then rounds that tell of one person.
pub fn measure(report: &mut Report, tenant: &Tenant, runs: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let opened = Store::open(&folder.path().join("entra.store"), Id::from_u128(1))?;
    let store = opened.store;
    let resident = cost::resident()?;
    cost::reset_peak()?;
    let users = store.begin(Part::Users, Kind::Full)?;
    let users = first(users, pages::users(tenant), |round, page| {
        Ok(round.users(decode::users::changes(page)?.items)?)
    })?;
    let groups = store.begin(Part::Groups, Kind::Full)?;
    let groups = first(groups, pages::groups(tenant), |round, page| {
        Ok(round.groups(decode::groups::changes(page)?.items)?)
    })?;
    let first = First { users, groups };
    let (taking_up, closure) = measured(|| load(&store));
    let closure = closure?;
    let (drawing, snapshot) = measured(|| draw(&store, &closure));
    let snapshot = snapshot?;
    let peak = megabytes(cost::peak()?.saturating_sub(resident));
    first.tell(report, taking_up, drawing, peak, store.path())?;
    later(report, &store, tenant, closure, snapshot, runs)
}

/// What the first round of a part took.
struct Rounds {
    making: f64,
    decoding: f64,
    committing: f64,
    bytes: usize,
}

struct First {
    users: Rounds,
    groups: Rounds,
}

impl First {
    fn tell(
        &self,
        report: &mut Report,
        taking_up: Cost,
        drawing: Cost,
        peak: f64,
        store: &std::path::Path,
    ) -> Result<()> {
        let Self { users, groups } = self;
        let steps = [
            ("(making pages up)", users.making + groups.making),
            ("decoding, staging", users.decoding + groups.decoding),
            (
                "committing to the store",
                users.committing + groups.committing,
            ),
            ("reading it, closure", taking_up.cpu),
            ("drawing, checking", drawing.cpu),
        ];
        let cpu: f64 = steps[1..].iter().map(|(_, seconds)| seconds).sum();
        let steps = steps.map(|(step, seconds)| (step, Spread::once(seconds)));
        let pages = megabytes((users.bytes + groups.bytes) as u64);
        let size = megabytes(std::fs::metadata(store)?.len());
        println!("\nfirst rounds from Graph's pages ({pages:.0} MB), CPU seconds");
        let told = tell_steps(
            &steps,
            Spread::once(cpu),
            &[("peak memory", peak), ("store", size)],
        );
        report.row(json!({
            "first_rounds": told,
            "cpu_s": cpu, "peak_mb": peak, "store_mb": size, "pages_mb": pages,
        }));
        report.target(
            "full load, from Graph's pages to both planes",
            "s of CPU",
            Some(cpu),
            Limit::Most(60.0),
        );
        report.target("the same, memory", "MB", Some(peak), Limit::Most(1024.0));
        Ok(())
    }
}

/// The first round of a part, from its pages.
fn first(
    mut round: Round,
    mut pages: impl Iterator<Item = Vec<u8>>,
    take: impl Fn(&mut Round, &[u8]) -> Result<()>,
) -> Result<Rounds> {
    let (mut making, mut decoding, mut bytes) = (0.0, 0.0, 0);
    loop {
        let (cost, page) = measured(|| pages.next());
        making += cost.cpu;
        let Some(page) = page else { break };
        bytes += page.len();
        let (cost, taken) = measured(|| take(&mut round, &page));
        decoding += cost.cpu;
        taken?;
    }
    let (committing, outcome) = measured(|| round.finish(Some(link(0)), &Guard::default(), now()));
    committed(outcome?)?;
    Ok(Rounds {
        making,
        decoding,
        committing: committing.cpu,
        bytes,
    })
}

/// Everything that is kept, as it is taken up when weir-control starts.
fn load(store: &Store) -> Result<Closure> {
    let view = store.read()?;
    let mut loader = Loader::default();
    for user in view.users()? {
        let (id, user) = user?;
        loader.user(id, &user);
    }
    for group in view.groups()? {
        let (id, group) = group?;
        loader.group(id, &group);
    }
    for edge in view.edges()? {
        let (group, member, kind) = edge?;
        loader.edge(group, member, kind);
    }
    Ok(loader.finish())
}

fn draw(store: &Store, closure: &Closure) -> Result<Snapshot<Vec<u8>>> {
    let view = store.read()?;
    let (users, groups) = (view.users()?, view.groups()?);
    let mut unread = None;
    let bytes = closure.draw::<DraftError>(head(1), |draft| {
        for group in groups.map_while(|group| keep(group, &mut unread)) {
            draft.group(group.0, &group.1)?;
        }
        for user in users.map_while(|user| keep(user, &mut unread)) {
            draft.user(user.0, &user.1)?;
        }
        Ok(())
    })?;
    match unread {
        Some(error) => Err(error),
        None => Ok(Snapshot::parse(bytes)?),
    }
}

fn keep<T, E: Into<anyhow::Error>>(
    read: Result<T, E>,
    unread: &mut Option<anyhow::Error>,
) -> Option<T> {
    read.map_err(|error| *unread = Some(error.into())).ok()
}

/// Rounds in which one person leaves a group that is watched, and comes back.
fn later(
    report: &mut Report,
    store: &Store,
    tenant: &Tenant,
    mut closure: Closure,
    mut snapshot: Snapshot<Vec<u8>>,
    runs: usize,
) -> Result<()> {
    let watched: BTreeSet<Id> = tenant.largest(WATCHED).into_iter().collect();
    let watch = Watch {
        groups: Watched::Only(&watched),
        most: 100_000,
    };
    let (group, member) = tenant.somebody();
    let mut told = Vec::new();
    let mut drawn = Vec::new();
    for run in 0..2 * runs {
        let page = pages::one_member(group, member, run % 2 == 0);
        let epoch = u64::try_from(run)?;
        let (cost, applied) = measured(|| -> Result<_> {
            let page = decode::groups::changes(&page)?;
            let before = link(epoch);
            let mut round = store.begin(Part::Groups, Kind::Delta { link: before })?;
            round.groups(page.items)?;
            let outcome = round.finish(Some(link(epoch + 1)), &Guard::default(), now())?;
            let changes = committed(outcome)?;
            let applied = closure.apply(&changes, &watch);
            Ok((changes, applied))
        });
        let (changes, applied) = applied?;
        told.push(cost.cpu * 1e3);
        let head = head(snapshot.head().epoch + 1);
        let since = Since {
            changes: &changes,
            touched: &applied.touched,
        };
        let (cost, parsed) = measured(|| -> Result<_> {
            let bytes = redraw(&closure, head, &snapshot, since, &Roles::default())?;
            Ok(Snapshot::parse(bytes)?)
        });
        drawn.push(cost.cpu * 1e3);
        snapshot = parsed?;
    }
    let (told, drawn) = (Spread::of(told), Spread::of(drawn));
    println!(
        "\none delta round of one membership, ms of CPU\n  page to who is concerned {:>8.2}\n  \
         new snapshot, checked    {:>8.0}",
        told.median, drawn.median
    );
    report.row(json!({ "delta_round": { "told_ms": told, "drawn_ms": drawn } }));
    report.target(
        "one delta round, from the page to both planes",
        "s of CPU",
        Some((told.median + drawn.median) / 1e3),
        Limit::Most(1.0),
    );
    Ok(())
}

fn committed(outcome: Outcome) -> Result<Changes> {
    match outcome {
        Outcome::Committed(changes) => Ok(changes),
        Outcome::Unchanged => bail!("a round changed nothing"),
        Outcome::Held { .. } => bail!("a round was held"),
    }
}

fn link(number: u64) -> String {
    format!("https://graph.microsoft.com/v1.0/groups/delta?$deltatoken={number}")
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
