//! A proxy: what it is, how it is told what to do, and one that runs.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
};

use super::{
    backends::{Backends, free_addresses, nginx, nginx_main},
    datagrams, http,
    plan::{Peer, Plan, Ringway},
    tools::Tools,
};
use crate::{
    interrupt::Stop,
    pinning::Pinned,
    process::{Output, Process},
};

/// A proxy that can be started.
#[derive(Debug, Clone)]
pub(super) enum Proxy {
    /// A build of ringway with its settings.
    Ringway(Ringway),
    /// What it is compared with.
    Peer(Peer),
}

impl Proxy {
    /// Unique.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Ringway(ringway) => &ringway.name,
            Self::Peer(Peer::HaProxy) => "haproxy",
            Self::Peer(Peer::HaProxySplice) => "haproxy-splice",
            Self::Peer(Peer::Nginx) => "nginx",
        }
    }

    /// Whether ringway is compared with it.
    pub(super) fn is_peer(&self) -> bool {
        matches!(self, Self::Peer(_))
    }
}

/// A proxy that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    /// In front of nginx.
    pub(super) http: SocketAddr,
    /// In front of the reply backend.
    pub(super) reply: SocketAddr,
    /// In front of the backend of datagrams.
    pub(super) udp: Option<SocketAddr>,
    /// It.
    pub(super) process: Process,
}

impl Running {
    /// Starts it with its files below `folder`, and waits until it carries a request.
    pub(super) fn start(
        proxy: &Proxy,
        (plan, tools, backends): (&Plan, &Tools, &Backends),
        folder: &Path,
        stop: &Stop,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let [http, reply] = free_addresses()?;
        let routes = Routes {
            streams: [("http", http, backends.http), ("reply", reply, backends.reply)],
            datagrams: match backends.udp {
                Some(backend) => Some(("udp", datagrams::free_address()?, backend)),
                None => None,
            },
        };
        let udp = routes.datagrams.map(|(_, listen, _)| listen);
        let process = match proxy {
            Proxy::Ringway(ringway) => start_ringway(ringway, plan, folder, &routes)?,
            Proxy::Peer(Peer::HaProxy) => start_haproxy("", plan, tools, folder, &routes)?,
            Proxy::Peer(Peer::HaProxySplice) => start_haproxy(SPLICE, plan, tools, folder, &routes)?,
            Proxy::Peer(Peer::Nginx) => {
                nginx(plan.cores.proxy, tools, "nginx", folder, &nginx_text(plan, tools, &routes))?
            }
        };
        process.wait_until(stop, || {
            http::answers(http) && TcpStream::connect(reply).is_ok() && udp.is_none_or(datagrams::is_answered)
        })?;
        see_that_it_is_pinned(proxy.name(), &process, plan.cores.proxy)?;
        Ok(Self { http, reply, udp, process })
    }
}

/// Name, where the proxy listens, where it connects to.
type Route = (&'static str, SocketAddr, SocketAddr);

/// What a proxy carries.
#[derive(Debug, Clone, Copy)]
struct Routes {
    streams: [Route; 2],
    datagrams: Option<Route>,
}

fn start_ringway(ringway: &Ringway, plan: &Plan, folder: &Path, routes: &Routes) -> io::Result<Process> {
    let config = folder.join("ringway.toml");
    fs::write(&config, ringway_text(&ringway.settings, &routes.streams, routes.datagrams))?;
    let mut command = Pinned::command(&[plan.cores.proxy], &ringway.program)?;
    command.arg("run").arg("--config").arg(&config);
    Process::start(&ringway.name, command, folder.join("ringway.log"), Output::ToLog)
}

fn ringway_text(settings: &[String], streams: &[Route], datagrams: Option<Route>) -> String {
    let mut text = "[server]\n".to_owned();
    for own in ["workers = 1", "drain_timeout = \"0s\"", "log = \"warn\""] {
        let is_given = settings.iter().any(|line| key(line) == key(own));
        if !is_given {
            text += &format!("{own}\n");
        }
    }
    for line in settings {
        text += &format!("{line}\n");
    }
    for (name, listen, backend) in streams {
        text += &format!(
            "\n[[listener]]\nname = \"{name}\"\nbind = \"{listen}\"\npool = \"{name}\"\nidle_timeout = \"1h\"\n\
             \n[[pool]]\nname = \"{name}\"\n\n[pool.health]\ncheck = \"none\"\n\
             \n[[pool.backend]]\naddress = \"{backend}\"\n"
        );
    }
    if let Some((name, listen, backend)) = datagrams {
        text += &format!(
            "\n[[listener]]\nname = \"{name}\"\nbind = \"{listen}\"\nprotocol = \"udp\"\npool = \"{name}\"\n\
             \n[listener.udp]\nidle_timeout = \"10s\"\n\
             \n[[pool]]\nname = \"{name}\"\n\n[pool.health]\ncheck = \"none\"\n\
             \n[[pool.backend]]\naddress = \"{backend}\"\n"
        );
    }
    text
}

fn key(line: &str) -> &str {
    line.split('=').next().unwrap_or_default().trim()
}

fn start_haproxy(
    option: &str,
    plan: &Plan,
    tools: &Tools,
    folder: &Path,
    routes: &Routes,
) -> io::Result<Process> {
    let config = folder.join("haproxy.cfg");
    let mut text = format!(
        "global\n    nbthread 1\n    maxconn {}\n\ndefaults\n    mode tcp\n    timeout connect 5s\n    \
         timeout client 1h\n    timeout server 1h\n{option}",
        plan.sessions_max()
    );
    for (name, listen, backend) in &routes.streams {
        text += &format!("\nlisten {name}\n    bind {listen} backlog 4096\n    server backend {backend}\n");
    }
    fs::write(&config, text)?;
    let mut command = Pinned::command(&[plan.cores.proxy], tools.haproxy()?)?;
    command.arg("-db").arg("-f").arg(&config);
    Process::start("haproxy", command, folder.join("haproxy.log"), Output::ToLog)
}

fn nginx_text(plan: &Plan, tools: &Tools, routes: &Routes) -> String {
    let module: Option<&PathBuf> = tools.stream_module.as_ref();
    let load = module.map_or_else(String::new, |path| format!("load_module {};\n", path.display()));
    // A session is two connections.
    let connections = 2 * plan.sessions_max() + 100;
    let mut text =
        format!("{load}{}events {{ worker_connections {connections}; }}\nstream {{\n", nginx_main());
    for (_, listen, backend) in &routes.streams {
        text += &format!(
            "    server {{ listen {listen} backlog=4096; proxy_pass {backend}; proxy_timeout 1h; }}\n"
        );
    }
    if let Some((_, listen, backend)) = routes.datagrams {
        // As ringway has it: a session lasts until no datagram has moved for ten seconds. Those of the
        // cells before are not to pile up. Buffers are what is allowed.
        text += &format!(
            "    server {{ listen {listen} udp reuseport rcvbuf=8m sndbuf=8m; proxy_pass {backend}; proxy_timeout 10s; }}\n"
        );
    }
    text + "}\n"
}

/// A proxy with a thread on the core of the generator would look cheaper than it is.
fn see_that_it_is_pinned(name: &str, process: &Process, core: usize) -> io::Result<()> {
    for pid in process.tree()? {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let on = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            if on.is_some_and(|on| on.trim() != core.to_string()) {
                let on = on.unwrap_or_default().trim();
                return Err(io::Error::other(format!(
                    "{name} has a thread on core {on} and not on {core} alone: one worker without a core of its own \
                     can be compared"
                )));
            }
        }
    }
    Ok(())
}

/// Left to itself (auto), HAProxy 2.6 looks again whether to splice only when something wakes the session, which nothing
/// does as long as the client keeps up: it never spliced here. Told to for replies, it does.
const SPLICE: &str = "    option splice-auto\n    option splice-response\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_variant_take_the_place_of_ours() {
        let text = ringway_text(&["log=\"error\"".to_owned(), "engine = \"fixed\"".to_owned()], &[], None);
        assert_eq!(
            text,
            "[server]\nworkers = 1\ndrain_timeout = \"0s\"\nlog=\"error\"\nengine = \"fixed\"\n"
        );
    }
}
