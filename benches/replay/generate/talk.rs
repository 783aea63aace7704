//! One connection, frame by frame.

use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _};
use weir_fixtures::frame::{ACK, FIN, PSH, RST, SYN, frame as ethernet, returned, v4, v6};

use super::hello::Hellos;
use super::requests::Kind;
use super::{Frame, Side, frame};
use crate::replay::packet::{TCP, layout};

/// Not to be fragmented (RFC 791 §3.1).
const DONT_FRAGMENT: u16 = 0x4000;
/// Bytes of a full record (RFC 8446 §5.1), and what encryption adds.
const RECORD: usize = 16_384;
const OVERHEAD: usize = 22;
/// What a server sends behind its `ServerHello`, all encrypted: a chain of certificates, mostly.
const CHAIN: std::ops::Range<usize> = 2600..4200;
/// What a client ends the handshake with.
const FINISHED: usize = 58;

/// A connection.
pub(super) struct Talk<'a> {
    made: &'a mut Vec<Frame>,
    ends: [(IpAddr, u16); 2],
    numbers: [u32; 2],
    hops: [u8; 2],
    segment: usize,
    time: Duration,
    /// Half the time to the client and back; the servers are near.
    far: Duration,
    packets: u16,
}

impl<'a> Talk<'a> {
    /// Its handshake.
    pub(super) fn begin(
        made: &'a mut Vec<Frame>,
        client: IpAddr,
        server: (IpAddr, u16),
        time: Duration,
        random: &mut StdRng,
    ) -> Self {
        let headers = if client.is_ipv6() { 60 } else { 40 };
        // Some come through a tunnel.
        let mtu = if random.random_ratio(1, 8) {
            1400
        } else {
            1500
        };
        let port = random.random_range(1024..=65_535);
        let mut talk = Self {
            made,
            ends: [(client, port), server],
            numbers: [random.random(), random.random()],
            hops: [random.random_range(44..62), 64],
            segment: mtu - headers,
            time,
            far: Duration::from_micros(random.random_range(4_000..90_000)),
            packets: random.random(),
        };
        let largest = u16::try_from(talk.segment)
            .expect("below 1500")
            .to_be_bytes();
        // MSS, SACK permitted, window scale (RFC 9293 §3.2, RFC 2018, RFC 7323).
        let options = [2, 4, largest[0], largest[1], 1, 1, 4, 2, 1, 3, 3, 8];
        talk.send(Side::Outside, SYN, &options, &[]);
        talk.send(Side::Inside, SYN | ACK, &options, &[]);
        talk.send(Side::Outside, ACK, &[], &[]);
        talk
    }

    /// TLS, the requests with their answers, and the end.
    pub(super) fn sign_in(
        mut self,
        hellos: &Hellos,
        host: &str,
        kinds: &[Kind],
        random: &mut StdRng,
    ) {
        let client = random.random_range(0..3);
        let hello = hellos.record(host, client, random);
        self.say(Side::Outside, &hello);
        let answer = if client == 0 { 1210 } else { 122 };
        let mut flight = record(22, answer, random);
        flight.extend(record(20, 1, random));
        flight.extend(record(23, random.random_range(CHAIN), random));
        self.say(Side::Inside, &flight);
        let mut finished = record(20, 1, random);
        finished.extend(record(23, FINISHED, random));
        self.say(Side::Outside, &finished);
        for kind in kinds {
            self.wait(Duration::from_millis(random.random_range(0..400)));
            let [asks, answers] = kind.sizes(random);
            self.say(Side::Outside, &records(asks, random));
            self.wait(Duration::from_micros(random.random_range(500..30_000)));
            self.say(Side::Inside, &records(answers, random));
        }
        if random.random_ratio(1, 10) {
            self.send(Side::Outside, RST | ACK, &[], &[]);
        } else {
            // `close_notify`, then both ends.
            self.say(Side::Outside, &record(23, 19, random));
            self.send(Side::Outside, FIN | ACK, &[], &[]);
            self.send(Side::Inside, FIN | ACK, &[], &[]);
            self.send(Side::Outside, ACK, &[], &[]);
        }
    }

    /// Bytes in segments; the other side acknowledges every second one, and the last.
    fn say(&mut self, side: Side, bytes: &[u8]) {
        let other = if side == Side::Outside {
            Side::Inside
        } else {
            Side::Outside
        };
        let count = bytes.len().div_ceil(self.segment);
        for (number, part) in (1..).zip(bytes.chunks(self.segment)) {
            let flags = if number == count { ACK | PSH } else { ACK };
            self.send(side, flags, &[], part);
            if number % 2 == 0 || number == count {
                self.send(other, ACK, &[], &[]);
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.time += time;
    }

    fn send(&mut self, side: Side, flags: u8, options: &[u8], payload: &[u8]) {
        let (me, other) = if side == Side::Outside {
            (0, 1)
        } else {
            (1, 0)
        };
        let [from, to] = [self.ends[me], self.ends[other]];
        let mut tcp = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        tcp.extend(self.numbers[me].to_be_bytes());
        let acknowledged = if flags & ACK == 0 {
            0
        } else {
            self.numbers[other]
        };
        tcp.extend(acknowledged.to_be_bytes());
        let words = u8::try_from(5 + options.len() / 4).expect("few options");
        tcp.extend([words << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        tcp.extend(options);
        tcp.extend(payload);
        let mut packet = match (from.0, to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => v4(from, to, TCP, DONT_FRAGMENT, &[], &tcp),
            (IpAddr::V6(from), IpAddr::V6(to)) => v6(from, to, TCP, &tcp),
            _ => unreachable!("both ends are of one family"),
        };
        if from.0.is_ipv6() {
            packet[7] = self.hops[me];
        } else {
            packet[8] = self.hops[me];
            packet[4..6].copy_from_slice(&self.packets.to_be_bytes());
        }
        let mut bytes = ethernet(&packet);
        if side == Side::Inside {
            bytes = returned(bytes);
        }
        layout(&bytes).expect("it was just made").mend(&mut bytes);
        self.packets = self.packets.wrapping_add(1);
        let taken = u32::try_from(payload.len()).expect("a segment is small");
        let counts = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        self.numbers[me] = self.numbers[me].wrapping_add(taken + counts);
        // What the client answers has been there and back.
        self.time += if side == Side::Outside && payload.is_empty() {
            self.far
        } else {
            Duration::from_micros(200)
        };
        self.made.push(frame(self.time, bytes, side));
    }
}

/// Records with so many bytes in all.
fn records(mut bytes: usize, random: &mut StdRng) -> Vec<u8> {
    let mut all = Vec::new();
    while bytes > 0 {
        let part = bytes.min(RECORD);
        all.extend(record(23, part + OVERHEAD, random));
        bytes -= part;
    }
    all
}

/// A record of a type, with so many random bytes (RFC 8446 §5.1).
fn record(kind: u8, length: usize, random: &mut StdRng) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend(
        u16::try_from(length)
            .expect("a record is small")
            .to_be_bytes(),
    );
    let start = record.len();
    record.resize(start + length, 0);
    random.fill_bytes(&mut record[start..]);
    match kind {
        // ServerHello (RFC 8446 §4.1.3): its type, and its length.
        22 => {
            let rest = u32::try_from(length - 4).expect("a record is small");
            record[start..start + 4].copy_from_slice(&(2 << 24 | rest).to_be_bytes());
            record[start + 4..start + 6].copy_from_slice(&[3, 3]);
        }
        20 => record[start] = 1,
        _ => {}
    }
    record
}
