//! Problem: why a request is not done, as the response that says so.

use std::fmt::Display;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::shapes::Problem;
use crate::control::Refused;
use crate::health::Refusal;

impl Problem {
    /// With these words.
    pub fn new(status: StatusCode, title: &str, detail: impl Display) -> Problem {
        Problem { title: title.to_owned(), detail: detail.to_string(), status: status.as_u16() }
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Display) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not found", detail)
    }

    /// The request cannot be read.
    pub fn malformed(detail: impl Display) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// It can be read, and is out of bounds.
    pub fn unfit(detail: impl Display) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "cannot be so", detail)
    }

    /// It does not go with what there is.
    pub fn conflict(detail: impl Display) -> Problem {
        Problem::new(StatusCode::CONFLICT, "in conflict", detail)
    }

    /// Who asks may not.
    pub fn forbidden(detail: impl Display) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Not now.
    pub fn busy(detail: impl Display) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = serde_json::to_string(&self).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], text).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::TooHeavy { .. } => Problem::unfit(refusal),
            Refusal::NoSuchBackend { .. } => Problem::not_found(refusal),
            Refusal::Busy | Refusal::Over => Problem::busy(refusal),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::NoFile => Problem::conflict(refused),
            Refused::Wrong(_)
            | Refused::Check(_)
            | Refused::Lists(_)
            | Refused::TooFewFiles(_)
            | Refused::Bind(_) => Problem::unfit(refused),
            Refused::Ending
            | Refused::TooMany
            | Refused::Busy(_)
            | Refused::Upgrading
            | Refused::Descriptors(_)
            | Refused::Stuck => Problem::busy(refused),
        }
    }
}
