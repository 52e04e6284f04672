//! The keys of `[access_log]`.

use super::Preset::Is;
use super::{Kind, Section, key};

/// `[access_log]`
pub const ACCESS_LOG: Section = Section {
    path: "access_log",
    header: "[access_log]",
    tables: &[],
    keys: &[
        key("to", Kind::LogTarget, Is("off"), "where the line of each session goes when it has ended"),
        key(
            "format",
            Kind::Choice(&["text", "json"]),
            Is("text"),
            "what a line is: HAProxy's fields and more, or one JSON object",
        ),
        key(
            "only",
            Kind::Choice(&["all", "errors"]),
            Is("all"),
            "which sessions get a line; errors are those that did not go well",
        ),
        key(
            "sample",
            Kind::Fraction,
            Is("1"),
            "which part of the sessions that went well get a line, drawn at random; of the others all do",
        )
        .cure("for errors alone write only = \"errors\""),
        key(
            "syslog",
            Kind::SyslogAddress,
            Is("/dev/log"),
            "where `to = \"syslog\"` sends: the path of a Unix socket, or an address by UDP",
        ),
        key(
            "facility",
            Kind::Choice(&[
                "user", "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
                "local7",
            ]),
            Is("local0"),
            "under what a syslog server files the lines",
        ),
    ],
};
