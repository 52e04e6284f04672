# usage: flood.sh RINGWAY LOADTEST ROUNDS SECONDS: p99 of admitted sessions without a flood, with one at another ringway, and with one here.
set -u
R=$1; L=$2; ROUNDS=$3; S=$4; here=$(cd "$(dirname "$0")" && pwd); d=$(mktemp -d); cd "$d"
cat > this.toml <<'T'
[server]
workers = [0]
[[listener]]
name = "web"
bind = "127.0.0.1:9100"
pool = "api"
[listener.access]
deny = "127.0.9.0/24"
[[pool]]
name = "api"
algorithm = "least-connections"
backend = [{ name = "a", address = "127.0.0.1:9101" }, { name = "b", address = "127.0.0.1:9102" }]
T
sed 's/9100/9200/' this.toml > other.toml
pids=
for p in 9101 9102; do taskset -c 1 "$L" backend reply --listen 127.0.0.1:$p --delay 1ms >/dev/null 2>&1 & pids="$pids $!"; done
sleep 0.3
"$R" run --config this.toml </dev/null >this.log 2>&1 & this=$!; pids="$pids $!"
"$R" run --config other.toml </dev/null >other.log 2>&1 & pids="$pids $!"; sleep 1
one() { taskset -c 1 "$L" open --target 127.0.0.1:9100 --rate 500/s --duration ${S}s --new-connections; }
one >/dev/null 2>&1
for r in $(seq $ROUNDS); do
  for with in $(case $((r % 3)) in 0) echo "no other this";; 1) echo "other this no";; *) echo "this no other";; esac); do
    echo "== round $r, flood: $with"
    if [ $with != no ]; then port=9100; [ $with = other ] && port=9200; taskset -c 1 python3 "$here/flood.py" $port $S > flood.out & fp=$!; fi
    one 2>&1
    if [ $with != no ]; then wait $fp; cat flood.out; fi
  done
done
kill -USR1 $this; sleep 0.3; kill $pids; wait 2>/dev/null; grep -E "refused|^sessions" this.log | tail -3
rm -rf "$d"
