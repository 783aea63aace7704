//! The exports that were made: a manifest of each, signed, and chained to the one before.
//!
//! A file in the state directory has one line for each export, and grows at its end only: the manifest in canonical
//! JSON, and its Ed25519 signature by the appliance's [`Key`]. A manifest has the SHA-256 of the content and that of
//! the line before, so the last line says all of them. Whoever keeps a line that was handed out can show later that
//! it is still there; without one, nothing shows that the newest lines were cut off.

mod error;
mod key;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use error::{ExportsError, Forged};
pub use key::{Key, NoKey, PublicKey};

use super::Head;
use super::export::Content;
use crate::store::{Digest, Hashing};

/// What is said of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was written.
    pub content: Content,
    /// What it is of.
    pub head: Head,
    /// SHA-256 of the public key, in DER, that the signature is verified with.
    pub key: Digest,
    /// Its number; the first is 1.
    pub number: u64,
    /// SHA-256 of the line before; of the first, zeros.
    pub previous: Digest,
}

/// A manifest with its signature: a line of the chain, and what is handed out beside the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The manifest.
    pub manifest: Manifest,
    /// The line, without its end.
    pub line: String,
}

/// What the chain of exports shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Every line is as it was written.
    Whole {
        /// So many exports.
        exports: u64,
        /// SHA-256 of the last line.
        head: Digest,
    },
    /// This is the first that is not.
    Broken {
        /// Its number.
        number: u64,
        /// Why not.
        why: Forged,
    },
}

/// The chain of exports in a state directory.
#[derive(Clone, Debug)]
pub struct Exports {
    path: PathBuf,
}

/// Name of the file.
const FILE: &str = "exports.chain";

/// A line is no longer; longer ones were not written here.
const LONGEST_LINE: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
    signature: &'a str,
}

impl Exports {
    /// The chain in this directory, which may have none yet.
    pub fn of(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
        }
    }

    /// Adds an export, which is on the disk afterwards. Blocks while another is added. What a crash left of a line
    /// was never handed out, and is taken away.
    pub fn add(&self, key: &Key, head: Head, content: Content) -> Result<Signed, ExportsError> {
        let failed = ExportsError::file("write", &self.path);
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(&failed)?;
        file.lock().map_err(&failed)?;
        let public = key.public();
        let mut last = Place::default();
        let mut lines = Lines::of(&file);
        let mut last_line = Vec::new();
        while let Some(line) = lines.next().map_err(&failed)? {
            last.follow(line);
            last_line.clear();
            last_line.extend_from_slice(line);
        }
        if last.number > 0 {
            let manifest = open(&last_line, &public);
            let is_last = manifest.is_ok_and(|manifest| manifest.number == last.number);
            if !is_last {
                return Err(ExportsError::Broken {
                    path: self.path.clone(),
                    number: last.number,
                });
            }
        }
        file.set_len(lines.whole).map_err(&failed)?;
        let manifest = Manifest {
            content,
            head,
            key: public.digest(),
            number: last.number + 1,
            previous: last.digest,
        };
        let text = serde_json::to_string(&manifest).expect("it has only what JSON can write");
        let signature = BASE64.encode(key.sign(text.as_bytes()));
        let line = format!("{{\"manifest\":{text},\"signature\":\"{signature}\"}}");
        file.write_all(format!("{line}\n").as_bytes())
            .map_err(&failed)?;
        file.sync_all().map_err(&failed)?;
        key::sync_directory(&self.path).map_err(&failed)?;
        Ok(Signed { manifest, line })
    }

    /// An export that was handed out, by its number, as it stands in the chain.
    pub fn signed(&self, number: u64, key: &PublicKey) -> Result<Option<Signed>, ExportsError> {
        let failed = ExportsError::file("read", &self.path);
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(&failed)?,
        };
        let mut lines = Lines::of(&file);
        if number == 0 {
            return Ok(None);
        }
        for _ in 1..number {
            if lines.next().map_err(&failed)?.is_none() {
                return Ok(None);
            }
        }
        let Some(line) = lines.next().map_err(&failed)? else {
            return Ok(None);
        };
        let manifest = open(line, key).ok().filter(|it| it.number == number);
        let line = String::from_utf8(line.to_vec()).ok();
        match (manifest, line) {
            (Some(manifest), Some(line)) => Ok(Some(Signed { manifest, line })),
            _ => Err(ExportsError::Broken {
                path: self.path.clone(),
                number,
            }),
        }
    }

    /// Follows the chain from its beginning to its end. `kept` is the digest of a line that was handed out once, and
    /// has to be in it.
    pub fn verify(&self, key: &PublicKey, kept: Option<Digest>) -> Result<Verified, ExportsError> {
        let failed = ExportsError::file("read", &self.path);
        let mut last = Place::default();
        let mut is_kept = kept.is_none();
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            opened => Some(opened.map_err(&failed)?),
        };
        let mut lines = file.as_ref().map(Lines::of);
        while let Some(lines) = &mut lines {
            let Some(line) = lines.next().map_err(&failed)? else {
                break;
            };
            let number = last.number + 1;
            let broken = |why| Ok(Verified::Broken { number, why });
            match open(line, key) {
                Err(why) => return broken(why),
                Ok(manifest) if manifest.previous != last.digest || manifest.number != number => {
                    return broken(Forged::Chain);
                }
                Ok(_) => last.follow(line),
            }
            is_kept |= kept == Some(last.digest);
        }
        if !is_kept {
            let number = last.number + 1;
            let why = Forged::Missing;
            return Ok(Verified::Broken { number, why });
        }
        Ok(Verified::Whole {
            exports: last.number,
            head: last.digest,
        })
    }
}

impl Signed {
    /// The digest of the line, which the next one has.
    pub fn digest(&self) -> Digest {
        Digest::of([self.line.as_bytes()])
    }

    /// Verifies a line and the content that was handed out with it.
    pub fn verify(line: &str, content: impl Read, key: &PublicKey) -> Result<Self, Forged> {
        let line = line.trim_end_matches(['\r', '\n']);
        let manifest = open(line.as_bytes(), key)?;
        let mut content = BufReader::new(content);
        let mut hashing = Hashing::default();
        let mut bytes = 0_u64;
        loop {
            let piece = content.fill_buf().map_err(|_| Forged::Unread)?;
            if piece.is_empty() {
                break;
            }
            hashing.add(piece);
            let length = piece.len();
            bytes += length as u64;
            content.consume(length);
        }
        if (bytes, hashing.finish()) != (manifest.content.bytes, manifest.content.sha256) {
            return Err(Forged::Content);
        }
        let line = line.to_owned();
        Ok(Self { manifest, line })
    }
}

/// The manifest of a line, if the key signed it.
fn open(line: &[u8], key: &PublicKey) -> Result<Manifest, Forged> {
    let parsed: Line<'_> = serde_json::from_slice(line).map_err(|_| Forged::Form)?;
    let signature = BASE64.decode(parsed.signature).map_err(|_| Forged::Form)?;
    let text = parsed.manifest.get();
    if !key.verifies(text.as_bytes(), &signature) {
        return Err(Forged::Signature);
    }
    let manifest: Manifest = serde_json::from_str(text).map_err(|_| Forged::Form)?;
    if manifest.key != key.digest() {
        return Err(Forged::Signature);
    }
    Ok(manifest)
}

/// How far the chain was followed.
#[derive(Default)]
struct Place {
    number: u64,
    digest: Digest,
}

impl Place {
    fn follow(&mut self, line: &[u8]) {
        self.number += 1;
        self.digest = Digest::of([line]);
    }
}

/// The whole lines of a file; what comes after the last of them is none.
struct Lines<'a> {
    from: BufReader<&'a File>,
    line: Vec<u8>,
    /// So many bytes are whole lines.
    whole: u64,
}

impl<'a> Lines<'a> {
    fn of(file: &'a File) -> Self {
        Self {
            from: BufReader::new(file),
            line: Vec::new(),
            whole: 0,
        }
    }

    fn next(&mut self) -> std::io::Result<Option<&[u8]>> {
        if self.whole == 0 {
            self.from.seek(SeekFrom::Start(0))?;
        }
        self.line.clear();
        let read = (&mut self.from)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut self.line)?;
        Ok(self
            .line
            .strip_suffix(b"\n")
            .inspect(|_| self.whole += read as u64))
    }
}
