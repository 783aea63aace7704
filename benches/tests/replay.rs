//! Traffic that is replayed: made from a seed, written and read, counted.

mod traffic;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Cursor;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use pcap::{Capture, Linktype, Packet, PacketHeader};
use rustls::server::Acceptor;
use weir_abi::{Class, Reason, Verdict};
use weir_benches::replay::capture::{self, CaptureError};
use weir_benches::replay::generate::{self, Options};
use weir_benches::replay::mapping::Shares;
use weir_benches::replay::packet::{ACK, SYN, TCP, ends, layout};
use weir_benches::replay::{Judged, Lists, PORT, Services, Side, Told};
use weir_fixtures::frame::{Segment, frame as ethernet};

use traffic::{FLOWS, ip, lists, made, of, options, syn};

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let one = made(7);
    assert_eq!(one.frames, made(7).frames);
    assert_ne!(one.frames, made(8).frames);
    assert_eq!(one.requests, made(7).requests);
}

#[test]
fn sources_are_of_the_classes_that_were_asked_for() {
    let lists = lists();
    let traffic = made(7);
    let mut flows: BTreeMap<Class, BTreeSet<(IpAddr, u16)>> = BTreeMap::new();
    for frame in traffic.of(Side::Outside) {
        let Some(ends) = ends(&frame.bytes) else {
            continue;
        };
        if let (TCP, Some([from, PORT])) = (ends.protocol, ends.ports) {
            flows
                .entry(lists.class(ends.source))
                .or_default()
                .insert((ends.source, from));
        }
    }
    assert!(!flows.contains_key(&Class::Bypass), "bypass has no share");
    let options = Options {
        classes: "managed=1,bypass=1".parse().expect("shares"),
        ..options(7)
    };
    let other = generate::generate(&options, &lists, &Services::usual()).expect("it is made");
    assert_eq!(
        other.notes.len(),
        1,
        "no list has the class: {:?}",
        other.notes
    );
    assert!(other.notes[0].contains("bypass"), "{:?}", other.notes);
    let count = |class| flows.get(&class).map_or(0, BTreeSet::len);
    // Three in ten are managed, six unmanaged, one a relay: the floods and odd frames blur it a little.
    assert!(count(Class::Unmanaged) > count(Class::Managed), "{flows:?}");
    assert!(count(Class::Managed) > count(Class::Relay), "{flows:?}");
    assert!(count(Class::Relay) > 0, "{flows:?}");
    let six = traffic
        .sources()
        .iter()
        .filter(|source| source.is_ipv6())
        .count();
    assert!(six > 0 && six < traffic.sources().len());
}

#[test]
fn few_sources_make_most_connections() {
    let mut by_source: HashMap<IpAddr, usize> = HashMap::new();
    for request in made(7).requests.expect("it was made") {
        *by_source.entry(request.source).or_default() += 1;
    }
    let mut counts: Vec<usize> = by_source.into_values().collect();
    counts.sort_unstable();
    let most = counts.last().copied().unwrap_or_default();
    assert!(most > 4 * counts[counts.len() / 2], "{counts:?}");
}

#[test]
fn every_connection_is_a_whole_one() {
    let traffic = made(7);
    let mut streams: BTreeMap<Ends, Stream> = BTreeMap::new();
    for frame in &traffic.frames {
        let Some(found) = ends(&frame.bytes) else {
            continue;
        };
        let Some([from, to]) = found.ports else {
            continue;
        };
        // Only what began with the options of a client: floods and odd frames have none.
        let whole = layout(&frame.bytes).expect("it has ends");
        if found.protocol != TCP || whole.fragment || ![from, to].contains(&PORT) {
            continue;
        }
        let key = ((found.source, from), (found.destination, to));
        let options = frame.bytes.get(whole.l4 + 20..whole.l4 + 22);
        let begins = found.flags & SYN != 0 && options == Some(&[2, 4]);
        if !begins && !streams.contains_key(&key) {
            continue;
        }
        let header = usize::from(frame.bytes[whole.l4 + 12] >> 4) * 4;
        assert_eq!(
            whole.is_right(&frame.bytes),
            Some(true),
            "frame {}",
            frame.number
        );
        let payload = &frame.bytes[whole.l4 + header..whole.end];
        let number = &frame.bytes[whole.l4 + 4..whole.l4 + 8];
        let number = u32::from_be_bytes(number.try_into().expect("four bytes"));
        let stream = streams.entry(key).or_insert(Stream {
            next: number,
            bytes: Vec::new(),
        });
        assert_eq!(stream.next, number, "frame {}: a gap", frame.number);
        stream.bytes.extend(payload);
        let counts = u32::from(found.flags & 0x03 != 0);
        stream.next = number.wrapping_add(u32::try_from(payload.len()).expect("small") + counts);
    }
    let clients = streams.iter().filter(|(((_, from), _), _)| *from != PORT);
    let mut seen = 0;
    for (((source, _), _), Stream { bytes, .. }) in clients {
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                matches!(bytes[at], 20 | 22 | 23),
                "a record of type {}",
                bytes[at]
            );
            at += 5 + usize::from(u16::from_be_bytes([bytes[at + 3], bytes[at + 4]]));
        }
        assert_eq!(at, bytes.len(), "{source} sends whole records");
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut Cursor::new(bytes)).expect("memory");
        let accepted = acceptor
            .accept()
            .unwrap_or_else(|(error, _)| panic!("{error}"));
        let accepted = accepted.expect("the first record is whole");
        assert_eq!(
            accepted.client_hello().server_name(),
            Some("sts.example.com")
        );
        seen += 1;
    }
    assert_eq!(seen, FLOWS, "connections with a TLS handshake");
}

#[test]
fn what_an_edge_meets_besides_is_there() {
    let traffic = made(7);
    let found: Vec<_> = traffic
        .frames
        .iter()
        .filter_map(|frame| ends(&frame.bytes))
        .collect();
    let some = |what: &str, holds: &dyn Fn(&weir_benches::replay::packet::Ends) -> bool| {
        assert!(found.iter().any(holds), "no {what}");
    };
    some("QUIC", &|e| {
        e.protocol == 17 && e.ports.is_some_and(|p| p[1] == 443)
    });
    some("other ports", &|e| {
        e.protocol == TCP && e.ports.is_some_and(|p| p[1] == 22)
    });
    some("ICMP", &|e| e.protocol == 1);
    some("ICMPv6", &|e| e.protocol == 58);
    some("fragments", &|e| e.protocol == TCP && e.ports.is_none());
    let odd = traffic
        .frames
        .iter()
        .filter(|frame| ends(&frame.bytes).is_none());
    assert!(odd.count() > 0, "malformed frames");
    let tagged = traffic
        .frames
        .iter()
        .filter(|frame| frame.bytes[12..14] == [0x81, 0]);
    assert!(tagged.count() > 0, "VLAN tags");
}

#[test]
fn requests_are_decided_by_the_rules() {
    let (lists, services) = (lists(), Services::usual());
    let mut decisions = BTreeSet::new();
    let options = Options {
        flows: 500,
        ..options(7)
    };
    let traffic = generate::generate(&options, &lists, &services).expect("it is made");
    for request in traffic.requests.expect("it was made") {
        let service = services.numbered(request.service).expect("there is one");
        let moment = time::UtcDateTime::UNIX_EPOCH;
        let judged = request
            .judge(service, &lists, moment)
            .expect("a service takes all of them");
        decisions.insert((
            lists.class(request.source).name(),
            judged.client.name(),
            judged.decision.expect("no tokens are looked at").name(),
        ));
    }
    for expected in [
        ("unmanaged", "browser", "redirect"),
        ("unmanaged", "native", "block"),
        ("unmanaged", "outlook", "block"),
        ("unmanaged", "windows-logon", "block"),
        ("unmanaged", "server", "pass"),
        ("managed", "browser", "pass"),
        ("relay", "outlook", "pass"),
    ] {
        assert!(
            decisions.contains(&expected),
            "{expected:?} not in {decisions:?}"
        );
    }
}

#[test]
fn a_capture_that_was_written_is_read_back() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let file = directory.path().join("made.pcap");
    let mut traffic = made(7);
    capture::write(&file, &traffic.frames).expect("it is written");
    let mut read = capture::read(std::slice::from_ref(&file), usize::MAX).expect("it is read");
    let begins = traffic.frames[0].time;
    for frame in &mut traffic.frames {
        let since = frame.time.as_micros() - begins.as_micros();
        frame.time = Duration::from_micros(u64::try_from(since).expect("seconds"));
    }
    // Which side a frame came in at stands in no capture.
    traffic.settle(&Services::usual());
    read.settle(&Services::usual());
    assert_eq!(read.frames, traffic.frames);
    assert!(read.notes.is_empty(), "{:?}", read.notes);
    let some = capture::read(std::slice::from_ref(&file), 10).expect("it is read");
    assert_eq!(some.frames.len(), 10);
    assert!(some.notes[0].contains("--limit"), "{:?}", some.notes);
}

#[test]
fn other_link_types_become_ethernet_or_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let packet = &syn("198.51.100.7", "192.0.2.10")[14..];
    let cooked = [&[0_u8; 14][..], &[0x08, 0], packet].concat();
    let cooked2 = [&[0x08, 0][..], &[0; 18], packet].concat();
    for (kind, bytes) in [
        (12, packet),
        (228, packet),
        (113, cooked.as_slice()),
        (276, cooked2.as_slice()),
    ] {
        let file = directory.path().join(format!("{kind}.pcap"));
        save(&file, kind, bytes, bytes.len());
        let read = capture::read(&[file], 10).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(
            read.frames[0].bytes[12..],
            syn("198.51.100.7", "192.0.2.10")[12..]
        );
        assert_eq!(read.frames[0].wire, 54, "link type {kind}");
    }
    for kind in [0, 105, 127] {
        let file = directory.path().join(format!("{kind}.pcap"));
        save(&file, kind, packet, packet.len());
        let error = capture::read(std::slice::from_ref(&file), 10).expect_err("not Ethernet");
        assert!(matches!(error, CaptureError::Link { .. }), "{error}");
        assert!(
            error.to_string().contains(&file.display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn captures_that_are_cut_or_none_are_told() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let file = directory.path().join("cut.pcap");
    save(&file, 1, &syn("198.51.100.7", "192.0.2.10"), 1400);
    let read = capture::read(std::slice::from_ref(&file), 10).expect("it is read");
    assert_eq!(
        (read.frames[0].wire, read.frames[0].bytes.len()),
        (1400, 1400)
    );
    assert_eq!(
        read.frames[0].bytes[..54],
        syn("198.51.100.7", "192.0.2.10")
    );
    assert!(
        read.notes[0].starts_with("1 frames are not whole"),
        "{:?}",
        read.notes
    );
    std::fs::write(&file, "no capture").expect("a temporary file");
    let error = capture::read(std::slice::from_ref(&file), 10).expect_err("no capture");
    assert!(matches!(error, CaptureError::Unreadable { .. }), "{error}");
}

#[test]
fn shares_and_lists_that_cannot_be_read_are_told() {
    for bad in ["", "managed", "managed=x", "friends=3", "managed=0,relay=0"] {
        assert!(bad.parse::<Shares>().is_err(), "{bad}");
    }
    let shares: Shares = "relay=1, managed=3".parse().expect("shares");
    assert_eq!(shares.to_string(), "managed=3,relay=1");
    let directory = tempfile::tempdir().expect("a temporary folder");
    let file = directory.path().join("list.txt");
    std::fs::write(&file, "198.18.0.0/15\nnobody\n").expect("a temporary file");
    let option = format!("managed={}", file.display());
    let error = Lists::read(std::slice::from_ref(&option)).expect_err("a bad line");
    assert!(error.to_string().contains("line 2"), "{error}");
    std::fs::write(&file, "198.18.0.0/15 # tests\n").expect("a temporary file");
    let lists = Lists::compile(Lists::read(&[option]).expect("a good list"));
    assert_eq!(
        lists.class("198.19.0.1".parse().expect("an address")),
        Class::Managed
    );
    assert!(Lists::read(&["unmanaged=x".into()]).is_err());
    assert!(Lists::read(&["managed=/nowhere/at/all".into()]).is_err());
}

#[test]
fn services_are_where_connections_are_opened_to() {
    let opened = of(vec![
        syn("198.51.100.7", "203.0.113.80"),
        syn("198.51.100.8", "203.0.113.81"),
        ethernet(&Segment::new(40000, 22).between(ip("198.51.100.9"), ip("203.0.113.82"))),
    ]);
    let services = Services::spoken_to(&opened);
    let addresses: Vec<IpAddr> = services.addresses().collect();
    assert_eq!(addresses, [ip("203.0.113.80"), ip("203.0.113.81")]);
    let mut both = of(vec![
        syn("198.51.100.7", "203.0.113.80"),
        weir_fixtures::frame::returned(ethernet(
            &Segment::new(443, 40000)
                .flags(SYN | ACK)
                .between(ip("203.0.113.80"), ip("198.51.100.7")),
        )),
    ]);
    both.settle(&services);
    let sides: Vec<Side> = both.frames.iter().map(|frame| frame.side).collect();
    assert_eq!(sides, [Side::Outside, Side::Inside]);
}

#[test]
fn what_is_told_counts_a_flow_once() {
    let mut told = Told::default();
    let forwarded = Some(Judged {
        service: 0,
        class: Class::Managed,
        verdict: Verdict::Forward,
        reason: Reason::Class,
    });
    let answer = forwarded.map(|judged| Judged {
        reason: Reason::Answer,
        ..judged
    });
    let mut frames = of(vec![
        syn("198.51.100.7", "192.0.2.10"),
        syn("198.51.100.7", "192.0.2.10"),
        syn("198.51.100.8", "192.0.2.10"),
        ethernet(&Segment::new(443, 40000).between(ip("192.0.2.10"), ip("198.51.100.7"))),
    ])
    .frames;
    frames[3].side = Side::Inside;
    for frame in &frames {
        let judged = if frame.side == Side::Inside {
            answer
        } else {
            forwarded
        };
        told.count(frame, ends(&frame.bytes).as_ref(), judged);
    }
    let all = told.sum(|_, _| true);
    assert_eq!((all.packets, all.flows, all.sources), (4, 2, 2));
    assert_eq!(told.rows().count(), 2);
    let top = told.top(1);
    assert_eq!(
        (top[0].source, top[0].packets, top[0].flows),
        (ip("198.51.100.7"), 2, 1)
    );
    assert_eq!(top[0].verdict, Some(Verdict::Forward));
}

type Ends = ((IpAddr, u16), (IpAddr, u16));

struct Stream {
    next: u32,
    bytes: Vec<u8>,
}

fn save(file: &PathBuf, kind: i32, bytes: &[u8], wire: usize) {
    let mut saved = Capture::dead(Linktype(kind))
        .and_then(|capture| capture.savefile(file))
        .expect("a capture of this type");
    let header = PacketHeader {
        ts: libc::timeval {
            tv_sec: 1,
            tv_usec: 2,
        },
        caplen: u32::try_from(bytes.len()).expect("small"),
        len: u32::try_from(wire).expect("small"),
    };
    saved.write(&Packet::new(&header, bytes));
    saved.flush().expect("it is written");
}
