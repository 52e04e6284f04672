"""CPU time for each answered request over UDP, of several proxies in turns.

    python3 udp-ways.py LOADTEST ROUNDS SECONDS SIZExCLIENTS,... WAY...

A way is nginx, ringway=PROGRAM, or proto=PROGRAM,MODE (udp-ways.rs.txt). Each measurement starts the proxy anew on core 0; the
generator and the backend have core 1. The order within a round is random. What the proxy's threads were on a core for
(/proc/PID/task/*/schedstat) is divided by the requests that were answered.
"""

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BACKEND = "127.0.0.1:7900"
LISTEN = ""
FOLDER = tempfile.mkdtemp()


def on_core_ns(pids):
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            total += int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0])
    return total


def written(name, text):
    path = os.path.join(FOLDER, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def start(way):
    kind, _, rest = way.partition("=")
    if kind == "nginx":
        conf = written(
            "nginx.conf",
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so; daemon off; worker_processes 1;"
            f"pid {FOLDER}/pid; error_log /dev/null; events {{ worker_connections 16384; }} stream {{ server {{"
            f"listen {LISTEN} udp reuseport rcvbuf=8m sndbuf=8m; proxy_pass {BACKEND}; proxy_timeout 10s; }} }}\n",
        )
        command = ["/usr/sbin/nginx", "-c", conf]
    elif kind == "proto":
        program, _, mode = rest.partition(",")
        command = [program, mode, LISTEN, BACKEND]
    else:
        conf = written(
            "ringway.toml",
            f'[server]\nworkers = 1\n[[listener]]\nname = "u"\nbind = "{LISTEN}"\nprotocol = "udp"\npool = "p"\n'
            '[listener.udp]\nidle_timeout = "10s"\n[[pool]]\nname = "p"\n[pool.health]\ncheck = "none"\n'
            f'[[pool.backend]]\naddress = "{BACKEND}"\n',
        )
        command = [rest, "run", "--config", conf]
    log = open(os.path.join(FOLDER, "log"), "a")
    return subprocess.Popen(["taskset", "-c", "0", *command], stdout=log, stderr=log)


def processes(proxy):
    children = subprocess.run(["pgrep", "-P", str(proxy.pid)], capture_output=True, text=True).stdout
    return [proxy.pid, *map(int, children.split())]


def send(loadtest, work, duration):
    size, clients = work.split("x")
    outstanding = "32" if clients == "1" else "1"
    command = ["taskset", "-c", "1", loadtest, "udp", "--json", "--from", "127.32.0.0/16", "--target", LISTEN]
    command += ["--clients", clients, "--outstanding", outstanding, "--size", size, "--warm-up", "0ms"]
    command += ["--duration", duration, "--timeout", "300ms"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    return json.loads(said)["datagrams"] if said else {"answered": 0, "lost": 0}


def await_answer():
    for _ in range(40):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.05)
            host, port = LISTEN.split(":")
            client.connect((host, int(port)))
            try:
                client.send(b"?")
                client.recv(8)
                return True
            except OSError:
                time.sleep(0.05)
    return False


def measure(loadtest, way, work, seconds):
    # Another address each time: a ring lets go of its sockets some time after its process has ended.
    global LISTEN
    LISTEN = f"127.0.0.1:{random.randrange(7901, 7999)}"
    proxy = start(way)
    try:
        if not await_answer():
            return None, 0
        pids = processes(proxy)
        send(loadtest, work, "50ms")
        before = on_core_ns(pids)
        counts = send(loadtest, work, f"{seconds}s")
        used = on_core_ns(pids) - before
    finally:
        proxy.terminate() if way == "nginx" else proxy.kill()
        proxy.wait()
    return (used / 1000 / counts["answered"] if counts["answered"] else None), counts["lost"]


def main():
    loadtest, rounds, seconds, works = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
    ways = sys.argv[5:]
    backend = subprocess.Popen(["taskset", "-c", "1", loadtest, "backend", "udp", "--listen", BACKEND], stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    try:
        for work in works:
            found = {way: [] for way in ways}
            for _ in range(rounds):
                for way in random.sample(ways, len(ways)):
                    found[way].append(measure(loadtest, way, work, seconds))
            for way in ways:
                micros = [one for one, _ in found[way] if one is not None]
                lost = sum(lost for _, lost in found[way])
                name = os.path.basename(way)
                quartile = sorted(micros)[len(micros) // 4]
                print(f"{work:10} {name:24} us/request: median {statistics.median(micros):6.2f}, lower quartile {quartile:6.2f}; lost {lost}; "
                      + " ".join(f"{one:.2f}" for one in micros), flush=True)
    finally:
        backend.terminate()
        backend.wait()


main()
