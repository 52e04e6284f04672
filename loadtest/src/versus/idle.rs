//! Connections that do nothing: what does a proxy need for each?

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
};

use super::{cell::Memory, http, memory};
use crate::interrupt::Stop;

/// Opens as many connections, each with one small request, and sees what the processes grow by.
pub(super) fn measure(
    target: SocketAddr,
    connections: usize,
    pids: &[u32],
    stop: &Stop,
) -> io::Result<(Memory, Vec<String>)> {
    let before = memory::settled(pids)?;
    let mut open = Vec::new();
    let mut faults = Vec::new();
    while open.len() < connections && faults.is_empty() && !stop.is_set() {
        match http::connect(target).and_then(|mut stream| http::ask(&mut stream).map(|()| stream)) {
            Ok(stream) => open.push(stream),
            Err(error) => faults.push(format!("connection {}: {error}", open.len() + 1)),
        }
    }
    let with = memory::settled(pids)?;
    let closed = open.iter().filter(|stream| !is_open(stream)).count();
    if closed > 0 {
        faults.push(format!("{closed} of {connections} connections did not stay open"));
    }
    Ok((Memory { before, with, connections: open.len() }, faults))
}

fn is_open(mut stream: &TcpStream) -> bool {
    let nothing = stream.set_nonblocking(true).and_then(|()| stream.read(&mut [0]));
    nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
