//! What `weir` says.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::Lab;

/// What a run of `weir` came to.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Its exit status was zero.
    pub ok: bool,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub complaint: String,
}

impl Told {
    /// Runs it.
    pub async fn by(lab: &Lab, words: &[&str]) -> Result<Self> {
        let output = lab.weir(words).output().await;
        let output = output.context("cannot run weir")?;
        Ok(Self {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            complaint: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// As JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out)
            .with_context(|| format!("weir prints no JSON: {}{}", self.out, self.complaint))
    }

    /// All of it.
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.complaint)
    }

    /// Whether it says all of these, whatever their case.
    pub fn says(&self, words: &[&str]) -> bool {
        let text = self.text().to_lowercase();
        words.iter().all(|word| text.contains(&word.to_lowercase()))
    }

    /// In one line.
    pub fn line(&self) -> String {
        self.text().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The first address in it that begins so.
    pub fn address(&self, start: &str) -> Option<String> {
        let mut words = self.out.split_whitespace();
        let found = words.find_map(|word| Some(&word[word.find(start)?..]))?;
        Some(
            found
                .trim_end_matches(['.', ',', '"', '\'', ')', '>'])
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_among_words() {
        let told = Told {
            out: "Open this:\n  <https://login.example/a?b=c>\nthen".to_owned(),
            ..Told::default()
        };
        let found = told.address("https://login.example/");
        assert_eq!(found.as_deref(), Some("https://login.example/a?b=c"));
        assert_eq!(told.address("https://graph.example/"), None);
        assert!(told.says(&["open THIS", "then"]));
    }
}
