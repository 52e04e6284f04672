//! Meaning of `[pool.socket]`: what the connections to backends are like.

use super::listening_socket::without_user_timeout;
use super::to_u32;
use crate::config::keys;
use crate::config::needs::Needed;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::PoolSocket;
use crate::config::values;

pub(super) fn pool_socket(pool: &Reader<'_, '_>) -> Option<PoolSocket> {
    let empty = Table::new();
    let (table, place) = pool.table("socket", &empty)?;
    let reader = pool.inside(&keys::POOL_SOCKET, table, place);
    let device = reader.get_if_given("device", values::device);
    if let Some(Some(device)) = &device {
        reader.need(reader.place_of("device"), "device", Needed::Device(device.clone()));
    }
    let mark = reader.get("mark", values::number);
    let fast_open = reader.get("fast_open", values::switch);
    let mptcp = reader.get("mptcp", values::switch);
    let congestion = reader.get_if_given("congestion", values::name);
    let dscp = reader.get_if_given("dscp", values::dscp);
    let mss = reader.get("mss", values::number);
    let receive_buffer = reader.get_if_given("receive_buffer", values::size);
    let send_buffer = reader.get_if_given("send_buffer", values::size);
    without_user_timeout(pool, &reader, mptcp?)?;
    Some(PoolSocket {
        device: device?,
        mark: mark?.map(to_u32),
        fast_open: fast_open?,
        mptcp: mptcp?,
        congestion: congestion?,
        dscp: dscp?,
        mss: mss?.map(to_u32),
        receive_buffer: receive_buffer?.map(to_u32),
        send_buffer: send_buffer?.map(to_u32),
    })
}
