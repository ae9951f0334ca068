#!/usr/bin/env bash
# Runs the built cmocka programs and the end-to-end scripts, and closes with one count.
# usage: run_tests.sh BUILD_DIR all|unit   (unit: without the kernels' and the end-to-end tests)
# A program counts its own tests (cmocka's summary lines); a script in tests/e2e counts as one
# and says 77 when it has to be skipped.
set -u
cd "$(dirname "$0")/.."
build=$1 which=$2
passed=0 failed=0 skipped=0
log=$(mktemp) && trap 'rm -f "$log"' EXIT
export HOLDFAST_BUILD="$PWD/$build" HOLDFAST_SHARED="${HOLDFAST_SHARED:-$PWD/../shared}"
[ -t 1 ] && progress=1 || progress=0

count() { # label: adds up the cmocka summary in $log
    local p f s
    p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | awk '{n+=$1} END {print n+0}')
    f=$(grep -c '^\[  FAILED  \] [A-Za-z_]' "$log")
    s=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p' "$log" | awk '{n+=$1} END {print n+0}')
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

programs=(tests/unit/*.c)
[ "$which" = all ] && programs+=(tests/kernels/*.c)
for t in "${programs[@]}"; do
    [ -e "$t" ] || continue
    bin="$build/${t%.c}"
    start=$(date +%s)
    timeout "${TEST_TIMEOUT:-600}" "$bin" >"$log" 2>&1
    rc=$?
    before=$failed
    count
    if [ $rc -ne 0 ]; then
        [ "$failed" -eq "$before" ] && failed=$((failed + 1))
        echo "FAIL $t (exit $rc)"
        tail -n 40 "$log"
    else
        echo "ok   $t ($(($(date +%s) - start)) s)"
    fi
done
if [ "$which" = all ]; then
    for t in tests/e2e/*.sh tests/e2e/*.py; do
        [ -x "$t" ] || continue
        start=$(date +%s)
        timeout "${TEST_TIMEOUT:-600}" "$t" >"$log" 2>&1
        rc=$?
        case $rc in
        0) passed=$((passed + 1)) && echo "ok   $t ($(($(date +%s) - start)) s)" ;;
        77) skipped=$((skipped + 1)) && echo "skip $t: $(tail -n 1 "$log")" ;;
        *) failed=$((failed + 1)) && echo "FAIL $t (exit $rc)" && tail -n 40 "$log" ;;
        esac
    done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
