//! What the machine itself must offer: it cannot be installed.

use anyhow::{Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::sys::utsname::uname;
use nix::unistd::geteuid;

/// Oldest kernel that Weir supports: bounded loops over service ports, tcx links and the
/// socket helpers it uses are all older, but this is what it is tested on.
const KERNEL: (u32, u32) = (6, 12);

/// Refuses, in one sentence, a machine that cannot run the lab.
pub fn require_for_lab() -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "this needs root, because it makes network namespaces and loads kernel programs: \
             run it as root (`cargo build` and `cargo test` work without)"
        );
    }
    let release = uname()?.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(found) if found >= KERNEL => {}
        _ => bail!(
            "this needs Linux {}.{} or newer, and this machine runs {release}: boot a newer \
             kernel (Debian 12: linux-image-amd64 from bookworm-backports)",
            KERNEL.0,
            KERNEL.1
        ),
    }
    // A thread of its own: unshare changes the namespace of the thread that calls it.
    let namespaces =
        std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS));
    if let Err(error) = namespaces.join().expect("unshare does not panic") {
        bail!(
            "this needs network namespaces, and this machine refuses to make one ({error}): \
             run it outside a container, or in one with CAP_SYS_ADMIN and CAP_NET_ADMIN"
        );
    }
    Ok(())
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(version("6.12.107+deb13-cloud-amd64"), Some((6, 12)));
        assert_eq!(version("7.0-rc1"), Some((7, 0)));
        assert_eq!(version("linux"), None);
    }
}
