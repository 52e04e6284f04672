//! Meaning of `[listener.socket]`: what a listener's sockets are like.

use crate::config::errors::Report;
use crate::config::keys;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::ListeningSocket;
use crate::config::values;

pub(super) fn listening_socket(listener: &Reader<'_, '_>, report: &Report) -> Option<ListeningSocket> {
    let empty = Table::new();
    let (table, place) = listener.table("socket", &empty)?;
    let reader = Reader::new(&keys::LISTENING_SOCKET, table, place, listener.owner().to_owned(), report);
    let mode = reader.get("mode", values::file_mode);
    let user = reader.get_if_given("user", values::name);
    let group = reader.get_if_given("group", values::name);
    Some(ListeningSocket { mode: mode?, user: user?, group: group? })
}
