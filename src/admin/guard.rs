//! Guard: who may ask for what.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::shapes::Problem;
use super::who::Peer;

/// How long an answer may take to be begun, the body of the request included. A reload waits for every worker.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What whoever asks needs no token for: probes of machines, and the page, which has nothing in it.
const OPEN: [&str; 5] = ["/healthz", "/readyz", "/", "/page.css", "/page.js"];

/// Lets a request through, or says why not.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Err(problem) = judge(&app, &request) {
        return problem.into_response();
    }
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too slow",
            format!("the request was not done within {ANSWER_TIMEOUT:?}"),
        )
        .into_response(),
    }
}

fn judge(app: &App, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let is_open = OPEN.contains(&request.uri().path());
    if let Some(token) = &app.token {
        let known =
            headers.get(header::AUTHORIZATION).is_some_and(|value| token.is_known_to(value.as_bytes()));
        if !is_open && !known {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "who are you",
                "this needs the token of admin.token_file: Authorization: Bearer TOKEN",
            ));
        }
    } else if matches!(request.extensions().get(), Some(Peer::Address(_))) && !is_of_this_machine(headers) {
        // A page of another site could have its own name lead here (DNS rebinding) and then read and change everything.
        return Err(Problem::forbidden(
            "Host: without a token the admin API is asked by its IP address or as localhost, and by no other name; set \
             admin.token_file to use names",
        ));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !is_of_the_same_site(headers) {
        return Err(Problem::forbidden("Origin: changes are not taken from pages of other sites"));
    }
    Ok(())
}

fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// A browser says from where a page is that changes something; a program does not.
fn is_of_the_same_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, site)| site);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    site.is_some() && site == host
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_addresses_and_localhost_are_names_of_this_machine() {
        for host in ["127.0.0.1:8404", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8404", "[::1]"] {
            assert!(is_of_this_machine(&with(header::HOST, host)), "{host}");
        }
        for host in ["evil.example:8404", "localhost.evil.example", "", "127.0.0.1.evil.example"] {
            assert!(!is_of_this_machine(&with(header::HOST, host)), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_told_from_our_own() {
        assert!(is_of_the_same_site(&HeaderMap::new()));
        let mut headers = with(header::HOST, "127.0.0.1:8404");
        for (origin, same) in [
            ("http://127.0.0.1:8404", true),
            ("http://127.0.0.1:8405", false),
            ("null", false),
            ("http://evil", false),
        ] {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            assert_eq!(is_of_the_same_site(&headers), same, "{origin}");
        }
    }
}
