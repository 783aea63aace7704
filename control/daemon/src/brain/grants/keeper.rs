//! Carries the books out: what changed in them, into the kernel and onto the disk, in the order that the
//! module above tells.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;
use weir_abi::Class;
use weir_api::Actor;
use weir_dataplane::{GrantSpec, since_boot};
use weir_link::PrincipalId;

use super::{Books, rules};
use crate::Error;
use crate::brain::{Brain, blocking};
use crate::clock;
use crate::ledger::{Clocks, Entry, Ledger, Moment, Rules, Saved, Watch};
use crate::plane::{KernelPlane, Plane};
use crate::store;

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    file: PathBuf,
    boot_id: String,
    rules: Rules,
    /// What the kernel or the disk was not told of yet.
    addresses: BTreeSet<IpAddr>,
    principals: BTreeSet<PrincipalId>,
    /// Addresses whose connections to the proxy are still to be ended.
    cut: BTreeSet<IpAddr>,
    /// [`Ledger::watch`], as it is on the disk.
    watch: Option<Watch>,
}

/// What is to be done in the kernel.
#[derive(Debug, Default)]
struct Work {
    principals: Vec<(u32, Class)>,
    entries: Vec<(IpAddr, Option<GrantSpec>)>,
}

impl Work {
    /// Does all of it that can be done. Gives the first error.
    fn carry_out(&self, plane: &mut dyn KernelPlane) -> Result<(), Error> {
        let mut done = Ok(());
        for (index, class) in &self.principals {
            done = done.and(plane.set_principal(*index, *class));
        }
        for (address, entry) in &self.entries {
            done = done.and(plane.grant(*address, entry.as_ref()));
        }
        Ok(done?)
    }
}

impl Brain {
    /// Changes the books, and carries out what follows.
    pub(super) async fn step<T: Send>(
        &self,
        change: impl FnOnce(&mut Books, Moment) -> T + Send,
    ) -> Result<T, Error> {
        let mut keeper = self.grants.keeper.lock().await;
        let running = self.running();
        keeper.rules = rules(&running);
        let (result, [closes, opens], saved) = self.grants.books(|books| {
            let at = now();
            books.ledger.set_rules(keeper.rules.clone(), at);
            let result = change(books, at);
            books.ledger.look(at);
            keeper.cut.extend(books.ledger.cut());
            let work = keeper.work(&mut books.ledger, at);
            (result, work, books.ledger.save(keeper.clocks()))
        });
        let local = running.candidate.addresses();
        let carried = keeper
            .carry_out(&self.parts.plane, closes, opens, saved, local)
            .await;
        let trouble = carried.as_ref().err().map(ToString::to_string);
        let before = self
            .grants
            .books(|books| std::mem::replace(&mut books.trouble, trouble));
        if before.is_some() && carried.is_ok() {
            let told = "whatever of grants and revocations could not be carried out or written down \
                before is done now";
            self.note(Actor::Weir, "grant", Ok(told.to_owned()));
        }
        carried.map(|()| result)
    }
}

impl Keeper {
    /// Reads the books. A file that is not there is that of a new machine; one that cannot be read is not
    /// passed over, since it says who was revoked.
    pub(super) fn open(file: PathBuf, rules: Rules) -> Result<(Self, Ledger), Error> {
        let keeper = Self {
            file,
            boot_id: clock::boot_id()?,
            rules: rules.clone(),
            addresses: BTreeSet::new(),
            principals: BTreeSet::new(),
            cut: BTreeSet::new(),
            watch: None,
        };
        let ledger = match fs::read(&keeper.file) {
            Ok(bytes) => {
                let saved = read(&bytes, rules.room).map_err(|why| broken(&keeper.file, &why))?;
                Ledger::open(rules, saved, &keeper.clocks())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ledger::new(rules, now()),
            Err(error) => return Err(Error::file("read", &keeper.file)(error)),
        };
        Ok((keeper, ledger))
    }

    /// Brings the kernel to what the books say, whatever an earlier process left in it.
    pub(super) async fn begin(&mut self, plane: &Plane, ledger: &mut Ledger) -> Result<(), Error> {
        let left = plane.run(|plane| plane.granted()).await?;
        self.addresses.extend(left);
        self.addresses.extend(ledger.held());
        let [closes, opens] = self.work(ledger, now());
        let saved = ledger.save(self.clocks());
        self.carry_out(plane, closes, opens, saved, Vec::new())
            .await
    }

    /// Whether something is left of a step that failed, the rules are others now, or something was over
    /// while the machine slept.
    pub(super) fn is_behind(&self, rules: &Rules, ledger: &Ledger) -> bool {
        let left =
            !(self.addresses.is_empty() && self.principals.is_empty() && self.cut.is_empty());
        left || *rules != self.rules
            || self.watch.as_ref() != Some(ledger.watch())
            || ledger.next().is_some_and(|next| next <= now())
    }

    /// What closes ways, and what opens them.
    fn work(&mut self, ledger: &mut Ledger, now: Moment) -> [Work; 2] {
        let (addresses, principals) = ledger.touched();
        self.addresses.extend(addresses);
        self.principals.extend(principals);
        let (mut closes, mut opens) = (Work::default(), Work::default());
        for who in &self.principals {
            // Of one that is forgotten nothing is left that its word could open.
            let Some((index, class)) = ledger.reach(*who) else {
                continue;
            };
            let work = match class {
                Class::Managed => &mut opens,
                _ => &mut closes,
            };
            work.principals.push((index, class));
        }
        for address in &self.addresses {
            let entry = ledger.entry(*address);
            let work = match &entry {
                // Flows of the past go on only where they were forwarded before.
                Some(entry) if entry.expires > now => &mut opens,
                _ => &mut closes,
            };
            work.entries.push((*address, entry.map(spec)));
        }
        [closes, opens]
    }

    async fn carry_out(
        &mut self,
        plane: &Plane,
        closes: Work,
        opens: Work,
        saved: Saved,
        local: Vec<SocketAddr>,
    ) -> Result<(), Error> {
        let nothing = self.addresses.is_empty() && self.principals.is_empty();
        let watch = Some(saved.watch().clone());
        if nothing && self.cut.is_empty() && watch == self.watch {
            return Ok(());
        }
        // Whatever cannot be closed: who was revoked is written down.
        let shut = self.close(plane, closes, local).await;
        let file = self.file.clone();
        blocking(move || {
            let text = serde_json::to_vec(&saved).expect("plain data with strings for keys");
            store::replace(&file, &text).map_err(Error::file("write", &file))
        })
        .await?;
        self.watch = watch;
        shut?;
        plane.run(move |plane| opens.carry_out(plane)).await??;
        self.addresses.clear();
        self.principals.clear();
        Ok(())
    }

    async fn close(
        &mut self,
        plane: &Plane,
        closes: Work,
        local: Vec<SocketAddr>,
    ) -> Result<(), Error> {
        let cut = self.cut.clone();
        let closing = plane.run(move |plane| {
            let done = closes.carry_out(plane);
            let ended = if cut.is_empty() {
                Ok(0)
            } else {
                plane.cut(&local, &|source: IpAddr| cut.contains(&source))
            };
            done?;
            ended.map_err(Error::from)
        });
        let ended = closing.await??;
        if ended > 0 {
            tracing::info!(ended, "connections of sources that lost a grant were cut");
        }
        self.cut.clear();
        Ok(())
    }

    fn clocks(&self) -> Clocks {
        let wall = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        Clocks {
            boot_id: self.boot_id.clone(),
            since_boot: now(),
            wall: i64::try_from(wall).expect("some million years"),
        }
    }
}

fn read(bytes: &[u8], room: usize) -> Result<Saved, String> {
    let saved: Saved = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    saved.check(room)?;
    Ok(saved)
}

fn broken(file: &Path, why: &str) -> Error {
    let source = io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{why}; it says who was revoked, so it is not passed over: put a copy back, or remove it and \
             revoke them anew (`weir events --kind change` tells whom)"
        ),
    );
    Error::file("use", file)(source)
}

fn spec(entry: Entry) -> GrantSpec {
    let time = |moment: Moment| Duration::from_millis(moment.try_into().unwrap_or(0));
    GrantSpec {
        principal: entry.principal,
        class: entry.class,
        held: entry.held,
        expires: time(entry.expires),
        rests: time(entry.rests),
        cut: entry.cut,
    }
}

/// The moment of now.
pub(super) fn now() -> Moment {
    Moment::try_from(since_boot().as_millis()).expect("some million years")
}

/// Time until a moment; a little more than nothing for one that has passed.
pub(super) fn until(moment: Moment) -> Duration {
    let left = u64::try_from(moment - now()).unwrap_or(0);
    Duration::from_millis(left + 1)
}

/// A moment, as it stands in the audit log.
pub(super) fn text(moment: Moment) -> String {
    clock::text(OffsetDateTime::now_utc() + time::Duration::milliseconds(moment - now()))
}
