//! Kernel: settings of this machine that keep it from what a configuration wants. Pure, but for reading them.

use std::fs;

use crate::config::{Config, ListeningSocket, PoolSocket};

/// What the kernel is set to, as far as it can be read.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// net.ipv4.tcp_fastopen
    pub fast_open: Option<u32>,
    /// net.mptcp.enabled; a kernel without MPTCP has none.
    pub mptcp: Option<u32>,
    /// net.ipv4.tcp_available_congestion_control
    pub congestion: Option<String>,
    /// net.core.rmem_max
    pub receive_buffer_max: Option<u32>,
    /// net.core.wmem_max
    pub send_buffer_max: Option<u32>,
}

/// What a listener and a pool have in common.
struct Wanted<'a> {
    mptcp: bool,
    congestion: Option<&'a str>,
    receive_buffer: Option<u32>,
    send_buffer: Option<u32>,
}

impl Settings {
    /// Those of now.
    pub fn read() -> Settings {
        let text = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).ok();
        let number = |name| text(name)?.trim().parse().ok();
        Settings {
            fast_open: number("ipv4/tcp_fastopen"),
            mptcp: number("mptcp/enabled"),
            congestion: text("ipv4/tcp_available_congestion_control"),
            receive_buffer_max: number("core/rmem_max"),
            send_buffer_max: number("core/wmem_max"),
        }
    }

    /// What cannot be as a configuration wants it, each in one line.
    pub fn warnings(&self, config: &Config) -> Vec<String> {
        let mut found = Vec::new();
        for listener in &config.listeners {
            let wanted = &listener.socket;
            let lines = [self.no_fast_open(wanted.fast_open.is_some(), 2, "client can use", "servers")];
            let lines = lines.into_iter().flatten().chain(self.common(&Wanted::from(wanted)));
            found.extend(lines.map(|line| format!("listener \"{}\": {line}", listener.name)));
        }
        for pool in &config.pools {
            let wanted = &pool.socket;
            let lines = [self.no_fast_open(wanted.fast_open, 1, "connection uses", "clients")];
            let lines = lines.into_iter().flatten().chain(self.common(&Wanted::from(wanted)));
            found.extend(lines.map(|line| format!("pool \"{}\": {line}", pool.name)));
        }
        found
    }

    fn no_fast_open(&self, is_wanted: bool, bit: u32, who: &str, whom: &str) -> Option<String> {
        let bits = self.fast_open.filter(|bits| is_wanted && bits & bit == 0)?;
        let cure = bits | bit;
        Some(format!(
            "no {who} fast_open, because net.ipv4.tcp_fastopen = {bits} does not let {whom}; sysctl -w \
             net.ipv4.tcp_fastopen={cure}"
        ))
    }

    fn common(&self, wanted: &Wanted<'_>) -> Vec<String> {
        let mut found = Vec::new();
        if wanted.mptcp && self.mptcp.is_none_or(|enabled| enabled == 0) {
            let what = if self.mptcp.is_some() { "is switched off" } else { "is not in this kernel" };
            found.push(format!(
                "mptcp {what}: the start will be refused; sysctl -w net.mptcp.enabled=1, or take it out"
            ));
        }
        if let (Some(known), Some(congestion)) = (&self.congestion, wanted.congestion)
            && !known.split_whitespace().any(|one| one == congestion)
        {
            let known = known.split_whitespace().collect::<Vec<_>>().join(", ");
            found.push(format!(
                "the kernel has no congestion = \"{congestion}\" yet, only {known}; modprobe tcp_{congestion} may bring it"
            ));
        }
        let buffers = [
            ("receive_buffer", wanted.receive_buffer, "rmem_max", self.receive_buffer_max),
            ("send_buffer", wanted.send_buffer, "wmem_max", self.send_buffer_max),
        ];
        for (key, wanted, setting, max) in buffers {
            if let (Some(wanted), Some(max)) = (wanted, max)
                && wanted > max
            {
                found.push(format!(
                    "the kernel grants a {key} of {max} bytes only; to raise it: sysctl -w net.core.{setting}={wanted}"
                ));
            }
        }
        found
    }
}

impl<'a> From<&'a ListeningSocket> for Wanted<'a> {
    fn from(socket: &'a ListeningSocket) -> Wanted<'a> {
        Wanted {
            mptcp: socket.mptcp,
            congestion: socket.congestion.as_deref(),
            receive_buffer: socket.receive_buffer,
            send_buffer: socket.send_buffer,
        }
    }
}

impl<'a> From<&'a PoolSocket> for Wanted<'a> {
    fn from(socket: &'a PoolSocket) -> Wanted<'a> {
        Wanted {
            mptcp: socket.mptcp,
            congestion: socket.congestion.as_deref(),
            receive_buffer: socket.receive_buffer,
            send_buffer: socket.send_buffer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listener: &str, pool: &str, settings: &Settings) -> Vec<String> {
        let text = format!(
            "[[listener]]\nname='web'\nbind='127.0.0.1:1'\npool='api'\nsocket={{{listener}}}\n[[pool]]\nname='api'\n\
             socket={{{pool}}}\n[[pool.backend]]\naddress='127.0.0.1:2'\n"
        );
        settings.warnings(&crate::config::parse("test", &text).unwrap())
    }

    #[test]
    fn what_the_kernel_does_not_let_is_told_with_the_cure() {
        let settings = Settings {
            fast_open: Some(0),
            mptcp: Some(0),
            congestion: Some("reno cubic\n".into()),
            receive_buffer_max: Some(212_992),
            send_buffer_max: Some(4_096),
        };
        assert_eq!(of("", "", &settings), [""; 0]);
        let all = "mptcp=true,congestion='bbr',receive_buffer='1MiB',send_buffer='8KiB'";
        assert_eq!(
            of(&format!("fast_open=7,{all}"), "fast_open=true", &settings),
            [
                "listener \"web\": no client can use fast_open, because net.ipv4.tcp_fastopen = 0 does not let servers; sysctl \
                 -w net.ipv4.tcp_fastopen=2",
                "listener \"web\": mptcp is switched off: the start will be refused; sysctl -w net.mptcp.enabled=1, or take it \
                 out",
                "listener \"web\": the kernel has no congestion = \"bbr\" yet, only reno, cubic; modprobe tcp_bbr may bring it",
                "listener \"web\": the kernel grants a receive_buffer of 212992 bytes only; to raise it: sysctl -w \
                 net.core.rmem_max=1048576",
                "listener \"web\": the kernel grants a send_buffer of 4096 bytes only; to raise it: sysctl -w \
                 net.core.wmem_max=8192",
                "pool \"api\": no connection uses fast_open, because net.ipv4.tcp_fastopen = 0 does not let clients; sysctl -w \
                 net.ipv4.tcp_fastopen=1",
            ]
        );
        let settings =
            Settings { fast_open: Some(3), mptcp: Some(1), congestion: Some("bbr".into()), ..settings };
        assert_eq!(of("fast_open=7,mptcp=true,congestion='bbr'", "fast_open=true", &settings), [""; 0]);
        // What cannot be read is not doubted, but for MPTCP, which is not there then.
        let found = of("fast_open=7,congestion='x',mptcp=true", "", &Settings::default());
        assert!(matches!(&found[..], [only] if only.contains("mptcp is not in this kernel")), "{found:?}");
    }
}
