#!/usr/bin/env bash
# Runs parts of the test command in the order given and prints the time of each:
#   tools/test.sh check native sanitized fuzz pytest e2e    (and: threads)
# FUZZ_SECONDS=20  time of each fuzz target        PYTEST_ARGS=...  passed on to pytest
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=$(nproc)
bin=.venv/bin
vectors=tests/vectors

check() {
    "$bin/ruff" check .
    "$bin/ruff" format --check --quiet .
    "$bin/lint-imports" --config pyproject.toml
    "$bin/pyright"
}

# The build tree of the Python module, with the doctest runner put in.
native() {
    cmake -S . -B build/native -D SIPFARM_TESTS=ON >/dev/null
    cmake --build build/native --target sipfarm_tests --parallel "$jobs"
    build/native/sipfarm_tests
}

clang_build() {  # directory, then options
    local directory=$1
    shift
    cmake -S . -B "$directory" -G Ninja -D CMAKE_CXX_COMPILER=clang++ \
        -D SIPFARM_MODULE=OFF -D SIPFARM_TESTS=ON "$@" >/dev/null
    cmake --build "$directory" --parallel "$jobs"
}

sanitized() {
    clang_build build/asan -D SIPFARM_SANITIZE=address -D SIPFARM_FUZZ=ON
    build/asan/sipfarm_tests
}

threads() {
    clang_build build/tsan -D SIPFARM_SANITIZE=thread
    build/tsan/sipfarm_tests
}

# The seeds of a target are the directories its source names in lines "// Seeds: tests/vectors/..."; without one, all vectors.
fuzz_one() {
    local source=$1 target seeds corpus log
    target=$(basename "$source" .cpp)
    corpus=build/fuzz/$target/corpus
    log=build/fuzz/$target/log
    mkdir -p "$corpus"
    mapfile -t seeds < <(sed -n 's|^// Seeds: *||p' "$source")
    if [ ${#seeds[@]} -eq 0 ] && [ -d "$vectors" ]; then
        seeds=("$vectors")
    fi
    if "build/asan/$target" -max_total_time="${FUZZ_SECONDS:-20}" -timeout=5 -rss_limit_mb=1024 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="build/fuzz/$target/" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
        printf '  %-28s %s runs, no fault\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
        return 0
    fi
    tail -60 "$log" >&2
    echo "$target found a fault; its input lies in build/fuzz/$target/ (replay: build/asan/$target FILE)" >&2
    return 1
}

fuzz() {
    clang_build build/asan -D SIPFARM_SANITIZE=address -D SIPFARM_FUZZ=ON
    export -f fuzz_one
    export vectors FUZZ_SECONDS
    printf '%s\0' tests/fuzz/fuzz_*.cpp | xargs -0 -P "$jobs" -I {} bash -euo pipefail -c 'fuzz_one "$1"' _ {}
}

pytest() {
    # shellcheck disable=SC2086
    "$bin/python" -m pytest -n "$jobs" --dist worksteal -m "not e2e" ${PYTEST_ARGS:-}
}

# They wait more than they work. The tests of a module share its farms, so it stays on one worker.
e2e() {
    if ! compgen -G "tests/e2e/test_*.py" >/dev/null; then
        echo "there is no tests/e2e/test_*.py" >&2
        return 1
    fi
    # shellcheck disable=SC2086
    "$bin/python" -m pytest -n "$jobs" --dist loadfile --no-loadscope-reorder -m e2e ${PYTEST_ARGS:-}
}

times=()
begun=$SECONDS
summary() {
    local status=$?
    printf '\n%-12s %6s\n' part seconds
    printf '%s\n' "${times[@]}"
    printf '%-12s %6d  %s\n' total "$((SECONDS - begun))" "$([ $status -eq 0 ] && echo passed || echo FAILED)"
}
trap summary EXIT

for part in "$@"; do
    printf '\n== %s\n' "$part"
    part_begun=$SECONDS
    status=0
    # A function called in a condition runs without set -e, so each part is a shell of its own.
    bash -euo pipefail -c "$(declare -f "$part" clang_build fuzz_one); jobs=$jobs bin=$bin vectors=$vectors; $part" || status=$?
    times+=("$(printf '%-12s %6d' "$part" "$((SECONDS - part_begun))")")
    if [ $status -ne 0 ]; then
        exit "$status"
    fi
done
