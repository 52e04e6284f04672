//! ringway as a service: what it tells its manager, sockets that it is given, the user that it becomes.

mod activation;
mod journal;
mod manual;
mod notify;
mod user;
