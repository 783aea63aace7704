//! Every packet of the fixtures, as the loaded programs see it: judged, carried out, changed and counted as
//! it is written there, at either hook.

mod bed;
mod plane;

use std::collections::BTreeMap;

use bed::Bed;
use plane::{introduce, open, station, story_at};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_classify::Side;
use weir_dataplane::{Answer, Dataplane, Direction, HookChoice};
use weir_fixtures::stories::{Case, Expected, all};

/// What the programs tell the kernel.
const OK: u32 = 0;
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;
const NEXT: u32 = u32::MAX;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

#[test]
fn probes_get_the_outcome_that_is_written_down() {
    story("probes_get_the_outcome_that_is_written_down", |_, plane| {
        let mut wrong = Vec::new();
        for (case, hook) in runs() {
            let answer = plane
                .test_run(direction(case.side), hook, &case.frame)
                .expect("a run");
            let judged = answer
                .judged
                .map(|j| (j.service, j.class, j.verdict, j.reason));
            let expected = at(hook, &case);
            if judged != expected {
                wrong.push(format!(
                    "{} at {hook:?}: {judged:?}, not {expected:?}",
                    case.name
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(
            plane.counters().expect("readable"),
            [],
            "probes count nothing"
        );
    });
}

#[test]
fn packets_are_carried_out_and_counted_as_written_down() {
    story(
        "packets_are_carried_out_and_counted_as_written_down",
        |bed, plane| {
            let stations = [Side::Outside, Side::Inside].map(|side| station(bed, side));
            let mut wrong = Vec::new();
            let mut before = counts(plane);
            for (case, hook) in runs() {
                let station = stations[usize::from(case.side == Side::Inside)];
                let case = addressed_to(station, case);
                let answer = plane
                    .replay(direction(case.side), hook, &case.frame)
                    .expect("a run");
                let expected = at(hook, &case);
                let after = counts(plane);
                let counted = difference(&before, &after);
                before = after;
                let right = expected.map(|judged| (hook, judged, 1, case.frame.len() as u64));
                if counted != right.into_iter().collect::<Vec<_>>() {
                    wrong.push(format!("{} at {hook:?} counted {counted:?}", case.name));
                }
                if let Some(mistake) = not_carried_out(hook, &case, expected, &answer) {
                    wrong.push(format!("{} at {hook:?}: {mistake}", case.name));
                }
            }
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        },
    );
}

/// A bed with both hooks, whose stations know each other, and on which nothing moves.
fn story(name: &str, tell: impl FnOnce(&Bed, &Dataplane) + Send) {
    story_at(HookChoice::Xdp, name, |bed| {
        let plane = open(bed);
        introduce(bed);
        tell(bed, &plane);
    });
}

/// Every case at each hook where the kernel can run it: a test run needs whole addresses, and at tcx a
/// whole base header.
fn runs() -> impl Iterator<Item = (Case, Hook)> {
    all().into_iter().flat_map(|case| {
        let header = match case.frame[12..14] {
            [0x86, 0xdd] => 40,
            _ => 20,
        };
        let length = case.frame.len();
        Hook::ALL
            .into_iter()
            .filter(move |hook| length >= 14 + if *hook == Hook::Tcx { header } else { 0 })
            .map(move |hook| (case.clone(), hook))
    })
}

/// What the case must come to at a hook: XDP forwards and drops whole segments, drops QUIC, and leaves
/// everything else to tcx.
fn at(hook: Hook, case: &Case) -> Expected {
    let (_, _, verdict, reason) = case.expected?;
    let ends = match verdict {
        Verdict::Forward => matches!(reason, Reason::Class | Reason::Answer),
        Verdict::Drop => {
            case.side == Side::Outside && matches!(reason, Reason::Class | Reason::Udp443)
        }
        _ => false,
    };
    case.expected.filter(|_| hook == Hook::Tcx || ends)
}

/// What the program did, if that is not what its verdict means.
fn not_carried_out(hook: Hook, case: &Case, expected: Expected, answer: &Answer) -> Option<String> {
    let verdict = expected.map(|(_, _, verdict, _)| verdict);
    let resets = case.after != case.frame;
    let (actions, mark): (&[u32], u32) = match (hook, verdict) {
        (Hook::Tcx, None | Some(Verdict::Pass)) => (&[NEXT, OK], 0),
        (Hook::Tcx, Some(Verdict::Forward)) => (&[REDIRECT], 0),
        (Hook::Tcx, Some(Verdict::Proxy)) => (&[OK], bed::MARK),
        (Hook::Tcx, Some(Verdict::Reject)) if resets => (&[REDIRECT], 0),
        (Hook::Tcx, Some(Verdict::Drop | Verdict::Reject)) => (&[SHOT], 0),
        (Hook::Xdp, Some(Verdict::Forward)) => (&[XDP_REDIRECT], 0),
        (Hook::Xdp, Some(Verdict::Drop)) => (&[XDP_DROP], 0),
        (Hook::Xdp, _) => (&[XDP_PASS], 0),
    };
    if !actions.contains(&answer.action) || answer.mark != mark {
        let action = answer.action.cast_signed();
        return Some(format!("action {action} with mark {:#x}", answer.mark));
    }
    let mut after = if verdict.is_some() {
        &case.after
    } else {
        &case.frame
    }
    .clone();
    if hook == Hook::Xdp && verdict == Some(Verdict::Forward) {
        let old = [&case.frame[..6], &case.frame[6..12]];
        if old.contains(&&answer.packet[..6]) || old[1] == &answer.packet[6..12] {
            return Some("the stations are those of before".into());
        }
        after[..12].copy_from_slice(&answer.packet[..12]);
    }
    (after != answer.packet).then(|| format!("{:02x?}, not {after:02x?}", answer.packet))
}

/// The case for the station that hears it; an answer of Weir comes from there.
fn addressed_to(station: [u8; 6], mut case: Case) -> Case {
    let answered = case.after[..6] != case.frame[..6];
    case.frame[..6].copy_from_slice(&station);
    case.after[if answered { 6..12 } else { 0..6 }].copy_from_slice(&station);
    case
}

fn direction(side: Side) -> Direction {
    match side {
        Side::Outside => Direction::Outside,
        Side::Inside => Direction::Inside,
    }
}

type Judged = (u16, Class, Verdict, Reason);
type Counts = BTreeMap<(Hook, Judged), (u64, u64)>;

fn counts(plane: &Dataplane) -> Counts {
    let counters = plane.counters().expect("readable");
    counters
        .into_iter()
        .map(|c| {
            (
                (c.hook, (c.service, c.class, c.verdict, c.reason)),
                (c.packets, c.bytes),
            )
        })
        .collect()
}

/// What was counted in between: packets and bytes.
fn difference(before: &Counts, after: &Counts) -> Vec<(Hook, Judged, u64, u64)> {
    after
        .iter()
        .map(|((hook, judged), (packets, bytes))| {
            let (old_packets, old_bytes) =
                before.get(&(*hook, *judged)).copied().unwrap_or_default();
            (*hook, *judged, packets - old_packets, bytes - old_bytes)
        })
        .filter(|(_, _, packets, _)| *packets > 0)
        .collect()
}
