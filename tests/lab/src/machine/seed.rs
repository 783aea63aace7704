//! What the machine is told at its first boot: a small disk that cloud-init knows by its label (NoCloud).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_lab_servers::plan::Plan;

use super::{tool, wires};
use crate::exec::clean;
use crate::lab::Lab;
use crate::settings::{self, Places, STRICT, Settings, Setup};
use crate::topology::{INET_WAN, INSIDE, MANAGED, MANAGER, OUTSIDE, WEIR_INSIDE, WEIR_OUTSIDE};

/// What the machine says when it has done everything that it was told.
pub const DONE: &str = "weir-lab: this boot is done";
/// Where the machine keeps Weir's configuration.
const ETC: &str = "/etc/weir";
/// Whom it lets in. Debian has a group called `operator`, so nobody can be.
pub const USER: &str = "keeper";

/// Writes the disk below `directory`, with everything that the lab's Weir is configured with.
pub fn write(lab: &Lab, directory: &Path, key: &str) -> Result<PathBuf> {
    let folder = directory.join("seed");
    // What an earlier lab wrote there has other keys.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let files = configuration(lab, &folder)?;
    let user = json!({
        "users": [{
            "name": USER,
            "groups": ["weir", "systemd-journal"],
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": [key.trim()],
        }],
        "write_files": files,
        "runcmd": [["systemctl", "reload-or-restart", "--no-block", "weir-console.service"]],
        "final_message": format!("{DONE}, after $UPTIME s"),
    });
    let documents = [
        (
            "meta-data",
            json!({ "instance-id": "weir-lab", "local-hostname": "weir-lab" }).to_string(),
        ),
        ("user-data", format!("#cloud-config\n{user}\n")),
        ("network-config", network().to_string()),
    ];
    let disk = directory.join("seed.img");
    match fs::remove_file(&disk) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    tool(
        clean("mkfs.vfat")
            .args(["-n", "CIDATA", "-C"])
            .arg(&disk)
            .arg("8192"),
    )?;
    for (name, text) in documents {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        tool(clean("mcopy").arg("-i").arg(&disk).arg(&file).arg("::"))?;
    }
    Ok(disk)
}

/// Weir's configuration and the files that it names, as cloud-init takes them.
fn configuration(lab: &Lab, folder: &Path) -> Result<Vec<Value>> {
    let there = Plan::new(ETC);
    let setup = Setup {
        plan: &there,
        places: Places::installed(),
        switched_off: &[],
        hook: None,
    };
    settings::write(folder, &setup, Settings::of(STRICT))?;
    settings::write_lists(folder, &there)?;
    let mut files = Vec::new();
    let mut add = |place: PathBuf, from: &Path| -> Result<()> {
        let text =
            fs::read_to_string(from).with_context(|| format!("cannot read {}", from.display()))?;
        files.push(json!({ "path": place, "permissions": "0600", "content": text }));
        Ok(())
    };
    add(Path::new(ETC).join("weir.toml"), &folder.join("weir.toml"))?;
    for list in fs::read_dir(folder.join("lists"))? {
        let list = list?;
        add(
            Path::new(ETC).join("lists").join(list.file_name()),
            &list.path(),
        )?;
    }
    let (here, there) = (lab.plan.files(), there.files());
    add(there.ca(), &here.ca())?;
    for service in &lab.plan.services {
        add(there.chain(&service.name), &here.chain(&service.name))?;
        add(there.key(&service.name), &here.key(&service.name))?;
    }
    // The control socket is carried over SSH, which the image does not let anybody do; of several files the first counts.
    files.push(json!({
        "path": "/etc/ssh/sshd_config.d/05-lab.conf", "content": "AllowTcpForwarding local\n",
    }));
    let managers = format!("add element inet weir management4 {{ {MANAGER} }}\n");
    files.push(json!({
        "path": Path::new(ETC).join("management.nft"), "permissions": "0640", "content": managers,
    }));
    Ok(files)
}

fn network() -> Value {
    let wires: serde_json::Map<String, Value> = wires::ALL
        .iter()
        .map(|wire| {
            let own = match wire.name {
                OUTSIDE => addresses(WEIR_OUTSIDE, [30, 64]),
                INSIDE => addresses(WEIR_INSIDE, [24, 64]),
                _ => json!([format!("{MANAGED}/24")]),
            };
            let mut card = json!({
                "match": { "macaddress": wire.mac }, "set-name": wire.name, "addresses": own,
            });
            if wire.name == OUTSIDE {
                card["routes"] = json!([
                    { "to": "0.0.0.0/0", "via": INET_WAN[0] }, { "to": "::/0", "via": INET_WAN[1] },
                ]);
            }
            (wire.name.to_owned(), card)
        })
        .collect();
    json!({ "version": 2, "ethernets": wires })
}

fn addresses(own: [&str; 2], lengths: [u8; 2]) -> Value {
    json!([
        format!("{}/{}", own[0], lengths[0]),
        format!("{}/{}", own[1], lengths[1]),
    ])
}
