//! What would have been made of the traffic.

use weir_abi::Class;

use super::html::{Cell, Html, percent, share, thousands};
use super::plot::{self, Part};
use super::read::{Replay, Requests};

/// Verdicts as the kernel names them, as people call them, and their colour.
const VERDICTS: [(&str, &str, &str); 6] = [
    ("forward", "forwarded", "forward"),
    ("proxy", "steered to the proxy", "proxy"),
    ("drop", "dropped", "drop"),
    ("reject", "rejected", "reject"),
    ("pass", "left to the system", "pass"),
    ("untouched", "not a service's", "other"),
];
/// Decisions, as people call them, and their colour.
const DECISIONS: [(&str, &str, &str); 4] = [
    ("redirect", "redirected to the reverse proxy", "redirect"),
    ("block", "blocked with an answer", "block"),
    ("pass", "passed", "forward"),
    ("step-up", "asked for a second factor", "proxy"),
];

/// Draws the sections about verdicts.
pub(super) fn draw(page: &mut Html, replay: &Replay) {
    header(page, replay);
    fates(page, replay);
    requests(page, replay);
    course(page, replay);
    by_class(page, replay);
    sources(page, replay);
}

fn header(page: &mut Html, replay: &Replay) {
    let traffic = &replay.traffic;
    let outside: u64 = replay.fates_outside().map(|fate| fate.amount.packets).sum();
    let of = |name: &str| {
        let fate = replay.fates_outside().find(|fate| fate.name == name);
        fate.map_or(0, |fate| fate.amount.packets)
    };
    page.raw("<header>\n<p class=\"kind\">Weir · replay of an edge's traffic</p>\n");
    page.element("h1", "What Weir would make of this traffic");
    page.element("p class=\"name\"", &traffic.name);
    page.raw("<p class=\"lead\">");
    let blocked = of("dropped") + of("rejected");
    page.text(&format!(
        "Of {} frames from outside, Weir would have forwarded {} in the kernel, steered {} to its proxy, and refused {}.",
        thousands(outside),
        percent(share(of("forwarded"), outside)),
        percent(share(of("steered to the proxy"), outside)),
        percent(share(blocked, outside)),
    ));
    let decided: u64 = replay.requests.iter().map(|row| row.count).sum();
    if decided > 0 {
        page.text(&format!(
            " Of {} requests at the proxy, {} would have been redirected to the reverse proxy and {} blocked.",
            thousands(decided),
            thousands(sum(&replay.requests, "redirect")),
            thousands(sum(&replay.requests, "block")),
        ));
    }
    page.raw("</p>\n");
    let agrees = traffic.differences == 0;
    page.raw(if agrees {
        "<p class=\"badge good\">"
    } else {
        "<p class=\"badge bad\">"
    });
    page.text(&if agrees {
        format!(
            "✓ {} frames were run through the loaded programs: verdicts and bytes are those of the host's code",
            thousands(traffic.compared)
        )
    } else {
        format!(
            "✗ {} of {} frames are judged otherwise by the loaded programs than by the host's code",
            thousands(traffic.differences),
            thousands(traffic.compared)
        )
    });
    if traffic.not_run > 0 {
        page.text(&format!(
            " ({} frames are too short or too long for a test run)",
            thousands(traffic.not_run)
        ));
    }
    page.raw("</p>\n<dl>\n");
    let mut facts = vec![
        ("frames", thousands(traffic.all.packets)),
        (
            "megabytes",
            format!("{:.1}", crate::live::float(traffic.all.bytes) / 1e6),
        ),
        ("seconds", format!("{:.1}", traffic.seconds)),
        ("flows", thousands(traffic.all.flows)),
        ("clients", thousands(traffic.all.sources)),
        (
            "prefixes",
            format!("{} in {} lists", thousands(traffic.prefixes), traffic.lists),
        ),
    ];
    for service in &traffic.services {
        let mut places = service
            .addresses
            .iter()
            .take(3)
            .cloned()
            .collect::<Vec<_>>();
        if service.addresses.len() > 3 {
            places.push(format!("{} more", service.addresses.len() - 3));
        }
        let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
        facts.push((
            "service",
            format!(
                "{}: {}, port {}",
                service.name,
                places.join(", "),
                ports.join(", ")
            ),
        ));
    }
    for (name, value) in facts {
        page.raw("<div>");
        page.element("dt", name);
        page.element("dd", &value);
        page.raw("</div>\n");
    }
    page.raw("</dl>\n");
    if let Some(mapping) = &traffic.mapping {
        page.element("p class=\"small\"", mapping);
    }
    page.raw("</header>\n");
}

fn fates(page: &mut Html, replay: &Replay) {
    let all: u64 = replay.fates_outside().map(|fate| fate.amount.packets).sum();
    page.raw("<section>\n<h2>What would have become of it</h2>\n<figure>\n");
    let parts: Vec<Part> = replay
        .fates_outside()
        .map(|fate| Part {
            name: fate.name.clone(),
            colour: colour(&fate.name),
            amount: fate.amount.packets,
        })
        .collect();
    plot::stacked_bar(
        page,
        "Frames from outside by what would have become of them",
        &parts,
    );
    page.raw("</figure>\n");
    let rows: Vec<Vec<Cell>> = replay
        .fates
        .iter()
        .filter(|fate| fate.amount.packets > 0)
        .map(|fate| {
            let is_shown = replay.fates_outside().any(|shown| shown.name == fate.name);
            let part = share(fate.amount.packets, all);
            vec![
                Cell::Key(
                    if is_shown { colour(&fate.name) } else { "none" },
                    fate.name.clone(),
                ),
                Cell::Number(thousands(fate.amount.packets)),
                Cell::Number(if is_shown {
                    percent(part)
                } else {
                    "–".into()
                }),
                Cell::Number(megabytes(fate.amount.bytes)),
                Cell::Number(thousands(fate.amount.flows)),
                Cell::Number(thousands(fate.amount.sources)),
            ]
        })
        .collect();
    page.table(
        "Frames by what would have become of them; shares are of those from outside",
        &[
            "would have been",
            "frames",
            "share",
            "MB",
            "flows",
            "clients",
        ],
        &rows,
    );
    page.raw("</section>\n");
}

fn requests(page: &mut Html, replay: &Replay) {
    if replay.requests.is_empty() {
        return;
    }
    page.raw("<section>\n<h2>What the proxy would have decided</h2>\n<figure>\n");
    let parts: Vec<Part> = DECISIONS
        .iter()
        .map(|(decision, name, colour)| Part {
            name: (*name).to_owned(),
            colour,
            amount: sum(&replay.requests, decision),
        })
        .filter(|part| part.amount > 0)
        .collect();
    plot::stacked_bar(page, "Requests at the proxy by decision", &parts);
    plot::legend(page, &parts);
    page.raw("</figure>\n<details><summary>By class, client and flow</summary>\n");
    let rows: Vec<Vec<Cell>> = replay
        .requests
        .iter()
        .map(|row| {
            vec![
                Cell::Text(row.class.clone()),
                Cell::Text(row.client.clone()),
                Cell::Text(row.flow.clone()),
                Cell::Text(row.decision.clone()),
                Cell::Number(thousands(row.count)),
            ]
        })
        .collect();
    page.table(
        "Requests at the proxy",
        &["class", "client", "flow", "decision", "requests"],
        &rows,
    );
    page.raw("</details>\n</section>\n");
}

fn course(page: &mut Html, replay: &Replay) {
    let Some(course) = &replay.course else { return };
    let layers: Vec<(&str, &str, &[u64])> = VERDICTS
        .iter()
        .filter_map(|(verdict, name, colour)| {
            let frames = course.frames.get(*verdict)?;
            frames
                .iter()
                .any(|count| *count > 0)
                .then_some((*name, *colour, frames.as_slice()))
        })
        .collect();
    if layers.first().is_none_or(|(_, _, frames)| frames.len() < 2) {
        return;
    }
    page.raw("<section>\n<h2>In the course of time</h2>\n<figure>\n");
    plot::stacked_area(
        page,
        "Frames from outside in a second, by verdict",
        course.step_seconds,
        &layers,
    );
    let parts: Vec<Part> = layers
        .iter()
        .map(|(name, colour, frames)| Part {
            name: (*name).to_owned(),
            colour,
            amount: frames.iter().sum(),
        })
        .collect();
    plot::legend(page, &parts);
    page.raw("</figure>\n</section>\n");
}

/// Frames of each class by verdict; and what that is made up of.
fn by_class(page: &mut Html, replay: &Replay) {
    let outside = || replay.judged.iter().filter(|row| row.side == "outside");
    // The classes in the order of their numbers, and then what is no service's.
    let known = Class::ALL.map(Class::name).into_iter().chain(["-"]);
    let classes: Vec<&str> = known
        .filter(|class| outside().any(|row| row.class == *class))
        .collect();
    let verdicts: Vec<_> = VERDICTS
        .iter()
        .filter(|(verdict, ..)| outside().any(|row| row.verdict == *verdict))
        .collect();
    let rows: Vec<Vec<Cell>> = classes
        .iter()
        .map(|class| {
            let counts = verdicts.iter().map(|(verdict, ..)| {
                let cells = outside().filter(|row| row.class == *class && row.verdict == *verdict);
                cells.map(|row| row.amount.packets).sum::<u64>()
            });
            let name = if *class == "-" {
                "no service concerned"
            } else {
                *class
            };
            std::iter::once(Cell::Text(name.to_owned()))
                .chain(counts.map(|count| {
                    Cell::Number(if count == 0 {
                        "–".into()
                    } else {
                        thousands(count)
                    })
                }))
                .collect()
        })
        .collect();
    let head: Vec<&str> = std::iter::once("class")
        .chain(verdicts.iter().map(|(_, name, _)| *name))
        .collect();
    page.raw("<section>\n<h2>By the class of the source</h2>\n");
    page.table(
        "Frames from outside, by class of their source and verdict",
        &head,
        &rows,
    );
    page.raw(
        "<details><summary>With the reason of each verdict, and answers of services</summary>\n",
    );
    let rows: Vec<Vec<Cell>> = replay
        .judged
        .iter()
        .map(|row| {
            vec![
                Cell::Text(row.side.clone()),
                Cell::Text(row.class.clone()),
                Cell::Text(row.verdict.clone()),
                Cell::Text(row.reason.clone()),
                Cell::Number(thousands(row.amount.packets)),
                Cell::Number(megabytes(row.amount.bytes)),
                Cell::Number(thousands(row.amount.flows)),
                Cell::Number(thousands(row.amount.sources)),
            ]
        })
        .collect();
    page.table(
        "Frames by side, class, verdict and reason",
        &[
            "side", "class", "verdict", "reason", "frames", "MB", "flows", "clients",
        ],
        &rows,
    );
    page.raw("</details>\n</section>\n");
}

fn sources(page: &mut Html, replay: &Replay) {
    if replay.sources.is_empty() {
        return;
    }
    let rows: Vec<Vec<Cell>> = replay
        .sources
        .iter()
        .map(|source| {
            let verdict = source.verdict.as_deref().unwrap_or("untouched");
            let known = VERDICTS.iter().find(|(name, ..)| *name == verdict);
            vec![
                Cell::Text(source.address.clone()),
                Cell::Text(source.class.clone().unwrap_or_else(|| "–".into())),
                Cell::Text(known.map_or(verdict, |(_, name, _)| *name).to_owned()),
                Cell::Number(thousands(source.packets)),
                Cell::Number(megabytes(source.bytes)),
                Cell::Number(thousands(source.flows)),
            ]
        })
        .collect();
    page.raw("<section>\n<h2>Who sent most</h2>\n");
    page.table(
        "The sources that sent most frames, and what becomes of most of them",
        &["source", "class", "mostly", "frames", "MB", "flows"],
        &rows,
    );
    page.raw("</section>\n");
}

fn sum(requests: &[Requests], decision: &str) -> u64 {
    let of_decision = requests.iter().filter(|row| row.decision == decision);
    of_decision.map(|row| row.count).sum()
}

fn colour(fate: &str) -> &'static str {
    let known = VERDICTS.iter().find(|(_, name, _)| *name == fate);
    known.map_or("other", |(.., colour)| colour)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", crate::live::float(bytes) / 1e6)
}
