//! Real proxies before us and behind us.

use std::io::Write;
use std::net::SocketAddr;

use ringway::config::{Pool, ProxyDatagrams, ProxyTlv, ProxyVersion, SendProxy};

use super::accepting;
use crate::common::*;
use crate::peers::Server;

/// A pool like the first one, of this one backend.
fn pool(like: &Pool, name: &str, backend: SocketAddr) -> Pool {
    let mut pool = Pool { name: name.into(), ..like.clone() };
    pool.backends.truncate(1);
    pool.backends[0].address = backend.into();
    pool
}

/// Asks over HTTP; the body.
fn ask(address: SocketAddr) -> (String, SocketAddr) {
    let mut client = connect(address);
    let own = client.local_addr().unwrap();
    client.write_all(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_all(&mut client)).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.contains(" 200 "), "{answer}");
    (body.trim().to_owned(), own)
}

#[test]
fn haproxy_and_nginx_before_and_behind_us_agree_on_who_the_client_is() {
    let haproxy = Server::haproxy(|address| {
        format!(
            "defaults\n mode http\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n\
             frontend f\n bind {address} accept-proxy\n http-request return status 200 content-type text/plain \
             lf-string \"%[src]:%[src_port] %[fc_pp_unique_id]\"\n"
        )
    });
    let nginx = Server::nginx_of(|address| {
        format!(
            "http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;\nserver {{ listen {address} proxy_protocol;\n\
             location / {{ return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; }} }} }}"
        )
    });
    let mut config = accepting(&[haproxy.address]);
    let receivers = [
        ("haproxy-v1", haproxy.address, ProxyVersion::V1),
        ("haproxy-v2", haproxy.address, ProxyVersion::V2),
        ("nginx-v1", nginx.address, ProxyVersion::V1),
        ("nginx-v2", nginx.address, ProxyVersion::V2),
    ];
    let (listener, like) = (config.listeners.remove(0), config.pools.remove(0));
    for (place, (name, address, version)) in receivers.into_iter().enumerate() {
        let mut pool = pool(&like, name, address);
        let tlvs = match version {
            ProxyVersion::V1 => vec![],
            ProxyVersion::V2 => vec![ProxyTlv::UniqueId, ProxyTlv::Checksum, ProxyTlv::Received],
        };
        pool.proxy_protocol =
            Some(SendProxy { version, datagrams: ProxyDatagrams::First, tlvs, custom: vec![] });
        config.pools.push(pool);
        let mut listener = listener.clone();
        (listener.name, listener.pool) = (name.into(), place);
        config.listeners.push(listener);
    }
    let ringway = Ringway::start(config);
    let ours: Vec<SocketAddr> = (0..4).map(|place| ringway.server().addresses(place)[0]).collect();

    let options = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"];
    let mut senders = Vec::new();
    let first = Server::haproxy(|address| {
        let mut text =
            "defaults\n mode tcp\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n"
                .to_owned();
        for (place, (option, ours)) in
            options.iter().flat_map(|option| ours.iter().map(move |ours| (option, ours))).enumerate()
        {
            let mut at = address;
            at.set_port(address.port() + place as u16);
            senders.push((at, place % 4, option.contains("unique-id")));
            text += &format!(
                "listen l{place}\n bind {at}\n unique-id-format id-%cp\n server s {ours} {option}\n"
            );
        }
        text
    });
    let second = Server::nginx_of(|address| {
        let mut text = "stream { proxy_protocol on;\n".to_owned();
        for (place, ours) in ours.iter().enumerate() {
            let mut at = address;
            at.set_port(address.port() + place as u16);
            senders.push((at, place, false));
            text += &format!("server {{ listen {at}; proxy_pass {ours}; }}\n");
        }
        text + "}"
    });
    assert_eq!(senders.len(), 16);
    for (sender, receiver, is_named) in senders {
        let (said, own) = ask(sender);
        let name = receivers[receiver].0;
        let (client, id) = said.split_once(' ').unwrap_or((&said, ""));
        assert_eq!(client, own.to_string(), "{sender} {name}");
        if name == "haproxy-v2" {
            let is_ours = !is_named && id.split_once('-').is_some_and(|(worker, _)| worker.len() == 1);
            assert!(is_ours || id == format!("id-{}", own.port()), "{sender} {name}: {id}");
        }
    }
    drop((first, second));
    ringway.finish();
}
