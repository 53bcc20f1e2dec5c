#!/usr/bin/env bash
# Schemathesis against the API of a throwaway server: as an operator, as a reader, and without a key (docs/http.md).
#
#   scripts/fuzz-api.sh            FUZZ_EXAMPLES=100 requests an operation at most, FUZZ_SEED=1, FUZZ_VENV: where schemathesis is
#
# Fails for a 5xx or any other reply that the OpenAPI document does not have, and for whatever is reached without a key.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${FUZZ_VENV:-${TMPDIR:-/tmp}/duckcoop-schemathesis}
if [ ! -x "$venv/bin/schemathesis" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'schemathesis>=4.32,<5'
fi
npm run -s build

folder=$(mktemp -d)
server=
finish() { [ -z "$server" ] || { kill "$server"; wait "$server" || true; }; rm -r "$folder"; }
trap finish EXIT
umask 077
cat > "$folder/duckcoop.yaml" <<YAML
server: { port: 0, drain_timeout: 1s }
data_dir: $folder/data
pools:
  interactive: { size: 2, threads: 1, timeout: 5s, memory_limit: 256MB, memory_hard_limit: 1GB }
  exports: { size: 1, reserve: 0, threads: 1, timeout: 5s, memory_limit: 256MB, memory_hard_limit: 1GB }
sessions: { max: 2, memory_limit: 128MB, idle_timeout: 5s }
exports: { egress: { port: 0 } }
sources: { docs: { kind: files, path: $PWD/docs } }
limits: {}
auth:
  mode: api_keys
  principals:
    reads: { key_hash: "sha256:$(printf reads | sha256sum | cut -d' ' -f1)", role: reader }
    operates: { key_hash: "sha256:$(printf operates | sha256sum | cut -d' ' -f1)", role: operator }
YAML
node bin/duckcoop.js serve --config "$folder/duckcoop.yaml" > "$folder/log" & server=$!
until url=$(sed -n 's/.*"event":"listening".*"url":"\([^"]*\)".*/\1/p' "$folder/log" | grep .); do kill -0 "$server"; sleep 0.1; done
until curl -sf "$url/readyz" > "$folder/ready"; do sleep 0.1; done
curl -sf -H 'Authorization: Bearer operates' "$url/openapi.json" > "$folder/openapi.json"

# A stream of events has no end. SQL and names by chance are refused well-formed as they are: no check of what is accepted.
# Of what is wrong by its text alone (a header, a parameter that is there twice) not everything is refused: neither is that.
# 502, 503 and 504 are replies like others; a 500 is a fault, and found in the log.
run() {
  echo "== $1"
  shift
  # In its folder: it keeps a cache where it is started.
  (cd "$folder" && "$venv/bin/schemathesis" run openapi.json --url "$url" --phases "${FUZZ_PHASES:-coverage,fuzzing,stateful}" \
    --exclude-checks positive_data_acceptance,negative_data_rejection,not_a_server_error \
    --exclude-path /v1/supervision/events --suppress-health-check all --request-timeout 30 --warnings off \
    --max-examples "${FUZZ_EXAMPLES:-100}" --seed "${FUZZ_SEED:-1}" --continue-on-failure "$@")
}
failed=0
run 'as an operator' -H 'Authorization: Bearer operates' || failed=1
run 'as a reader' -H 'Authorization: Bearer reads' || failed=1
run 'without a key' --report har --report-har-path "$folder/strangers.har" || failed=1
"$venv/bin/python" - "$folder/strangers.har" <<'PYTHON' || failed=1
import collections, json, sys
from urllib.parse import urlsplit
entries = json.load(open(sys.argv[1]))["log"]["entries"]
closed = [e for e in entries if urlsplit(e["request"]["url"]).path not in ("/healthz", "/readyz")]
reached = collections.Counter(e["response"]["status"] for e in closed)
print(f"{len(closed)} requests without a key to what is closed, by status: {dict(reached)}")
# 400 is what is no HTTP/1.1.
sys.exit(0 if closed and set(reached) <= {400, 401} else 1)
PYTHON
if grep -E '"event":"fault"|"outcome":"INTERNAL"' "$folder/log"; then failed=1; fi
kill -0 "$server"
exit "$failed"
