#!/usr/bin/env bash
# Runs each libFuzzer target for some seconds and prints one line per target. One input may take a
# minute: on a busy machine a sanitized one was seen to stand still for ten seconds.
# usage: run_fuzz.sh DIR SECONDS NAME...
set -u
dir=$1 seconds=$2
shift 2
bad=0
for name in "$@"; do
    mkdir -p "$dir/corpus-$name"
    seeds=()
    [ -d "tests/fuzz/seeds/$name" ] && seeds=("tests/fuzz/seeds/$name")
    if "$dir/$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$dir/$name-" "$dir/corpus-$name" "${seeds[@]}" >"$dir/$name.log" 2>&1; then
        echo "ok   $name: $(sed -n 's/stat::number_of_executed_units: *//p' "$dir/$name.log") runs in $seconds s"
    else
        echo "FAIL $name: see $dir/$name.log"
        bad=1
    fi
done
exit $bad
