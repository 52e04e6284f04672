#!/usr/bin/env python3
"""Makes the vectors of the algorithms that must choose the same in every build and on every machine.

A twin of src/balance in another language, from the descriptions there and not from the code: logarithms with 60 digits
in place of whole numbers, lists in place of credits. Needs the packages xxhash and mpmath.

    python3 tests/vectors/make.py            # writes the files beside it
    python3 tests/vectors/make.py --check    # says whether they are what it would write
"""

import ipaddress
import pathlib
import sys

import mpmath
import xxhash

mpmath.mp.dps = 60
HERE = pathlib.Path(__file__).parent
MASK = (1 << 64) - 1
CLIENT, RENDEZVOUS, START, STEP = 1, 2, 3, 4
PLACES = 65_537

BACKENDS = [
    ("10.0.0.1:8080", 1), ("10.0.0.2:8080", 1), ("10.0.0.3:8080", 2), ("10.0.0.4:8081", 1), ("10.0.0.5:8080", 5),
    ("[2001:db8::1]:8080", 1), ("[2001:db8::2]:443", 3), ("127.0.0.1:9000", 1), ("192.0.2.7:65535", 1),
    ("198.51.100.9:1", 8),
]


def canonical(text):
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def client_hash(text):
    return xxhash.xxh3_64_intdigest(canonical(text).packed, seed=CLIENT)


def backend_hash(text, seed):
    host, port = text.rsplit(":", 1)
    packed = canonical(host.strip("[]")).packed + int(port).to_bytes(2, "big")
    return xxhash.xxh3_64_intdigest(packed, seed=seed)


def mix(number):
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


def clients():
    for number in range(400):
        yield str(ipaddress.ip_address(0x0A010000 + number * 7919))
    for number in range(100):
        yield str(ipaddress.ip_address((0x20010DB8 << 96) + number * 0x1_0000_0001))
    yield "::ffff:10.1.0.0"


def rendezvous(client, backends):
    """The index of the backend whose exponential clock rings first."""
    own = client_hash(client)

    def time(index):
        address, weight = backends[index]
        drawn = max(1, mix(own ^ backend_hash(address, RENDEZVOUS)))
        return -mpmath.log(mpmath.mpf(drawn) / mpmath.mpf(2**64), 2) / weight

    return min(range(len(backends)), key=time)


def maglev_table(backends):
    most = max(weight for _, weight in backends)
    # When each takes its places: backend of weight w at the first round r with floor(r*w/most) > floor((r-1)*w/most).
    state = [
        [backend_hash(a, START) % PLACES, backend_hash(a, STEP) % (PLACES - 1) + 1, w] for a, w in backends
    ]
    table, taken, round_number = [None] * PLACES, 0, 0
    while True:
        round_number += 1
        for index, one in enumerate(state):
            if round_number * one[2] // most == (round_number - 1) * one[2] // most:
                continue
            while table[one[0]] is not None:
                one[0] = (one[0] + one[1]) % PLACES
            table[one[0]] = index
            taken += 1
            if taken == PLACES:
                return table


def maglev(client, table):
    return table[mix(client_hash(client)) % PLACES]


def smooth(weights, count):
    """Of nginx's description: gain, choose the largest, pay."""
    current, total, picks = [0] * len(weights), sum(weights), []
    for _ in range(count):
        current = [have + weight for have, weight in zip(current, weights)]
        best = current.index(max(current))
        current[best] -= total
        picks.append(best)
    assert current == [0] * len(weights)
    return picks


def head(what):
    return [f"# {what} Made by make.py, a twin in another language."]


def files():
    lines = head("Rendezvous hashing: `backend ADDRESS WEIGHT`, then `client ADDRESS INDEX`.")
    lines += [f"backend {address} {weight}" for address, weight in BACKENDS]
    lines += [f"client {client} {rendezvous(client, BACKENDS)}" for client in clients()]
    yield "rendezvous.txt", lines

    table = maglev_table(BACKENDS)
    packed = b"".join(index.to_bytes(2, "little") for index in table)
    lines = head("Maglev: backends, XXH3 of the table as 16-bit little endian, its first places, clients.")
    lines += [f"backend {address} {weight}" for address, weight in BACKENDS]
    lines.append(f"table {xxhash.xxh3_64_hexdigest(packed)}")
    lines.append("places " + " ".join(str(index) for index in table[:64]))
    lines += [f"client {client} {maglev(client, table)}" for client in clients()]
    yield "maglev.txt", lines

    lines = head("Smooth weighted round robin: `weights ...`, then `picks ...` of one whole round.")
    for weights in ([5, 1, 1], [1, 1, 1], [1, 2, 3, 4], [7, 3, 2], [1, 10], [4, 4, 2, 1, 1], [16, 5, 9, 1, 1, 3]):
        lines.append("weights " + " ".join(map(str, weights)))
        lines.append("picks " + " ".join(map(str, smooth(weights, sum(weights)))))
    yield "smooth-weighted-round-robin.txt", lines


def main():
    differ = 0
    for name, lines in files():
        text = "\n".join(lines) + "\n"
        path = HERE / name
        if "--check" in sys.argv:
            same = path.exists() and path.read_text() == text
            print(name, "as it should be" if same else "DIFFERS")
            differ += not same
        else:
            path.write_text(text)
            print(name, len(lines), "lines")
    sys.exit(differ > 0)


if __name__ == "__main__":
    main()
