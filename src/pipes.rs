//! Pipes: what one worker splices through, kept for the next who needs one.
//!
//! Making a pipe and enlarging it costs more than a message does, so an empty one goes back to the pool. A pipe with bytes
//! in it is one session's alone: it is closed, never lent again.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use crate::net::{self, PipeEnds, Socket};

/// What is asked of the kernel for each; it may grant less (`fs.pipe-max-size`, `fs.pipe-user-pages-soft`).
pub const PIPE_BYTES: usize = 1024 * 1024;
/// With less than this splicing is not worth having.
const PIPE_BYTES_MIN: usize = 64 * 1024;

/// One worker's pipes. Clones share them.
#[derive(Clone)]
pub struct Pipes(Rc<Pool>);

struct Pool {
    max: usize,
    idle: RefCell<Vec<(PipeEnds, usize)>>,
    /// Lent and idle.
    open: Cell<usize>,
}

impl Pipes {
    /// None is made before it is needed, and there are never more than `max`.
    pub fn new(max: usize) -> Pipes {
        Pipes(Rc::new(Pool { max, idle: RefCell::default(), open: Cell::new(0) }))
    }

    /// An empty pipe, unless all are lent or the kernel grants none that is worth having.
    pub fn take(&self) -> Option<Pipe> {
        let pool = &self.0;
        if let Some((ends, size)) = pool.idle.borrow_mut().pop() {
            return Some(Pipe { pool: Rc::clone(pool), ends: Some(ends), size, content: 0 });
        }
        if pool.open.get() >= pool.max {
            return None;
        }
        let (ends, size) = net::pipe(PIPE_BYTES).ok().filter(|(_, size)| *size >= PIPE_BYTES_MIN)?;
        pool.open.set(pool.open.get() + 1);
        Some(Pipe { pool: Rc::clone(pool), ends: Some(ends), size, content: 0 })
    }

    /// Pipes that are lent at the moment.
    pub fn lent(&self) -> usize {
        self.0.open.get() - self.0.idle.borrow().len()
    }
}

/// One pipe, lent. Goes back by drop if it is empty.
pub struct Pipe {
    pool: Rc<Pool>,
    /// `Some` until the drop.
    ends: Option<PipeEnds>,
    size: usize,
    content: usize,
}

impl Pipe {
    /// Bytes that it can hold.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes that are in it.
    pub fn content(&self) -> usize {
        self.content
    }

    /// Takes what the socket has, as far as there is room. Does not wait: `WouldBlock` if there is nothing. 0 is the end
    /// of the stream. Only for an empty pipe: when it is full, the kernel's answer is the same as for an empty socket.
    pub fn fill(&mut self, from: &Socket) -> io::Result<usize> {
        self.fill_at_most(from, self.size)
    }

    /// The same, but no more than this.
    pub fn fill_at_most(&mut self, from: &Socket, max: usize) -> io::Result<usize> {
        assert_eq!(self.content, 0);
        let count = net::splice_from(from, self.ends(), self.size.min(max))?;
        self.content = count;
        Ok(count)
    }

    /// Gives the socket what it takes. Does not wait: `WouldBlock` if it takes nothing.
    pub fn drain(&mut self, to: &Socket) -> io::Result<usize> {
        assert!(self.content > 0);
        let count = net::splice_to(self.ends(), to, self.content)?;
        assert!(count <= self.content);
        self.content -= count;
        Ok(count)
    }

    fn ends(&self) -> &PipeEnds {
        self.ends.as_ref().expect("only the drop takes them")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take().expect("there is one drop");
        if self.content == 0 {
            self.pool.idle.borrow_mut().push((ends, self.size));
        } else {
            self.pool.open.set(self.pool.open.get() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn connected() -> (Socket, TcpStream) {
        let (ours, peer) = net::testing::connected();
        net::set_nonblocking(&ours).unwrap();
        (ours, peer)
    }

    #[test]
    fn no_more_than_the_limit_are_lent_and_an_empty_one_comes_back() {
        let pipes = Pipes::new(2);
        let (first, second) = (pipes.take().unwrap(), pipes.take().unwrap());
        assert!(pipes.take().is_none());
        drop(first);
        assert_eq!(pipes.lent(), 1);
        let third = pipes.take().unwrap();
        assert!(pipes.take().is_none());
        drop((second, third));
        assert_eq!(pipes.lent(), 0);
    }

    #[test]
    fn a_pipe_with_bytes_in_it_is_never_lent_again() {
        let pipes = Pipes::new(1);
        let (from, mut sender) = connected();
        let (to, mut receiver) = connected();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(&from).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        sender.write_all(b"secret").unwrap();
        assert_eq!(pipe.fill(&from).unwrap(), 6);
        drop(pipe);
        assert_eq!(pipes.lent(), 0);
        sender.write_all(b"public").unwrap();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.fill(&from).unwrap(), 6);
        assert_eq!((pipe.drain(&to).unwrap(), pipe.content()), (6, 0));
        let mut bytes = [0; 6];
        receiver.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"public");
        drop(sender);
        assert_eq!(pipe.fill(&from).unwrap(), 0);
    }
}
