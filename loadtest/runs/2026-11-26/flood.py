# Connects from 127.0.9.x to 127.0.0.1:PORT, again and again, for SECONDS; says how many connections were refused a second.
import socket, sys, time, os
port, seconds = int(sys.argv[1]), float(sys.argv[2])
os.nice(10)
end = time.monotonic() + seconds
count = 0
while time.monotonic() < end:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    s.bind((f"127.0.9.{1 + count % 250}", 0))
    try:
        s.connect(("127.0.0.1", port))
        s.recv(1)
    except OSError:
        pass
    s.close()
    count += 1
print(f"flood: {count / seconds:.0f} connections a second")
