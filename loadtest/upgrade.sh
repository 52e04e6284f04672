#!/usr/bin/env bash
# Replaces ringway by itself again and again while new connections come, and tells what the clients met.
#
#   loadtest/upgrade.sh [RATE] [SECONDS] [FOLDER]
#
# RATE connections a second (2000) for SECONDS (100); ringway and loadtest lie in FOLDER (target/release). Fails if one
# request failed or was not sent, or if a process that was replaced did not end with 0.
set -euo pipefail
rate=${1:-2000} seconds=${2:-100} programs=$(realpath "${3:-target/release}")
folder=$(mktemp -d)
log=$folder/log
children=() serving=

end() {
    [ -z "$serving" ] || kill -TERM "$serving" 2>/dev/null || true
    [ "${#children[@]}" = 0 ] || kill -TERM "${children[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$folder"
}
trap end EXIT

# Waits until the log has a line more of this than so many.
await() {
    for _ in $(seq 600); do
        [ "$(grep -c "$1" "$2" || true)" -gt "$3" ] && return
        sleep 0.05
    done
    echo "waited in vain for: $1" >&2
    cat "$2" >&2
    exit 1
}

# By a link, as an installation would have it: the next version is put in its place.
install_ringway() { ln -s "$programs/ringway" "$folder/new" && mv -T "$folder/new" "$folder/ringway"; }
configure() {
    cat > "$folder/ringway.toml" <<TOML
[server]
workers = $1
drain_timeout = "30s"
[[listener]]
name = "web"
bind = "127.0.0.1:$port"
pool = "web"
[[pool]]
name = "web"
[[pool.backend]]
address = "$backend"
TOML
}

"$programs/loadtest" backend reply --listen 127.0.0.1:0 > "$folder/backend" &
children+=($!)
await listening "$folder/backend" 0
backend=$(sed -n 's/^listening on //p' "$folder/backend")
port=$((20000 + RANDOM % 10000))

install_ringway
configure 2
"$folder/ringway" run --config "$folder/ringway.toml" 2> "$log" > "$folder/totals" &
first=$!
serving=$first
await "is ready" "$log" 0
echo "== $("$folder/ringway" --version), kernel $(uname -r), $(nproc) cores; $rate connections a second for $seconds s"

"$programs/loadtest" open --target "127.0.0.1:$port" --rate "$rate/s" --duration "${seconds}s" --new-connections \
    > "$folder/report" &
load=$!
upgrades=0
for workers in 2 3 1 2; do
    sleep $((seconds / 5))
    install_ringway
    configure "$workers"
    kill -USR2 "$serving"
    await "the new process serves" "$log" "$upgrades"
    upgrades=$((upgrades + 1))
    serving=$(grep "the new process serves" "$log" | tail -1 | sed 's/.*successor=\([0-9]*\).*/\1/')
done
# A program that cannot start: nobody is to notice.
printf '#!/bin/sh\necho "this is no ringway" >&2\nexit 1\n' > "$folder/broken"
chmod +x "$folder/broken"
mv -T "$folder/broken" "$folder/ringway"
kill -USR2 "$serving"
await "this process goes on serving" "$log" 0
failed=0
wait "$load" || failed=$?
status=0
wait "$first" || status=$?
cat "$folder/report"
kill -TERM "$serving"
# It is no child of ours. One that has ended has no command line, whoever is to wait for it.
while grep -q . "/proc/$serving/cmdline" 2>/dev/null; do sleep 0.05; done
serving=
echo "== $upgrades upgrades, and one that failed; the first process ended with $status; what each process had:"
grep sessions: "$folder/totals"
echo "== the log, but for what each start says of itself:"
grep -E 'pid=|no ringway' "$log" | sed "s#$folder/##g"
exit $((failed + status))
