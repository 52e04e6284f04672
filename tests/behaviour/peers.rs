//! Real servers and certificates: nginx, HAProxy, openssl, dnsmasq and dnsdist, as Debian has them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::common::*;

/// A loopback address that is nobody else's: a server that wants a fixed port gets it there.
pub fn own_address(port: u16) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::SeqCst) as u8;
    SocketAddr::from((Ipv4Addr::new(127, 64 + (high & 63), low, 1 + number), port))
}

/// A program, or a failure that names the package which has it.
fn run(program: &str, package: &str, arguments: &[&str], folder: &Path) -> Child {
    let paths = [program.to_owned(), format!("/usr/sbin/{program}")];
    let mut started = paths.iter().map(|path| {
        Command::new(path)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    });
    let child = started.find_map(Result::ok);
    child.unwrap_or_else(|| panic!("{program} is missing: apt-get install {package}"))
}

fn openssl(folder: &Path, arguments: &str) {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let output = run("openssl", "openssl", &arguments, folder).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority and a certificate of its own for one name.
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let folder = TempDir::new().unwrap();
        let (path, key) = (folder.path(), "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes");
        openssl(
            path,
            &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority"),
        );
        openssl(path, &format!("req {key} -keyout server.key -out server.csr -subj /CN={name}"));
        fs::write(path.join("names"), format!("subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n"))
            .unwrap();
        openssl(
            path,
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
        );
        Authority { folder }
    }

    /// The file that makes somebody trust it.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A server of its own process. Ends by drop.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Server {
    fn start(
        program: &str,
        package: &str,
        arguments: &[&str],
        address: SocketAddr,
        folder: TempDir,
    ) -> Server {
        let mut child = run(program, package, arguments, folder.path());
        await_that("the server serves", || {
            let ended = child.try_wait().unwrap();
            if ended.is_some() {
                let mut text = String::new();
                let _ = std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut text);
                panic!("{program} ended: {text}");
            }
            TcpStream::connect(address).is_ok()
        });
        Server { address, child, _folder: folder }
    }

    /// nginx with these locations, over TLS if there is a certificate.
    pub fn nginx(locations: &str, certificate: Option<&Authority>) -> Server {
        let (address, folder) = (own_address(8080), TempDir::new().unwrap());
        fs::write(folder.path().join("large"), "x".repeat(200_000) + "end").unwrap();
        let tls = certificate.map(|authority| {
            let (certificate, key) = (authority.path("server.pem"), authority.path("server.key"));
            format!("ssl_certificate {certificate}; ssl_certificate_key {key};")
        });
        let (root, listen) = (folder.path().display(), if tls.is_some() { " ssl" } else { "" });
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}\n\
             http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
             server {{ listen {address}{listen}; root {root}; {}\n{locations} }} }}\n",
            tls.unwrap_or_default()
        );
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let prefix = folder.path().display().to_string();
        let arguments = ["-p", &prefix, "-c", "nginx.conf", "-e", "stderr"];
        Server::start("nginx", "nginx", &arguments, address, folder)
    }

    /// HAProxy with this configuration, which is to have somebody accept at the address.
    pub fn haproxy(text: impl FnOnce(SocketAddr) -> String) -> Server {
        let (address, folder) = (own_address(8080), TempDir::new().unwrap());
        fs::write(folder.path().join("haproxy.cfg"), text(address)).unwrap();
        Server::start("haproxy", "haproxy", &["-db", "-q", "-f", "haproxy.cfg"], address, folder)
    }

    /// nginx with these blocks, of which one is to accept at the address; it has its module for streams.
    pub fn nginx_of(blocks: impl FnOnce(SocketAddr) -> String) -> Server {
        let (address, folder) = (own_address(8080), TempDir::new().unwrap());
        let text = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
             daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}\n{}\n",
            blocks(address)
        );
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let prefix = folder.path().display().to_string();
        let arguments = ["-p", &prefix, "-c", "nginx.conf", "-e", "stderr"];
        Server::start("nginx", "nginx and libnginx-mod-stream", &arguments, address, folder)
    }

    /// `openssl s_server`, which answers every request with a page about the connection. At most this version of TLS.
    pub fn openssl(certificate: &Authority, version: &str) -> Server {
        let (address, folder) = (own_address(4433), TempDir::new().unwrap());
        let (certificate, key) = (certificate.path("server.pem"), certificate.path("server.key"));
        let accept = address.to_string();
        let arguments =
            ["s_server", "-accept", &accept, "-cert", &certificate, "-key", &key, "-www", "-quiet", version];
        Server::start("openssl", "openssl", &arguments, address, folder)
    }

    /// dnsmasq as a name server that knows this one name and asks nobody.
    pub fn dnsmasq(name: &str) -> Server {
        let (address, folder) = (own_address(5353), TempDir::new().unwrap());
        let (listen, port) =
            (format!("--listen-address={}", address.ip()), format!("--port={}", address.port()));
        let known = format!("--address=/{name}/192.0.2.7");
        let arguments = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--user=root",
            "--pid-file",
            &listen,
            &port,
            &known,
        ];
        // It serves TCP as well, which tells that it is there.
        Server::start("dnsmasq", "dnsmasq-base", &arguments, address, folder)
    }

    /// dnsdist with these lines of Lua. It listens at the address, over UDP and TCP.
    pub fn dnsdist(lines: impl FnOnce(SocketAddr) -> String) -> Server {
        let (address, folder) = (own_address(5353), TempDir::new().unwrap());
        // It asks nobody whether its version is safe. While nobody is up for it, it says so instead of nothing. How many connections
        // wait for its threads it (1.7.3) miscounts now and then, and closes the next one as one too many: there is no limit here.
        let text = format!(
            "setSecurityPollSuffix('')\nsetServFailWhenNoServer(true)\nsetMaxTCPQueuedConnections(0)\nsetUDPTimeout(30)\n\
             addLocal('{address}')\n{}\n",
            lines(address)
        );
        fs::write(folder.path().join("dnsdist.conf"), text).unwrap();
        let arguments = ["--supervised", "--disable-syslog", "--config", "dnsdist.conf"];
        Server::start("dnsdist", "dnsdist", &arguments, address, folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
