//! Many connections from one source that talk on and on, and whoever answers them.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use weir_abi::Class;
use weir_fixtures::source;
use weir_tables::{List, Lists, Origin, Scope};

use crate::bed::{listen, within};

/// Longer, and a connection is lost. The kernel sends again after a fifth of a second, and a SYN after one.
const PATIENCE: Duration = Duration::from_secs(15);
/// What a client says: go on.
pub const GO_ON: u8 = b'.';
/// Or: close the connection first.
const CLOSE: u8 = b'q';
/// The first port that connections return to.
const FIRST_PORT: u16 = 20_000;

/// How many connections.
pub struct Size {
    /// That live from the beginning to the end.
    pub lasting: usize,
    /// That the other side closes, and that return from the same port at once.
    pub returning: u16,
}

/// What became of the connections of one source.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Connections that lived from the beginning to the end.
    pub lasting: usize,
    /// Connections that lived for a moment.
    pub began: usize,
    /// Connections that began where another one had just ended.
    pub returned: u16,
    /// Connections that the server (`s`) and the proxy (`p`) answered, lasting ones and others.
    pub answered_by: [usize; 2],
    /// What went wrong, the first few.
    pub troubles: Vec<String>,
}

impl Crowd {
    /// Lives in the namespace of this thread until it is told to stop.
    pub fn live(from: IpAddr, to: SocketAddr, size: &Size, stop: &AtomicBool) -> Self {
        let mut crowd = Self::default();
        let short = thread::scope(|scope| {
            let short = scope.spawn(|| Self::come_and_go(from, to, stop));
            crowd.stay(from, to, size, stop);
            // Also when those who stay ended early.
            stop.store(true, Ordering::Relaxed);
            short.join().expect("it tells what it saw")
        });
        crowd.began += short.began;
        for (sum, more) in crowd.answered_by.iter_mut().zip(short.answered_by) {
            *sum += more;
        }
        crowd.troubles.extend(short.troubles);
        crowd
    }

    /// Connections that live for a moment, one after the other.
    fn come_and_go(from: IpAddr, to: SocketAddr, stop: &AtomicBool) -> Self {
        let mut crowd = Self::default();
        while !stop.load(Ordering::Relaxed) && crowd.troubles.len() < 5 {
            let talk = || -> io::Result<Talker> {
                let mut talker = Talker::new(from, 0, to)?;
                talker.talk(GO_ON)?;
                talker.talk(GO_ON)?;
                Ok(talker)
            };
            match talk() {
                Ok(talker) => crowd.count(&talker),
                Err(error) => crowd.troubles.push(format!("a short one: {error}")),
            }
        }
        crowd
    }

    /// Connections that stay, and those that return.
    fn stay(&mut self, from: IpAddr, to: SocketAddr, size: &Size, stop: &AtomicBool) {
        let mut lasting = Vec::new();
        let mut returning: Vec<Option<Talker>> = (0..size.returning).map(|_| None).collect();
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) && self.troubles.len() < 5 {
            // They begin one after the other while the lists change.
            for _ in lasting.len()..size.lasting.min(lasting.len() + size.lasting / 10 + 1) {
                match Talker::new(from, 0, to) {
                    Ok(talker) => lasting.push(talker),
                    Err(error) => self.troubles.push(format!("a lasting one begins: {error}")),
                }
            }
            let troubles = &mut self.troubles;
            let mut number = 0;
            lasting.retain_mut(|talker| {
                number += 1;
                let result = talker.talk(GO_ON);
                if let Err(error) = &result {
                    troubles.push(format!(
                        "a lasting one in round {round}: {error} {talker:?}"
                    ));
                }
                result.is_ok()
            });
            for (port, place) in (FIRST_PORT..).zip(&mut returning) {
                let ends = (round + usize::from(port)).is_multiple_of(3);
                match Self::come_back(place.take(), ends, from, port, to) {
                    Ok(talker) => {
                        self.returned += u16::from(ends);
                        *place = Some(talker);
                    }
                    Err(error) => {
                        self.troubles
                            .push(format!("one that returns to {port}: {error}"));
                    }
                }
            }
            round += 1;
        }
        self.lasting = lasting.len();
        for talker in &lasting {
            self.count(talker);
        }
        self.began -= lasting.len();
    }

    /// A round of a connection that the other side closes every now and then; its port is used again.
    fn come_back(
        talker: Option<Talker>,
        ends: bool,
        from: IpAddr,
        port: u16,
        to: SocketAddr,
    ) -> io::Result<Talker> {
        let mut talker = match talker {
            None => Talker::new(from, port, to)?,
            Some(mut talker) if ends => {
                talker.close()?;
                drop(talker);
                Self::as_soon_as_free(from, port, to)?
            }
            Some(talker) => talker,
        };
        talker.talk(GO_ON)?;
        Ok(talker)
    }

    /// The port is free when the last segment was acknowledged. That may be lost on both sides, where both
    /// remember connections of these ends that are over; then it is another port.
    fn as_soon_as_free(from: IpAddr, port: u16, to: SocketAddr) -> io::Result<Talker> {
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            match Talker::new(from, port, to) {
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    if Instant::now() > end {
                        return Talker::new(from, 0, to);
                    }
                    thread::yield_now();
                }
                result => return result,
            }
        }
    }

    fn count(&mut self, talker: &Talker) {
        self.began += 1;
        self.answered_by[usize::from(talker.who == Some(b'p'))] += 1;
    }
}

/// One connection, and who answered it first.
#[derive(Debug)]
pub struct Talker {
    stream: TcpStream,
    who: Option<u8>,
}

impl Talker {
    /// Connects from a port, or from any.
    pub fn new(from: IpAddr, port: u16, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(from, port).into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, who: None })
    }

    /// Says a word; the answer must come from who answered before.
    pub fn talk(&mut self, word: u8) -> io::Result<()> {
        self.stream.write_all(&[word])?;
        let mut answer = [0];
        self.stream.read_exact(&mut answer)?;
        let who = *self.who.get_or_insert(answer[0]);
        if who == answer[0] {
            Ok(())
        } else {
            Err(io::Error::other("somebody else answered"))
        }
    }

    /// Where it is connected from.
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("it was connected")
    }

    /// Who answered first.
    pub fn who(&self) -> Option<u8> {
        self.who
    }

    /// Waits no longer for an answer.
    pub fn be_patient(&self, patience: Duration) {
        let set = self.stream.set_read_timeout(Some(patience));
        set.expect("more than nothing");
    }

    /// Makes the other side close it, and waits until it has.
    pub fn close(&mut self) -> io::Result<()> {
        self.talk(CLOSE)?;
        self.ends()
    }

    /// Ends with a reset in place of a FIN.
    pub fn abort(self) {
        let set = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        set.expect("of TCP");
    }

    fn ends(&mut self) -> io::Result<()> {
        match self.stream.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::other("it goes on")),
        }
    }
}

/// Answers every word on every connection with the same letter.
pub fn serve(namespace: &str, address: SocketAddr, letter: u8, transparent: bool) {
    let listener = within(namespace, || listen(address, transparent));
    SockRef::from(&listener)
        .listen(4096)
        .expect("a listener takes another backlog");
    answer_all(listener, letter);
}

/// See [`serve`].
pub fn answer_all(listener: TcpListener, letter: u8) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let answer = move || -> io::Result<()> {
                let mut word = [0];
                loop {
                    stream.read_exact(&mut word)?;
                    stream.write_all(&[letter])?;
                    if word[0] == CLOSE {
                        return Ok(());
                    }
                }
            };
            let thread = thread::Builder::new().stack_size(64 << 10);
            thread.spawn(answer).expect("a small thread");
        }
    });
}

/// Takes as many descriptors as this process may have.
pub fn raise_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("readable");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit");
}

/// Lists in which the unmanaged sources of the fixtures are of this class.
pub fn moving(class: Class) -> Lists {
    let prefixes = [false, true].map(|six| source(Class::Unmanaged, six).into());
    Lists::compile(&[List {
        name: "moving".into(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: prefixes.to_vec(),
    }])
}
