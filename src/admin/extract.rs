//! Extract: the parts of a request, or the problem with them.

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::shapes::Problem;

/// What is behind the question mark.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params<T>, Problem> {
        let Query(params) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error: QueryRejection| Problem::malformed(error.body_text()))?;
        Ok(Params(params))
    }
}

/// Where nothing is looked for behind the question mark, nothing may stand there: a slip must not read as an answer.
pub(super) async fn no_params(request: Request, next: Next) -> Result<Response, Problem> {
    match request.uri().query() {
        None | Some("") => Ok(next.run(request).await),
        Some(query) => {
            let name = query.split(['=', '&']).next().unwrap_or_default();
            Err(Problem::malformed(format!("there is no parameter {name:?} here; this takes none")))
        }
    }
}

/// The names in the path.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Problem> {
        let Path(names) = Path::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error: PathRejection| Problem::malformed(error.body_text()))?;
        Ok(Named(names))
    }
}

/// The body, whatever it says it is: curl says it is a form.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(unread)?;
        serde_json::from_slice(&bytes)
            .map(Json)
            .map_err(|error| Problem::malformed(format!("the body is not the JSON that is wanted: {error}")))
    }
}

fn unread(error: BytesRejection) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is too large; at most {} bytes are taken", super::BODY_BYTES_MAX);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too large", detail)
        }
        _ => Problem::malformed(error.body_text()),
    }
}
