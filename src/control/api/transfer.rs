//! Keys of all families in and out by the million, a line each.
//!
//! A batch of lines is read, checked beside the runtime's own threads, and written while the next one is read. No
//! more than two batches of an import are in memory, and its length has no limit.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Api;
use super::answer;
use super::auth::administrator;
use super::error::{ApiError, ErrorBody, Refusals};
use super::input::{no_query, query};
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::seats::Seat;
use super::streamed;
use super::transfer_shapes::{
    ImportQuery, ImportReport, ImportedKey, OnRefusal, read_line, write_line,
};
use crate::authz::Revision;
use crate::control::caller::Caller;
use crate::control::command::InvalidInput;
use crate::control::error::CommandError;
use crate::control::service::{Applied, Imported, Keys, NewLine};
use crate::control::store::StoreError;

/// The path of imports.
pub(super) const IMPORT: &str = "/v1/import";
/// Imports under way at a time: each holds up to two batches in memory.
pub(super) const IMPORTS_MAX: usize = 4;
/// Pages of an export that wait for its reader.
const PAGES_AHEAD: usize = 2;

/// Whether a request may take as long as it goes on sending.
pub(super) fn is_unhurried<B>(request: &axum::http::Request<B>) -> bool {
    request.method() == Method::POST && request.uri().path() == IMPORT
}

/// Import keys of any family, one JSON object a line, with their secrets or digests.
///
/// A line has the fields of its family's create call, and beside them `family`; `org` or `workspace`; `token` (the raw
/// key) or `digest` (`blake3:HEX`, `sha256:HEX`); `status` where the key is not `active`. 1,000 lines are one
/// transaction, one revision and one entry of the audit log (fewer where they are long). A line whose secret is there
/// with the same grants counts as unchanged, so that an import can be run again.
#[utoipa::path(
    post, path = "/v1/import", operation_id = "importKeys", tag = "Keyward", params(ImportQuery),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "What became of the lines", body = ImportReport, headers(("Keyward-Revision" = u64))),
        Refusals,
        (status = 408, description = "No further piece of the body came", body = ErrorBody),
        (status = 429, description = "Too many imports are under way", body = ErrorBody),
    ),
    security(("admin" = []))
)]
pub(super) async fn import(
    State(api): State<Api>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let caller = administrator(&api, &headers).await?;
    let asked: ImportQuery = query(request.uri())?;
    let seat = request.extensions().get::<Seat>();
    seat.inspect(|seat| seat.stay());
    let Ok(_place) = api.0.imports.try_acquire() else {
        return Err(ApiError::too_many_requests());
    };
    let mut lines = Lines::new(request.into_body());
    let run = Run {
        keys: &api.0.keys,
        caller,
        on_refusal: asked.on_refusal,
    };
    let report = run.carry_out(&mut lines).await?;
    let revision = Revision(report.revision);
    let done = Applied {
        value: report,
        revision,
    };
    Ok(answer::changed(&api, &headers, StatusCode::OK, &done).await)
}

/// One import.
struct Run<'a> {
    keys: &'a Keys,
    caller: Caller,
    on_refusal: OnRefusal,
}

/// A batch that is being written.
type Writing = JoinHandle<Result<Applied<Imported>, CommandError>>;

impl Run<'_> {
    async fn carry_out(&self, lines: &mut Lines) -> Result<ImportReport, ApiError> {
        let mut report = ImportReport {
            revision: self.keys.revision().0,
            ..ImportReport::default()
        };
        let mut writing: Option<Writing> = None;
        loop {
            let batch = lines.batch().await?;
            let is_last = batch.is_empty();
            let batch = self.check(batch).await?;
            if let Some(writing) = writing.take() {
                let done = writing.await.map_err(|_| StoreError::Interrupted)??;
                self.add(&mut report, done);
            }
            if is_last || report.stopped_at.is_some() {
                return Ok(report);
            }
            let (keys, caller) = (self.keys.clone(), self.caller);
            let stops = self.on_refusal == OnRefusal::Stop;
            writing = Some(tokio::spawn(async move {
                keys.import(caller, batch, stops).await
            }));
        }
    }

    /// Reads and hashes lines, which takes milliseconds, on a thread that may be kept busy.
    async fn check(&self, batch: Vec<Line>) -> Result<Vec<NewLine>, ApiError> {
        let keys = self.keys.clone();
        let check = move || batch.into_iter().map(|line| check(&keys, line)).collect();
        let checked: Result<_, CommandError> = tokio::task::spawn_blocking(check)
            .await
            .map_err(|_| StoreError::Interrupted)?;
        Ok(checked?)
    }

    fn add(&self, report: &mut ImportReport, done: Applied<Imported>) {
        let imported = done.value;
        report.created += imported.created;
        report.unchanged += imported.unchanged;
        for (line, fault) in &imported.refused {
            report.refuse(*line, fault);
        }
        report.lines = report.created + report.unchanged + report.refused;
        report.revision = done.revision.0;
        if self.on_refusal == OnRefusal::Stop {
            report.stopped_at = imported.refused.first().map(|(line, _)| *line);
        }
    }
}

/// A line as far as it can be judged by itself.
fn check(keys: &Keys, line: Line) -> Result<NewLine, CommandError> {
    let number = line.number;
    let key = match line.text {
        None => {
            let problem = format!("is longer than {LINE_BYTES_MAX} bytes");
            Err(InvalidInput::new("line", problem))
        }
        Some(text) => read_line(&text),
    };
    let key = key.map(|ImportedKey { key, secret }| {
        let incoming = keys.incoming(key, &secret.given());
        (incoming, secret.field())
    });
    let key = match key {
        Ok((Ok(incoming), field)) => Ok((incoming, field)),
        Ok((Err(CommandError::Invalid(fault)), _)) | Err(fault) => Err(fault),
        Ok((Err(other), _)) => return Err(other),
    };
    Ok(NewLine { number, key })
}

/// Export all keys, one JSON object a line, without their secrets.
///
/// The fields are those of an import, so that an export becomes one when each line is given its `token` or `digest`. A
/// key that is changed meanwhile is there as it was or as it is.
#[utoipa::path(
    get, path = "/v1/export", operation_id = "exportKeys", tag = "Keyward",
    responses(
        (status = 200, description = "The keys, the oldest first", content_type = "application/x-ndjson", body = String),
        Refusals,
    ),
    security(("admin" = []))
)]
pub(super) async fn export(
    State(api): State<Api>,
    seat: Option<Extension<Seat>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    administrator(&api, &headers).await?;
    no_query(&uri)?;
    let (sender, pages) = mpsc::channel(PAGES_AHEAD);
    tokio::spawn(send_pages(api.0.keys.clone(), sender));
    let seat = seat.map(|Extension(seat)| seat);
    Ok(streamed::answer(pages, seat, "application/x-ndjson"))
}

/// Reads page after page until the end, or until nobody reads on. A fault breaks the answer off, so that it cannot be
/// mistaken for a whole one.
async fn send_pages(keys: Keys, sender: mpsc::Sender<Result<Bytes, StoreError>>) {
    let mut after = None;
    loop {
        let page = match keys.page_after(after).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "an export was broken off");
                _ = sender.send(Err(error)).await;
                return;
            }
        };
        let Some(last) = page.last() else {
            return;
        };
        after = Some(last.place);
        let mut text = Vec::new();
        for listed in page {
            if let Err(error) = write_line(&mut text, listed.key) {
                tracing::error!(%error, "an export was broken off");
                _ = sender.send(Err(StoreError::Unreadable("grants"))).await;
                return;
            }
        }
        if sender.send(Ok(text.into())).await.is_err() {
            return;
        }
    }
}
