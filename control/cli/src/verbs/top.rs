//! `weir top`: the appliance, live.
//!
//! In: answers of weir-control, once a second. Out: a picture on the terminal, or the same as text or JSON. The terminal is
//! as it was before, however this ends.

mod rates;
mod screen;
mod state;
mod terminal;

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use weir_api::{Counter, Flow, Record, Status};

use crate::client::Client;
use crate::failed::Failed;
use crate::render::Out;
use state::{Sample, Top as State, Turn};
use terminal::{Key, Screen};

/// Lines of the audit log, and beginnings of flows, that are looked at.
const EVENTS: usize = 50;
const FLOWS: usize = 4096;

/// Shows what both planes do, live: packets by service and class, sources, decisions, servers, and how all stands.
///
/// Keys: q quits, Tab and 1 to 5 change the view, s sorts, p pauses, ? explains.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir top\n  weir top --once\n  weir top --once --json\n  weir top --snapshot 3 --view requests --size 120x40"
)]
pub struct Top {
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
    /// Print one picture as text, for a ticket or a script; the same as `--snapshot 1`.
    #[arg(long, conflicts_with = "snapshot")]
    once: bool,
    /// Print so many pictures as text, and end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    snapshot: Option<u32>,
    /// The view to begin with.
    #[arg(long, default_value = "overview", value_parser = state::VIEWS)]
    view: String,
    /// Columns and lines of a picture that is printed.
    #[arg(long, value_name = "WxH", default_value = "80x24", value_parser = size)]
    size: (u16, u16),
}

impl Top {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let mut state = State::new(&self.view, out.has_colours());
        let pictures = self.snapshot.or((self.once || out.json).then_some(1));
        match pictures {
            Some(count) => self.print(client, out, &mut state, count).await,
            None if std::io::stdout().is_terminal() => self.live(client, &mut state).await,
            None => Err(Failed::usage(
                "`weir top` draws on a terminal, and this is none",
                "`weir top --once` prints one picture",
            )),
        }
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(self.every)
    }

    async fn print(
        &self,
        client: &Client,
        out: &mut Out,
        state: &mut State,
        count: u32,
    ) -> Result<(), Failed> {
        state.take(look(client).await?);
        for _ in 0..count {
            sleep(self.pause()).await;
            state.take(look(client).await?);
            if out.json {
                writeln!(out, "{}", state.told())?;
            } else {
                writeln!(out, "{}", picture(state, self.size))?;
            }
            out.flush()?;
        }
        Ok(())
    }

    async fn live(&self, client: &Client, state: &mut State) -> Result<(), Failed> {
        // Whether it can be asked at all is said on the terminal as it is.
        state.take(look(client).await?);
        let mut ends = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
        ];
        let [terminate, hang_up, interrupt] = &mut ends;
        let (tell, mut keys) = mpsc::channel(64);
        let mut screen = Screen::enter()?;
        terminal::listen(tell);
        let mut tick = interval(self.pause());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            screen.draw(|frame| screen::draw(state, frame))?;
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = hang_up.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                key = keys.recv() => match key {
                    Some(Key::Pressed(key)) => {
                        if state.press(key) == Turn::End {
                            return Ok(());
                        }
                    }
                    Some(Key::Resized) => {}
                    None => return Ok(()),
                },
                _ = tick.tick(), if !state.is_paused() => match look(client).await {
                    Ok(sample) => state.take(sample),
                    Err(failed) => state.fail(&failed),
                },
            }
        }
    }
}

/// Everything that is shown, as it is now.
async fn look(client: &Client) -> Result<Sample, Failed> {
    let status = client.get::<Status>("/v1/status").await?.value;
    let counters = client.get::<Vec<Counter>>("/v1/counters").await?.value;
    Ok(Sample {
        at: Instant::now(),
        status,
        counters,
        flows: lines::<Flow>(client, &format!("/v1/flows?limit={FLOWS}")).await?,
        records: lines::<Record>(client, &format!("/v1/events?limit={EVENTS}")).await?,
    })
}

/// The lines of an answer that are understood; a newer weir-control may tell of more.
async fn lines<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<Vec<T>, Failed> {
    let mut lines = client.lines(path).await?;
    let mut all = Vec::new();
    while let Some(line) = lines.next().await? {
        all.extend(serde_json::from_str::<T>(&line).ok());
    }
    Ok(all)
}

/// What stands on a terminal of this size, as lines of text.
fn picture(state: &State, (width, height): (u16, u16)) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| screen::draw(state, frame));
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width));
    let rows = rows.map(|row| row.iter().map(Cell::symbol).collect::<String>());
    let rows: Vec<_> = rows.map(|row| row.trim_end().to_owned()).collect();
    rows.join("\n")
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let wrong = || "write columns and lines, such as 80x24 (20x5 to 500x200)".to_owned();
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    match (width.parse(), height.parse()) {
        (Ok(width @ 20..=500), Ok(height @ 5..=200)) => Ok((width, height)),
        _ => Err(wrong()),
    }
}
