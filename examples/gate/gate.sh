#!/usr/bin/env bash
# Proves a candidate against what is deployed, checks the evidence, and says what may happen next.
#
#   EDGEPROOF_SERVER=https://control.example:8765#sha256:<key> EDGEPROOF_TOKEN=... gate.sh CANDIDATE DEPLOYED TEST_SET
#
# Exits 0 when the candidate is deployable, 2 when it is blocked, 3 when a person must look, 1 on an error.
set -euo pipefail
candidate=$1 deployed=$2 test_set=$3 out=${4:-edgeproof-result}

status=0
edgeproof analyze "$candidate" --baseline "$deployed" --preset source --dataset "$test_set" --batch 1 \
    --out "$out" || status=$?
case $status in
    0) ;;
    2) echo "blocked: $out/report.html says why" >&2 ;;
    3) echo "a person must look at $out/report.html" >&2 ;;
    *) echo "no decision was reached" >&2 ;;
esac
[ "$status" = 0 ] || exit "$status"

# Offline: signatures, digests, and the decision computed again from the raw samples.
edgeproof verify "$out/evidence" --trust "$out/trust.json"
