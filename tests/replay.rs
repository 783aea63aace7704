//! Runs a fuzz target's checks on its corpus and findings, in the crate that includes this file.

use std::path::Path;

/// Runs `check` on every file of a target; there must be some.
pub fn replay(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut count = 0;
    for folder in ["corpus", "findings"].map(|folder| fuzz.join(folder).join(target)) {
        // A target without findings has no folder for them.
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let file = entry.expect("an entry").path();
            let input = std::fs::read(&file).expect("a file of the corpus");
            let shown = Shown(&file);
            check(&input);
            drop(shown);
            count += 1;
        }
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

/// Names the file whose check fails.
struct Shown<'a>(&'a Path);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0.display());
        }
    }
}
