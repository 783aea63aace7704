//! Exports are signed and chained, and what was done to them is found.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use weir_entra::review::What;
use weir_entra::review::export::Format;
use weir_entra::review::exports::{
    Exports, ExportsError, Forged, Key, Manifest, PublicKey, Signed, Verified,
};
use weir_entra::store::Digest;

use crate::tenant::{access_of, head_of, now, tenant};

/// A state directory with three exports of the same, and what was written each time.
struct Made {
    directory: TempDir,
    signed: Vec<Signed>,
    text: String,
}

impl Made {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        let scene = tenant();
        let moment = now(&scene, 30);
        let (text, content) = access_of(&scene, &moment, Format::Csv);
        let (exports, key) = (
            Exports::of(directory.path()),
            Key::of(directory.path()).expect("there is room"),
        );
        let head = head_of(&scene, &moment, What::Access);
        let add = |_| {
            exports
                .add(&key, head.clone(), content.clone())
                .expect("there is room")
        };
        let signed = (0..3).map(add).collect();
        Self {
            directory,
            signed,
            text,
        }
    }

    fn public(&self) -> PublicKey {
        Key::of(self.directory.path())
            .expect("it is there")
            .public()
    }

    fn verify(&self, kept: Option<Digest>) -> Verified {
        Exports::of(self.directory.path())
            .verify(&self.public(), kept)
            .expect("it reads")
    }

    fn lines(&self) -> Vec<String> {
        let chain =
            fs::read_to_string(self.directory.path().join("exports.chain")).expect("it is there");
        chain.lines().map(str::to_owned).collect()
    }

    fn put(&self, lines: &[String]) {
        let chain = lines.join("\n") + "\n";
        fs::write(self.directory.path().join("exports.chain"), chain).expect("there is room");
    }

    fn whole(&self) -> Verified {
        let last = self.signed.last().expect("there are some");
        Verified::Whole {
            exports: 3,
            head: last.digest(),
        }
    }
}

#[test]
fn exports_follow_one_another() {
    let made = Made::new();
    assert_eq!(made.verify(None), made.whole());
    let manifests: Vec<&Manifest> = made.signed.iter().map(|signed| &signed.manifest).collect();
    assert_eq!(
        manifests
            .iter()
            .map(|manifest| manifest.number)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(manifests[0].previous, Digest::default());
    assert_eq!(manifests[2].previous, made.signed[1].digest());
    let public = PublicKey::from_pem(&made.public().pem()).expect("it was just written");
    for signed in &made.signed {
        let verified = Signed::verify(&signed.line, made.text.as_bytes(), &public);
        assert_eq!(verified.as_ref(), Ok(signed));
        assert!(signed.manifest.head.journal.is_some());
        assert_eq!(made.verify(Some(signed.digest())), made.whole());
    }
}

#[test]
fn an_export_is_found_by_its_number() {
    let made = Made::new();
    let exports = Exports::of(made.directory.path());
    let public = made.public();
    for signed in &made.signed {
        let number = signed.manifest.number;
        let found = exports.signed(number, &public).expect("it reads");
        assert_eq!(found.as_ref(), Some(signed));
    }
    for none in [0, 4, 1000] {
        let found = exports.signed(none, &public);
        assert!(matches!(found, Ok(None)), "{none}: {found:?}");
    }
    let mut lines = made.lines();
    lines[1] = lines[1].replace("\"rows\":7", "\"rows\":6");
    made.put(&lines);
    let found = exports.signed(2, &public);
    assert!(matches!(found, Err(ExportsError::Broken { number: 2, .. })));
    let nowhere = tempfile::tempdir().expect("there is room");
    let found = Exports::of(nowhere.path()).signed(1, &public);
    assert!(matches!(found, Ok(None)));
}

#[test]
fn another_content_is_found() {
    let made = Made::new();
    let line = &made.signed[0].line;
    let mut other = made.text.clone().into_bytes();
    other[200] ^= 1;
    assert_eq!(
        Signed::verify(line, other.as_slice(), &made.public()),
        Err(Forged::Content)
    );
    let cut = &made.text.as_bytes()[..made.text.len() - 1];
    assert_eq!(
        Signed::verify(line, cut, &made.public()),
        Err(Forged::Content)
    );
}

#[test]
fn a_line_that_was_changed_taken_out_or_moved_is_found() {
    let made = Made::new();
    let lines = made.lines();
    let broken = |lines: &[String]| {
        made.put(lines);
        match made.verify(None) {
            Verified::Broken { number, why } => (number, why),
            whole @ Verified::Whole { .. } => panic!("{whole:?}"),
        }
    };
    let changed = lines[1].replace("\"rows\":7", "\"rows\":6");
    assert_ne!(changed, lines[1]);
    assert_eq!(
        broken(&[lines[0].clone(), changed, lines[2].clone()]),
        (2, Forged::Signature)
    );
    assert_eq!(
        broken(&[lines[0].clone(), lines[2].clone()]),
        (2, Forged::Chain)
    );
    assert_eq!(broken(&lines[1..]), (1, Forged::Chain));
    assert_eq!(
        broken(&[lines[1].clone(), lines[0].clone()]),
        (1, Forged::Chain)
    );
    assert_eq!(broken(&["{}".to_owned()]), (1, Forged::Form));
    // Its end cut off, which only those see who have a line that was handed out.
    made.put(&lines[..2]);
    let kept = made.signed[2].digest();
    assert!(matches!(
        made.verify(None),
        Verified::Whole { exports: 2, .. }
    ));
    assert_eq!(
        made.verify(Some(kept)),
        Verified::Broken {
            number: 3,
            why: Forged::Missing
        }
    );
    made.put(&lines);
    assert_eq!(made.verify(Some(kept)), made.whole());
}

#[test]
fn another_key_signs_for_nobody() {
    let (made, theirs) = (Made::new(), Made::new());
    assert_ne!(made.public(), theirs.public());
    let line = &theirs.signed[0].line;
    assert_eq!(
        Signed::verify(line, theirs.text.as_bytes(), &made.public()),
        Err(Forged::Signature)
    );
    made.put(&theirs.lines());
    assert_eq!(
        made.verify(None),
        Verified::Broken {
            number: 1,
            why: Forged::Signature
        }
    );
    // Nothing is added to it, either.
    let key = Key::of(made.directory.path()).expect("it is there");
    let Manifest { head, content, .. } = made.signed[0].manifest.clone();
    let added = Exports::of(made.directory.path()).add(&key, head, content);
    assert!(matches!(added, Err(ExportsError::Broken { number: 3, .. })));
    assert_eq!(made.lines(), theirs.lines());
}

#[test]
fn what_a_crash_left_of_a_line_is_none() {
    let made = Made::new();
    let lines = made.lines();
    let path = made.directory.path().join("exports.chain");
    let torn = format!("{}\n{}", lines[..2].join("\n"), &lines[2][..40]);
    fs::write(&path, torn).expect("there is room");
    assert!(matches!(
        made.verify(None),
        Verified::Whole { exports: 2, .. }
    ));
    let key = Key::of(made.directory.path()).expect("it is there");
    let Manifest { head, content, .. } = made.signed[2].manifest.clone();
    Exports::of(made.directory.path())
        .add(&key, head, content)
        .expect("there is room");
    assert_eq!(made.lines(), lines);
    assert_eq!(made.verify(None), made.whole());
}

#[test]
fn the_key_is_its_owners_alone() {
    let made = Made::new();
    let path = made.directory.path().join("evidence.key");
    let bits = |path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(bits(&path), 0o600);
    assert_eq!(bits(&made.directory.path().join("exports.chain")), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
    assert!(matches!(
        Key::of(made.directory.path()),
        Err(ExportsError::Open { .. })
    ));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::write(&path, "no key").expect("it is ours");
    assert!(matches!(
        Key::of(made.directory.path()),
        Err(ExportsError::NoKey { .. })
    ));
    for text in [
        "",
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        assert!(PublicKey::from_pem(text).is_err());
    }
}
