//! `weir top`: its pictures as text and JSON, and the real thing on a pseudo-terminal, which is as it was before
//! when it ends.

mod common;

use std::io::{Read as _, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{command, text, told, weir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_control::testing::{Appliance, FakeProxy, event, packet};
use weir_link::Counted;

/// Longer than anything takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_picture_shows_rates_sources_decisions_and_how_all_stands() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    proxy.event(event("00000000000000a1"));
    appliance
        .kernel
        .change(|kernel| kernel.flows = vec![packet("198.51.100.7", Verdict::Proxy)]);
    let busy = traffic(&appliance, proxy);
    let pictures = async |view: &str| {
        let out = weir(&appliance, &["top", "--snapshot", "2", "--view", view]).await;
        assert!(out.status.success(), "{}", told(&out));
        let text = text(&out);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 48, "two of 24 lines: {text}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text}");
        lines[24..].join("\n")
    };
    let overview = pictures("overview").await;
    for part in [
        "weir-test  weir ",
        "generation ",
        "proxy alive",
        "1 overview",
        "blocked   drop",
        "requests ",
        "block ",
        "latest decisions",
        "q quit",
    ] {
        assert!(overview.contains(part), "{part}: {overview}");
    }
    let requests = pictures("requests").await;
    assert!(
        requests.contains("active           native         block"),
        "{requests}"
    );
    let kernel = pictures("kernel").await;
    assert!(kernel.contains("drop    class"), "{kernel}");
    let health = pictures("health").await;
    assert!(health.contains("192.0.2.10:443"), "{health}");
    assert!(health.contains("hq-egress"), "{health}");
    let sources = pictures("sources").await;
    assert!(sources.contains("198.51.100.7"), "{sources}");
    busy.abort();
}

#[tokio::test]
async fn programs_get_the_same_as_json() {
    let appliance = Appliance::start().await;
    let busy = traffic(&appliance, appliance.proxy().await);
    let out = weir(&appliance, &["top", "--once", "--json"]).await;
    assert!(out.status.success(), "{}", told(&out));
    let told: Value = serde_json::from_str(&text(&out)).expect("JSON");
    assert!(told["generation"].is_u64(), "{told}");
    assert_eq!(told["kernel"][0]["class"], "blocked");
    assert!(
        told["kernel"][0]["packets_per_second"].as_f64() > Some(0.0),
        "{told}"
    );
    assert_eq!(told["requests"][0]["decision"], "block");
    assert!(
        told["requests"][0]["per_second"].as_f64() > Some(0.0),
        "{told}"
    );
    busy.abort();
}

#[tokio::test]
async fn without_a_proxy_it_shouts_and_every_size_can_be_drawn() {
    let appliance = Appliance::start().await;
    for size in ["20x5", "40x10", "80x24", "500x200"] {
        let out = weir(&appliance, &["top", "--once", "--size", size]).await;
        assert!(out.status.success(), "{size}: {}", told(&out));
    }
    let out = weir(&appliance, &["top", "--once"]).await;
    assert!(text(&out).contains("proxy GONE"), "{}", text(&out));
    assert!(text(&out).contains("! no proxy is alive"), "{}", text(&out));
}

#[tokio::test]
async fn what_it_cannot_do_it_says() {
    let appliance = Appliance::start().await;
    let out = weir(&appliance, &["top"]).await;
    assert_eq!(out.status.code(), Some(2));
    assert!(told(&out).contains("`weir top --once`"), "{}", told(&out));
    for wrong in ["80", "0x0", "19x24", "80x201", "80x24x3"] {
        let out = weir(&appliance, &["top", "--once", "--size", wrong]).await;
        assert_eq!(out.status.code(), Some(2), "{wrong}");
    }
    let nobody = appliance.path("run/nobody.sock");
    let out = command(&nobody, &["top", "--once"]).output().await;
    assert_eq!(out.expect("it runs").status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_the_view_and_q_gives_the_terminal_back() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let seen = tokio::task::spawn_blocking(move || {
        let mut terminal = OnTerminal::start(&appliance);
        terminal.until("q quit");
        terminal.press("5");
        terminal.until("servers");
        terminal.press("?");
        terminal.until(" keys ");
        terminal.press("?");
        terminal.press("p");
        terminal.until("PAUSED");
        terminal.press("\t");
        terminal.until("latest");
        terminal.press("q");
        terminal.end()
    });
    let seen = seen.await.expect("it went well");
    assert!(seen.contains("status=0"), "{seen}");
    assert!(seen.contains("\x1b[?1049h"), "another screen was taken");
    was_given_back(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_gives_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let appliance = Appliance::start().await;
        let seen = tokio::task::spawn_blocking(move || {
            let mut terminal = OnTerminal::start(&appliance);
            terminal.until("q quit");
            let pid = terminal.seen.split_once("pid=").expect("it was said").1;
            let pid: i32 = pid
                .lines()
                .next()
                .expect("a line")
                .trim()
                .parse()
                .expect("a number");
            kill(Pid::from_raw(pid), signal).expect("it runs");
            terminal.end()
        });
        was_given_back(&seen.await.expect("it went well"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_colour_is_shown_where_none_is_wanted() {
    let appliance = Appliance::start().await;
    let seen = tokio::task::spawn_blocking(move || {
        let mut terminal = OnTerminal::of(&appliance, "NO_COLOR=1");
        terminal.until("q quit");
        terminal.press("q");
        terminal.end()
    });
    let seen = seen.await.expect("it went well");
    for number in 31..=37 {
        for code in [
            format!("\x1b[{number}m"),
            format!("\x1b[38;5;{}m", number - 30),
        ] {
            assert!(!seen.contains(&code), "{code:?}");
        }
    }
}

/// The settings are those of before, the cursor is there, and the screen is the one of before.
fn was_given_back(seen: &str) {
    let settings = |name: &str| {
        let (_, rest) = seen.split_once(name).expect(name);
        rest.lines().next().expect("a line").trim().to_owned()
    };
    assert_eq!(settings("before="), settings("after="), "{seen}");
    let left = seen.rfind("\x1b[?1049l").expect("the screen was left");
    assert!(seen[left..].contains("\x1b[?25h"), "the cursor is shown");
    assert!(!seen[left..].contains("\x1b[?1049h"));
}

/// Both planes count on.
fn traffic(appliance: &Appliance, proxy: FakeProxy) -> tokio::task::JoinHandle<()> {
    let kernel = appliance.kernel.clone();
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            count += 10;
            kernel.change(|kernel| {
                kernel.counters = vec![weir_dataplane::Counter {
                    service: 0,
                    class: Class::Blocked,
                    verdict: Verdict::Drop,
                    reason: Reason::Class,
                    hook: Hook::Xdp,
                    observed: false,
                    packets: count,
                    bytes: count * 100,
                }];
            });
            let decided = Counted::Decided {
                service: "sts".to_owned(),
                flow: "active".to_owned(),
                client: "native".to_owned(),
                decision: "block".to_owned(),
            };
            proxy.tally(vec![(decided, count)]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

/// `weir top` on a pseudo-terminal that script(1) makes.
struct OnTerminal {
    script: std::process::Child,
    keys: ChildStdin,
    heard: Receiver<String>,
    seen: String,
}

impl OnTerminal {
    fn start(appliance: &Appliance) -> Self {
        Self::of(appliance, "NO_COLOR=")
    }

    fn of(appliance: &Appliance, setting: &str) -> Self {
        let weir = env!("CARGO_BIN_EXE_weir");
        let socket = appliance.control_socket();
        let shell = format!(
            "stty rows 24 cols 80; echo before=$(stty -g); \
             sh -c 'echo pid=$$; {setting} exec {weir} --socket {} top'; \
             echo status=$?; echo after=$(stty -g)",
            socket.display()
        );
        let mut script = Command::new("script")
            .args(["--quiet", "--flush", "--command", &shell, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script(1) is on every Debian");
        let keys = script.stdin.take().expect("piped");
        let mut out = script.stdout.take().expect("piped");
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if tell.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            script,
            keys,
            heard,
            seen: String::new(),
        }
    }

    /// Waits for a text that was not there before.
    fn until(&mut self, wanted: &str) {
        let begin = self.seen.len();
        while !self.seen[begin..].contains(wanted) {
            match self.heard.recv_timeout(PATIENCE) {
                Ok(text) => self.seen.push_str(&text),
                Err(error) => panic!("{wanted:?}: {error}: {}", self.seen),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
        self.keys.flush().expect("it reads");
    }

    /// All that was seen, once it has ended.
    fn end(mut self) -> String {
        while !self.seen.contains("after=") || !self.seen.ends_with('\n') {
            match self.heard.recv_timeout(PATIENCE) {
                Ok(text) => self.seen.push_str(&text),
                Err(error) => panic!("{error}: {}", self.seen),
            }
        }
        // It has nothing more to do.
        let _ = self.script.wait();
        self.seen
    }
}
