//! The terminal: taken, and given back as it was, also after a panic.

use std::io::{self, Stdout};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use ratatui::{Frame, Terminal};
use tokio::sync::mpsc;

/// A terminal that is drawn on; it is as it was before when this is dropped.
pub struct Screen(Terminal<CrosstermBackend<Stdout>>);

/// What somebody did at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A key was pressed.
    Pressed(KeyCode),
    /// The terminal has another size.
    Resized,
}

impl Screen {
    /// Takes the terminal.
    pub fn enter() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            before(panic);
        }));
        terminal::enable_raw_mode()?;
        if let Err(error) = execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide) {
            leave();
            return Err(error);
        }
        match Terminal::new(CrosstermBackend::new(io::stdout())) {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }

    /// Draws anew what has changed.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Each step by itself: whatever fails, the others still help.
fn leave() {
    let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
}

/// Tells of keys, on a thread of its own, until nobody listens.
pub fn listen(tell: mpsc::Sender<Key>) {
    const LOOK: Duration = Duration::from_millis(200);
    std::thread::spawn(move || {
        while !tell.is_closed() {
            match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => {}
                // The terminal is gone: whoever waits for a key hears that by the end of the channel.
                Err(_) => return,
            }
            let key = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    let ends = key.modifiers.contains(KeyModifiers::CONTROL)
                        && matches!(key.code, KeyCode::Char('c' | 'd'));
                    Key::Pressed(if ends { KeyCode::Char('q') } else { key.code })
                }
                Ok(Event::Resize(..)) => Key::Resized,
                Ok(_) => continue,
                Err(_) => return,
            };
            if tell.blocking_send(key).is_err() {
                return;
            }
        }
    });
}
