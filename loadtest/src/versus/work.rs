//! What the proxies have to do.

/// A kind of load, with a name for `--work`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// Short, unique.
    pub(crate) name: &'static str,
    /// What it is, in words.
    pub(crate) what: &'static str,
    /// What a cost is counted per.
    pub(crate) unit: Unit,
    /// Who makes the load, and how.
    pub(crate) load: Load,
}

/// What a cost is counted per.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A request and its reply.
    Request,
    /// 1,000,000,000 bytes towards the client.
    Gigabyte,
    /// A connection, with the one request it carries.
    Connection,
}

/// Who makes the load, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// wrk against nginx.
    Wrk {
        /// What is asked for.
        path: &'static str,
        /// Kept open at the same time.
        connections: usize,
        /// How long they are kept.
        keep: Keep,
    },
    /// `loadtest closed` against `loadtest backend reply`.
    Closed {
        /// Kept open at the same time.
        connections: usize,
    },
    /// `loadtest open` against `loadtest backend reply`.
    Open,
    /// Connections that do nothing after one small request.
    Idle,
    /// `loadtest udp` against `loadtest backend udp`, in a closed loop.
    Datagrams(Flows),
}

/// Clients that send datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flows {
    /// Each from an address of its own.
    pub(crate) clients: usize,
    /// Of each, not answered yet.
    pub(crate) outstanding: usize,
    /// Bytes of a datagram, and of its answer.
    pub(crate) size: usize,
}

/// How long a connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// For all requests.
    Alive,
    /// For one request.
    ForOne,
}

/// Every work, in the order in which they are done.
pub(crate) fn all() -> [Work; ALL.len()] {
    ALL
}

impl Work {
    /// All works whose name is `text`, or begins with it and a dash.
    pub(crate) fn named(text: &str) -> Vec<Self> {
        let begins =
            |name: &str| name.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        ALL.into_iter().filter(|work| begins(work.name)).collect()
    }

    /// Whether it needs a rate to be settled before.
    pub(crate) fn is_open(&self) -> bool {
        self.load == Load::Open
    }

    /// Whether datagrams are carried, and not streams.
    pub(crate) fn is_of_datagrams(&self) -> bool {
        matches!(self.load, Load::Datagrams(_))
    }

    /// Whether wrk makes the load.
    pub(crate) fn needs_wrk(&self) -> bool {
        matches!(self.load, Load::Wrk { .. })
    }
}

impl Unit {
    /// As in "CPU us / request".
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Gigabyte => "GB",
            Self::Connection => "connection",
        }
    }
}

const fn wrk(
    name: &'static str,
    what: &'static str,
    unit: Unit,
    (path, connections, keep): (&'static str, usize, Keep),
) -> Work {
    Work { name, what, unit, load: Load::Wrk { path, connections, keep } }
}

const fn datagrams(
    name: &'static str,
    what: &'static str,
    (clients, outstanding): (usize, usize),
    size: usize,
) -> Work {
    Work { name, what, unit: Unit::Request, load: Load::Datagrams(Flows { clients, outstanding, size }) }
}

/// In the order in which they are done.
pub(crate) const ALL: [Work; 18] = [
    wrk("small-1", "small requests, 1 connection", Unit::Request, (SMALL, 1, Keep::Alive)),
    wrk("small-64", "small requests, 64 connections", Unit::Request, (SMALL, 64, Keep::Alive)),
    wrk("small-512", "small requests, 512 connections", Unit::Request, (SMALL, 512, Keep::Alive)),
    wrk("bulk-10m-4", "10 MiB replies, 4 connections", Unit::Gigabyte, (LARGE, 4, Keep::Alive)),
    wrk("bulk-10m-64", "10 MiB replies, 64 connections", Unit::Gigabyte, (LARGE, 64, Keep::Alive)),
    wrk("bulk-64k-4", "64 KiB replies, 4 connections", Unit::Gigabyte, (MIDDLE, 4, Keep::Alive)),
    wrk("bulk-64k-64", "64 KiB replies, 64 connections", Unit::Gigabyte, (MIDDLE, 64, Keep::Alive)),
    wrk("churn-32", "a connection per request, 32 at a time", Unit::Connection, (SMALL, 32, Keep::ForOne)),
    wrk("churn-256", "a connection per request, 256 at a time", Unit::Connection, (SMALL, 256, Keep::ForOne)),
    Work {
        name: "latency-1",
        what: "64 bytes out and back, 1 connection, own generator",
        unit: Unit::Request,
        load: Load::Closed { connections: 1 },
    },
    Work {
        name: "open",
        what: "64 bytes out and back, open loop at 70 % of the best peer's top rate",
        unit: Unit::Request,
        load: Load::Open,
    },
    Work {
        name: "idle",
        what: "connections that did one small request and stay open",
        unit: Unit::Connection,
        load: Load::Idle,
    },
    datagrams("udp-64-1", "64 bytes out and back over UDP, 1 client with 32 outstanding", (1, 32), 64),
    datagrams("udp-64-64", "64 bytes out and back over UDP, 64 clients with 1 outstanding", (64, 1), 64),
    datagrams(
        "udp-64-1000",
        "64 bytes out and back over UDP, 1,000 clients with 1 outstanding",
        (1000, 1),
        64,
    ),
    datagrams("udp-1200-1", "1,200 bytes out and back over UDP, 1 client with 32 outstanding", (1, 32), 1200),
    datagrams(
        "udp-1200-64",
        "1,200 bytes out and back over UDP, 64 clients with 1 outstanding",
        (64, 1),
        1200,
    ),
    datagrams(
        "udp-1200-1000",
        "1,200 bytes out and back over UDP, 1,000 clients with 1 outstanding",
        (1000, 1),
        1200,
    ),
];

/// A reply of a few bytes.
pub(crate) const SMALL: &str = "/small";
/// 64 KiB.
pub(crate) const MIDDLE: &str = "/64k";
/// 10 MiB.
pub(crate) const LARGE: &str = "/10m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_the_beginning_of_one_selects() {
        let names = |text| Work::named(text).iter().map(|work| work.name).collect::<Vec<_>>();
        assert_eq!(names("bulk-64k"), ["bulk-64k-4", "bulk-64k-64"]);
        assert_eq!(names("small-1"), ["small-1"]);
        assert_eq!(names("churn").len(), 2);
        assert_eq!(names("udp").len(), 6);
        assert!(names("chur").is_empty());
    }
}
