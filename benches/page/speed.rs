//! How fast it went, beside others who do the same job.

use super::html::{Cell, Html, percent, thousands, whole};
use super::plot::{self, Bar, Group};
use super::read::{Live, Replay, Spread};

/// Draws the section about speed.
pub(super) fn draw(page: &mut Html, replay: &Replay) {
    if replay.live.is_empty() {
        return;
    }
    page.raw("<section>\n<h2>At what speed</h2>\n");
    page.element("p", &summary(&replay.live));
    for mix in in_order(replay.live.iter().map(|row| row.mix.as_str())) {
        let rows: Vec<&Live> = replay.live.iter().filter(|row| row.mix == mix).collect();
        page.raw("<h3>");
        page.text(&format!("Sources: {mix}"));
        page.raw("</h3>\n<div class=\"pair\">\n<figure>\n");
        page.element(
            "figcaption",
            "Nanoseconds of the router's processor for a frame: less is better",
        );
        let groups = groups(&rows, |row| row.router_ns, |ns| format!("{} ns", whole(ns)));
        plot::bars(
            page,
            &format!("Nanoseconds for a frame, {mix}"),
            "Less is better",
            &groups,
        );
        page.raw("</figure>\n<figure>\n");
        page.element(
            "figcaption",
            "Million frames in a second that the router took up: more is better",
        );
        let millions = |rate: f64| format!("{:.2} M/s", rate / 1e6);
        let groups = self::groups(&rows, |row| row.handled_pps, millions);
        plot::bars(
            page,
            &format!("Frames in a second, {mix}"),
            "More is better",
            &groups,
        );
        page.raw("</figure>\n</div>\n");
        table(page, mix, &rows);
    }
    witness(page, replay);
    page.raw("</section>\n");
}

/// The one comparison that is asked for first, with the longest lists.
fn summary(live: &[Live]) -> String {
    let most = live
        .iter()
        .map(|row| row.prefixes)
        .max()
        .unwrap_or_default();
    let of = |way: &str| {
        let rows = live
            .iter()
            .filter(|row| row.invalid.is_none() && row.prefixes == most);
        rows.into_iter()
            .find(|row| row.way == way)
            .map(|row| row.router_ns.median)
    };
    let ways = [
        ("Weir at tcx", of("Weir at tcx")),
        ("Weir at XDP", of("Weir at XDP")),
    ];
    let peers = [
        ("nftables", of("nftables")),
        ("ipset with iptables", of("ipset + iptables")),
    ];
    let mut said = format!("With {} prefixes,", thousands(most));
    let mut parts = Vec::new();
    for (way, ns) in ways {
        let Some(ns) = ns else { continue };
        let ratios: Vec<String> = peers
            .iter()
            .filter_map(|(peer, other)| Some(format!("{peer} {:.1} ×", (*other)? / ns)))
            .collect();
        let beside = if ratios.is_empty() {
            String::new()
        } else {
            format!(" ({} as much for the same job)", ratios.join(", "))
        };
        parts.push(format!(" {way} takes {} ns for a frame{beside}", whole(ns)));
    }
    if parts.is_empty() {
        return "What was measured is below; no row of the longest lists can stand beside the others.".into();
    }
    said.push_str(&parts.join(";"));
    said.push_str(". Plain forwarding, which looks at no source, and frames dropped in the driver are shown for comparison.");
    said
}

fn groups(
    rows: &[&Live],
    number: impl Fn(&Live) -> Spread,
    label: impl Fn(f64) -> String,
) -> Vec<Group> {
    in_order(rows.iter().map(|row| row.prefixes))
        .into_iter()
        .map(|prefixes| Group {
            name: format!("{} prefixes", thousands(prefixes)),
            bars: rows
                .iter()
                .filter(|row| row.prefixes == prefixes)
                .map(|row| {
                    let Spread { median, min, max } = number(row);
                    Bar {
                        name: row.way.clone(),
                        colour: colour(row),
                        median,
                        min,
                        max,
                        label: label(median),
                    }
                })
                .collect(),
        })
        .collect()
}

fn table(page: &mut Html, mix: &str, rows: &[&Live]) {
    let lines: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            let ns = row.router_ns;
            vec![
                Cell::Key(colour(row), row.way.clone()),
                Cell::Number(thousands(row.prefixes)),
                Cell::Number(whole(ns.median)),
                Cell::Number(format!("{}–{}", whole(ns.min), whole(ns.max))),
                Cell::Number(format!("{:.2}", row.handled_pps.median / 1e6)),
                Cell::Number(percent(row.router_busy.median)),
                Cell::Number(percent(row.overrun.median)),
                Cell::Number(thousands(row.counted.forwarded)),
                Cell::Number(thousands(row.counted.proxied)),
                Cell::Number(thousands(row.counted.dropped)),
                Cell::Text(row.invalid.as_ref().map_or_else(
                    || {
                        if row.judges {
                            "right".into()
                        } else {
                            "–".into()
                        }
                    },
                    |why| format!("cannot be compared: {why}"),
                )),
            ]
        })
        .collect();
    let what = rows.first().map_or(String::new(), |row| {
        format!(
            ": {} frames of {} bytes on average from {} sources",
            thousands(row.frames),
            whole(row.frame_bytes),
            thousands(row.sources)
        )
    });
    page.table(
        &format!(
            "{mix}{what} with the first lists. Each frame was sent once and counted; then as many as could be made."
        ),
        &[
            "way", "prefixes", "ns a frame", "least–most", "M/s taken", "router busy", "queue full",
            "forwarded", "proxied", "dropped", "counts",
        ],
        &lines,
    );
}

fn witness(page: &mut Html, replay: &Replay) {
    let Some(witness) = &replay.witness else {
        return;
    };
    let counted = witness.counted;
    page.raw("<h3>An independent witness</h3>\n<p>");
    page.text(&format!(
        "{} sent {} of the same frames ({}) by way of {}, {} in a second by its own account. {} found the router's \
         queue full; counted were {} forwarded, {} proxied and {} dropped, at {} ns of the router's processor each. ",
        witness.name,
        thousands(witness.sent),
        witness.mix,
        witness.way,
        whole(witness.pps),
        thousands(witness.overrun),
        thousands(counted.forwarded),
        thousands(counted.proxied),
        thousands(counted.dropped),
        whole(witness.router_ns),
    ));
    page.text(&witness.differs.as_ref().map_or_else(
        || "What it says and what was counted agree.".to_owned(),
        |why| format!("That does not agree: {why}."),
    ));
    page.raw("</p>\n");
}

fn colour(row: &Live) -> &'static str {
    match row {
        _ if row.invalid.is_some() => "invalid",
        _ if row.way.starts_with("Weir") => "weir",
        _ if row.judges => "peer",
        _ => "plain",
    }
}

/// Each once, as they first come.
fn in_order<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}
