//! The servers behind all proxies: nginx over HTTP, and our own reply backend.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
};

use rustix::process::geteuid;

use super::{
    datagrams, http,
    plan::Plan,
    tools::Tools,
    work::{LARGE, MIDDLE, SMALL},
};
use crate::{
    interrupt::Stop,
    pinning::Pinned,
    process::{Output, Process},
};

/// The servers; they run until this is dropped.
#[derive(Debug)]
pub(super) struct Backends {
    // Where nginx says how many connections it has accepted, and how often it was asked, each time over a new one.
    status: Option<SocketAddr>,
    asked: u64,
    /// nginx.
    pub(super) http: SocketAddr,
    /// `loadtest backend reply`.
    pub(super) reply: SocketAddr,
    /// `loadtest backend udp`, if datagrams are carried.
    pub(super) udp: Option<SocketAddr>,
    _processes: Vec<Process>,
}

impl Backends {
    /// Starts them below `folder`, and waits until they answer.
    pub(super) fn start(plan: &Plan, tools: &Tools, folder: &Path, stop: &Stop) -> io::Result<Self> {
        let [http, reply, status] = free_addresses()?;
        let status = tools.nginx_has_status.then_some(status);
        let nginx = start_nginx(plan, tools, &folder.join("nginx-backend"), (http, status))?;
        let mut command = Pinned::command(&[plan.cores.other], std::env::current_exe()?)?;
        command.args(["backend", "reply", "--listen", &reply.to_string(), "--max-connections"]);
        command.arg(plan.sessions_max().to_string());
        let log = folder.join("reply-backend.log");
        let replier = Process::start("the reply backend", command, log, Output::ToLog)?;
        nginx.wait_until(stop, || http::answers(http))?;
        replier.wait_until(stop, || TcpStream::connect(reply).is_ok())?;
        let mut processes = vec![nginx, replier];
        let udp = if plan.has_datagrams() {
            let (address, process) = datagrams::start_backend(plan.cores.other, folder, stop)?;
            processes.push(process);
            Some(address)
        } else {
            None
        };
        Ok(Self { status, asked: 0, http, reply, udp, _processes: processes })
    }

    /// How many connections nginx has accepted from others than us, if it counts them.
    pub(super) fn accepted(&mut self) -> io::Result<Option<u64>> {
        let Some(status) = self.status else { return Ok(None) };
        let text = http::get(&mut http::connect(status)?, "/")?;
        self.asked += 1;
        let accepted = accepted(&text)
            .ok_or_else(|| io::Error::other(format!("not the status of an nginx: {text:?}")))?;
        Ok(Some(accepted - self.asked))
    }
}

/// The first of three numbers below their names: accepted, handled, requests.
fn accepted(status: &str) -> Option<u64> {
    let mut lines = status.lines().skip_while(|line| !line.starts_with("server accepts"));
    lines.nth(1)?.split_whitespace().next()?.parse().ok()
}

fn start_nginx(
    plan: &Plan,
    tools: &Tools,
    folder: &Path,
    (address, status): (SocketAddr, Option<SocketAddr>),
) -> io::Result<Process> {
    let files = folder.join("files");
    fs::create_dir_all(&files)?;
    for (path, len) in [(MIDDLE, 64 << 10), (LARGE, 10 << 20)] {
        fs::write(files.join(&path[1..]), vec![b'x'; len])?;
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {what};\n"))
        .concat();
    let status = status.map_or_else(String::new, |status| {
        format!("    server {{ listen {status}; location / {{ stub_status; }} }}\n")
    });
    let text = format!(
        "{}events {{ worker_connections {}; }}
http {{
    access_log off;
    sendfile on;
    keepalive_timeout 1h;
    keepalive_requests 2000000000;
{temporary}{status}    server {{
        listen {address} backlog=4096;
        root files;
        location = {SMALL} {{ return 200 \"{}\"; }}
    }}
}}
",
        nginx_main(),
        plan.sessions_max() + 100,
        http::BODY.escape_debug()
    );
    nginx(plan.cores.other, tools, "the nginx backend", folder, &text)
}

/// What every configuration of nginx here begins with.
pub(super) fn nginx_main() -> String {
    // Without it the worker gives its rights away, and cannot read a folder that only we may read.
    let user = if geteuid().is_root() { "user root root;\n" } else { "" };
    format!("daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log error.log warn;\n{user}")
}

/// nginx in the foreground, with `folder` for all its files.
pub(super) fn nginx(
    core: usize,
    tools: &Tools,
    name: &str,
    folder: &Path,
    config: &str,
) -> io::Result<Process> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("nginx.conf"), config)?;
    let mut command = Pinned::command(&[core], tools.nginx()?)?;
    let log = folder.join("error.log");
    // The prefix ends in a slash, and the log is the one of the configuration from the first line on.
    command.arg("-p").arg(folder.join("")).arg("-e").arg(&log).arg("-c").arg("nginx.conf");
    Process::start(name, command, folder.join("stderr.log"), Output::ToLog)
}

/// Addresses on which nobody listens now.
pub(super) fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    // Held until all are known, so that none comes up twice.
    let mut held = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_accepted_connections_is_read() {
        let text = "Active connections: 291 \nserver accepts handled requests\n 16630948 16630940 31070465 \n\
                    Reading: 6 Writing: 179 Waiting: 106 \n";
        assert_eq!(accepted(text), Some(16_630_948));
        assert_eq!(accepted("404"), None);
    }
}
