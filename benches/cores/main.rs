//! Measures the pure cores with criterion, and says what came out as the other benches do: `cargo xtask bench cores`.
//!
//! In: the criterion benches of this crate, run by cargo, and what criterion writes down of them. Out: their own
//! output, then JSON with a row for each case, in nanoseconds. It needs no root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde_json::{Value, json};
use weir_benches::report::{Report, Spread};

#[derive(Parser)]
#[command(name = "weir-bench-cores", about = "Benches of the pure cores")]
struct Arguments {
    /// Also write the numbers to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A few samples of each: shows that everything works, and a factor.
    #[arg(long)]
    quick: bool,
    /// Only these benches: policy, token, jwt, carrier, lists.
    #[arg(long = "bench", value_name = "NAME")]
    benches: Vec<String>,
    /// Only cases whose names have this in them.
    case: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let written = tempfile::tempdir()?;
    let samples = if arguments.quick { 10 } else { 30 };
    let mut report = Report::new("cores", samples);
    println!("{}\n", report.headline());
    measure(&arguments, written.path())?;
    let mut files = Vec::new();
    find(written.path(), &mut files)?;
    files.sort();
    if files.is_empty() {
        bail!("nothing was measured: no case has the words that were asked for");
    }
    for file in files {
        report.row(row(&file)?);
    }
    report.note(
        "Nanoseconds for one time. Median: criterion's, of all samples; min and max: the means of single samples.",
    );
    if arguments.quick {
        report.note("A quick run: good for a factor, not for a per cent.");
    }
    report.finish(arguments.json.as_deref())
}

fn measure(arguments: &Arguments, written: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["bench", "--locked", "--quiet", "--package", "weir-benches"]);
    for bench in &arguments.benches {
        cargo.args(["--bench", bench]);
    }
    if arguments.benches.is_empty() {
        cargo.arg("--benches");
    }
    cargo.arg("--").arg("--noplot");
    if arguments.quick {
        cargo.arg("--quick");
    }
    cargo.args(&arguments.case).env("CRITERION_HOME", written);
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo bench ended with {status}; what it printed says why");
    }
    Ok(())
}

/// The descriptions of all cases that criterion wrote down.
fn find(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.ends_with("new/benchmark.json") {
            files.push(path);
        }
    }
    Ok(())
}

fn row(benchmark: &Path) -> Result<Value> {
    let read = |name: &str| -> Result<Value> {
        let file = benchmark.with_file_name(name);
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(serde_json::from_slice(&text)?)
    };
    let case = read("benchmark.json")?;
    let numbers = |sample: &Value| -> Option<Vec<f64>> {
        sample.as_array()?.iter().map(Value::as_f64).collect()
    };
    let sample = read("sample.json")?;
    let (times, iterations) = (numbers(&sample["times"]), numbers(&sample["iters"]));
    let (times, iterations) = times
        .zip(iterations)
        .context("criterion wrote samples that are no numbers")?;
    let each = times.iter().zip(&iterations).map(|(time, n)| time / n);
    let mut spread = Spread::of(each.collect());
    let median = read("estimates.json")?["median"]["point_estimate"].as_f64();
    spread.median = median.context("criterion wrote no median")?;
    Ok(json!({ "case": case["full_id"], "ns": spread, "samples": times.len() }))
}
