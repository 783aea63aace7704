//! Measures the directory: taking up a whole tenant, one change of it, and finding somebody: `cargo xtask bench
//! directory`.
//!
//! In: nothing but a seed. Out: a table, JSON, and for each target whether it is met. It needs no root, no network and
//! no kernel programs.

mod cost;
mod pages;
mod rounds;
mod tenant;

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde_json::json;
use weir_benches::report::{Limit, Report, Spread};
use weir_directory::{Attribute, GroupFound, GroupRef, Head, Snapshot, View, Who};
use weir_entra::closure::{
    Closure, DraftError, Loader, Moves, Roles, Since, Watch, Watched, redraw,
};
use weir_entra::model::Id;

use crate::cost::{Cost, measured};
use crate::tenant::{Shape, Tenant};

#[derive(Parser)]
#[command(name = "weir-bench-directory", about = "Benches of the directory")]
struct Arguments {
    /// Also write the numbers to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A small tenant and few runs: shows that everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// What the tenant is drawn from.
    #[arg(long, default_value_t = 365)]
    seed: u64,
}

/// Groups that rules name.
const WATCHED: usize = 20;
/// People who are looked up in turn, so that the processor's caches do not flatter the result.
const PEOPLE: usize = 65_536;
const NOW: i64 = 1_800_000_000;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (shape, runs) = if arguments.quick {
        (Shape::SMALL, 1)
    } else {
        (Shape::LARGE, 5)
    };
    let mut report = Report::new("directory", runs);
    println!("{}\n", report.headline());
    let tenant = Tenant::new(shape, arguments.seed);
    let mut loaded = None;
    let mut loads = Vec::new();
    for _ in 0..runs {
        // One at a time: memory is measured too.
        drop(loaded.take());
        let (load, closure, snapshot) = full_load(&tenant)?;
        loads.push(load);
        loaded = Some((closure, snapshot));
    }
    let (mut closure, snapshot) = loaded.context("there is at least one run")?;
    tell_load(&mut report, &tenant, &loads, &closure, &snapshot);
    lookups(&mut report, &snapshot, runs)?;
    deltas(&mut report, &tenant, &mut closure, snapshot, runs)?;
    drop(closure);
    rounds::measure(&mut report, &tenant, runs)?;
    for note in [
        "Full load: users, groups and edges one by one, as the store hands them over, then the closure, the flattened \
         snapshot, and its check by the reader. What it takes to make the tenant up is measured alone and taken off.",
        "First rounds: the same from Graph's JSON pages on, decoded, committed to the store on the disk and read from \
         there; once.",
        "Memory: the most that was resident during the load, above what was resident before it (VmHWM after it was \
         reset).",
        "One change: taken up by the closure with 20 watched groups, drawn from the snapshot before, and checked by \
         the reader, which is the switch of both planes but for handing the memory over.",
        "Lookups: 65,536 people in turn, on one thread.",
    ] {
        report.note(note);
    }
    if arguments.quick {
        report.note(
            "A quick run: it shows that everything works, and its numbers are worth nothing.",
        );
    }
    report.finish(arguments.json.as_deref())
}

/// What a full load took, step by step.
struct Load {
    making: Cost,
    closure: Cost,
    drawing: Cost,
    checking: Cost,
    /// Most memory above what there was before, in bytes.
    peak: u64,
}

impl Load {
    /// CPU of everything that Weir does, in seconds.
    fn cpu(&self) -> f64 {
        self.closure.cpu + self.drawing.cpu + self.checking.cpu - 2.0 * self.making.cpu
    }
}

fn head(epoch: u64) -> Head {
    Head {
        tenant: Id::from_u128(1),
        epoch,
        taken_at: NOW,
        checked: [Some(NOW); 3],
    }
}

fn full_load(tenant: &Tenant) -> Result<(Load, Closure, Snapshot<Vec<u8>>)> {
    // Users and groups are made up twice, for the closure and for the drawing; edges once, which is next to nothing.
    let (making, ()) = measured(|| {
        tenant.users().for_each(|user| drop(black_box(user)));
        tenant.groups().for_each(|group| drop(black_box(group)));
    });
    let resident = cost::resident()?;
    cost::reset_peak()?;
    let (taking_up, closure) = measured(|| {
        let mut loader = Loader::default();
        tenant.users().for_each(|(id, user)| loader.user(id, &user));
        tenant
            .groups()
            .for_each(|(id, group)| loader.group(id, &group));
        tenant
            .edges()
            .for_each(|(group, member, kind)| loader.edge(group, member, kind));
        loader.finish()
    });
    let (drawing, bytes) = measured(|| {
        closure.draw::<DraftError>(head(1), |draft| {
            tenant
                .groups()
                .try_for_each(|(id, group)| draft.group(id, &group))?;
            tenant
                .users()
                .try_for_each(|(id, user)| draft.user(id, &user))
        })
    });
    let bytes = bytes?;
    let (checking, snapshot) = measured(|| Snapshot::parse(bytes));
    let load = Load {
        making,
        closure: taking_up,
        drawing,
        checking,
        peak: cost::peak()?.saturating_sub(resident),
    };
    Ok((load, closure, snapshot?))
}

fn tell_load(
    report: &mut Report,
    tenant: &Tenant,
    loads: &[Load],
    closure: &Closure,
    snapshot: &Snapshot<Vec<u8>>,
) {
    let of = |part: fn(&Load) -> f64| Spread::of(loads.iter().map(part).collect());
    let cpu = of(Load::cpu);
    let steps = [
        ("(making it up, twice)", of(|load| 2.0 * load.making.cpu)),
        ("closure", of(|load| load.closure.cpu - load.making.cpu)),
        ("drawing", of(|load| load.drawing.cpu - load.making.cpu)),
        ("checking", of(|load| load.checking.cpu)),
    ];
    let peak = of(|load| megabytes(load.peak));
    let size = megabytes(snapshot.bytes().len() as u64);
    let counts = closure.counts();
    let memberships: usize = snapshot
        .users()
        .map(|user| user.groups().map_or(0, Iterator::count))
        .sum();
    let nested = tenant.nested();
    let cycles = closure.cycles().len();
    println!(
        "{} users, {} groups, {} edges ({nested} of them groups in groups, {cycles} rounds), {memberships} memberships \
         when flattened\n\nfull load, CPU seconds",
        counts.users, counts.groups, counts.edges,
    );
    let told = tell_steps(
        &steps,
        cpu,
        &[("peak memory", peak.median), ("snapshot", size)],
    );
    report.row(json!({
        "full_load": told,
        "cpu_s": cpu, "peak_mb": peak, "snapshot_mb": size, "users": counts.users, "groups": counts.groups,
        "edges": counts.edges, "nested": nested, "cycles": cycles, "memberships": memberships,
    }));
    report.target(
        "full load, without decoding and the store",
        "s of CPU",
        Some(cpu.median),
        Limit::Most(60.0),
    );
    report.target(
        "full load, memory",
        "MB",
        Some(peak.median),
        Limit::Most(1024.0),
    );
}

/// Shows what each step took in seconds of CPU, all together, and sizes in MB; gives the steps for the report.
fn tell_steps(
    steps: &[(&str, Spread)],
    cpu: Spread,
    sizes: &[(&str, f64)],
) -> BTreeMap<String, Spread> {
    for (step, seconds) in steps.iter().chain(&[("together", cpu)]) {
        println!("  {step:<24} {:>8.2}", seconds.median);
    }
    for (what, size) in sizes {
        println!("  {what:<24} {size:>8.0} MB");
    }
    let steps = steps.iter();
    steps
        .map(|(step, seconds)| ((*step).to_owned(), *seconds))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "it is shown, not reckoned with")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// One of several changes, and what it took in milliseconds: taken up, drawn, checked.
type Times = Vec<[f64; 3]>;

fn deltas(
    report: &mut Report,
    tenant: &Tenant,
    closure: &mut Closure,
    mut snapshot: Snapshot<Vec<u8>>,
    runs: usize,
) -> Result<()> {
    let watched: BTreeSet<Id> = tenant.largest(WATCHED).into_iter().collect();
    let watch = Watch {
        groups: Watched::Only(&watched),
        most: 100_000,
    };
    cost::reset_peak()?;
    println!("\none change, ms of CPU                  taken up    drawn  checked   together");
    for (name, changes) in tenant.changes(2 * runs) {
        let mut times = Times::new();
        let mut told = 0;
        for change in &changes {
            let (taking_up, applied) = measured(|| closure.apply(change, &watch));
            let head = head(snapshot.head().epoch + 1);
            let (drawing, bytes) = {
                let since = Since {
                    changes: change,
                    touched: &applied.touched,
                };
                measured(|| redraw(closure, head, &snapshot, since, &Roles::default()))
            };
            let bytes = bytes?;
            let (checking, parsed) = measured(|| Snapshot::parse(bytes));
            snapshot = parsed?;
            let parts = [taking_up, drawing, checking].map(|cost| cost.cpu * 1e3);
            times.push(parts);
            told = match applied.moves {
                Moves::Each(moves) => moves.len() + applied.disabled.len() + applied.back.len(),
                Moves::Many => bail!("so many moves were to be told"),
            };
        }
        let [up, drawn, checked] =
            [0, 1, 2].map(|at| Spread::of(times.iter().map(|times| times[at]).collect()));
        let together = Spread::of(times.iter().map(|times| times.iter().sum()).collect());
        println!(
            "  {name:<32} {:>9.3} {:>8.0} {:>8.0} {:>10.0}   ({told} people told of)",
            up.median, drawn.median, checked.median, together.median
        );
        report.row(json!({
            "change": name, "taken_up_ms": up, "drawn_ms": drawn, "checked_ms": checked, "together_ms": together,
            "told": told,
        }));
        if told == 1 {
            let what = format!("{name}, up to both planes");
            report.target(
                what,
                "s of CPU",
                Some(together.median / 1e3),
                Limit::Most(1.0),
            );
        }
    }
    let peak = megabytes(cost::peak()?);
    println!("  {:<32} {peak:>9.0} MB", "peak memory, everything");
    report.row(json!({ "changes_peak_mb": peak }));
    report.target(
        "changes, all memory of the process",
        "MB",
        Some(peak),
        Limit::Most(1024.0),
    );
    Ok(())
}

fn lookups(report: &mut Report, snapshot: &Snapshot<Vec<u8>>, runs: usize) -> Result<()> {
    let view = snapshot.at(NOW, Duration::from_hours(1));
    let named: Vec<_> = snapshot
        .groups()
        .filter_map(|(id, name, _)| Some((id, name?)))
        .collect();
    let groups: Vec<GroupRef> = named
        .iter()
        .filter_map(|(id, _)| match snapshot.group(&id.to_string()) {
            GroupFound::One(group) => Some(group),
            _ => None,
        })
        .collect();
    // People from everywhere, each with a group that may or may not be theirs.
    let step = snapshot.users().count() / PEOPLE + 1;
    let people: Vec<Person> = snapshot
        .users()
        .step_by(step)
        .map(|user| {
            let text = |attribute| user.attribute(attribute).unwrap_or_default().to_lowercase();
            let immutable_id = user.attribute(Attribute::ImmutableId).unwrap_or_default();
            Person {
                object_id: user.id().to_string(),
                immutable_id: immutable_id.to_owned(),
                upn: text(Attribute::Upn),
            }
        })
        .collect();
    let mut people: Vec<(Person, GroupRef)> = people
        .into_iter()
        .zip(groups.iter().copied().cycle())
        .collect();
    tenant::shuffle(&mut people);
    println!("\none lookup, ns of CPU");
    let by_id = |person: &Person| {
        view.find(&Who {
            object_id: Some(&person.object_id),
            ..Who::default()
        })
        .user()
    };
    let every: [(&str, &Lookup<'_>); 5] = [
        ("find by object id", &|_, person, _| by_id(person).is_some()),
        ("find by immutable id", &|view, person, _| {
            let who = Who {
                immutable_id: Some(&person.immutable_id),
                ..Who::default()
            };
            view.find(&who).user().is_some()
        }),
        ("find by UPN", &|view, person, _| {
            view.find(&Who {
                upn: Some(&person.upn),
                ..Who::default()
            })
            .user()
            .is_some()
        }),
        ("find by all three and agree", &|view, person, _| {
            let who = Who {
                object_id: Some(&person.object_id),
                immutable_id: Some(&person.immutable_id),
                upn: Some(&person.upn),
                ..Who::default()
            };
            view.find(&who).user().is_some()
        }),
        ("find by UPN, is in a group", &|view, person, group| {
            let found = view.find(&Who {
                upn: Some(&person.upn),
                ..Who::default()
            });
            found
                .user()
                .is_some_and(|user| black_box(user.is_member(group)).is_some())
        }),
    ];
    for (name, lookup) in every {
        let mut times = Vec::new();
        for _ in 0..=runs {
            let (cost, found) = measured(|| {
                people
                    .iter()
                    .filter(|(person, group)| lookup(view, person, *group))
                    .count()
            });
            times.push(cost.cpu * 1e9 / f64::from(u32::try_from(people.len())?));
            if found != people.len() {
                bail!("{name}: {found} of {} were found", people.len());
            }
        }
        // The first run only warms up.
        let nanoseconds = Spread::of(times.split_off(1));
        println!("  {name:<32} {:>6.0}", nanoseconds.median);
        report.row(json!({ "lookup": name, "ns": nanoseconds }));
    }
    Ok(())
}

/// Somebody's names, as a token has them.
struct Person {
    object_id: String,
    immutable_id: String,
    upn: String,
}

/// Whether what is asked is answered.
type Lookup<'a> = dyn Fn(View<'_>, &Person, GroupRef) -> bool + 'a;
