//! `GET /v1/entra/review/...`: exports, handed out from the file that they were put down in.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use weir_entra::review::export::Format;
use weir_entra::review::exports::{PublicKey, Signed};

use super::Body;
use super::answer::answer_of;
use crate::evidence::Export;

/// The number of an export, by which its signature is asked for.
pub const EXPORT: &str = "weir-export";

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

pub(super) fn answer(export: Export) -> Response<Body> {
    let kind = match export.format {
        Format::Csv => "text/csv",
        Format::Json => "application/json",
    };
    let pieces = stream::unfold(export.file, |file| async {
        let read = tokio::task::spawn_blocking(move || piece(file)).await;
        match read.unwrap_or_else(|ended| Err(io::Error::other(ended))) {
            Ok((piece, _)) if piece.is_empty() => None,
            Ok((piece, file)) => Some((Ok(Frame::data(piece)), file)),
            // The length of the answer is not said, so a client notices that it breaks off.
            Err(error) => Some((Err(error), File::open("/dev/null").ok()?)),
        }
    });
    let body = StreamBody::new(pieces).boxed_unsync();
    let mut response = answer_of(StatusCode::OK, kind, body);
    let number = export.signed.manifest.number;
    response
        .headers_mut()
        .insert(EXPORT, HeaderValue::from(number));
    response
}

pub(super) fn signature(signed: &Signed) -> Response<Body> {
    text("application/json", format!("{}\n", signed.line))
}

pub(super) fn key(key: &PublicKey) -> Response<Body> {
    text("application/x-pem-file", key.pem())
}

fn text(kind: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text));
    let body = body.map_err(|never| -> io::Error { match never {} });
    answer_of(StatusCode::OK, kind, body.boxed_unsync())
}

/// The next bytes of a file; none at its end.
fn piece(mut file: File) -> io::Result<(Bytes, File)> {
    let mut piece = Vec::with_capacity(PIECE);
    (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
    Ok((piece.into(), file))
}
