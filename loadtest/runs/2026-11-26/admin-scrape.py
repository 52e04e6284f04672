# Scrapes /metrics RATE times a second for SECONDS over one connection; says how many came and how long they took.
import socket, sys, time, os
host, port, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
os.nice(10)
s = socket.create_connection((host, port)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
buffer = bytearray(1 << 20); view = memoryview(buffer)
begun = time.monotonic(); count = 0; took = []; size = 0
while True:
    due = begun + count / rate
    now = time.monotonic()
    if due - begun >= seconds: break
    if due > now: time.sleep(due - now)
    t = time.monotonic()
    s.sendall(request)
    got = s.recv_into(view)
    while (end := buffer.find(b"\r\n\r\n", 0, got)) < 0: got += s.recv_into(view[got:])
    at = buffer.find(b"content-length: ", 0, end) + 16
    want = end + 4 + int(buffer[at:buffer.find(b"\r", at)])
    while got < want: got += s.recv_into(view[got:])
    took.append(time.monotonic() - t); count += 1; size += got
took.sort()
passed = time.monotonic() - begun
print(f"scrapes: {count / passed:.0f} a second, {size // count} bytes each, p50 {took[count // 2] * 1e6:.0f} us, p99 {took[count * 99 // 100] * 1e6:.0f} us")
