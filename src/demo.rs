//! Demo: four small backends in this process and the balancer in front of them, so that one command shows it work.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::{Address, Choice, Config, NoBackend};
use crate::output::Output;
use crate::server::{self, Error, Request, Server};

/// Sessions of the demo at once: its backends hold a descriptor and a thread for each.
const SESSIONS_MAX: usize = 256;
/// How long a backend waits for the client to speak first: curl does, a person with nc may not.
const LISTEN_FIRST: Duration = Duration::from_millis(200);
/// How long a backend waits for the client to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the backends and the balancer, tells what to try, and serves until it is told to stop.
pub fn run(mut config: Config, output: Output) -> Result<(), Error> {
    config.server.sessions_max = std::num::NonZeroUsize::new(SESSIONS_MAX);
    config.listeners[0].no_backend = NoBackend::Message("no backend available\n".into());
    let (requests, sender) = server::requests()?;
    let mut backends = Vec::new();
    let addresses = config.pools[0].backends.iter().filter_map(|backend| backend.address.as_ip());
    for (address, number) in addresses.zip(1..) {
        backends.push(DemoBackend::start(number, address)?);
    }
    let algorithm = config.pools[0].algorithm;
    let server = Server::start(config, 2 * SESSIONS_MAX as u64)?;
    let listening = server.control().generation().addresses[0][0];
    print_hints(&backends, listening, server.admin_address(), algorithm.word());
    thread::Builder::new()
        .name("keys".into())
        .spawn(move || obey_keys(backends, &sender))
        .map_err(|error| Error::Thread { name: "keys".into(), why: error.to_string() })?;
    server.serve(&requests, output)
}

fn print_hints(backends: &[DemoBackend], address: Address, admin: Option<SocketAddr>, algorithm: &str) {
    let (first, last) = (backends[0].address, backends[backends.len() - 1].address);
    let curl = format!("curl http://{address}/");
    let nc = match address {
        Address::Ip(address) => format!("nc {} {}", address.ip(), address.port()),
        Address::Unix(name) => format!("nc -U {}", name.path().unwrap_or_default()),
    };
    let kill = format!("kill -USR1 {}", std::process::id());
    let page = admin.map_or_else(String::new, |admin| {
        format!(
            "  {:<30}  in a browser: all of it, live; drain by click (docs/admin.md)\n",
            format!("http://{admin}/")
        )
    });
    print!(
        "\
ringway demo: four backends on {first} to {last}, the balancer on {address}
with {algorithm}

In another terminal:
  {curl:<30}  each answer names the backend that gave it
  {nc:<30}  the same without HTTP
  {kill:<30}  prints the table of backends here
{page}
Here, each followed by Enter:
  1 2 3 4   stops that backend, or starts it again: see the traffic move
  s         prints the table of backends
  q         stops the demo (so does Ctrl-C)

"
    );
    // Whoever does not read this does not need it.
    let _ = io::stdout().flush();
}

/// Reads keys for as long as there are any; without a terminal there are none, and the demo goes on.
fn obey_keys(mut backends: Vec<DemoBackend>, requests: &Sender<Request>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.trim() {
            "" => {}
            "s" => drop(requests.send(Request::PrintStatus)),
            "q" => drop(requests.send(Request::Stop)),
            key => {
                match key.parse::<usize>().ok().and_then(|number| backends.get_mut(number.wrapping_sub(1))) {
                    Some(backend) => backend.toggle(),
                    None => println!("{key:?} is not one of 1 2 3 4 s q"),
                }
            }
        }
    }
    // The backends serve on without keys.
    std::mem::drop(thread::Builder::new().spawn(move || {
        loop {
            let _kept = &backends;
            thread::park();
        }
    }));
}

/// One backend of the demo.
struct DemoBackend {
    number: usize,
    address: SocketAddr,
    /// While it serves: ends its thread when set, and the thread.
    serving: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl DemoBackend {
    fn start(number: usize, address: SocketAddr) -> Result<DemoBackend, Error> {
        let mut backend = DemoBackend { number, address, serving: None };
        backend.serve().map_err(|error| Error::DemoBackend { address, error })?;
        Ok(backend)
    }

    fn serve(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, text) = (Arc::clone(&stop), format!("backend {} ({})\n", self.number, self.address));
        let thread = thread::Builder::new()
            .name(format!("backend-{}", self.number))
            .spawn(move || accept_until(&stopped, &listener, &text.into()))?;
        self.serving = Some((stop, thread));
        Ok(())
    }

    fn toggle(&mut self) {
        let (number, address) = (self.number, self.address);
        match self.serving.take() {
            Some((stop, thread)) => {
                stop.store(true, Ordering::SeqCst);
                // Its thread waits in accept: this wakes it.
                let _ = TcpStream::connect(address);
                // Until its listener is closed clients still get into the queue, and are reset with it.
                let _ = thread.join();
                println!("backend {number} ({address}) is stopped");
            }
            None => match self.serve() {
                Ok(()) => println!("backend {number} ({address}) serves again"),
                Err(error) => println!("backend {number} ({address}) cannot serve: {error}"),
            },
        }
    }
}

fn accept_until(stopped: &AtomicBool, listener: &TcpListener, text: &Arc<str>) {
    let running = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if running.load(Ordering::SeqCst) >= SESSIONS_MAX {
            continue;
        }
        running.fetch_add(1, Ordering::SeqCst);
        let (counter, text) = (Arc::clone(&running), Arc::clone(text));
        let serve = move || {
            // A client that leaves early is no concern of a demo.
            let _ = answer(stream, &text);
            counter.fetch_sub(1, Ordering::SeqCst);
        };
        if thread::Builder::new().name("backend-session".into()).spawn(serve).is_err() {
            running.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Says its name: as HTTP to those who speak it, as a line of text to all others.
fn answer(mut stream: TcpStream, text: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(LISTEN_FIRST))?;
    let mut request = [0; 1024];
    let count = stream.read(&mut request).unwrap_or(0);
    match request[..count].split(|&byte| byte == b' ').next() {
        Some(b"HEAD") => write!(stream, "{}", head(text))?,
        Some(b"GET" | b"POST" | b"PUT" | b"DELETE" | b"OPTIONS" | b"PATCH") => {
            write!(stream, "{}{text}", head(text))?
        }
        _ => stream.write_all(text.as_bytes())?,
    }
    stream.shutdown(Shutdown::Write)?;
    // Closing with unread bytes would reset the connection, and the answer with it.
    stream.set_read_timeout(Some(CLOSE_TIMEOUT))?;
    while stream.read(&mut request)? > 0 {}
    Ok(())
}

fn head(text: &str) -> String {
    let length = text.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}
