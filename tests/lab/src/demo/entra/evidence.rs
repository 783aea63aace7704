//! What an auditor gets: who had access when, who left, signed; and what is known of one person.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use time::format_description::well_known::Rfc3339;
use weir_lab_servers::people::id_of;

use super::{ALICE, ENGINEERS, Show};
use crate::demo::life::Lived;

impl Show<'_> {
    /// Exports in both forms; as of before a change and after it; and a person.
    pub(super) async fn evidence(&mut self) -> Result<()> {
        let directory = self.lab.options.out.join("evidence");
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        fs::create_dir_all(&directory)?;
        let mut lived = self.begin("entra/evidence/access", "weir review access, as of now");
        for format in ["csv", "json"] {
            let file = directory.join(format!("access.{format}"));
            let text = self
                .export(&["access", "--format", format], &file, &mut lived)
                .await?;
            let known = [ALICE, ENGINEERS].iter().all(|name| is_about(&text, name));
            lived.state(
                known,
                format!(
                    "{format}: {} bytes, Alice and the engineers among it",
                    text.len()
                ),
                format!("{format}: Alice or the engineers are missing"),
            );
        }
        self.forged(&directory.join("access.csv"), &mut lived)
            .await?;
        self.end(lived);
        if let [before, after] = self.history[..] {
            let mut lived = self.begin(
                "entra/evidence/as-of",
                "the same as of before and after Alice left the engineers",
            );
            let group = id_of(ENGINEERS).to_string();
            for (moment, word, expected) in [(before, "before", true), (after, "after", false)] {
                let file = directory.join(format!("access-{word}.csv"));
                let moment = moment.format(&Rfc3339)?;
                let words = ["access", "--format", "csv", "--as-of", &moment];
                let text = self.export(&words, &file, &mut lived).await?;
                let member = text
                    .lines()
                    .any(|line| is_about(line, ALICE) && line.contains(&group));
                lived.state(
                    member == expected,
                    format!(
                        "{word}: {}",
                        if member { "an engineer" } else { "no engineer" }
                    ),
                    format!("{word}: an engineer: {member}"),
                );
            }
            let file = directory.join("leavers.csv");
            let (from, to) = (before.format(&Rfc3339)?, after.format(&Rfc3339)?);
            let words = ["leavers", "--format", "csv", "--from", &from, "--to", &to];
            let text = self.export(&words, &file, &mut lived).await?;
            lived.state(
                text.lines()
                    .any(|line| is_about(line, ALICE) && line.contains(&group)),
                "weir review leavers: Alice, the engineers".to_owned(),
                format!("weir review leavers says: {text}"),
            );
            let file = directory.join("joiners.csv");
            let words = ["joiners", "--format", "csv", "--from", &to];
            let text = self.export(&words, &file, &mut lived).await?;
            lived.state(
                text.lines()
                    .any(|line| is_about(line, ALICE) && line.contains(&group)),
                "weir review joiners, since then: Alice, the engineers".to_owned(),
                format!("weir review joiners says: {text}"),
            );
            self.end(lived);
        }
        let mut lived = self.begin("entra/evidence/user", "weir explain user");
        let told = self.weir(&["explain", "user", ALICE]).await?;
        let renamed = "alice.arden@mex.corp.example";
        let told = if told.ok {
            told
        } else {
            self.weir(&["explain", "user", renamed]).await?
        };
        lived.state(
            told.ok && told.says(&[&id_of(ALICE).to_string(), ENGINEERS, "sg-lab-all"]),
            "by her name in the tenant: who she is, the engineers, sg-lab-all".to_owned(),
            format!("weir explain user says: {}", told.line()),
        );
        self.end(lived);
        Ok(())
    }

    /// Makes an export, and has it verified; what it holds.
    async fn export(&self, words: &[&str], file: &Path, lived: &mut Lived) -> Result<String> {
        let path = file.to_str().context("the lab's directory is not UTF-8")?;
        let line = [&["review"], words, &["--output", path]].concat();
        let told = self.weir(&line).await?;
        lived.state(
            told.ok,
            format!("weir review {}", words.join(" ")),
            format!("weir review {} says: {}", words.join(" "), told.line()),
        );
        let verified = self.verify(file).await?;
        lived.state(
            verified,
            "verified".to_owned(),
            format!("{path} is not verified"),
        );
        fs::read_to_string(file).with_context(|| format!("cannot read {path}"))
    }

    async fn verify(&self, file: &Path) -> Result<bool> {
        let [file, signature] =
            [file.to_owned(), signature(file)].map(|path| path.to_string_lossy().into_owned());
        Ok(self
            .weir(&["review", "verify", &file, &signature])
            .await?
            .ok)
    }

    /// One byte of an export is changed.
    async fn forged(&self, file: &Path, lived: &mut Lived) -> Result<()> {
        let mut bytes = fs::read(file)?;
        let last = bytes.len() / 2;
        bytes[last] ^= 1;
        let forged = file.with_extension("forged");
        fs::write(&forged, bytes)?;
        fs::copy(signature(file), signature(&forged))?;
        let verified = self.verify(&forged).await?;
        lived.state(
            !verified,
            "with one byte changed it is refused".to_owned(),
            "a changed export is verified".to_owned(),
        );
        Ok(())
    }
}

fn signature(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// Whether a text names somebody or something, by its name or its id.
fn is_about(text: &str, name: &str) -> bool {
    text.contains(name) || text.contains(&id_of(name).to_string())
}
