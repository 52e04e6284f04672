# usage: admin.sh RINGWAY LOADTEST ROUNDS SECONDS: p99 of sessions without scrapes, with 1,000 a second of another ringway, and of this one. The
# worker has core 0; clients, backends, the scraper and the admin threads have core 1.
set -u
R=$1; L=$2; ROUNDS=$3; S=$4; here=$(cd "$(dirname "$0")" && pwd)
d=$(mktemp -d); cd "$d"
cat > admin.toml <<'T'
[server]
workers = [0]
[admin]
bind = "127.0.0.1:8404"
[[listener]]
name = "web"
bind = "127.0.0.1:9100"
pool = "api"
[[pool]]
name = "api"
algorithm = "least-connections"
backend = [
    { name = "a", address = "127.0.0.1:9101" },
    { name = "b", address = "127.0.0.1:9102" },
    { name = "c", address = "127.0.0.1:9103" },
    { name = "d", address = "127.0.0.1:9104" },
]
T
pids=
export T="taskset -c 1"; for p in 9101 9102 9103 9104; do $T $L backend reply --listen 127.0.0.1:$p --delay 1ms >/dev/null 2>&1 & pids="$pids $!"; done
sleep 0.3
$R run --config admin.toml </dev/null >ringway.log 2>&1 & pids="$pids $!"
sed "s/8404/8405/;s/9100/9200/" admin.toml > other.toml; $R run --config other.toml </dev/null >other.log 2>&1 & pids="$pids $!"; sleep 1
one() { $T $L open --target 127.0.0.1:9100 --rate 1000/s --duration ${S}s --new-connections; }
one >/dev/null 2>&1
for r in $(seq $ROUNDS); do
  for with in $(case $((r % 3)) in 0) echo "no other this";; 1) echo "other this no";; *) echo "this no other";; esac); do
    echo "== round $r, scraped: $with"
    if [ $with != no ]; then port=8404; [ $with = other ] && port=8405; $T python3 $here/admin-scrape.py 127.0.0.1 $port 1000 $S > scrape.out & sp=$!; fi
    one 2>&1
    if [ $with != no ]; then wait $sp; cat scrape.out; fi
  done
done
kill $pids; wait 2>/dev/null; tail -2 ringway.log | grep -v INFO
rm -rf $d
