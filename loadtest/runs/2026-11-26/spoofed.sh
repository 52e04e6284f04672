# usage: spoofed.sh RINGWAY LOADTEST SECONDS: an established client of UDP without a flood, and beside a million spoofed sources.
set -u
R=$1; L=$2; S=$3; d=$(mktemp -d); cd "$d"
cat > udp.toml <<'E'
[server]
workers = [0]
sessions_max = 2000
[[listener]]
name = "dns"
protocol = "udp"
bind = "127.0.0.1:9300"
pool = "p"
[[pool]]
name = "p"
health.check = "none"
backend = [{ address = "127.0.0.1:9301" }, { address = "127.0.0.1:9302" }]
E
pids=
for p in 9301 9302; do taskset -c 1 "$L" backend udp --listen 127.0.0.1:$p >/dev/null 2>&1 & pids="$pids $!"; done
"$R" run --config udp.toml </dev/null >log 2>&1 & this=$!; pids="$pids $!"; sleep 1
state() { grep -E "VmRSS|VmHWM" /proc/$this/status | tr '\n' ' '; ls /proc/$this/fd | wc -l; }
one() { taskset -c 1 "$L" udp --target 127.0.0.1:9300 --clients 20 --rate 200/s --arrivals uniform --duration ${S}s; }
echo "== before"; state; one 2>&1; state
echo "== beside the flood"
# The clients are there before it comes, and when it is over.
(sleep 2; taskset -c 1 nice -n 5 "$L" udp --target 127.0.0.1:9300 --from 127.64.0.0/12 --clients 1000000 --rate 60000/s --timeout 100ms --duration $((S - 4))s > flood.out 2>&1) & fp=$!
one 2>&1; state; wait $fp; echo "== the flood itself"; cat flood.out; state
kill -USR1 $this; sleep 0.5; kill $pids; wait 2>/dev/null; grep -vE "listening|splicing|relay buffers" log | tail -30
rm -rf "$d"
