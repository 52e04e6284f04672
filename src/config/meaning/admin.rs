//! `[admin]`.

use super::super::errors::{Reason, Report};
use super::super::keys;
use super::super::needs::Needed;
use super::super::read::Reader;
use super::super::typed::Table;
use super::super::types::{Admin, AdminAddress};
use super::super::values;
use super::{count, to_u32};

/// Without the table there is none.
pub(super) fn admin<'t>(root: &Reader<'_, 't>, empty: &Table<'t>, report: &Report) -> Option<Option<Admin>> {
    if !root.is_given("admin") {
        return Some(None);
    }
    let (table, place) = root.table("admin", empty)?;
    let reader = Reader::new(&keys::ADMIN, table, place, String::new(), report);
    let bind = reader.get("bind", values::admin_address);
    let token_file = reader.get_if_given("token_file", values::file);
    if let Some(AdminAddress::Socket(path)) = &bind {
        reader.need(reader.place_of("bind"), "bind", Needed::FolderOf(path.clone()));
    }
    if let Some(Some(path)) = &token_file {
        reader.need(reader.place_of("token_file"), "token_file", Needed::Token(path.clone()));
    }
    let quorum = count(&reader, "quorum").map(to_u32);
    if let (Some(AdminAddress::Address(address)), Some(None)) = (&bind, &token_file)
        && !address.ip().is_loopback()
    {
        let words = format!(
            "{address} can be reached from other machines, and there is no token: whoever gets there could drain every backend; \
             write token_file = \"/etc/ringway/token\" (openssl rand -hex 32 makes one), or bind to 127.0.0.1 or to the path \
             of a socket"
        );
        reader.report(&reader.place_of("bind"), "bind", Reason::Conflict(words));
        return None;
    }
    Some(Some(Admin { bind: bind?, token_file: token_file?, quorum: quorum? }))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Admin, AdminAddress, parse};

    const REST: &str = "\n[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='a'\n[[pool]]\nname='a'\n\
                        [[pool.backend]]\naddress='127.0.0.1:2'\n";

    fn admin(keys: &str) -> Result<Option<Admin>, String> {
        parse("f", &format!("{keys}{REST}")).map(|config| config.admin).map_err(|errors| errors.to_string())
    }

    #[test]
    fn there_is_none_unless_it_is_asked_for_and_then_on_the_loopback() {
        assert_eq!(admin(""), Ok(None));
        let Admin { bind, token_file, quorum } = admin("[admin]").unwrap().unwrap();
        assert_eq!(bind, AdminAddress::Address("127.0.0.1:8404".parse().unwrap()));
        assert_eq!((token_file, quorum), (None, 1));
        let socket = admin("[admin]\nbind='/run/ringway/admin.sock'").unwrap().unwrap();
        assert_eq!(socket.bind, AdminAddress::Socket("/run/ringway/admin.sock".into()));
    }

    #[test]
    fn whoever_can_reach_it_from_outside_needs_a_token() {
        for bind in ["0.0.0.0:8404", "[::]:8404", "10.0.0.1:8404"] {
            let error = admin(&format!("[admin]\nbind='{bind}'")).unwrap_err();
            assert!(error.contains("admin.bind") && error.contains("token_file = "), "{error}");
            assert!(admin(&format!("[admin]\nbind='{bind}'\ntoken_file='/t'")).is_ok());
        }
        assert!(admin("[admin]\nbind='[::1]:1'").is_ok());
        let long = admin(&format!("[admin]\nbind='/{}'", "a".repeat(96))).unwrap_err();
        assert!(long.contains("bytes in the path of a socket"), "{long}");
    }
}
