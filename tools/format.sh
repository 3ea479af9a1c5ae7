#!/usr/bin/env bash
# Formats the Go sources with gofmt and the C and C++ sources with clang-format; with --check it only says which differ
# and fails. Without clang-format the C sources are left unchecked, in so many words; under BGEVL_REQUIRE=1 that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

check=
[ "${1:-}" = --check ] && check=1
failed=

mapfile -t go_files < <(find . -name '*.go' -not -path './build/*' | sort)
if [ -n "$check" ]; then
    bad=$(gofmt -l "${go_files[@]}")
    if [ -n "$bad" ]; then
        printf 'not formatted by gofmt (make format does it):\n%s\n' "$bad" >&2
        failed=1
    fi
else
    gofmt -w "${go_files[@]}"
fi

mapfile -t c_files < <(find csrc tests cmake \( -name '*.c' -o -name '*.h' -o -name '*.cc' -o -name '*.cpp' -o -name '*.hpp' \) | sort)
if [ ${#c_files[@]} -gt 0 ]; then
    if ! command -v clang-format >/dev/null; then
        echo "clang-format is not installed: ${#c_files[@]} C sources were not looked at (tools/setup.sh installs it)" >&2
        [ "${BGEVL_REQUIRE:-}" = 1 ] && failed=1
    elif [ -n "$check" ]; then
        clang-format --dry-run -Werror "${c_files[@]}" || failed=1
    else
        clang-format -i "${c_files[@]}"
    fi
fi
[ -z "$failed" ]
