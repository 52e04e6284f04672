//! Meaning of `[access_log]`: what is told of each session, and where.

use crate::config::errors::{Place, Reason, Report};
use crate::config::keys;
use crate::config::needs::Needed;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::{AccessLog, LogTo, Only};
use crate::config::values::{self, Target};

/// `Some(None)` without one. Every key is read, also when nothing is logged: a mistake in one that is not used is a mistake too.
pub(super) fn access_log(table: &Table<'_>, place: Place, report: &Report) -> Option<Option<AccessLog>> {
    let reader = Reader::new(&keys::ACCESS_LOG, table, place.clone(), String::new(), report);
    let to = reader.get("to", values::log_target);
    let format = reader.get("format", values::choice);
    let only = reader.get("only", values::choice);
    let sample_ppm = reader.get("sample", values::millionths);
    let syslog = reader.get("syslog", values::syslog_address);
    let facility = reader.get("facility", values::choice);
    if !table.is_empty() && !reader.is_given("to") {
        let cure = "add a line such as: to = \"stdout\"".to_owned();
        reader.report(&place, "to", Reason::Missing(cure));
    }
    refuse_unused(&reader, to.as_ref(), only);
    if let Some(Target::File(path)) = &to {
        reader.need(reader.place_of("to"), "to", Needed::FolderOf(path.clone()));
    }
    let (to, syslog, facility) = (to?, syslog?, facility?);
    let (format, only, sample_ppm) = (format?, only?, sample_ppm?);
    let to = match to {
        Target::Off => return Some(None),
        Target::Stdout => LogTo::Stdout,
        Target::Stderr => LogTo::Stderr,
        Target::Syslog => LogTo::Syslog(syslog, facility),
        Target::File(path) => LogTo::File(path),
    };
    Some(Some(AccessLog { to, format, only, sample_ppm }))
}

fn refuse_unused(reader: &Reader<'_, '_>, to: Option<&Target>, only: Option<Only>) {
    let refuse = |name: &str, words: &str| {
        if reader.is_given(name) {
            reader.report(&reader.place_of(name), name, Reason::Conflict(words.to_owned()));
        }
    };
    // With "off" the whole table waits for its day.
    if to.is_some_and(|to| !matches!(to, Target::Off | Target::Syslog)) {
        for name in ["syslog", "facility"] {
            refuse(name, "it is never used, because to is not \"syslog\"; set to to \"syslog\" or remove it");
        }
    }
    if only == Some(Only::Errors) {
        let words = "it is never used, because only is \"errors\", and errors are all logged; set only to \"all\" or \
                     remove it";
        refuse("sample", words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::{Facility, LogFormat, SyslogAddress};
    use crate::config::{Errors, parse};

    fn understood(keys: &str) -> Result<Option<AccessLog>, Errors> {
        let text = format!(
            "[access_log]\n{keys}\n[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n[[pool]]\nname='p'\n\
             [[pool.backend]]\naddress='127.0.0.1:2'\n"
        );
        parse("f", &text).map(|config| config.access_log)
    }

    fn log(keys: &str) -> AccessLog {
        understood(keys).unwrap_or_else(|errors| panic!("{errors}")).unwrap()
    }

    fn mistake(keys: &str) -> String {
        understood(keys).unwrap_err().to_string()
    }

    #[test]
    fn every_key_reaches_its_setting() {
        let everything = AccessLog {
            to: LogTo::Stdout,
            format: LogFormat::Text,
            only: Only::All,
            sample_ppm: AccessLog::WHOLE_PPM,
        };
        assert_eq!(log("to = 'stdout'"), everything);
        assert_eq!(log("to = 'stderr'\nsample = 1.0"), AccessLog { to: LogTo::Stderr, ..everything.clone() });
        let file = AccessLog {
            to: LogTo::File("/var/log/a b".into()),
            format: LogFormat::Json,
            only: Only::Errors,
            ..everything.clone()
        };
        assert_eq!(log("to = '/var/log/a b'\nformat = 'json'\nonly = 'errors'"), file);
        let local = LogTo::Syslog(SyslogAddress::Socket("/dev/log".into()), Facility::Local0);
        assert_eq!(log("to = 'syslog'"), AccessLog { to: local, ..everything.clone() });
        let remote = SyslogAddress::Udp("[::1]:514".parse().unwrap());
        let remote =
            AccessLog { to: LogTo::Syslog(remote, Facility::Local7), sample_ppm: 12_500, ..everything };
        assert_eq!(log("to = 'syslog'\nsyslog = '[::1]:514'\nfacility = 'local7'\nsample = 0.0125"), remote);
        assert_eq!(understood("").unwrap(), None);
        assert_eq!(understood("to = 'off'\nformat = 'json'\nfacility = 'user'").unwrap(), None);
    }

    #[test]
    fn fractions_are_millionths() {
        for (typed, ppm) in
            [("1", 1_000_000), ("0.5", 500_000), ("1e-6", 1), ("0.1", 100_000), ("0.9999999", 1_000_000)]
        {
            assert_eq!(log(&format!("to = 'stdout'\nsample = {typed}")).sample_ppm, ppm, "{typed}");
        }
        for typed in ["0", "0.0", "-1", "-0.5", "1e-9"] {
            let found = mistake(&format!("to = 'stdout'\nsample = {typed}"));
            assert!(
                found.contains("is too small; sample goes from 0.000001 to 1; for errors alone"),
                "{found}"
            );
        }
        for typed in ["2", "1.1", "inf", "1e300"] {
            assert!(mistake(&format!("to = 'stdout'\nsample = {typed}")).contains("is too large"), "{typed}");
        }
        for typed in ["nan", "'0.5'", "true", "[0.5]"] {
            assert!(mistake(&format!("to = 'stdout'\nsample = {typed}")).contains("; write a "), "{typed}");
        }
    }
}
