//! Paths in disguise: what lenient servers read as another path.

use proptest::prelude::*;

/// One of the paths, written so that some server reads it all the same.
pub fn disguised(paths: Vec<&'static str>) -> impl Strategy<Value = String> {
    let disguise = |character: char| {
        let hex = format!("{:02x}", u32::from(character));
        let mut ways = vec![
            character.to_string(),
            character.to_ascii_uppercase().to_string(),
            format!("%{hex}"),
            format!("%25{hex}"),
            format!("%2525{hex}"),
        ];
        if character == '/' {
            ways.extend(
                [
                    "//",
                    "\\",
                    "%5c",
                    "/./",
                    "/x/../",
                    "/x/%2e%2e/",
                    "/x/..;/",
                    ";a/",
                    "./",
                    "%20/",
                    "/x%5c..%5c",
                    "%3f/",
                ]
                .map(str::to_owned),
            );
        }
        if character.is_ascii_alphabetic() {
            let wide = char::from_u32(u32::from(character) + 0xfee0).expect("a full-width form");
            let mut buffer = [0; 4];
            ways.push(
                wide.encode_utf8(&mut buffer)
                    .bytes()
                    .map(|byte| format!("%{byte:02x}"))
                    .collect::<Vec<_>>()
                    .concat(),
            );
        }
        ways
    };
    (
        prop::sample::select(paths),
        prop::collection::vec((0..10u8, any::<prop::sample::Index>()), 64),
        prop::sample::select(vec![
            "", "/", ".", "%20", ";x", "%00", "::$DATA", "%3f", "%23", "/.", "%2e", "?",
        ]),
    )
        .prop_map(move |(path, choices, tail)| {
            let mut raw = String::new();
            for (character, (dice, index)) in path.chars().zip(choices) {
                let ways = disguise(character);
                raw.push_str(if dice < 7 {
                    &ways[0]
                } else {
                    index.get(&ways[..]).as_str()
                });
            }
            raw + tail
        })
}
