//! The benches' own kernel programs, and what goes into and comes out of their maps.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, PerCpuArray};
use aya::programs::tc::{SchedClassifier, TcAttachType};
use aya::programs::{Program, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use ipnet::IpNet;

use crate::frame::{FRAME, Frame};

/// Sources that rotate: more than a processor's caches make look cheap.
pub const SOURCES: usize = 65_536;
/// Sources that a program looks up in one run.
const ROUND: usize = 16;
/// Frames that are made before they go on.
const BATCH: u32 = 64;

/// Bytes of a frame before it is made into one of a capture.
const TEMPLATE: usize = 64;
/// Bytes of a frame of a capture as the kernel programs have it: its length, and room for the largest one.
const CAPTURED: usize = 8 + 1520;

/// The loaded object.
pub struct Programs(Ebpf);

/// What a run of lookups came to.
pub struct Looked {
    /// Nanoseconds for one lookup, what the loop itself takes included.
    pub nanoseconds: f64,
    /// Sum of the classes that were found in one pass over all sources.
    pub sum: u64,
}

impl Programs {
    /// Loads the object, on the maps that a kernel plane has pinned, if there is one.
    pub fn load(object: &Path, pins: Option<&Path>) -> Result<Self> {
        let mut pinned: Vec<(String, PathBuf)> = Vec::new();
        if let Some(pins) = pins {
            for entry in std::fs::read_dir(pins.join("maps"))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                pinned.push((name, entry.path()));
            }
        }
        let mut loader = EbpfLoader::new();
        for (name, path) in &pinned {
            loader.map_pin_path(name, path);
        }
        let ebpf = loader
            .load_file(object)
            .with_context(|| format!("cannot load {}", object.display()))?;
        Ok(Self(ebpf))
    }

    /// Loads the object with frames that [`Programs::replay`] sends.
    pub fn with_frames(object: &Path, frames: &[Vec<u8>]) -> Result<Self> {
        let count = u32::try_from(frames.len())?;
        let ebpf = EbpfLoader::new()
            .map_max_entries("CAPTURED", count)
            .load_file(object)
            .with_context(|| format!("cannot load {}", object.display()))?;
        let mut programs = Self(ebpf);
        let mut map: Array<_, [u8; CAPTURED]> = programs.map("CAPTURED")?;
        for (at, frame) in (0..count).zip(frames) {
            let mut captured = [0; CAPTURED];
            let Some(room) = captured.get_mut(8..8 + frame.len()) else {
                bail!(
                    "a frame of {} bytes is longer than an MTU allows",
                    frame.len()
                );
            };
            room.copy_from_slice(frame);
            captured[..4].copy_from_slice(&u32::try_from(frame.len())?.to_ne_bytes());
            map.set(at, captured, 0)?;
        }
        Ok(programs)
    }

    /// Begins with the first frame again; they leave at an interface of the namespace that they are sent in.
    pub fn rewind(&mut self, interface: u32, count: usize) -> Result<()> {
        let mut map: Array<_, [u32; 4]> = self.map("REPLAY")?;
        map.set(0, [0, u32::try_from(count)?, interface, 0], 0)?;
        Ok(())
    }

    /// Sends the next so many frames, from the first one again behind the last one. Seconds that the kernel took to
    /// send them: each call waits for other processors (RCU) before and after it, for tens of milliseconds.
    pub fn replay(&mut self, count: u32) -> Result<f64> {
        let program = self.xdp("captured")?;
        let done = program
            .test_run(TestRunOptions {
                data_in: Some(&[0; TEMPLATE]),
                repeat: count,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("the kernel does not send live frames")?;
        Ok(done.duration.as_secs_f64() * f64::from(count))
    }

    /// Sets what is looked up, or sent from: [`SOURCES`] of one family.
    pub fn set_sources(&mut self, sources: &[IpAddr]) -> Result<()> {
        for (at, round) in (0..).zip(sources.chunks_exact(ROUND)) {
            match round[0] {
                IpAddr::V4(_) => {
                    let mut words = [0_u32; ROUND];
                    for (word, source) in words.iter_mut().zip(round) {
                        let IpAddr::V4(source) = source else {
                            bail!("sources of one family")
                        };
                        *word = source.to_bits();
                    }
                    let mut map: Array<_, [u32; ROUND]> = self.map("V4_SOURCES")?;
                    map.set(at, words, 0)?;
                }
                IpAddr::V6(_) => {
                    let mut words = [[0_u8; 16]; ROUND];
                    for (word, source) in words.iter_mut().zip(round) {
                        let IpAddr::V6(source) = source else {
                            bail!("sources of one family")
                        };
                        *word = source.octets();
                    }
                    let mut map: Array<_, [[u8; 16]; ROUND]> = self.map("V6_SOURCES")?;
                    map.set(at, words, 0)?;
                }
            }
        }
        Ok(())
    }

    /// Fills the tries with prefixes and their classes.
    pub fn fill_tries(&mut self, entries: &[(IpNet, u8)]) -> Result<()> {
        let mut four: LpmTrie<_, [u8; 4], u8> = self.map("V4_TRIE")?;
        for (prefix, class) in entries {
            if let IpNet::V4(net) = prefix {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                four.insert(&key, *class, 0)?;
            }
        }
        let mut six: LpmTrie<_, [u8; 16], u8> = self.map("V6_TRIE")?;
        for (prefix, class) in entries {
            if let IpNet::V6(net) = prefix {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                six.insert(&key, *class, 0)?;
            }
        }
        Ok(())
    }

    /// Looks every source up, so many times over.
    pub fn look(&mut self, name: &str, passes: u32) -> Result<Looked> {
        self.begin()?;
        let rounds = u32::try_from(SOURCES / ROUND).expect("a small constant");
        let program = self.classifier(name)?;
        let result = program.test_run(TestRunOptions {
            data_in: Some(&[0; 64]),
            repeat: rounds * passes,
            ..TestRunOptions::default()
        })?;
        let progress: Array<_, [u64; 2]> = self.map("PROGRESS")?;
        let [_, sum] = progress.get(&0, 0)?;
        if sum % u64::from(passes) != 0 {
            bail!("{name} found something else in each pass: the tables changed under it");
        }
        Ok(Looked {
            nanoseconds: nanoseconds(result.duration) / number(ROUND),
            sum: sum / u64::from(passes),
        })
    }

    /// Sends so many frames out at an interface of the namespace this thread is in; 0 only makes them.
    /// Gives seconds.
    pub fn send(&mut self, name: &str, frame: &Frame, interface: u32, count: u32) -> Result<f64> {
        self.begin()?;
        let mut map: Array<_, [u8; FRAME]> = self.map("FRAME")?;
        map.set(0, frame.template(interface), 0)?;
        let program = self.xdp(name)?;
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(&frame.bytes),
                repeat: count,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("the kernel does not send live frames")?;
        // The kernel's own time: without making and freeing the buffers.
        Ok(result.duration.as_secs_f64() * f64::from(count))
    }

    /// Counts and drops what an interface of this thread's namespace receives, in the driver or behind
    /// it, until the end of `work`.
    pub fn counting<T>(
        &mut self,
        device: &str,
        early: bool,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        if early {
            let link = self.xdp("sink")?.attach(device, XdpMode::Driver)?;
            let result = work(self);
            self.xdp("sink")?.detach(link)?;
            result
        } else {
            let link = self
                .classifier("sink_skb")?
                .attach(device, TcAttachType::Ingress)?;
            let result = work(self);
            self.classifier("sink_skb")?.detach(link)?;
            result
        }
    }

    /// Lets through what an interface of this thread's namespace receives, in the driver, as long as the
    /// object is loaded.
    pub fn let_through(&mut self, device: &str) -> Result<()> {
        self.xdp("pass")?.attach(device, XdpMode::Driver)?;
        Ok(())
    }

    /// Counts frames of TCP that an interface of this thread's namespace receives, and drops all, in the driver,
    /// as long as the object is loaded.
    pub fn swallow(&mut self, device: &str) -> Result<()> {
        self.xdp("tcp_sink")?.attach(device, XdpMode::Driver)?;
        Ok(())
    }

    /// Frames that were counted.
    pub fn received(&self) -> Result<u64> {
        let map = self.0.map("RECEIVED").context("the object has all maps")?;
        let counts: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(counts.get(&0, 0)?.iter().sum())
    }

    fn begin(&mut self) -> Result<()> {
        let mut progress: Array<_, [u64; 2]> = self.map("PROGRESS")?;
        progress.set(0, [0, 0], 0)?;
        Ok(())
    }

    fn map<'a, M>(&'a mut self, name: &str) -> Result<M>
    where
        M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
    {
        let map = self.0.map_mut(name);
        Ok(map.with_context(|| format!("no map {name}"))?.try_into()?)
    }

    fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let Some(Program::SchedClassifier(program)) = self.0.program_mut(name) else {
            return Err(anyhow!("no program {name}"));
        };
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program)
    }

    fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let Some(Program::Xdp(program)) = self.0.program_mut(name) else {
            return Err(anyhow!("no program {name}"));
        };
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program)
    }
}

fn nanoseconds(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a small count"))
}
