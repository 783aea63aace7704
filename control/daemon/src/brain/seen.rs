//! What the kernel plane tells of single packets: flows that begin, and captures.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use weir_abi::SNAP;
use weir_api::{Actor, CaptureRequest, Flow};
use weir_dataplane::{CaptureFilter, SeenPacket};

use super::Brain;
use crate::generation::Generation;
use crate::pcapng::Pcapng;
use crate::plane::KernelPlane;
use crate::{Error, clock};

/// Time between two looks into a ring buffer.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a capture that ends may take to make room for the next one.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// How long a capture goes on, and how many packets it takes, unless it is said, and at most.
const SECONDS: (u32, u32) = (60, 3600);
const PACKETS: (u32, u32) = (10_000, 1_000_000);

impl Brain {
    /// Takes what the programs tell of flows, until the runtime ends.
    pub(super) async fn watch_flows(&self) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // Without its thread nothing is told; status says so.
            if let Ok(packets) = self.parts.plane.run(|plane| plane.flows()).await
                && !packets.is_empty()
            {
                let running = self.running();
                self.flows
                    .add(packets.iter().map(|one| line(&running, one)));
            }
        }
    }

    /// Begins a capture; one at a time.
    pub async fn capture(
        self: &Arc<Self>,
        who: Actor,
        wanted: &CaptureRequest,
    ) -> Result<Capture, Error> {
        let seconds = bounded("seconds", wanted.seconds, SECONDS)?;
        let packets = bounded("packets", wanted.packets, PACKETS)?;
        let running = self.running();
        let source = match &wanted.source {
            None => None,
            Some(text) => {
                let net = weir_tables::parse_prefix(text)?.prefix;
                Some((net.addr(), net.prefix_len()))
            }
        };
        let service = match &wanted.service {
            None => None,
            Some(name) => Some(running.service_id(name)?),
        };
        let place = timeout(ROOM_WITHIN, Arc::clone(&self.capturing).acquire_owned()).await;
        let place = place.map_err(|_| Error::Capturing)?;
        let place = place.expect("nobody closes it");
        let within = Duration::from_secs(seconds.into());
        let filter = CaptureFilter {
            source,
            service,
            verdicts: wanted.verdicts.clone(),
            payload: wanted.payload,
            within,
        };
        let begun = self.parts.plane.run(move |plane| {
            // What is lost as soon as it begins counts.
            let before = plane.lost()?;
            plane.capture(Some(&filter)).map(|()| before)
        });
        let lost_before = begun.await??.frames;
        let asked = serde_json::to_string(wanted).expect("a request has string keys");
        let told = format!("at most {packets} packets in {seconds} s of {asked}");
        self.note(who.clone(), "capture", Ok(told));
        Ok(Capture {
            brain: Arc::clone(self),
            who,
            place: Some(place),
            running,
            file: Pcapng::default(),
            begun: false,
            quiet: true,
            ended: false,
            until: Instant::now() + within,
            left: packets,
            taken: 0,
            lost_before,
        })
    }
}

fn bounded(key: &str, said: Option<u32>, (usual, most): (u32, u32)) -> Result<u32, Error> {
    match said.unwrap_or(usual) {
        number if (1..=most).contains(&number) => Ok(number),
        number => Err(Error::Request(format!(
            "`{key}` is {number}: write a number from 1 to {most}"
        ))),
    }
}

/// A capture that goes on; it ends when it is dropped, too.
#[derive(Debug)]
pub struct Capture {
    brain: Arc<Brain>,
    who: Actor,
    /// Free for the next one when the programs have ended this one.
    place: Option<OwnedSemaphorePermit>,
    /// The generation by whose names services are told.
    running: Arc<Generation>,
    file: Pcapng,
    begun: bool,
    /// Whether the last look found nothing: else there may be more.
    quiet: bool,
    ended: bool,
    until: Instant,
    left: u32,
    taken: u64,
    lost_before: u64,
}

impl Capture {
    /// The next part of the file; nothing when it has ended.
    pub async fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        if !self.begun {
            self.begun = true;
            let application = concat!("weir ", env!("CARGO_PKG_VERSION"));
            return Some(Ok(Pcapng::header(application)));
        }
        while !self.ended {
            let over = Instant::now() >= self.until;
            if !over && self.quiet {
                let soon = (Instant::now() + LOOK_EVERY).min(self.until);
                tokio::time::sleep_until(soon).await;
            }
            let plane = &self.brain.parts.plane;
            let packets = match plane.run(|plane| plane.captured()).await {
                Ok(packets) => packets,
                Err(ended) => return Some(Err(io::Error::other(ended))),
            };
            self.quiet = packets.is_empty();
            let mut bytes = Vec::new();
            for packet in packets.iter().take(self.left as usize) {
                self.left -= 1;
                self.taken += 1;
                bytes.extend(self.file.packet(
                    &packet.interface,
                    u32::try_from(SNAP).expect("a small constant"),
                    packet.time,
                    packet.length,
                    &packet.frame,
                    &comment(&self.running, packet),
                ));
            }
            // What the ring buffer still held when the time was over is read to its end.
            if self.left == 0 || (over && packets.is_empty()) {
                self.ended = true;
                let lost = plane.run(|plane| plane.lost()).await;
                let lost = lost.ok().and_then(Result::ok).unwrap_or_default().frames;
                let lost = lost.saturating_sub(self.lost_before);
                bytes.extend(self.file.end(SystemTime::now(), lost));
            }
            if !bytes.is_empty() {
                return Some(Ok(bytes));
            }
        }
        None
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let (brain, who, taken) = (Arc::clone(&self.brain), self.who.clone(), self.taken);
        let (place, lost_before) = (self.place.take(), self.lost_before);
        // Whoever asked may have hung up in the middle.
        let how = if self.ended { "ended" } else { "broken off" };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // The programs end it at its time.
            return;
        };
        runtime.spawn(async move {
            let end = |plane: &mut dyn KernelPlane| {
                plane.capture(None)?;
                plane.lost()
            };
            let ended = brain.parts.plane.run(end).await;
            drop(place);
            let told = match ended {
                Ok(Ok(lost)) => Ok(match lost.frames.saturating_sub(lost_before) {
                    0 => format!("{how} after {taken} packets"),
                    lost => format!("{how} after {taken} packets; {lost} more found no room"),
                }),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            brain.note(who, "capture", told);
        });
    }
}

/// A packet as a line.
fn line(running: &Generation, packet: &SeenPacket) -> Flow {
    Flow {
        seq: 0,
        time: clock::text(OffsetDateTime::from(packet.time)),
        source: packet.source,
        source_port: packet.ports[0],
        destination: packet.destination,
        port: packet.ports[1],
        protocol: packet.protocol,
        interface: packet.interface.clone(),
        side: packet.direction.name().to_owned(),
        service: running.service_name(packet.service),
        class: packet.class,
        verdict: packet.verdict,
        reason: packet.reason.name().to_owned(),
        hook: packet.hook,
        observed: packet.observed,
        length: packet.length,
    }
}

/// What was decided, in words that a display filter finds (`frame.comment contains "verdict=drop"`).
fn comment(running: &Generation, packet: &SeenPacket) -> String {
    format!(
        "weir verdict={} reason={} class={} hook={} side={} service={}{}",
        packet.verdict.name(),
        packet.reason.name(),
        packet.class.name(),
        packet.hook.name(),
        packet.direction.name(),
        running.service_name(packet.service),
        if packet.observed { " observed" } else { "" },
    )
}
