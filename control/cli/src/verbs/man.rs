//! `weir man`: manual pages, made from the same descriptions as `--help`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use crate::failed::Failed;
use crate::render::Out;

/// Prints a manual page, or writes those of all verbs into a directory.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir man | man -l -\n  weir man lists add | man -l -\n  weir man --out /usr/local/share/man/man1"
)]
pub struct Man {
    /// The verb, such as `lists add`; none for the page of `weir` itself.
    #[arg(conflicts_with = "out")]
    verb: Vec<String>,
    /// Write the pages of all verbs into this directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub fn run(self, out: &mut Out) -> Result<(), Failed> {
        let pages = pages();
        let Some(directory) = &self.out else {
            let name = [&["weir".to_owned()], self.verb.as_slice()]
                .concat()
                .join("-");
            let Some((_, page)) = pages.iter().find(|(known, _)| *known == name) else {
                let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Failed::usage(
                    format!("there is no manual page {name}(1)"),
                    format!("pages: {}", names.join(", ")),
                ));
            };
            return Ok(out.write_all(page)?);
        };
        for (name, page) in pages {
            let file = directory.join(format!("{name}.1"));
            write(directory, &file, &page)?;
            writeln!(out, "{}", file.display())?;
        }
        Ok(())
    }
}

fn write(directory: &Path, file: &Path, page: &[u8]) -> Result<(), Failed> {
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(file, page))
        .map_err(|error| {
            Failed::refused(
                format!("cannot write {}: {error}", file.display()),
                "name a directory that you may write into",
            )
        })
}

/// The pages by name, `weir` first.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut command = crate::Arguments::command();
    command.build();
    let mut pages = Vec::new();
    collect(&command, "weir", &mut pages);
    pages
}

fn collect(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    pages.push((name.to_owned(), page(command, name)));
    for verb in command.get_subcommands() {
        if verb.get_name() != "help" {
            collect(verb, &format!("{name}-{}", verb.get_name()), pages);
        }
    }
}

fn page(command: &Command, name: &str) -> Vec<u8> {
    // The examples have a section of their own here.
    let examples = command.get_after_help().map(ToString::to_string);
    let page = Page::new(command.clone().after_help(""))
        .title(name.to_uppercase())
        .section("1")
        .manual("Weir");
    let mut text = Vec::new();
    let rendered = page
        .render_title(&mut text)
        .and_then(|()| page.render_name_section(&mut text))
        .and_then(|()| page.render_synopsis_section(&mut text))
        .and_then(|()| page.render_description_section(&mut text))
        .and_then(|()| page.render_options_section(&mut text))
        .and_then(|()| {
            if command.has_subcommands() {
                page.render_subcommands_section(&mut text)
            } else {
                Ok(())
            }
        })
        .and_then(|()| more(name, examples.as_deref()).to_writer(&mut text));
    rendered.expect("a Vec takes everything");
    text
}

/// What `--help` has no room for.
fn more(name: &str, examples: Option<&str>) -> Roff {
    let mut roff = Roff::new();
    if let Some(examples) = examples {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for line in examples.lines().filter(|line| line.starts_with("  ")) {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    let statuses: &[(&str, &str)] = if name == "weir-status" {
        &[
            (
                "0",
                "Healthy: there is nothing that a person should look at.",
            ),
            ("1", "Needs attention: what is shown first says why."),
            (
                "2",
                "Cannot be asked: weir-control cannot be reached, or the usage is wrong.",
            ),
        ]
    } else {
        &[
            ("0", "Done."),
            ("1", "Refused or invalid; what was in force stays in force."),
            ("2", "Wrong usage."),
            ("3", "weir-control cannot be reached."),
        ]
    };
    terms(&mut roff, "EXIT STATUS", statuses);
    terms(
        &mut roff,
        "ENVIRONMENT",
        &[
            (
                "WEIR_SOCKET",
                "Socket of weir-control, where --socket does not name it.",
            ),
            ("NO_COLOR", "When it is not empty, no colours are used."),
        ],
    );
    terms(
        &mut roff,
        "FILES",
        &[
            ("/etc/weir/weir.toml", "The configuration."),
            (
                "/run/weir/control.sock",
                "Answers questions and makes changes: root and `control_group`.",
            ),
            (
                "/run/weir/read.sock",
                "Answers questions only: root and `read_group`. Used when control.sock is not open to the caller.",
            ),
            (
                "/var/lib/weir/audit.jsonl",
                "The audit log; audit.jsonl.1 and so on are older.",
            ),
        ],
    );
    roff.control("SH", ["SEE ALSO"]);
    let other = if name == "weir" {
        "weir-status"
    } else {
        "weir"
    };
    roff.text([bold(other), roman("(1)")]);
    roff
}

fn terms(roff: &mut Roff, title: &str, terms: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, text) in terms {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*text)]);
    }
}
