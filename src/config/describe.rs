//! A configuration as text for people: every setting that holds, given or not.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::spans::spans;
use super::types::{
    AcceptProxy, Access, AccessLog, Admin, AdminAddress, Algorithm, Backend, Bandwidth, Check, Choice,
    Config, Expect, Health, HttpCheck, Listener, ListenerLimits, LogTo, NoBackend, Only, Pace, Pool,
    PoolSocket, Protocol, ProxyVersion, Rate, RunAs, SendProxy, Server, Source as PoolSource, SyslogAddress,
    TcpOptions, Workers,
};
use super::units::{format_duration, format_size};

/// One part of a configuration: the server, a listener, a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is and what it is called.
    pub title: String,
    /// Its settings; one with several values has them after each other, all but the first without the name.
    pub settings: Vec<(&'static str, String)>,
}

impl Section {
    fn new(title: String) -> Section {
        Section { title, settings: Vec::new() }
    }

    /// The value of a setting, if it has it; several stand side by side.
    pub fn value(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.values(name).iter().map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// All values of a setting, which stand one after the other.
    pub fn values(&self, name: &str) -> &[(&'static str, String)] {
        let Some(place) = self.settings.iter().position(|(other, _)| *other == name) else { return &[] };
        let more = self.settings[place + 1..].iter().take_while(|(name, _)| name.is_empty()).count();
        &self.settings[place..=place + more]
    }
}

impl Config {
    /// The part that holds for the whole process.
    pub fn server_section(&self) -> Section {
        let mut section = Section::new("server".into());
        server(&mut section, &self.server);
        section
    }

    /// The part of the access log.
    pub fn access_log_section(&self) -> Section {
        let mut section = Section::new("access_log".into());
        access_log(&mut section, self.access_log.as_ref());
        section
    }

    /// The part of the admin API.
    pub fn admin_section(&self) -> Section {
        let mut section = Section::new("admin".into());
        admin(&mut section, self.admin.as_ref());
        section
    }

    /// The part of a listener.
    pub fn listener_section(&self, index: usize) -> Section {
        let spec = &self.listeners[index];
        let mut section = Section::new(format!("listener {}", spec.name));
        listener(&mut section, spec, &self.pools);
        section
    }

    /// The part of a pool, without its backends.
    pub fn pool_section(&self, index: usize) -> Section {
        let mut section = Section::new(format!("pool {}", self.pools[index].name));
        pool(&mut section, &self.pools[index]);
        section
    }
}

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}", self.server_section(), self.access_log_section(), self.admin_section())?;
        for index in 0..self.listeners.len() {
            write!(f, "\n{}", self.listener_section(index))?;
        }
        for (index, pool) in self.pools.iter().enumerate() {
            write!(f, "\n{}", self.pool_section(index))?;
            backends(f, pool)?;
        }
        Ok(())
    }
}

impl Display for Section {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        self.settings.iter().try_for_each(|(name, value)| writeln!(f, "  {name:27} {value}"))
    }
}

fn server(f: &mut Section, server: &Server) {
    line(f, "workers", &workers(&server.workers));
    line(f, "engine", &server.engine.word());
    line(f, "busy_poll_us", &server.busy_poll.as_micros());
    line(f, "drain_timeout", &format_duration(server.drain_timeout));
    line(f, "removed_drain_timeout", &format_duration(server.removed_drain_timeout));
    line(f, "upgrade_timeout", &format_duration(server.upgrade_timeout));
    line(f, "sessions_max", &or(server.sessions_max, "auto (from the limit on open files)"));
    line(f, "rate_max", &or(server.rate_max, "off"));
    let arena = server.buffer_size * server.buffers_per_worker;
    line(f, "buffer_size", &format_size(bytes(server.buffer_size)));
    line(f, "buffers_per_worker", &format!("{} ({})", server.buffers_per_worker, format_size(bytes(arena))));
    let large = &server.large_buffers_per_worker;
    line(
        f,
        "large_buffers_per_worker",
        &format!("{large} ({})", format_size(bytes(large * server.large_buffer_size()))),
    );
    line(f, "pipes_per_worker", &server.pipes_per_worker);
    line(f, "status_interval", &or_off(server.status_interval));
    line(f, "log", &server.log.word());
    match &server.run_as {
        Some(RunAs { user, group }) => {
            line(f, "user", user);
            line(f, "group", &group.as_deref().unwrap_or("that of the user"));
        }
        None => line(f, "user", &"whoever starts it"),
    }
    let Some(record) = &server.record else { return line(f, "record", &"off") };
    line(f, "record", &record.path.display());
    line(f, "record_size_max", &format_size(record.size_max));
    line(f, "record_files", &record.files);
    line(f, "record_addresses", &record.addresses);
}

fn access_log(f: &mut Section, log: Option<&AccessLog>) {
    let Some(log) = log else { return line(f, "to", &"off") };
    match &log.to {
        LogTo::Stdout => line(f, "to", &"stdout"),
        LogTo::Stderr => line(f, "to", &"stderr"),
        LogTo::File(path) => line(f, "to", &path.display()),
        LogTo::Syslog(address, facility) => {
            line(f, "to", &"syslog");
            match address {
                SyslogAddress::Socket(path) => line(f, "syslog", &path.display()),
                SyslogAddress::Udp(address) => line(f, "syslog", address),
            }
            line(f, "facility", &facility.word());
        }
    }
    line(f, "format", &log.format.word());
    line(f, "only", &log.only.word());
    if log.only == Only::All {
        line(f, "sample", &(f64::from(log.sample_ppm) / f64::from(AccessLog::WHOLE_PPM)));
    }
}

fn admin(f: &mut Section, admin: Option<&Admin>) {
    let Some(admin) = admin else { return line(f, "bind", &"off") };
    match &admin.bind {
        AdminAddress::Address(address) => line(f, "bind", address),
        AdminAddress::Socket(path) => line(f, "bind", &path.display()),
    }
    let token_file = admin.token_file.as_ref().map_or("none".into(), |path| path.display().to_string());
    line(f, "token_file", &token_file);
    line(f, "quorum", &admin.quorum);
}

fn listener(f: &mut Section, listener: &Listener, pools: &[Pool]) {
    for (index, bind) in spans(&listener.bind).iter().enumerate() {
        line(f, if index == 0 { "bind" } else { "" }, bind);
    }
    line(f, "protocol", &listener.protocol.word());
    line(f, "pool", &pool_name(pools, listener.pool));
    match listener.protocol {
        Protocol::Tcp => connections(f, listener, pools),
        Protocol::Udp => datagrams(f, listener),
    }
    line(f, "access_log", &listener.access_log);
    accept_proxy(f, listener.proxy_protocol.as_ref(), listener.protocol);
    access(f, &listener.access);
    limits(f, &listener.limits);
    bandwidth(f, &listener.bandwidth);
}

fn connections(f: &mut Section, listener: &Listener, pools: &[Pool]) {
    routes(f, listener, pools);
    line(f, "backlog", &listener.backlog);
    line(f, "accept", &listener.accept.word());
    tcp(f, listener.tcp);
    listening_socket(f, listener);
    line(f, "idle_timeout", &or_off(listener.idle_timeout));
    line(f, "half_closed_timeout", &or_off(listener.half_closed_timeout));
    line(f, "lifetime_max", &or_off(listener.lifetime_max));
    if listener.lifetime_max.is_some() {
        line(f, "lifetime_jitter", &listener.lifetime_jitter);
    }
    match &listener.no_backend {
        NoBackend::Reset => line(f, "no_backend", &"reset"),
        NoBackend::Close => line(f, "no_backend", &"close"),
        NoBackend::Message(text) => {
            line(f, "no_backend", &"message");
            line(f, "no_backend_message", &format!("{text:?}"))
        }
    }
}

fn datagrams(f: &mut Section, listener: &Listener) {
    let udp = &listener.udp;
    line(f, "udp.responses", &or(udp.responses, "off"));
    line(f, "udp.requests", &or(udp.requests, "off"));
    line(f, "udp.idle_timeout", &or_off(listener.idle_timeout));
    line(f, "udp.sessions_max", &udp.sessions_max);
    line(f, "udp.source_ports", &udp.source_ports.word());
    listening_socket(f, listener);
    line(f, "lifetime_max", &or_off(listener.lifetime_max));
    if listener.lifetime_max.is_some() {
        line(f, "lifetime_jitter", &listener.lifetime_jitter);
    }
}

fn accept_proxy(f: &mut Section, proxy: Option<&AcceptProxy>, protocol: Protocol) {
    let Some(proxy) = proxy else { return line(f, "proxy_protocol", &"off") };
    for (index, network) in proxy.accept_from.iter().enumerate() {
        line(f, if index == 0 { "proxy_protocol.accept_from" } else { "" }, network);
    }
    line(f, "proxy_protocol.versions", &words(&proxy.versions));
    match protocol {
        Protocol::Tcp => line(f, "proxy_protocol.timeout", &format_duration(proxy.timeout)),
        Protocol::Udp => line(f, "proxy_protocol.datagrams", &proxy.datagrams.word()),
    }
}

fn send_proxy(f: &mut Section, proxy: Option<&SendProxy>) {
    let Some(proxy) = proxy else { return line(f, "proxy_protocol.send", &"off") };
    line(f, "proxy_protocol.send", &proxy.version.word());
    if proxy.version == ProxyVersion::V2 {
        line(f, "proxy_protocol.tlvs", &words(&proxy.tlvs));
        line(f, "proxy_protocol.datagrams", &proxy.datagrams.word());
    }
    for (index, (kind, value)) in proxy.custom.iter().enumerate() {
        let name = if index == 0 { "proxy_protocol.custom" } else { "" };
        line(f, name, &format!("{kind:#04X} {}", in_quotes(value)));
    }
}

fn words<T: Choice>(choices: &[T]) -> String {
    let words: Vec<&str> = choices.iter().map(|choice| choice.word()).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn access(f: &mut Section, access: &Access) {
    let networks = |list: &[IpNet]| list.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
    let files =
        |list: &[PathBuf]| list.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let or_none = |text: String| or(Some(text).filter(|text| !text.is_empty()), "none");
    line(f, "access.default", &access.default.word());
    line(f, "access.allow", &or_none(networks(&access.allow)));
    line(f, "access.deny", &or_none(networks(&access.deny)));
    line(f, "access.allow_files", &or_none(files(&access.allow_files)));
    line(f, "access.deny_files", &or_none(files(&access.deny_files)));
    line(f, "access.refuse", &access.refuse.word());
}

fn limits(f: &mut Section, limits: &ListenerLimits) {
    let rate = |rate: Option<Rate>| or(rate.map(|rate| format!("{rate}, {} at once", rate.burst)), "off");
    line(f, "limits.sessions_max", &or(limits.sessions_max, "off"));
    line(f, "limits.rate", &rate(limits.rate));
    if limits.sessions_max.is_some() || limits.rate.is_some() {
        line(f, "limits.over", &limits.over.word());
    }
    line(f, "limits.sessions_per_source", &or(limits.sessions_per_source, "off"));
    line(f, "limits.rate_per_source", &rate(limits.rate_per_source));
    if limits.has_sources() {
        line(f, "limits.source_prefix_v4", &limits.source_prefix_v4);
        line(f, "limits.source_prefix_v6", &limits.source_prefix_v6);
        line(f, "limits.sources_max", &limits.sources_max);
    }
}

fn bandwidth(f: &mut Section, bandwidth: &Bandwidth) {
    let pace = |pace: Option<Pace>| {
        let text = |pace: Pace| format!("{}/s, {} at once", format_size(pace.rate), format_size(pace.burst));
        or(pace.map(text), "off")
    };
    line(f, "bandwidth.to_backend", &pace(bandwidth.to_backend));
    line(f, "bandwidth.to_client", &pace(bandwidth.to_client));
}

fn pool_name(pools: &[Pool], index: usize) -> &str {
    pools.get(index).map_or("", |pool| &pool.name)
}

fn routes(f: &mut Section, listener: &Listener, pools: &[Pool]) {
    for (index, route) in listener.routes.iter().enumerate() {
        let names: Vec<String> = route.server_names.iter().map(ToString::to_string).collect();
        let asked = [("", names.join(", ")), ("alpn ", route.alpn.join(", "))];
        let asked =
            asked.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| format!("{what}{list}"));
        let asked: Vec<String> = asked.collect();
        let shown = format!("{} -> {}", asked.join(", "), pool_name(pools, route.pool));
        line(f, if index == 0 { "route" } else { "" }, &shown);
    }
    if !listener.routes.is_empty() {
        line(f, "tls.hello_timeout", &format_duration(listener.tls.hello_timeout));
        line(f, "tls.hello_bytes_max", &format_size(bytes(listener.tls.hello_bytes_max)));
        line(f, "tls.unmatched", &listener.tls.unmatched.word());
        line(f, "tls.no_hello", &listener.tls.no_hello.word());
    }
}

/// Who may connect to its Unix sockets, if it has any.
fn listening_socket(f: &mut Section, listener: &Listener) {
    let socket = &listener.socket;
    if listener.bind.iter().any(|bind| bind.is_unix()) {
        line(f, "socket.mode", &format!("{:04o}", socket.mode));
        line(f, "socket.user", &socket.user.as_deref().unwrap_or("that of the process"));
        line(f, "socket.group", &socket.group.as_deref().unwrap_or("that of the process"));
    }
    // Hardly anybody gives one of them: those that are not given are not shown.
    let given: [(&'static str, Option<String>); 11] = [
        ("socket.device", socket.device.clone()),
        ("socket.free_bind", socket.free_bind.then(|| "true".to_owned())),
        ("socket.transparent", socket.transparent.then(|| "true".to_owned())),
        ("socket.fast_open", socket.fast_open.map(|clients| clients.to_string())),
        ("socket.defer_accept", socket.defer_accept.map(format_duration)),
        ("socket.congestion", socket.congestion.clone()),
        ("socket.dscp", socket.dscp.map(|class| class.to_string())),
        ("socket.mss", socket.mss.map(|bytes| bytes.to_string())),
        ("socket.mptcp", socket.mptcp.then(|| "true".to_owned())),
        ("socket.receive_buffer", socket.receive_buffer.map(|size| format_size(size.into()))),
        ("socket.send_buffer", socket.send_buffer.map(|size| format_size(size.into()))),
    ];
    given.into_iter().for_each(|(name, value)| value.iter().for_each(|value| line(f, name, value)));
}

/// Hardly anybody gives one of them: those that are not given are not shown.
fn pool_socket(f: &mut Section, socket: &PoolSocket) {
    let given: [(&'static str, Option<String>); 9] = [
        ("socket.device", socket.device.clone()),
        ("socket.mark", socket.mark.map(|mark| mark.to_string())),
        ("socket.fast_open", socket.fast_open.then(|| "true".to_owned())),
        ("socket.mptcp", socket.mptcp.then(|| "true".to_owned())),
        ("socket.congestion", socket.congestion.clone()),
        ("socket.dscp", socket.dscp.map(|class| class.to_string())),
        ("socket.mss", socket.mss.map(|bytes| bytes.to_string())),
        ("socket.receive_buffer", socket.receive_buffer.map(|size| format_size(size.into()))),
        ("socket.send_buffer", socket.send_buffer.map(|size| format_size(size.into()))),
    ];
    given.into_iter().for_each(|(name, value)| value.iter().for_each(|value| line(f, name, value)));
}

fn pool(f: &mut Section, pool: &Pool) {
    line(f, "algorithm", &pool.algorithm.word());
    let mut algorithms = pool.shadow.iter().chain([&pool.algorithm]);
    if algorithms.any(|&algorithm| algorithm == Algorithm::PowerOfTwo) {
        line(f, "power_of_two_by", &pool.power_of_two_by.word());
    }
    let shadow: Vec<&str> = pool.shadow.iter().map(|shadow| shadow.word()).collect();
    line(f, "shadow", &or(Some(shadow.join(", ")).filter(|shadow| !shadow.is_empty()), "none"));
    line(f, "connect_timeout", &format_duration(pool.connect_timeout));
    line(f, "connect_total_timeout", &format_duration(pool.connect_total_timeout));
    line(f, "connect_attempts", &or(pool.connect_attempts, "all"));
    line(f, "queue_max", &pool.queue_max);
    line(f, "queue_timeout", &format_duration(pool.queue_timeout));
    line(f, "slow_start", &or_off(pool.slow_start));
    line(f, "panic_threshold", &pool.panic_threshold);
    line(f, "on_down", &pool.on_down.word());
    tcp(f, pool.tcp);
    source(f, &pool.source);
    line(f, "response_time.signal", &pool.response_time.signal.word());
    line(f, "response_time.statistic", &pool.response_time.statistic.word());
    line(f, "response_time.window", &format_duration(pool.response_time.window));
    health(f, &pool.health);
    line(f, "ejection.failures", &or(pool.ejection.failures, "off"));
    line(f, "ejection.time", &format_duration(pool.ejection.time));
    line(f, "ejection.time_max", &format_duration(pool.ejection.time_max));
    line(f, "ejection.share_max", &pool.ejection.share_max);
    line(f, "ejection.first_byte_timeout", &or_off(pool.ejection.first_byte_timeout));
    send_proxy(f, pool.proxy_protocol.as_ref());
    pool_socket(f, &pool.socket);
}

/// Only what is given: hardly any pool has it.
fn source(f: &mut Section, source: &PoolSource) {
    for (index, address) in source.addresses.iter().enumerate() {
        line(f, if index == 0 { "source.addresses" } else { "" }, address);
    }
    if let Some((first, last)) = source.ports {
        line(f, "source.ports", &format!("{first}-{last}"));
    }
    if source.transparent {
        line(f, "source.transparent", &true);
    }
}

fn health(f: &mut Section, health: &Health) {
    check(f, &health.check);
    line(f, "health.port", &or(health.port, "that of the backend"));
    line(f, "health.interval", &format_duration(health.interval));
    line(f, "health.fast_interval", &format_duration(health.fast_interval));
    line(f, "health.down_interval", &format_duration(health.down_interval));
    line(f, "health.jitter", &health.jitter);
    line(f, "health.timeout", &format_duration(health.timeout));
    line(f, "health.rise", &health.rise);
    line(f, "health.fall", &health.fall);
    line(f, "health.initial_state", &health.initial_state.word());
    line(f, "health.passive", &health.passive);
    line(f, "health.proxy_protocol", &health.proxy_protocol)
}

/// The check with the keys that it has.
fn check(f: &mut Section, check: &Check) {
    match check {
        Check::None => line(f, "health.check", &"none"),
        Check::Tcp(exchange) => {
            line(f, "health.check", &"tcp");
            let send = Some(in_quotes(&exchange.send)).filter(|_| !exchange.send.is_empty());
            line(f, "health.send", &or(send, "nothing"));
            expect(f, exchange.expect.as_ref())
        }
        Check::Udp(datagrams) => {
            line(f, "health.check", &"udp");
            line(f, "health.send", &in_quotes(&datagrams.send));
            expect(f, datagrams.expect.as_ref())
        }
        Check::Http(request) => {
            line(f, "health.check", &"http");
            http(f, request)
        }
        Check::Https(request, tls) => {
            line(f, "health.check", &"https");
            http(f, request);
            line(f, "health.tls_name", &tls.name.as_deref().unwrap_or("the IP address that is checked"));
            line(f, "health.tls_verify", &tls.verify);
            let authorities = tls.authorities.as_ref().map(|path| path.display());
            line(f, "health.tls_authorities", &or(authorities, "those of the system"))
        }
        Check::Command(texts) => {
            line(f, "health.check", &"command");
            line(f, "health.command", &format!("{texts:?}"))
        }
    }
}

fn http(f: &mut Section, request: &HttpCheck) {
    line(f, "health.method", &request.method);
    line(f, "health.path", &request.path);
    line(f, "health.host", &request.host.as_deref().unwrap_or("the address that is checked"));
    let range = |&(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let status: Vec<String> = request.status.iter().map(range).collect();
    line(f, "health.status", &status.join(", "));
    expect(f, request.body.as_ref())
}

fn expect(f: &mut Section, expected: Option<&Expect>) {
    match expected {
        None => line(f, "health.expect", &"nothing"),
        Some(Expect::Bytes(bytes)) => line(f, "health.expect", &in_quotes(bytes)),
        Some(Expect::Regex(regex)) => line(f, "health.expect_regex", &format!("{:?}", regex.as_str())),
    }
}

fn in_quotes(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

fn backends(f: &mut Formatter<'_>, pool: &Pool) -> fmt::Result {
    const HEADS: [&str; 6] = ["backend", "address", "weight", "backup", "max_connections", "check_address"];
    let rows: Vec<_> = pool.backends.iter().map(|each| cells(pool, each)).collect();
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    writeln!(f)?;
    row(f, widths, HEADS)?;
    rows.iter().try_for_each(|cells| row(f, widths, cells.each_ref().map(String::as_str)))
}

fn cells(pool: &Pool, backend: &Backend) -> [String; 6] {
    let checked_at = backend.address.at_port(pool.health.port);
    [
        backend.name.clone(),
        backend.address.to_string(),
        backend.weight.to_string(),
        backend.backup.to_string(),
        or(backend.max_connections, "off"),
        backend.check_address.unwrap_or(checked_at).to_string(),
    ]
}

/// Numbers end in the same column, words begin there.
fn row(f: &mut Formatter<'_>, widths: [usize; 6], cells: [&str; 6]) -> fmt::Result {
    let [name_width, address_width, weight_width, backup_width, max_width, _] = widths;
    let [name, address, weight, backup, max, check_address] = cells;
    writeln!(
        f,
        "  {name:name_width$}  {address:address_width$}  {weight:>weight_width$}  {backup:backup_width$}  \
         {max:>max_width$}  {check_address}"
    )
}

fn tcp(f: &mut Section, tcp: TcpOptions) {
    line(f, "nodelay", &tcp.nodelay);
    line(f, "keepalive", &or_off(tcp.keepalive));
    line(f, "user_timeout", &or_off(tcp.user_timeout))
}

fn line(f: &mut Section, name: &'static str, value: &dyn Display) {
    f.settings.push((name, value.to_string()));
}

fn workers(workers: &Workers) -> String {
    match workers {
        Workers::Auto => "auto (one on each core)".to_owned(),
        Workers::Count(count) => count.to_string(),
        Workers::Cores(cores) => {
            let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
            format!("one on each of the cores {}", cores.join(", "))
        }
    }
}

fn or_off(time: Option<Duration>) -> String {
    time.map_or_else(|| "off".to_owned(), format_duration)
}

fn or(value: Option<impl Display>, word: &str) -> String {
    value.map_or_else(|| word.to_owned(), |value| value.to_string())
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
