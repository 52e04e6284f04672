//! One small request over HTTP at a time: to see that somebody answers, or to be told something.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::work::SMALL;

/// What the backends answer to a small request.
pub(super) const BODY: &str = "ok\n";

/// A connection with deadlines.
pub(super) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a new connection is answered.
pub(super) fn answers(address: SocketAddr) -> bool {
    connect(address).and_then(|mut stream| ask(&mut stream)).is_ok()
}

/// Sends a small request and reads its reply; the connection stays open.
pub(super) fn ask(stream: &mut TcpStream) -> io::Result<()> {
    let body = get(stream, SMALL)?;
    if body == BODY { Ok(()) } else { Err(io::Error::other(format!("not what was asked for: {body:?}"))) }
}

/// The body of the reply to a GET; it has to be short, and its length has to be said.
pub(super) fn get(stream: &mut TcpStream, path: &str) -> io::Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: loadtest\r\n\r\n").as_bytes())?;
    let mut reply = [0; REPLY_MAX];
    let mut have = 0;
    loop {
        let count = stream.read(&mut reply[have..])?;
        have += count;
        let text = String::from_utf8_lossy(&reply[..have]);
        if let Some(body) = body(&text) {
            return Ok(body.to_owned());
        }
        if count == 0 {
            return Err(io::Error::other(format!("not a whole reply of status 200: {text:?}")));
        }
    }
}

/// The body, once the reply is whole.
fn body(reply: &str) -> Option<&str> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    let is_whole = head.starts_with("HTTP/1.1 200 ") && len.trim().parse() == Ok(body.len());
    is_whole.then_some(body)
}

const DEADLINE: Duration = Duration::from_secs(5);
const REPLY_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_counts_when_it_is_whole_and_good() {
        let reply = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\n\r\nok\n";
        assert_eq!(body(reply), Some("ok\n"));
        assert_eq!(body(&reply[..reply.len() - 1]), None);
        assert_eq!(body(&reply.replace("200", "502")), None);
    }
}
