//! Each frame, judged by the loaded programs and by the host's code, which have to agree on verdict and bytes.
//!
//! The programs run in a router's namespace (`BPF_PROG_TEST_RUN`, nothing is sent or counted), at tcx and at XDP.
//! What the frame must be afterwards is worked out from its outcome: one hop less, a reset, or nothing at all.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use weir_abi::{Address, Hook, MAX_PORTS, Port, Reason, Verdict};
use weir_benches::replay::packet::{Ends, Layout, add, ends, fold, is_unicast, layout};
use weir_benches::replay::{Frame, Judged, Services, Side, Told, readdress};
use weir_classify::{NoSockets, classify};
use weir_dataplane::{Answer, Dataplane, Direction, HookChoice};
use weir_fixtures::Memory;
use weir_fixtures::frame::{ACK, FIN, RST, SYN, reset, returned};

use super::Setting;
use crate::bed::{Bed, IN_MAC, OUT_MAC, SINK_MAC, SOURCE_MAC};
use crate::plane::{Files, MARK, open};

/// What a test run takes at tcx: one page, less what the kernel needs of it.
const LONGEST: usize = 3500;
/// Differences that are spelled out.
const SHOWN: usize = 10;
/// Largest packet that a veth carries, so that what was coalesced in a capture is not too big.
const MTU: &str = "65535";

/// What the kernel is told at tcx and XDP (`linux/pkt_cls.h`, `linux/bpf.h`).
const TC_REDIRECT: u32 = 7;
const TC_SHOT: u32 = 2;
const TC_OK: u32 = 0;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// How far host and kernel agree.
#[derive(Debug, Default)]
pub struct Differences {
    /// Frames that the loaded programs were run on.
    pub compared: u64,
    /// Frames that a test run does not take: shorter than their headers, or longer than a page.
    pub not_run: u64,
    /// Frames that the program at XDP finished; the others it left to tcx.
    pub at_xdp: u64,
    /// Frames on which they do not agree.
    pub wrong: u64,
    /// The first of them, in words.
    pub shown: Vec<String>,
}

/// Judges everything.
pub fn run(files: &Files, setting: &Setting) -> Result<(Told, Differences)> {
    let bed = Bed::raise()?;
    prepare(&bed, &setting.services)?;
    let host = host(setting)?;
    bed.router.within(|| {
        let mut plane = open(files, HookChoice::Xdp)?;
        plane.switch(
            Some(setting.lists.tables()),
            Some(&setting.services.specs()),
            &mut |_| {},
        )?;
        let mut judge = Judge {
            plane: &plane,
            host: &host,
            differences: Differences::default(),
        };
        let mut told = Told::default();
        for frame in &setting.traffic.frames {
            let ends = ends(&frame.bytes);
            let judged = judge
                .frame(frame, ends.as_ref(), &setting.traffic.files)
                .with_context(|| place(frame, &setting.traffic.files))?;
            told.count(frame, ends.as_ref(), judged);
        }
        let differences = judge.differences;
        plane.detach()?;
        Ok((told, differences))
    })
}

/// Ways to every service, and back to everybody.
pub fn prepare(bed: &Bed, services: &Services) -> Result<()> {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let (source, sink) = (mac(SOURCE_MAC), mac(SINK_MAC));
    for device in ["out", "in"] {
        bed.router.ip(&format!("link set {device} mtu {MTU}"))?;
    }
    bed.router
        .ip("-6 route replace default via 2001:db8:c::2")?;
    bed.router.ip(&format!(
        "neigh replace 2001:db8:10::10 lladdr {sink} dev in"
    ))?;
    bed.router.ip(&format!(
        "neigh replace 2001:db8:c::2 lladdr {source} dev out"
    ))?;
    for address in services.addresses() {
        if OURS.contains(&address.to_string().as_str()) {
            bail!(
                "{address} is the bench's own router or source; rewrite the capture with --map SEED"
            );
        }
        let (family, bits, via) = if address.is_ipv6() {
            ("-6 ", 128, "2001:db8:10::10")
        } else {
            ("", 32, "192.0.2.10")
        };
        if address.to_string() != via {
            bed.router.ip(&format!(
                "{family}route replace {address}/{bits} via {via} dev in"
            ))?;
        }
    }
    Ok(())
}

/// Addresses of the bed that no service can have.
const OURS: [&str; 6] = [
    "192.0.2.1",
    "203.0.113.1",
    "203.0.113.2",
    "2001:db8:10::1",
    "2001:db8:c::1",
    "2001:db8:c::2",
];

/// The same tables for the host's code.
fn host(setting: &Setting) -> Result<Memory> {
    let mut memory = Memory::default();
    memory.addresses.clear();
    for spec in setting.services.specs() {
        for address in &spec.addresses {
            let mapped = match address {
                std::net::IpAddr::V4(address) => weir_abi::mapped(address.to_bits()),
                std::net::IpAddr::V6(address) => address.octets(),
            };
            let served: &mut Address = memory.addresses.entry(mapped).or_default();
            for port in &spec.ports {
                let free = served.ports.iter_mut().find(|slot| slot.port == 0);
                let Some(free) = free else {
                    bail!("{address} has more than {MAX_PORTS} ports; name fewer with --service");
                };
                *free = Port::new(*port, spec.id, spec.verdicts).observed(spec.observe);
            }
        }
    }
    memory.sources = Arc::new(setting.lists.tables().clone());
    memory.arrange();
    Ok(memory)
}

struct Judge<'a> {
    plane: &'a Dataplane,
    host: &'a Memory,
    differences: Differences,
}

impl Judge<'_> {
    /// What becomes of a frame, as the loaded programs say.
    fn frame(
        &mut self,
        frame: &Frame,
        ends: Option<&Ends>,
        files: &[String],
    ) -> Result<Option<Judged>> {
        let bytes = &frame.bytes;
        let outcome = classify(bytes.as_slice(), frame.side, self.host, &NoSockets);
        let observed = outcome.is_some_and(|outcome| outcome.observed);
        let host = outcome.map(|outcome| Judged {
            service: outcome.service,
            class: outcome.class,
            verdict: outcome.verdict,
            reason: outcome.reason,
        });
        if !runs(bytes) {
            self.differences.not_run += 1;
            return Ok(host);
        }
        self.differences.compared += 1;
        let direction = match frame.side {
            Side::Outside => Direction::Outside,
            Side::Inside => Direction::Inside,
        };
        let mut wrong = Vec::new();
        let early = self.plane.test_run(direction, Hook::Xdp, bytes)?;
        let judged = of(&early);
        self.differences.at_xdp += u64::from(judged.is_some());
        if judged.is_some() && judged != host {
            wrong.push(format!(
                "at XDP {}, on the host {}",
                words(judged),
                words(host)
            ));
        }
        wrong.extend(at_xdp(frame, judged, &early).map(|why| format!("at XDP {why}")));
        let late = self.plane.test_run(direction, Hook::Tcx, bytes)?;
        let judged = of(&late);
        if judged != host && !knows_no_way(frame.side, ends, host, judged) {
            wrong.push(format!(
                "at tcx {}, on the host {}",
                words(judged),
                words(host)
            ));
        }
        let acts = judged.filter(|_| !observed);
        wrong.extend(at_tcx(frame, acts, &late).map(|why| format!("at tcx {why}")));
        if !wrong.is_empty() {
            self.differences.wrong += 1;
            if self.differences.shown.len() < SHOWN {
                let mut text = format!("{}: {}", place(frame, files), wrong.join("; "));
                for (name, bytes) in [
                    ("frame", bytes),
                    ("XDP", &early.packet),
                    ("tcx", &late.packet),
                ] {
                    let _ = write!(text, "\n  {name:<6}{}", hexadecimal(bytes));
                }
                self.differences.shown.push(text);
            }
        }
        Ok(judged)
    }
}

/// Whether the kernel can run the frame as a test.
fn runs(frame: &[u8]) -> bool {
    let header = match frame.get(12..14) {
        Some([0x86, 0xdd]) => 40,
        _ => 20,
    };
    (14 + header..=LONGEST).contains(&frame.len())
}

fn of(answer: &Answer) -> Option<Judged> {
    answer.judged.map(|judged| Judged {
        service: judged.service,
        class: judged.class,
        verdict: judged.verdict,
        reason: judged.reason,
    })
}

/// The host's code has no routing table: an answer to where no packet can go is left to the stack.
fn knows_no_way(
    side: Side,
    ends: Option<&Ends>,
    host: Option<Judged>,
    kernel: Option<Judged>,
) -> bool {
    let Some(ends) = ends else { return false };
    let nowhere = !is_unicast(ends.destination);
    let ours = OURS.contains(&ends.destination.to_string().as_str());
    side == Side::Inside
        && (nowhere || ours)
        && match kernel {
            None => true,
            Some(kernel) => {
                let left = host.map(|host| Judged {
                    verdict: Verdict::Pass,
                    reason: Reason::NoRoute,
                    ..host
                });
                Some(kernel) == left
            }
        }
}

/// What is wrong with what the program at XDP did.
fn at_xdp(frame: &Frame, judged: Option<Judged>, answer: &Answer) -> Option<String> {
    match judged.map(|judged| judged.verdict) {
        None => expect(answer, XDP_PASS, &frame.bytes),
        Some(Verdict::Forward) => {
            let [to, from] = match frame.side {
                Side::Outside => [SINK_MAC, IN_MAC],
                Side::Inside => [SOURCE_MAC, OUT_MAC],
            };
            let sent = readdress(&frame.bytes, to, from);
            hop(&sent, answer, XDP_REDIRECT)
        }
        Some(_) => expect(answer, XDP_DROP, &frame.bytes),
    }
}

/// What is wrong with what the program at tcx did.
fn at_tcx(frame: &Frame, judged: Option<Judged>, answer: &Answer) -> Option<String> {
    let marked = answer.mark == MARK;
    let Some(judged) = judged else {
        let touched = (answer.packet != frame.bytes || marked).then(|| "touched".to_owned());
        return touched.map(|_| "the frame is not Weir's, and was touched".to_owned());
    };
    if marked != (judged.verdict == Verdict::Proxy) {
        return Some(format!("the mark is {:#x}", answer.mark));
    }
    match judged.verdict {
        Verdict::Forward => hop(&frame.bytes, answer, TC_REDIRECT),
        Verdict::Proxy => expect(answer, TC_OK, &frame.bytes),
        Verdict::Drop => expect(answer, TC_SHOT, &frame.bytes),
        Verdict::Pass => (answer.packet != frame.bytes).then(|| "the frame was touched".to_owned()),
        Verdict::Reject => match answered(frame, judged) {
            Some(reset) => expect(answer, TC_REDIRECT, &reset),
            None => expect(answer, TC_SHOT, &frame.bytes),
        },
    }
}

fn expect(answer: &Answer, action: u32, bytes: &[u8]) -> Option<String> {
    if answer.action != action {
        return Some(format!("the action is {}, not {action}", answer.action));
    }
    (answer.packet != bytes).then(|| "the bytes are not what they should be".to_owned())
}

/// What is wrong with a frame that was forwarded: one hop less, the sum of the header as right or wrong as before
/// (RFC 1624), and nothing else.
fn hop(sent: &[u8], answer: &Answer, action: u32) -> Option<String> {
    if answer.action != action {
        return Some(format!("the action is {}, not {action}", answer.action));
    }
    let Some(Layout { six, l3, l4, .. }) = layout(sent) else {
        return Some("what is no IP packet was forwarded".to_owned());
    };
    let mut expected = sent.to_vec();
    let hops = if six { l3 + 7 } else { l3 + 8 };
    expected[hops] = expected[hops].wrapping_sub(1);
    if !six {
        let sum = |bytes: &[u8]| {
            bytes
                .get(l3..l4)
                .map(|header| fold(add(0, header)) % 0xffff)
        };
        if sum(sent) != sum(&answer.packet) {
            return Some("the checksum of the header is not what it should be".to_owned());
        }
        let field = l3 + 10..l3 + 12;
        if let Some(field) = answer.packet.get(field.clone()) {
            expected[l3 + 10..l3 + 12].copy_from_slice(field);
        }
    }
    (answer.packet != expected).then(|| "the bytes are not what they should be".to_owned())
}

/// The reset for a segment that is refused; nothing for what gets none: fragments, resets, and headers that are
/// longer than their base.
fn answered(frame: &Frame, judged: Judged) -> Option<Vec<u8>> {
    let bytes = &frame.bytes;
    let layout = layout(bytes)?;
    let ends = ends(bytes)?;
    let [from, to] = ends.ports?;
    let plain = layout.l4 == layout.l3 + if layout.six { 40 } else { 20 };
    if frame.side == Side::Inside
        || judged.reason != Reason::Class
        || !plain
        || ends.flags & RST != 0
    {
        return None;
    }
    let number = |at: usize| {
        let bytes: [u8; 4] = bytes
            .get(layout.l4 + at..layout.l4 + at + 4)?
            .try_into()
            .ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    let numbers = if ends.flags & ACK != 0 {
        (number(8)?, 0, RST)
    } else {
        let header = usize::from(bytes.get(layout.l4 + 12)? >> 4) * 4;
        let payload = u32::try_from(layout.end.checked_sub(layout.l4 + header)?).ok()?;
        let counts = u32::from(ends.flags & SYN != 0) + u32::from(ends.flags & FIN != 0);
        let next = number(4)?.wrapping_add(payload).wrapping_add(counts);
        (0, next, RST | ACK)
    };
    let packet = reset((ends.destination, to), (ends.source, from), numbers);
    let header = returned(bytes[..layout.l3].to_vec());
    Some([header, packet].concat())
}

fn place(frame: &Frame, files: &[String]) -> String {
    let file = files
        .get(usize::from(frame.file))
        .map_or("", String::as_str);
    let side = if frame.side == Side::Outside {
        "outside"
    } else {
        "inside"
    };
    format!("frame {} of {file}, from {side}", frame.number)
}

fn words(judged: Option<Judged>) -> String {
    judged.map_or_else(
        || "untouched".to_owned(),
        |judged| {
            format!(
                "{}, {} ({})",
                judged.class.name(),
                judged.verdict.name(),
                judged.reason.name()
            )
        },
    )
}

fn hexadecimal(bytes: &[u8]) -> String {
    const MOST: usize = 128;
    let mut text = String::new();
    for byte in bytes.iter().take(MOST) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > MOST {
        let _ = write!(text, "... ({} bytes)", bytes.len());
    }
    text
}
