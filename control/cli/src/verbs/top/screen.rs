//! From what is known to what stands on the terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weir_abi::Verdict;
use weir_api::entra::State as EntraState;
use weir_api::{ProxyState, Record, RecordBody, Status};

use super::rates::shown;
use super::state::{Sample, Sort, Top, VIEWS};
use crate::render::{Colour, age, clean, clip, count, verdict_colour, wrap};

/// Warnings that are shown above everything else, where there are more views to come.
const WARNINGS: usize = 2;
/// Lines of each of them.
const LONGEST: usize = 2;

/// Draws all of it.
pub fn draw(top: &Top, frame: &mut Frame<'_>) {
    let area = frame.area();
    let Some(sample) = top.sample() else { return };
    let warnings = warnings(top, &sample.status, usize::from(area.width));
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(u16::try_from(warnings.len()).unwrap_or(u16::MAX)),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, shouts, body, foot] = rows.areas(area);
    frame.render_widget(Paragraph::new(heading(top, &sample.status)), head);
    frame.render_widget(Paragraph::new(warnings), shouts);
    let lines = match VIEWS[top.view] {
        "kernel" => kernel(top, body),
        "sources" => sources(top, body),
        "requests" => requests(top, body),
        "health" => health(top, sample),
        _ => overview(top, sample, body),
    };
    frame.render_widget(Paragraph::new(lines), body);
    frame.render_widget(Paragraph::new(footing(top)), foot);
    if top.help {
        help(top, frame);
    }
}

fn heading(top: &Top, status: &Status) -> Vec<Line<'static>> {
    let proxy = &status.proxy;
    let (word, colour) = match proxy.state {
        _ if proxy.fail_mode => ("FAIL MODE", Colour::Bad),
        ProxyState::Alive => ("alive", Colour::Good),
        ProxyState::Silent => ("SILENT", Colour::Bad),
        ProxyState::Gone => ("GONE", Colour::Bad),
    };
    let mut first = vec![
        paint(top, Colour::Head, clip(&clean(&status.appliance), 24)),
        Span::raw(format!(
            "  weir {}  generation {}  up {}  proxy ",
            clean(&status.version),
            status.generation,
            since(&status.started)
        )),
        paint(top, colour, word.to_owned()),
    ];
    if let Some(entra) = &status.entra {
        let colour = match entra.state {
            EntraState::Healthy => Colour::Good,
            EntraState::Degraded => Colour::Careful,
            _ => Colour::Bad,
        };
        first.push(Span::raw("  entra "));
        first.push(paint(top, colour, entra.state.name().to_owned()));
    }
    let views = VIEWS.iter().enumerate().flat_map(|(place, name)| {
        let text = format!(" {} {name} ", place + 1);
        let style = if place == top.view {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        [Span::styled(text, style), Span::raw(" ")]
    });
    vec![Line::from(first), Line::from(views.collect::<Vec<_>>())]
}

fn warnings(top: &Top, status: &Status, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut shout = |text: &str| {
        let mut wrapped = wrap(&clean(text), width.saturating_sub(2));
        if wrapped.len() > LONGEST {
            let rest = wrapped.split_off(LONGEST - 1).join(" ");
            wrapped.push(clip(&rest, width.saturating_sub(2)));
        }
        for (number, line) in wrapped.into_iter().enumerate() {
            let mark = if number == 0 { "!" } else { " " };
            lines.push(Line::from(paint(
                top,
                Colour::Bad,
                format!("{mark} {line}"),
            )));
        }
    };
    if let Some(trouble) = &top.trouble {
        shout(&format!("what follows is old: {trouble}"));
    }
    for warning in status.warnings.iter().take(WARNINGS) {
        shout(warning);
    }
    let more = status.warnings.len().saturating_sub(WARNINGS);
    if more > 0 {
        shout(&format!("and {more} more: `weir status --all`"));
    }
    lines
}

fn footing(top: &Top) -> Line<'static> {
    let sort = match top.sort {
        Sort::Rate => "most first",
        Sort::Name => "by name",
    };
    let mut spans = vec![paint(
        top,
        Colour::Faint,
        format!("q quit  Tab view  s sort ({sort})  p pause  ? help"),
    )];
    if top.is_paused() {
        spans.push(paint(top, Colour::Careful, "  PAUSED".to_owned()));
    }
    Line::from(spans)
}

fn overview(top: &Top, sample: &Sample, body: Rect) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(body.width), usize::from(body.height));
    let mut lines = packets(top, width, (height / 2).saturating_sub(2));
    lines.push(Line::default());
    lines.extend(decided(top, width));
    let sources = top.sources();
    let named = sources.iter().take(3).map(|source| {
        format!(
            "{} {} ({})",
            source.address,
            source.verdict.name(),
            source.begun
        )
    });
    let named: Vec<_> = named.collect();
    if !named.is_empty() {
        let text = format!("sources    {}", named.join("  "));
        lines.push(Line::from(clip(&text, width)));
    }
    lines.push(Line::default());
    let room = height.saturating_sub(lines.len() + 1);
    lines.push(title(top, "latest decisions"));
    let records: Vec<_> = sample.records.iter().rev().take(room).collect();
    if records.is_empty() {
        lines.push(nothing(top, "none yet"));
    }
    lines.extend(records.into_iter().map(|record| told(top, record, width)));
    lines
}

/// Rates by service and class.
fn packets(top: &Top, width: usize, room: usize) -> Vec<Line<'static>> {
    let head = format!(
        "{:<16} {:<9} {:<7} {:>7} {:>8}  ",
        "service", "class", "mostly", "pkt/s", "bit/s"
    );
    let space = width.saturating_sub(head.chars().count());
    let mut lines = vec![title(top, &head)];
    let all = top.lines();
    if all.is_empty() {
        lines.push(nothing(
            top,
            "the kernel has not counted anything since the look before",
        ));
    }
    for ((service, class), verdict, packets, bytes, history) in all.into_iter().take(room.max(1)) {
        let service = match service.as_str() {
            "" => "-".to_owned(),
            name => clip(&clean(name), 16),
        };
        lines.push(Line::from(vec![
            Span::raw(format!("{service:<16} {:<9} ", class.name())),
            paint(
                top,
                verdict_colour(verdict),
                format!("{:<7}", verdict.name()),
            ),
            Span::raw(format!(
                " {:>7} {:>8}  ",
                shown(packets),
                shown(bytes * 8.0)
            )),
            paint(top, Colour::Faint, spark(&history, space)),
        ]));
    }
    lines
}

/// Requests by decision and by flow.
fn decided(top: &Top, width: usize) -> Vec<Line<'static>> {
    let decisions = top.by_decision();
    let all: f64 = decisions.values().sum();
    let mut spans = vec![
        paint(top, Colour::Head, "requests   ".to_owned()),
        Span::raw(format!("{}/s  ", shown(all))),
    ];
    for (decision, rate) in &decisions {
        let text = format!("{} {}  ", clean(decision), shown(*rate));
        spans.push(paint(top, decision_colour(decision), text));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let history = spark(&top.decided_before(), width.saturating_sub(used));
    spans.push(paint(top, Colour::Faint, history));
    let mut flows = std::collections::BTreeMap::<&str, f64>::new();
    for (flow, _, _, rate) in &top.requests {
        *flows.entry(flow).or_default() += rate;
    }
    let flows = flows.iter().filter(|(_, rate)| **rate > 0.0);
    let flows: Vec<_> = flows
        .map(|(flow, rate)| format!("{} {}", clean(flow), shown(*rate)))
        .collect();
    let mut lines = vec![Line::from(spans)];
    if !flows.is_empty() {
        let text = format!("flows      {}", flows.join("  "));
        lines.push(Line::from(clip(&text, width)));
    }
    lines
}

fn kernel(top: &Top, body: Rect) -> Vec<Line<'static>> {
    let mut lines = vec![title(
        top,
        &format!(
            "{:<16} {:<9} {:<7} {:<14} {:>9} {:>9}",
            "service", "class", "verdict", "reason", "pkt/s", "bit/s"
        ),
    )];
    let rows = top.kernel_rows();
    if rows.is_empty() {
        lines.push(nothing(top, "nothing is counted yet"));
    }
    for row in rows.into_iter().take(room(body)) {
        let service = match row.service.as_str() {
            "" => "-".to_owned(),
            name => clip(&clean(name), 16),
        };
        lines.push(Line::from(vec![
            Span::raw(format!("{service:<16} {:<9} ", row.class.name())),
            paint(
                top,
                verdict_colour(row.verdict),
                format!("{:<7}", row.verdict.name()),
            ),
            Span::raw(format!(
                " {:<14} {:>9} {:>9}",
                clip(&clean(&row.reason), 14),
                shown(row.packets),
                shown(row.bytes * 8.0)
            )),
        ]));
    }
    lines
}

fn sources(top: &Top, body: Rect) -> Vec<Line<'static>> {
    let mut lines = vec![title(
        top,
        &format!(
            "{:<40} {:<9} {:<7} {:>8}",
            "source", "class", "last", "begun"
        ),
    )];
    let sources = top.sources();
    if sources.is_empty() {
        lines.push(nothing(
            top,
            "no flow began lately (`flow_sample` in [kernel] says one of how many is told)",
        ));
    }
    for source in sources.into_iter().take(room(body)) {
        lines.push(Line::from(vec![
            Span::raw(format!(
                "{:<40} {:<9} ",
                source.address.to_string(),
                source.class.name()
            )),
            paint(
                top,
                verdict_colour(source.verdict),
                format!("{:<7}", source.verdict.name()),
            ),
            Span::raw(format!(" {:>8}", source.begun)),
        ]));
    }
    lines
}

fn requests(top: &Top, body: Rect) -> Vec<Line<'static>> {
    let mut lines = vec![title(
        top,
        &format!(
            "{:<16} {:<14} {:<10} {:>9}",
            "flow", "client", "decision", "a second"
        ),
    )];
    let rows = top.request_rows();
    if rows.is_empty() {
        lines.push(nothing(top, "no proxy has decided anything yet"));
    }
    for (flow, client, decision, rate) in rows.into_iter().take(room(body)) {
        lines.push(Line::from(vec![
            Span::raw(format!("{:<16} {:<14} ", clean(flow), clean(client))),
            paint(
                top,
                decision_colour(decision),
                format!("{:<10}", clean(decision)),
            ),
            Span::raw(format!(" {:>9}", shown(*rate))),
        ]));
    }
    lines
}

fn health(top: &Top, sample: &Sample) -> Vec<Line<'static>> {
    let status = &sample.status;
    let proxy = &status.proxy;
    let mut lines = vec![title(top, "proxy")];
    let pid = proxy.pid.map_or("-".to_owned(), |pid| pid.to_string());
    lines.push(Line::from(format!(
        "  pid {pid}  generation {}  {} connections open  {} broken  {} handshakes failed",
        proxy.generation.unwrap_or(0),
        count(proxy.counts.open),
        count(proxy.connections_broken),
        count(proxy.counts.handshakes_failed),
    )));
    lines.push(title(top, "servers"));
    for service in &status.services {
        let kernel = service
            .servers
            .iter()
            .map(|one| (one.address.to_string(), Some(one.answers)));
        let proxied = service
            .upstreams
            .iter()
            .map(|one| (one.server.to_string(), one.reached));
        for (server, answers) in kernel.chain(proxied) {
            let (word, colour) = match answers {
                Some(true) => ("answers", Colour::Good),
                Some(false) => ("DOES NOT ANSWER", Colour::Bad),
                None => ("not asked yet", Colour::Faint),
            };
            let name = clip(&clean(&service.name), 16);
            lines.push(Line::from(vec![
                Span::raw(format!("  {name:<16} {server:<40} ")),
                paint(top, colour, word.to_owned()),
            ]));
        }
    }
    if let Some(entra) = &status.entra {
        lines.push(title(top, "entra"));
        let old = entra
            .age_seconds
            .map_or("not read yet".to_owned(), |seconds| {
                format!("{} old", age(seconds))
            });
        lines.push(Line::from(format!(
            "  {}: {}, {} users, {} groups, {old}",
            clean(&entra.tenant),
            entra.state.name(),
            count(entra.users),
            count(entra.groups),
        )));
    }
    lines.push(title(top, "lists"));
    for list in &status.lists {
        let trouble =
            list.refused.is_some() || list.remote.as_ref().is_some_and(|one| one.error.is_some());
        let (word, colour) = if trouble {
            ("TROUBLE: `weir lists`", Colour::Bad)
        } else {
            ("", Colour::Good)
        };
        let name = clip(&clean(&list.name), 24);
        lines.push(Line::from(vec![
            Span::raw(format!(
                "  {name:<24} {:<9} {:>8} entries, read {} ago  ",
                list.class.name(),
                count(list.entries as u64),
                age(list.age_seconds)
            )),
            paint(top, colour, word.to_owned()),
        ]));
    }
    lines
}

/// What the keys do, in front of all else.
fn help(top: &Top, frame: &mut Frame<'_>) {
    const TEXT: [&str; 11] = [
        "q, Esc, Ctrl-C   quit",
        "Tab, 1 to 5      another view",
        "s                most first, or by name",
        "p, Space         pause, and go on",
        "?                this",
        "",
        "Packets are what the kernel counted, of both hooks.",
        "Requests are what proxies decided, none left out.",
        "Sources are those of the newest flows (`weir flows`).",
        "",
        "`weir explain SOURCE` says why one is treated so.",
    ];
    let area = frame.area();
    let (width, height) = (area.width.min(60), area.height.min(13));
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let block = ratatui::widgets::Block::bordered().title(" keys ");
    let lines = TEXT.map(|line| Line::from(format!(" {line}")));
    frame.render_widget(Clear, place);
    let text = Paragraph::new(lines.to_vec()).block(block);
    let style = style(top, Colour::Head);
    frame.render_widget(text.style(style), place);
}

/// A line of the audit log.
fn told(top: &Top, record: &Record, width: usize) -> Line<'static> {
    let time: String = record.time().chars().skip(11).take(8).collect();
    let (word, colour, rest) = match &record.body {
        RecordBody::Event(event) => (
            clean(&event.decision),
            decision_colour(&event.decision),
            format!(
                "{} {} {} {}",
                event.peer.ip(),
                event.flow.as_deref().unwrap_or("-"),
                event.stated_user.as_deref().unwrap_or("-"),
                event.rule
            ),
        ),
        RecordBody::Change(change) => (
            if change.done { "done" } else { "refused" }.to_owned(),
            if change.done {
                Colour::Good
            } else {
                Colour::Bad
            },
            format!("{} by {}: {}", change.action, change.who, change.detail),
        ),
    };
    let rest = clip(&clean(&rest), width.saturating_sub(20));
    Line::from(vec![
        paint(top, Colour::Faint, clean(&time)),
        Span::raw(" "),
        paint(top, colour, format!("{word:<9} ")),
        Span::raw(rest),
    ])
}

/// Numbers as bars, the newest at the right.
fn spark(history: &[u64], width: usize) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = &history[history.len().saturating_sub(width)..];
    let most = newest.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let part = value.saturating_mul(8).div_ceil(most).min(8);
        BARS[usize::try_from(part).unwrap_or(8)]
    };
    newest.iter().map(bar).collect()
}

/// Lines below a head.
fn room(body: Rect) -> usize {
    usize::from(body.height).saturating_sub(1)
}

fn title(top: &Top, text: &str) -> Line<'static> {
    Line::from(paint(top, Colour::Head, text.to_owned()))
}

fn nothing(top: &Top, text: &str) -> Line<'static> {
    Line::from(paint(top, Colour::Faint, format!("  {text}")))
}

fn paint(top: &Top, colour: Colour, text: String) -> Span<'static> {
    Span::styled(text, style(top, colour))
}

/// Without colours what is bad still stands out.
fn style(top: &Top, colour: Colour) -> Style {
    let plain = match colour {
        Colour::Bad | Colour::Head => Style::new().add_modifier(Modifier::BOLD),
        Colour::Faint => Style::new().add_modifier(Modifier::DIM),
        Colour::Good | Colour::Careful => Style::new(),
    };
    match colour {
        _ if !top.colours => plain,
        Colour::Good => plain.fg(Color::Green),
        Colour::Careful => plain.fg(Color::Yellow),
        Colour::Bad => plain.fg(Color::Red),
        Colour::Head | Colour::Faint => plain,
    }
}

fn decision_colour(decision: &str) -> Colour {
    match decision {
        "pass" => verdict_colour(Verdict::Forward),
        "redirect" | "step-up" => Colour::Careful,
        _ => Colour::Bad,
    }
}

fn since(time: &str) -> String {
    let seconds = OffsetDateTime::parse(time, &Rfc3339)
        .map(|then| (OffsetDateTime::now_utc() - then).whole_seconds());
    age(seconds
        .ok()
        .and_then(|all| u64::try_from(all).ok())
        .unwrap_or(0))
}
