#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME each; go test takes one target of one package at a time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
fuzztime=${FUZZTIME:-10s}

found=0
while read -r package; do
    while read -r target; do
        found=$((found + 1))
        echo "== $package $target"
        "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$package" </dev/null
    done < <("$go" test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
done < <("$go" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)
echo "$found fuzz targets ran for $fuzztime each"
[ "$found" -gt 0 ]
