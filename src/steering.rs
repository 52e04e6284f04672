//! Steering: which worker gets the datagrams of a client. The kernel decides, by a program that is made here. Pure.
//!
//! The kernel's own hash of addresses and ports depends on how many sockets there are: with one more, nearly every client
//! would move. The program gives each worker a score for the client's address and port, and the highest wins (rendezvous): one
//! worker more takes its share, and all others stay where they are.

use crate::net::Instruction;

/// More workers than this have no program: it would be longer than the kernel allows (4,096 instructions).
pub const WORKERS_MAX: usize = 256;

/// Loads at this offset read from the beginning of the network header (SKF_NET_OFF).
const NETWORK: u32 = (-0x0010_0000_i32) as u32;
/// Where the program keeps what it has found: the client, the best score, whose it is.
const CLIENT: u32 = 0;
const BEST: u32 = 1;
const CHOSEN: u32 = 2;

/// Odd, so that multiplying by it loses nothing. From the fractions of the golden ratio and of two roots.
const FOLD: u32 = 0x9E37_79B1;
const MIX: u32 = 0x85EB_CA77;
const FINISH: u32 = 0xC2B2_AE3D;

// The words of the kernel's classic filters (linux/filter.h), as far as they are needed.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEHIND_X: u16 = 0x48;
const LOAD_NUMBER: u16 = 0x00;
const LOAD_KEPT: u16 = 0x60;
const LOAD_X_KEPT: u16 = 0x61;
/// Four times the lower half of a byte: the length of an IPv4 header.
const LOAD_X_HEADER: u16 = 0xb1;
const KEEP: u16 = 0x02;
const TO_X: u16 = 0x07;
const XOR: u16 = 0xa4;
const XOR_X: u16 = 0xac;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_X: u16 = 0x2d;
const RETURN_A: u16 = 0x16;

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, operand }
}

fn jump(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, operand }
}

/// Folds what was just loaded into the client.
fn fold() -> [Instruction; 5] {
    [plain(TO_X, 0), plain(LOAD_KEPT, CLIENT), plain(XOR_X, 0), plain(MULTIPLY, FOLD), plain(KEEP, CLIENT)]
}

/// The program for so many workers; `None` for one, who gets everything, and for more than it can have.
pub fn program(workers: usize) -> Option<Vec<Instruction>> {
    if !(2..=WORKERS_MAX).contains(&workers) {
        return None;
    }
    let mut program = vec![plain(LOAD_NUMBER, 0), plain(KEEP, CLIENT)];
    let mut ipv4 = vec![plain(LOAD_WORD, NETWORK + 12)];
    ipv4.extend(fold());
    ipv4.extend([plain(LOAD_X_HEADER, NETWORK), plain(LOAD_HALF_BEHIND_X, NETWORK)]);
    ipv4.extend(fold());
    let mut ipv6 = Vec::new();
    for word in 0..4 {
        ipv6.push(plain(LOAD_WORD, NETWORK + 8 + 4 * word));
        ipv6.extend(fold());
    }
    // Behind a header of an extension the ports are somewhere else. Then the address has to do.
    let port = {
        let mut port = vec![plain(LOAD_HALF, NETWORK + 40)];
        port.extend(fold());
        port
    };
    ipv6.push(plain(LOAD_BYTE, NETWORK + 6));
    ipv6.push(jump(JUMP_EQUAL, 17, 0, port.len() as u8));
    ipv6.extend(port);
    // Over the other family's part.
    ipv4.push(plain(0x05, ipv6.len() as u32));
    program.extend([plain(LOAD_BYTE, NETWORK), plain(SHIFT_RIGHT, 4)]);
    program.push(jump(JUMP_EQUAL, 4, 0, ipv4.len() as u8));
    program.extend(ipv4);
    program.extend(ipv6);
    program.extend([plain(LOAD_NUMBER, 0), plain(KEEP, BEST), plain(KEEP, CHOSEN)]);
    for worker in 0..workers as u32 {
        program.extend([
            plain(LOAD_KEPT, CLIENT),
            plain(XOR, seed(worker)),
            plain(MULTIPLY, MIX),
            plain(TO_X, 0),
            plain(SHIFT_RIGHT, 15),
            plain(XOR_X, 0),
            plain(MULTIPLY, FINISH),
            plain(LOAD_X_KEPT, BEST),
            jump(JUMP_GREATER_X, 0, 0, 3),
            plain(KEEP, BEST),
            plain(LOAD_NUMBER, worker),
            plain(KEEP, CHOSEN),
        ]);
    }
    program.extend([plain(LOAD_KEPT, CHOSEN), plain(RETURN_A, 0)]);
    Some(program)
}

/// The program with which the first socket gets everything, however many there are.
pub fn first_alone() -> Vec<Instruction> {
    vec![plain(LOAD_NUMBER, 0), plain(RETURN_A, 0)]
}

/// What tells the scores of one worker from those of the others.
fn seed(worker: u32) -> u32 {
    let mixed = (worker + 1).wrapping_mul(FOLD);
    (mixed ^ mixed >> 16).wrapping_mul(FINISH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, SocketAddr};

    /// What the program means, said once more and plainly.
    fn worker_of(client: SocketAddr, workers: usize) -> usize {
        let words: Vec<u32> = match client {
            SocketAddr::V4(address) => vec![u32::from(*address.ip())],
            SocketAddr::V6(address) => address
                .ip()
                .octets()
                .chunks(4)
                .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
                .collect(),
        };
        let words = words.into_iter().chain([u32::from(client.port())]);
        let client = words.fold(0_u32, |client, word| (client ^ word).wrapping_mul(FOLD));
        let score = |worker: usize| {
            let mixed = (client ^ seed(worker as u32)).wrapping_mul(MIX);
            (mixed ^ mixed >> 15).wrapping_mul(FINISH)
        };
        // The first of the best.
        (0..workers).rev().max_by_key(|&worker| score(worker)).unwrap()
    }

    /// The kernel's machine, as far as the program needs it.
    fn run(program: &[Instruction], packet: &[u8]) -> usize {
        let (mut a, mut x, mut kept, mut at) = (0_u32, 0_u32, [0_u32; 16], 0);
        let byte = |offset: u32| u32::from(packet[offset.wrapping_sub(NETWORK) as usize]);
        let half = |offset: u32| byte(offset) << 8 | byte(offset + 1);
        loop {
            let Instruction { code, if_true, if_false, operand } = program[at];
            at += 1;
            match code {
                LOAD_WORD => a = half(operand) << 16 | half(operand + 2),
                LOAD_HALF => a = half(operand),
                LOAD_BYTE => a = byte(operand),
                LOAD_HALF_BEHIND_X => a = half(operand.wrapping_add(x)),
                LOAD_NUMBER => a = operand,
                LOAD_KEPT => a = kept[operand as usize],
                LOAD_X_KEPT => x = kept[operand as usize],
                LOAD_X_HEADER => x = 4 * (byte(operand) & 15),
                KEEP => kept[operand as usize] = a,
                TO_X => x = a,
                XOR => a ^= operand,
                XOR_X => a ^= x,
                MULTIPLY => a = a.wrapping_mul(operand),
                SHIFT_RIGHT => a >>= operand,
                0x05 => at += operand as usize,
                JUMP_EQUAL => at += usize::from(if a == operand { if_true } else { if_false }),
                JUMP_GREATER_X => at += usize::from(if a > x { if_true } else { if_false }),
                RETURN_A => return a as usize,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// The headers of a datagram from this client.
    fn packet(client: SocketAddr, options: usize) -> Vec<u8> {
        let mut packet = match client {
            SocketAddr::V4(address) => {
                let mut header = vec![0; 20 + 4 * options];
                header[0] = 0x45 + options as u8;
                header[9] = 17;
                header[12..16].copy_from_slice(&address.ip().octets());
                header
            }
            SocketAddr::V6(address) => {
                let mut header = vec![0; 40];
                header[0] = 0x60;
                header[6] = 17;
                header[8..24].copy_from_slice(&address.ip().octets());
                header
            }
        };
        packet.extend(client.port().to_be_bytes());
        packet.extend([0, 53, 0, 8, 0, 0]);
        packet
    }

    fn clients() -> Vec<SocketAddr> {
        let mut dice = fastrand::Rng::with_seed(7);
        let mut one = |place: usize| match place % 2 {
            0 => SocketAddr::from(([10, 0, dice.u8(..), dice.u8(..)], dice.u16(1024..))),
            _ => SocketAddr::from((Ipv6Addr::from(dice.u128(..)), dice.u16(1024..))),
        };
        (0..4_000).map(&mut one).collect()
    }

    #[test]
    fn the_program_does_what_it_means() {
        for workers in [2, 3, 8, 64, WORKERS_MAX] {
            let program = program(workers).unwrap();
            assert!(program.len() <= 4096, "{}", program.len());
            for client in clients().into_iter().take(400) {
                for options in [0, 3] {
                    assert_eq!(run(&program, &packet(client, options)), worker_of(client, workers));
                }
            }
        }
        assert!(program(1).is_none() && program(WORKERS_MAX + 1).is_none());
        assert!(clients().into_iter().take(400).all(|client| run(&first_alone(), &packet(client, 0)) == 0));
    }

    #[test]
    fn clients_are_where_they_have_always_been() {
        let of = |client: &str| [2, 3, 4, 8, 64].map(|workers| worker_of(client.parse().unwrap(), workers));
        assert_eq!(of("192.0.2.1:5353"), GOLDEN[0]);
        assert_eq!(of("192.0.2.1:5354"), GOLDEN[1]);
        assert_eq!(of("[2001:db8::1]:5353"), GOLDEN[2]);
    }

    /// Made by a twin in another language.
    const GOLDEN: [[usize; 5]; 3] = [[1, 2, 2, 2, 9], [0, 0, 0, 7, 7], [0, 0, 0, 0, 0]];

    #[test]
    fn one_worker_more_takes_its_share_and_moves_nobody_else() {
        let clients = clients();
        for workers in [2, 3, 7, 15] {
            let moved: Vec<_> = clients
                .iter()
                .map(|&client| (worker_of(client, workers), worker_of(client, workers + 1)))
                .filter(|(before, after)| before != after)
                .collect();
            assert!(moved.iter().all(|(_, after)| *after == workers));
            let share = clients.len() / (workers + 1);
            assert!(
                moved.len() > share * 8 / 10 && moved.len() < share * 12 / 10,
                "{} of {share}",
                moved.len()
            );
        }
    }

    #[test]
    fn neighbouring_ports_of_one_client_are_spread_evenly() {
        for workers in [2, 4, 16] {
            let mut counts = vec![0; workers];
            for port in 20_000..24_000 {
                counts[worker_of(SocketAddr::from(([192, 0, 2, 1], port)), workers)] += 1;
            }
            let share = 4_000 / workers;
            assert!(
                counts.iter().all(|&count| count > share * 8 / 10 && count < share * 12 / 10),
                "{counts:?}"
            );
        }
    }
}
