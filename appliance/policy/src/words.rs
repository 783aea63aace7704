//! The known word that an unknown one was probably meant to be.

/// The nearest of the known words, when one is near.
pub(crate) fn closest(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|known| {
            (
                strsim::jaro_winkler(&word.to_lowercase(), &known.to_lowercase()),
                known,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| (*known).to_owned())
}
