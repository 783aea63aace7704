//! How far the units let their daemons go, as systemd itself rates it: from 0, nothing, to 10, everything.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// Each daemon's unit, and the exposure, in tenths, above which it is not shipped. What is left for weir-proxy is the
/// network, whose sockets it lives by; weir-control is root with six capabilities.
const MOST: [(&str, u32); 2] = [("weir-proxy.service", 12), ("weir-control.service", 28)];

/// Refuses units that let their daemons do more than that. Without systemd-analyze nothing is looked at.
pub fn look(folder: &Path) -> Result<()> {
    for (unit, most) in MOST {
        // The threshold is in tenths, and exceeded by what is greater.
        let rated = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={most}"))
            .arg(folder.join(unit))
            .output();
        let Ok(rated) = rated else {
            eprintln!("    there is no systemd-analyze: the units are not looked at");
            return Ok(());
        };
        let told = String::from_utf8_lossy(&rated.stdout);
        let verdict = told.lines().last().unwrap_or_default();
        eprintln!("    {}", verdict.trim_start_matches(['→', ' ']));
        if !rated.status.success() {
            bail!("{unit} is above {}.{}: {verdict}", most / 10, most % 10);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn the_daemons_may_do_little() {
        look(&paths::root().join("images/systemd")).expect("no more than is stated");
    }

    #[test]
    fn a_unit_that_may_do_everything_is_refused() {
        if Command::new("systemd-analyze")
            .arg("--version")
            .output()
            .is_err()
        {
            eprintln!("skipped: a_unit_that_may_do_everything_is_refused: no systemd-analyze");
            return;
        }
        let folder = std::env::temp_dir().join(format!("weir-units-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("it can be made");
        for (unit, _) in MOST {
            let text = "[Service]\nExecStart=/bin/true\n";
            std::fs::write(folder.join(unit), text).expect("it can be written");
        }
        let refused = look(&folder);
        std::fs::remove_dir_all(&folder).expect("it is ours");
        assert!(
            refused
                .expect_err("it is refused")
                .to_string()
                .contains("weir-proxy.service")
        );
    }
}
