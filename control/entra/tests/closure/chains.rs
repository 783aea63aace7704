//! A hundred thousand groups, each in the next: nothing recurses along them.

use weir_directory::{Head, Snapshot};
use weir_entra::closure::{Closure, DraftError, Moves, Watch, Watched};
use weir_entra::model::{Changes, Group, MemberKind};

use crate::naive::{group_id, user, user_id};

const LONG: u32 = 100_000;

fn chain() -> Closure {
    let links = (1..LONG).map(|number| (group_id(number), group_id(number - 1), MemberKind::Group));
    let person = (group_id(0), user_id(0), MemberKind::User);
    Closure::of(
        [(user_id(0), user(Some(true)))],
        (0..LONG).map(|number| (group_id(number), Group::default())),
        links.chain([person]),
    )
}

fn drawn(closure: &Closure) -> Snapshot<Vec<u8>> {
    let head = Head {
        tenant: group_id(0),
        epoch: 1,
        taken_at: 0,
        checked: [Some(0); 3],
    };
    let bytes = closure.draw(head, |draft| {
        for number in 0..LONG {
            draft.group(group_id(number), &Group::default())?;
        }
        draft.user(user_id(0), &user(Some(true)))
    });
    let bytes: Result<Vec<u8>, DraftError> = bytes;
    Snapshot::parse(bytes.expect("all came")).expect("what was drawn")
}

fn depth(snapshot: &Snapshot<Vec<u8>>) -> usize {
    let user = snapshot.users().next().expect("one user");
    user.groups().expect("they are known").count()
}

#[test]
fn a_long_chain_is_walked_and_cut() {
    let mut closure = chain();
    let (top, middle) = (group_id(LONG - 1), LONG / 2);
    assert_eq!(
        closure.why(user_id(0), top).map(|way| way.len()),
        Some(LONG as usize)
    );
    assert_eq!(closure.members(top).map(|members| members.len()), Some(1));
    assert_eq!(depth(&drawn(&closure)), LONG as usize);
    let cut = Changes {
        edges: [((group_id(middle), group_id(middle - 1)), None)].into(),
        ..Changes::default()
    };
    let watch = Watch {
        groups: Watched::All,
        most: usize::MAX,
    };
    let Moves::Each(moves) = closure.apply(&cut, &watch).moves else {
        panic!("one user can be told");
    };
    assert_eq!(
        (moves.len(), moves[0].removed.len()),
        (1, (LONG - middle) as usize)
    );
    assert_eq!(depth(&drawn(&closure)), middle as usize);
}

#[test]
fn a_long_chain_that_is_closed_is_one_round() {
    let mut closure = chain();
    let close = Changes {
        edges: [((group_id(0), group_id(LONG - 1)), Some(MemberKind::Group))].into(),
        ..Changes::default()
    };
    let watch = Watch {
        groups: Watched::All,
        most: 10,
    };
    closure.apply(&close, &watch);
    let cycles = closure.cycles();
    assert_eq!((cycles.len(), cycles[0].len()), (1, LONG as usize));
    assert_eq!(depth(&drawn(&closure)), LONG as usize);
}
