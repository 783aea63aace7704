//! What is asked about the tenant's evidence and its log of sign-ins.

use weir_entra::review::What;
use weir_entra::review::export::Format;

use super::Query;
use crate::api::Refusal;
use crate::evidence::{Stated, Wanted, When};
use crate::sign_ins;

/// An export.
pub(super) fn review(query: &mut Query, what: What) -> Result<Wanted, Refusal> {
    let formats = [("csv", Format::Csv), ("json", Format::Json)];
    let format = query.word("format", formats)?.unwrap_or(Format::Csv);
    let when = match what {
        What::Joiners | What::Leavers => {
            let from = query.stated("from")?.ok_or(Refusal::Missing("from"))?;
            When::Between(from, query.stated("to")?)
        }
        What::Access | What::Posture => match query.stated("as_of")? {
            Some(at) => When::AsOf(at),
            None => When::Now,
        },
    };
    Ok(Wanted { what, format, when })
}

/// Sign-ins.
pub(super) fn sign_ins(query: &mut Query) -> Result<sign_ins::Wanted, Refusal> {
    Ok(sign_ins::Wanted {
        from: query.stated("from")?,
        to: query.stated("to")?,
        user: query.take("user"),
        source: query.prefix("source")?,
        limit: query.number("limit")?,
    })
}

impl Query {
    fn stated(&mut self, key: &'static str) -> Result<Option<Stated>, Refusal> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match Stated::parse(&value) {
            Some(stated) => Ok(Some(stated)),
            None => Err(Refusal::Value {
                key,
                value,
                expected: Stated::FORM.to_owned(),
            }),
        }
    }
}
