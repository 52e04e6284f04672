//! ringway: a layer-4 load balancer for Linux on io_uring.
//!
//! It is a command first; as a library it can be embedded and measured:
//!
//! ```
//! use std::io::Read;
//! use std::net::{TcpListener, TcpStream};
//! use ringway::{config, server::Server};
//!
//! let backend = TcpListener::bind("127.0.0.1:0")?;
//! let config = config::parse(
//!     "example.toml",
//!     &format!(
//!         "[[listener]]\nname = 'web'\nbind = '127.0.0.1:0'\npool = 'web'\n\
//!          [[pool]]\nname = 'web'\nhealth = {{ check = 'none' }}\n\
//!          [[pool.backend]]\naddress = '{}'\n",
//!         backend.local_addr()?
//!     ),
//! )?;
//! let server = Server::start(config, 0)?;
//! let mut client = TcpStream::connect(server.addresses(0)[0])?;
//! // What the client reaches is the backend: it ends the stream, and so does the client's side.
//! drop(backend.accept()?);
//! assert_eq!(client.read(&mut [0; 16])?, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The modules in reading order, from the command to the kernel; `ARCHITECTURE.md` says who may know whom.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod demo;
pub mod manual;

pub mod access_log;
pub mod activation;
pub mod admin;
pub mod bind;
pub mod control;
pub mod explain;
pub mod figures;
pub mod health;
pub mod heartbeat;
pub mod journal;
pub mod kernel;
pub mod limits;
pub mod lists;
pub mod model;
pub mod moment;
pub mod notify;
pub mod operate;
pub mod output;
pub mod plan;
pub mod premises;
pub mod privileges;
pub mod record;
pub mod server;
pub mod status;
pub mod upgrade;

pub mod access;
pub mod arrivals;
pub mod changes;
pub mod decision;
pub mod end;
pub mod entries;
pub mod epoch;
pub mod gate;
pub mod generation;
pub mod handover;
pub mod lineage;
pub mod phase;
pub mod queue;
pub mod samples;
pub mod session_id;
pub mod spread;
pub mod stats;
pub mod steering;
pub mod table;
pub mod times;

pub mod balance;
pub mod load;
pub mod pool;
pub mod proxy_protocol;
pub mod shadow;

pub mod account;
pub mod answer;
pub mod buffers;
pub mod datagrams;
pub mod peek;
pub mod pipes;
pub mod relay;
pub mod routing;
pub mod session;
pub mod shared;
pub mod watch;
pub mod worker;

pub mod net;
pub mod ring;
