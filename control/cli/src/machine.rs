//! What a machine is, and what is still to be configured before Weir works on it.
//!
//! In: [`Facts`], as [`look`] finds them on this machine, with or without a weir-control that answers. Out: the rows
//! that `weir status --machine` and the console show, and the next steps, each with its command. It is shown to
//! whoever stands before the console, before any login: nothing of the configuration's contents stands in it.

mod look;

use serde::Serialize;
use weir_api::{ProxyState, Status};

pub use look::look;

/// Where the administrator's configuration lies, as everything that is started by a service manager takes it.
pub const CONFIGURATION: &str = "/etc/weir/weir.toml";
/// Who may manage the machine, for its firewall.
pub const MANAGEMENT: &str = "/etc/weir/management.nft";

/// What is known of a machine. What cannot be found out is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Version of this program.
    pub version: String,
    /// Its host name.
    pub name: Option<String>,
    /// Its distribution, as that calls itself.
    pub system: Option<String>,
    /// Release of its kernel.
    pub kernel: Option<String>,
    /// Its interfaces that have addresses, but for loopback.
    pub interfaces: Vec<Interface>,
    /// The configuration file.
    pub configuration: Configuration,
    /// Whether cloud-init found a configuration of the first boot; nothing without cloud-init.
    pub first_boot: Option<bool>,
    /// The machine's firewall, where it is installed.
    pub firewall: Option<Firewall>,
    /// What the service manager says of weir-control, such as `active` and `failed`.
    pub control: Option<String>,
    /// What weir-control says; nothing when it cannot be asked.
    pub answer: Option<Answer>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses with the lengths of their prefixes.
    pub addresses: Vec<String>,
}

/// The state of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Configuration {
    /// This user may not read it.
    #[default]
    Unknown,
    /// There is none.
    Missing,
    /// It can be used.
    Valid,
    /// It cannot be used.
    Invalid {
        /// Errors in it.
        errors: usize,
        /// Line of the first; 0 when the whole file is meant.
        line: usize,
    },
}

/// The machine's firewall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Firewall {
    /// What the service manager says of it.
    pub state: Option<String>,
    /// The same of who may manage the machine.
    pub management: Option<String>,
    /// Whether anybody is named who may; nothing when this user may not read it.
    pub managers: Option<bool>,
}

/// What weir-control says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The configuration file that it works with.
    pub configuration: String,
    /// The generation in force.
    pub generation: u64,
    /// Whether weir-proxy is alive.
    pub proxy: bool,
    /// How much there is to look at.
    pub warnings: usize,
}

impl From<&Status> for Answer {
    fn from(status: &Status) -> Self {
        Self {
            configuration: status.config.path.clone(),
            generation: status.generation,
            proxy: status.proxy.state == ProxyState::Alive,
            warnings: status.warnings.len(),
        }
    }
}

impl Facts {
    /// What the machine is, on one line.
    pub fn identity(&self) -> String {
        let mut words: Vec<String> = self.name.iter().chain(&self.system).cloned().collect();
        words.extend(self.kernel.as_ref().map(|kernel| format!("Linux {kernel}")));
        words.join(", ")
    }

    /// How Weir is doing, on one line.
    pub fn state(&self) -> String {
        let Some(answer) = &self.answer else {
            return match self.control.as_deref() {
                Some("active") => "weir-control runs, but cannot be asked".to_owned(),
                Some("activating") => "weir-control is being started".to_owned(),
                Some("failed") => "weir-control has failed".to_owned(),
                _ => "weir-control does not run".to_owned(),
            };
        };
        let proxy = if answer.proxy {
            "weir-proxy alive"
        } else {
            "weir-proxy does not work"
        };
        let look = match answer.warnings {
            0 => "nothing to look at".to_owned(),
            1 => "1 warning: `weir status`".to_owned(),
            number => format!("{number} warnings: `weir status`"),
        };
        format!("generation {}, {proxy}, {look}", answer.generation)
    }

    /// What is still to be done, the most urgent first; each sentence ends with its command.
    pub fn next_steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if self.first_boot == Some(false) && self.answer.is_none() {
            steps.push(
                "no configuration of a first boot was found, so nobody may be able to log in: attach a disk of \
                 cloud-init (NoCloud, with the label CIDATA), and boot anew"
                    .to_owned(),
            );
        }
        if self.answer.is_none() {
            steps.extend(self.to_start());
        }
        steps.extend(self.firewall.as_ref().and_then(Firewall::next_step));
        steps
    }

    /// What keeps weir-control from answering.
    fn to_start(&self) -> Option<String> {
        let tried = matches!(self.control.as_deref(), Some("activating" | "failed"));
        match self.configuration {
            Configuration::Missing => Some(format!(
                "there is no configuration: `weir init {CONFIGURATION}` writes a first one; then `weir check`, and \
                 `systemctl start weir-control weir-proxy`"
            )),
            Configuration::Invalid { errors, line } => {
                let errors = match errors {
                    1 => "an error".to_owned(),
                    number => format!("{number} errors"),
                };
                let line = match line {
                    0 => String::new(),
                    line => format!(", the first in line {line}"),
                };
                Some(format!(
                    "the configuration has {errors}{line}: `weir check {CONFIGURATION}`"
                ))
            }
            _ if self.control.as_deref() == Some("active") => None,
            _ if tried => Some(
                "weir-control does not start, and its log says why: `journalctl -u weir-control`"
                    .to_owned(),
            ),
            Configuration::Valid => Some(
                "the configuration can be used: `systemctl start weir-control weir-proxy`"
                    .to_owned(),
            ),
            Configuration::Unknown => None,
        }
    }
}

impl Firewall {
    fn next_step(&self) -> Option<String> {
        let is = |state: &Option<String>, words: &[&str]| {
            let state = state.as_deref();
            state.is_some_and(|state| words.contains(&state))
        };
        if is(&self.state, &["inactive"]) {
            return Some(format!(
                "the machine's firewall is off, and so is forwarding: name who may manage this machine in \
                 {MANAGEMENT}, then `systemctl enable --now weir-firewall`"
            ));
        }
        if is(&self.state, &["failed"]) {
            return Some(
                "the machine's firewall could not be raised, and forwarding is off: `journalctl -u weir-firewall`"
                    .to_owned(),
            );
        }
        if is(&self.management, &["failed"]) {
            return Some(format!(
                "nobody may manage this machine from outside, since {MANAGEMENT} cannot be used: `nft -c -f \
                 {MANAGEMENT}`"
            ));
        }
        (self.managers == Some(false)).then(|| {
            format!(
                "nobody may manage this machine from outside (SSH, metrics): name who may in {MANAGEMENT}, then \
                 `systemctl reload weir-firewall`"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Facts {
        Facts {
            configuration: Configuration::Missing,
            control: Some("inactive".to_owned()),
            firewall: Some(Firewall {
                state: Some("active".to_owned()),
                management: Some("active".to_owned()),
                managers: Some(true),
            }),
            ..Facts::default()
        }
    }

    /// Its only next step.
    fn step(facts: &Facts) -> String {
        let mut steps = facts.next_steps();
        assert_eq!(steps.len(), 1, "{steps:?}");
        steps.remove(0)
    }

    #[test]
    fn the_way_from_a_fresh_machine_to_one_that_works_is_told_step_by_step() {
        let mut facts = fresh();
        assert!(step(&facts).contains("`weir init /etc/weir/weir.toml`"));
        facts.configuration = Configuration::Invalid { errors: 2, line: 7 };
        assert!(step(&facts).contains("2 errors, the first in line 7: `weir check"));
        facts.configuration = Configuration::Valid;
        assert!(step(&facts).contains("`systemctl start weir-control weir-proxy`"));
        facts.control = Some("activating".to_owned());
        assert!(step(&facts).contains("`journalctl -u weir-control`"));
        facts.control = Some("active".to_owned());
        facts.answer = Some(Answer::default());
        assert_eq!(facts.next_steps(), [""; 0]);
    }

    #[test]
    fn a_machine_that_nobody_configured_says_how_that_is_done() {
        let mut facts = fresh();
        facts.first_boot = Some(false);
        assert!(facts.next_steps()[0].contains("CIDATA"));
        facts.first_boot = Some(true);
        assert!(step(&facts).contains("weir init"));
    }

    #[test]
    fn a_machine_that_cannot_be_managed_says_so() {
        let mut facts = fresh();
        facts.answer = Some(Answer::default());
        let mut firewall = facts.firewall.take().expect("it was set");
        let mut told = |change: fn(&mut Firewall)| {
            change(&mut firewall);
            facts.firewall = Some(firewall.clone());
            step(&facts)
        };
        let told_nobody = told(|firewall| firewall.managers = Some(false));
        assert!(told_nobody.contains("`systemctl reload weir-firewall`"));
        let unusable = told(|firewall| firewall.management = Some("failed".to_owned()));
        assert!(unusable.contains("`nft -c -f /etc/weir/management.nft`"));
        let off = told(|firewall| firewall.state = Some("inactive".to_owned()));
        assert!(off.contains("`systemctl enable --now weir-firewall`"));
        let broken = told(|firewall| firewall.state = Some("failed".to_owned()));
        assert!(broken.contains("`journalctl -u weir-firewall`"));
        assert!(
            fresh()
                .firewall
                .and_then(|firewall| firewall.next_step())
                .is_none()
        );
    }

    #[test]
    fn how_weir_is_doing_fits_a_line() {
        let mut facts = fresh();
        assert_eq!(facts.state(), "weir-control does not run");
        facts.answer = Some(Answer {
            configuration: CONFIGURATION.to_owned(),
            generation: 3,
            proxy: true,
            warnings: 2,
        });
        assert_eq!(
            facts.state(),
            "generation 3, weir-proxy alive, 2 warnings: `weir status`"
        );
    }
}
