//! The programs that a comparison needs: where they are, which version, and which package has those that are missing.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    plan::{Peer, Plan},
    proxy::Proxy,
    work::Work,
};

/// What was found.
#[derive(Debug)]
pub(super) struct Tools {
    /// All that are compared: ringway first, then the peers that are there.
    pub(super) proxies: Vec<Proxy>,
    /// nginx has its stream part in a file of its own.
    pub(super) stream_module: Option<PathBuf>,
    /// nginx can tell how many connections it has accepted.
    pub(super) nginx_has_status: bool,
    /// Peers that were left out, and why.
    pub(super) left_out: Vec<String>,
    nginx: Option<PathBuf>,
    haproxy: Option<PathBuf>,
    wrk: Option<PathBuf>,
    perf: Option<PathBuf>,
}

impl Tools {
    /// Looks for everything the plan needs; all that is missing is told at once.
    pub(super) fn find(plan: &Plan) -> io::Result<Self> {
        let mut missing = Missing::default();
        for ringway in &plan.ringways {
            if !ringway.program.is_file() {
                missing.0.push(format!(
                    "{} is not there, for {}: build it with 'cargo build --release', or say where it is with --ringway",
                    ringway.program.display(),
                    ringway.name
                ));
            }
        }
        let nginx = find("nginx");
        if nginx.is_none() {
            missing.program("nginx", "nginx", "it is the backend of every work");
        }
        let wrk = find("wrk");
        if wrk.is_none() && plan.works.iter().any(Work::needs_wrk) {
            missing.program("wrk", "wrk", "it sends the requests; or choose other works with --work");
        }
        let haproxy = find("haproxy");
        let about_nginx = nginx.as_deref().map(|nginx| output(nginx, "-V")).unwrap_or_default();
        let stream = stream(&about_nginx, Path::is_file);
        let mut peers = Vec::new();
        let mut left_out = Vec::new();
        for &peer in &plan.peers {
            let lacks = match peer {
                Peer::Nginx if stream == Stream::Absent => {
                    Some(("the stream module of nginx", STREAM_PACKAGE))
                }
                Peer::HaProxy | Peer::HaProxySplice if haproxy.is_none() => Some(("haproxy", "haproxy")),
                Peer::Nginx | Peer::HaProxy | Peer::HaProxySplice => None,
            };
            let proxy = Proxy::Peer(peer);
            match lacks {
                None => peers.push(proxy),
                Some((what, package)) if plan.skip_missing => {
                    left_out.push(format!("{}: {what} is missing (package {package})", proxy.name()));
                }
                Some((what, package)) => missing.program(
                    what,
                    package,
                    &format!(
                        "it is compared as {}; or leave out what is missing with --skip-missing",
                        proxy.name()
                    ),
                ),
            }
        }
        missing.none()?;
        let ringways = plan.ringways.iter().cloned().map(Proxy::Ringway);
        let stream_module = match stream {
            Stream::Module(path) => Some(path),
            Stream::BuiltIn | Stream::Absent => None,
        };
        Ok(Self {
            proxies: ringways.chain(peers).collect(),
            stream_module,
            nginx_has_status: about_nginx.contains("--with-http_stub_status_module"),
            left_out,
            nginx,
            haproxy,
            wrk,
            perf: find("perf"),
        })
    }

    pub(super) fn nginx(&self) -> io::Result<&Path> {
        found(self.nginx.as_deref(), "nginx")
    }

    pub(super) fn haproxy(&self) -> io::Result<&Path> {
        found(self.haproxy.as_deref(), "haproxy")
    }

    pub(super) fn wrk(&self) -> io::Result<&Path> {
        found(self.wrk.as_deref(), "wrk")
    }

    pub(super) fn perf(&self) -> Option<&Path> {
        self.perf.as_deref()
    }

    /// Name and version of every program that takes part.
    pub(super) fn versions(&self) -> Vec<(String, String)> {
        let mut versions = Vec::new();
        for proxy in &self.proxies {
            if let Proxy::Ringway(ringway) = proxy {
                let mut what = version(&ringway.program, "--version");
                what += &format!(", {}", ringway.program.display());
                for setting in &ringway.settings {
                    what += &format!(", {setting}");
                }
                versions.push((ringway.name.clone(), what));
            }
        }
        let has = |peer: &[Peer]| {
            self.proxies.iter().any(|proxy| matches!(proxy, Proxy::Peer(one) if peer.contains(one)))
        };
        let haproxy = self.haproxy.as_ref().filter(|_| has(&[Peer::HaProxy, Peer::HaProxySplice]));
        for (name, program, ask) in [
            ("haproxy", haproxy, "-v"),
            ("nginx", self.nginx.as_ref(), "-v"),
            ("wrk", self.wrk.as_ref(), "-v"),
        ] {
            versions.extend(program.map(|program| (name.to_owned(), version(program, ask))));
        }
        versions
    }
}

/// What is missing, all of it.
#[derive(Debug, Default)]
struct Missing(Vec<String>);

impl Missing {
    fn program(&mut self, what: &str, package: &str, why: &str) {
        self.0.push(format!("{what} is not installed; try 'apt-get install {package}': {why}"));
    }

    fn none(self) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(io::Error::other(self.0.join("\nerror: "))) }
    }
}

/// Where nginx has its stream part.
#[derive(Debug, PartialEq, Eq)]
enum Stream {
    BuiltIn,
    Module(PathBuf),
    Absent,
}

/// Reads what `nginx -V` says.
fn stream(text: &str, is_file: impl Fn(&Path) -> bool) -> Stream {
    let words = || text.split_whitespace();
    if words().any(|word| word == "--with-stream") {
        return Stream::BuiltIn;
    }
    if !words().any(|word| word == "--with-stream=dynamic") {
        return Stream::Absent;
    }
    let folder = words().find_map(|word| word.strip_prefix("--modules-path=")).unwrap_or(MODULES);
    let path = Path::new(folder).join("ngx_stream_module.so");
    if is_file(&path) { Stream::Module(path) } else { Stream::Absent }
}

/// Looks into the folders of PATH and, as not everybody has those in there, into the sbin beside each bin.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .flat_map(|folder| {
            let beside = folder.ends_with("bin").then(|| folder.with_file_name("sbin"));
            [Some(folder), beside]
        })
        .flatten()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn found<'a>(path: Option<&'a Path>, name: &str) -> io::Result<&'a Path> {
    path.ok_or_else(|| io::Error::other(format!("{name} is not installed")))
}

/// The first line that a program says about itself.
fn version(program: &Path, ask: &str) -> String {
    output(program, ask).lines().next().unwrap_or_default().to_owned()
}

/// All that a program says to this.
fn output(program: &Path, ask: &str) -> String {
    match Command::new(program).arg(ask).output() {
        Ok(output) => {
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
        }
        Err(error) => format!("{} does not start: {error}", program.display()),
    }
}

const MODULES: &str = "/usr/lib/nginx/modules";
const STREAM_PACKAGE: &str = "libnginx-mod-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_has_stream_built_in_as_a_module_or_not_at_all() {
        assert_eq!(stream("configure arguments: --with-stream --with-x", |_| false), Stream::BuiltIn);
        let dynamic = "arguments: --modules-path=/m --with-stream=dynamic --with-stream_ssl_module";
        assert_eq!(stream(dynamic, |_| true), Stream::Module("/m/ngx_stream_module.so".into()));
        assert_eq!(stream(dynamic, |_| false), Stream::Absent);
        assert_eq!(stream("arguments: --with-stream_ssl_module", |_| true), Stream::Absent);
    }
}
