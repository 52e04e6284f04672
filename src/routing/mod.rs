//! Routing: which pool serves a client, by what its TLS hello says.
//!
//! Pure. The most specific route wins, whatever the order of the file: a whole name before a wildcard, a longer wildcard before a
//! shorter one, any of them before a route without names; among equals one that asks for a protocol (ALPN) before one that
//! does not; and then the first of the file.

mod client_hello;

use std::collections::HashMap;

use crate::config::{Route, ServerName};

pub use client_hello::{Hello, Malformed, NAME_MAX, RECORD_HEADERS_MAX, Reading, read};

/// What came of a client's hello, where one was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A route is for it.
    Matched,
    /// No route is for it.
    Unmatched,
    /// It does not speak TLS.
    NotTls,
    /// Its hello breaks the rules of TLS.
    Malformed,
    /// Its hello is longer than may be looked at.
    TooLong,
    /// Its stream ended before that.
    Ended,
    /// It said none in time.
    Late,
}

impl Heard {
    /// Each of them, in the order in which they are counted.
    pub const ALL: [Heard; 7] = [
        Heard::Matched,
        Heard::Unmatched,
        Heard::NotTls,
        Heard::Malformed,
        Heard::TooLong,
        Heard::Ended,
        Heard::Late,
    ];
    /// How many there are.
    pub const COUNT: usize = Heard::ALL.len();

    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Heard::Matched => "matched",
            Heard::Unmatched => "unmatched",
            Heard::NotTls => "not-tls",
            Heard::Malformed => "malformed",
            Heard::TooLong => "too-long",
            Heard::Ended => "ended",
            Heard::Late => "late",
        }
    }
}

/// The routes of one listener, found by name.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Vec<Target>>,
    /// By what stands behind `*.`.
    below: HashMap<Box<str>, Vec<Target>>,
    /// Those that ask for no name.
    unnamed: Vec<Target>,
}

/// Where a route leads, and whom.
#[derive(Debug)]
struct Target {
    /// Only clients that offer one of these; all if there are none.
    alpn: Box<[Box<[u8]>]>,
    pool: usize,
}

impl Target {
    fn takes(&self, hello: &Hello) -> bool {
        self.alpn.is_empty() || self.alpn.iter().any(|wanted| hello.alpn.contains(wanted))
    }
}

impl Routes {
    /// Those of a listener.
    pub fn new(routes: &[Route]) -> Routes {
        let mut found = Routes::default();
        // Those that ask for a protocol come first; the sort keeps the order of the file.
        let mut sorted: Vec<&Route> = routes.iter().collect();
        sorted.sort_by_key(|route| route.alpn.is_empty());
        for route in sorted {
            let target = || Target {
                alpn: route.alpn.iter().map(|name| name.as_bytes().into()).collect(),
                pool: route.pool,
            };
            for name in &route.server_names {
                let (names, name) = match name {
                    ServerName::Exact(name) => (&mut found.exact, name),
                    ServerName::Below(name) => (&mut found.below, name),
                };
                names.entry(name.clone()).or_default().push(target());
            }
            if route.server_names.is_empty() {
                found.unnamed.push(target());
            }
        }
        found
    }

    /// Whether there is none: then nobody has to say hello.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty() && self.unnamed.is_empty()
    }

    /// The pool for a client, if a route is for it.
    pub fn choose(&self, hello: &Hello) -> Option<usize> {
        let first = |targets: &Vec<Target>| {
            targets.iter().find(|target| target.takes(hello)).map(|target| target.pool)
        };
        let name = hello.server_name.as_deref();
        let exact = || self.exact.get(name?).and_then(first);
        // `a.b.example.com` is below `b.example.com`, `example.com` and `com`, in this order.
        let parents = || {
            name?.match_indices('.').find_map(|(dot, _)| self.below.get(&name?[dot + 1..]).and_then(first))
        };
        exact().or_else(parents).or_else(|| first(&self.unnamed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(names: &[&str], alpn: &[&str], pool: usize) -> Route {
        let name = |name: &&str| match name.strip_prefix("*.") {
            Some(rest) => ServerName::Below(rest.into()),
            None => ServerName::Exact((*name).into()),
        };
        Route {
            server_names: names.iter().map(name).collect(),
            alpn: alpn.iter().map(|&name| name.into()).collect(),
            pool,
        }
    }

    fn hello(name: &str, alpn: &[&str]) -> Hello {
        Hello {
            server_name: Some(name).filter(|name| !name.is_empty()).map(Into::into),
            alpn: alpn.iter().map(|name| name.as_bytes().into()).collect(),
        }
    }

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        let routes = [
            route(&[], &["h2"], 0),
            route(&["*.example.com"], &[], 1),
            route(&["*.eu.example.com"], &[], 2),
            route(&["www.example.com"], &[], 3),
            route(&["www.example.com", "api.example.com"], &["h2", "grpc"], 4),
        ];
        let reversed: Vec<Route> = routes.iter().rev().cloned().collect();
        for routes in [Routes::new(&routes), Routes::new(&reversed)] {
            let choose = |name, alpn: &[&str]| routes.choose(&hello(name, alpn));
            assert_eq!(choose("www.example.com", &[]), Some(3));
            assert_eq!(choose("www.example.com", &["http/1.1", "h2"]), Some(4));
            assert_eq!(choose("www.example.com", &["http/1.1"]), Some(3));
            // Its whole name asks for a protocol that it does not offer: the wildcard takes it.
            assert_eq!(choose("api.example.com", &["http/1.1"]), Some(1));
            assert_eq!(choose("a.b.example.com", &[]), Some(1));
            assert_eq!(choose("a.eu.example.com", &[]), Some(2));
            // A wildcard is for what is below it.
            assert_eq!(choose("example.com", &[]), None);
            assert_eq!(choose("notexample.com", &[]), None);
            assert_eq!(choose("other.org", &["h2"]), Some(0));
            assert_eq!(choose("", &["h2"]), Some(0));
            assert_eq!(choose("", &[]), None);
        }
    }

    #[test]
    fn among_equals_the_first_of_the_file_wins() {
        let routes = Routes::new(&[route(&["a.org"], &["h2"], 0), route(&["a.org"], &["h2", "h3"], 1)]);
        assert_eq!(routes.choose(&hello("a.org", &["h3", "h2"])), Some(0));
        assert_eq!(routes.choose(&hello("a.org", &["h3"])), Some(1));
    }
}
