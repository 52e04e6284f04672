//! Predecessor: the process that is to be replaced, as the new one sees it.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::time::Duration;

use super::VARIABLE;
use super::inherited::{Group, Inherited};
use super::message::{Message, PROTOCOL, Sockets};
use crate::config::Address;
use crate::net::{self, BYTES_MAX, Channel, Inlet, Listening};

/// How long it may take to say the next thing. It only has to look: the time for the upgrade is its own to keep.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process that is to be replaced.
#[derive(Debug)]
pub struct Predecessor {
    /// Its number.
    pub id: u32,
    channel: Channel,
}

/// Why nothing can be taken over.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be heard.
    Channel(io::Error),
    /// It speaks another language, or nonsense.
    Language(String),
    /// What it passed is no socket that listens.
    Socket(io::Error),
    /// It ended, or said no more.
    Silent,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upgrade: ")?;
        match self {
            Unusable::Channel(error) => write!(f, "the process to be replaced cannot be heard: {error}"),
            Unusable::Language(said) => write!(
                f,
                "the process to be replaced says {said:?}, and this build understands upgrades of kind {PROTOCOL} only; stop the old \
                 process and start this one"
            ),
            Unusable::Socket(error) => write!(f, "a socket of the process to be replaced: {error}"),
            Unusable::Silent => {
                write!(f, "the process to be replaced ended before it had passed all its sockets")
            }
        }
    }
}

impl std::error::Error for Unusable {}

impl Predecessor {
    /// The process that has started this one to be replaced by it, and its sockets; `None` if somebody else has started it.
    ///
    /// # Errors
    ///
    /// When not everything comes that is needed.
    pub fn from_environment() -> Result<Option<(Predecessor, Inherited)>, Unusable> {
        let Some(told) = env::var_os(VARIABLE) else { return Ok(None) };
        let id = parent_id();
        // Programs that a successor starts inherit the variable. It is not for them.
        if told != *id.to_string() {
            return Ok(None);
        }
        let channel = Channel::from_standard_input().map_err(Unusable::Channel)?;
        let predecessor = Predecessor { id, channel };
        let inherited = predecessor.inherit()?;
        Ok(Some((predecessor, inherited)))
    }

    fn inherit(&self) -> Result<Inherited, Unusable> {
        let mut groups: Vec<Group> = Vec::new();
        match self.hear()? {
            (Message::Hello(PROTOCOL), _) => {}
            (other, _) => return Err(Unusable::Language(other.to_string())),
        }
        loop {
            match self.hear()? {
                (Message::Sockets(sockets), descriptors) => add(&mut groups, sockets, descriptors)?,
                (Message::All, _) => return Ok(Inherited::new(groups)),
                (other, _) => return Err(Unusable::Language(other.to_string())),
            }
        }
    }

    /// Everything is ready, and the sockets at these addresses are not wanted. Returns when this process may accept: at
    /// the other's word, or because there is no other any more.
    ///
    /// # Errors
    ///
    /// When it says something else.
    pub fn ready(&self, left: Vec<Address>) -> Result<(), Unusable> {
        self.say(&Message::Ready(left));
        match self.hear() {
            Ok((Message::Go, _)) | Err(Unusable::Silent) => Ok(()),
            Ok((other, _)) => Err(Unusable::Language(other.to_string())),
            Err(error) => Err(error),
        }
    }

    /// This process accepts.
    pub fn serving(&self) {
        self.say(&Message::Serving);
    }

    /// This process cannot start.
    pub fn failed(&self, why: &dyn fmt::Display) {
        let why: String = why.to_string().chars().take(BYTES_MAX / 8).collect();
        self.say(&Message::Failed(why));
    }

    fn say(&self, message: &Message) {
        // If it does not hear, it has ended: that shows when it is to answer.
        let _ = self.channel.send(&message.to_string(), &[], PATIENCE);
    }

    fn hear(&self) -> Result<(Message, Vec<OwnedFd>), Unusable> {
        let heard = match self.channel.receive(PATIENCE) {
            Ok(heard) => heard,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => return Err(Unusable::Channel(error)),
        };
        let (text, descriptors) = heard.ok_or(Unusable::Silent)?;
        let message = Message::parse(&text).ok_or(Unusable::Language(text))?;
        Ok((message, descriptors))
    }
}

fn add(groups: &mut Vec<Group>, told: Sockets, descriptors: Vec<OwnedFd>) -> Result<(), Unusable> {
    for descriptor in descriptors {
        let is_inlet = net::is_inlet(&descriptor);
        let mut sockets = Vec::new();
        let mut inlets = Vec::new();
        let address = if is_inlet {
            inlets.push(Inlet::given(descriptor).map_err(Unusable::Socket)?);
            inlets[0].local_addr().map(Address::Ip)
        } else {
            let socket = Listening::given(descriptor).map_err(Unusable::Socket)?;
            if told.are_lent {
                socket.lend();
            }
            sockets.push(socket);
            sockets[0].local_addr()
        };
        let address = address.map_err(Unusable::Socket)?;
        let is_it = |group: &&mut Group| group.address == address && group.inlets.is_empty() != is_inlet;
        match groups.iter_mut().find(is_it) {
            Some(group) => {
                group.sockets.extend(sockets);
                group.inlets.extend(inlets);
            }
            None => groups.push(Group {
                listener: told.listener.clone(),
                place: told.place,
                configured: told.configured,
                address,
                sockets,
                inlets,
            }),
        }
    }
    Ok(())
}
