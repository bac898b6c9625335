# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # awk and jq programs; the benchmarks use what is set here, and set what is used
# Sourced by the benchmarks that compare `sync --loop` with upstream Sciuro: starts them, and reads from the audit log
# what they wrote. Results are in $work.

# The newest commit of upstream when this was written: "fix(manifests): tolerate objects without a trailing newline".
upstream_commit=4738b6b
upstream_cache=${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-sciuro/upstream-$upstream_commit

# Its expression, as its manifests have it.
upstream_expression='"node" in labels && (labels["node"] == FullName || labels["node"] == ShortName)'

# Sets $upstream: --upstream FILE, or the cache, or built from its Go module. Its metrics need the port 8080.
find_upstream() {
  [[ ! ${upstream:-} ]] || return 0
  upstream=$upstream_cache/sciuro
  [[ ! -x $upstream ]] || return 0
  type -P go >/dev/null || die 3 "upstream Sciuro is missing: --upstream FILE, or go to build it"
  say "building upstream Sciuro at $upstream_commit"
  GOBIN=$upstream_cache GOTOOLCHAIN=local go install "github.com/cloudflare/sciuro/cmd/sciuro@$upstream_commit" >&2 ||
    die 3 "upstream Sciuro cannot be built from its Go module; build cmd/sciuro of its repository and give it as --upstream FILE"
}

# Starts COMMAND in the background under the name NAME: its log is NAME.log, its pid in pid_NAME.
start_loop() { # NAME COMMAND...
  local name=$1
  shift
  began[$name]=$(date --utc +%FT%T.%6NZ)
  "$@" >"$work/$name.log" 2>&1 &
  loop[$name]=$!
}
declare -A loop=() began=()

stop_loop() { # NAME
  local pid=${loop[$1]}
  awk '$1 == "VmHWM:" { print $2 }' "/proc/$pid/status" >"$work/peak-$1"
  ticks_of_loop "$1" | awk -v hertz="$(getconf CLK_TCK)" '{ print $1 / hertz }' >"$work/cpu-$1"
  kill -TERM "$pid"
  wait "$pid" || true
  unset "loop[$1]"
}

ticks_of_loop() { sed 's/.*) //' "/proc/${loop[$1]}/stat" | awk '{ print $12 + $13 }'; } # NAME

# shellcheck disable=SC2317 # called by the trap
clean_up_loops() {
  local name
  for name in "${!loop[@]}"; do kill -TERM "${loop[$name]}" 2>/dev/null || true; done
  clean_up
}

is_running() { kill -0 "${loop[$1]}" 2>/dev/null || die 1 "$1 ended: $(tail -n 5 "$work/$1.log")"; } # NAME

ours() { # USER FLAGS...; in the place of the shell: what upstream's ConfigMap says, under a user of its own by whom it is told in the audit log
  local user=$1
  shift
  exec env SCIURO_ALERTMANAGER_URL="$ALERTMANAGER_URL" SCIURO_ALERT_RECEIVER=node-condition-k8s \
    SCIURO_CEL_EXPRESSION="$upstream_expression" SCIURO_LEADER_NAMESPACE=kube-system \
    "$binary" sync --loop --warmup 0 --as "$user" --as-group system:masters "$@"
}

theirs() { # VARIABLES...
  exec env SCIURO_ALERTMANAGER_URL="$ALERTMANAGER_URL" SCIURO_ALERT_RECEIVER=node-condition-k8s \
    SCIURO_CEL_EXPRESSION="$upstream_expression" SCIURO_LEADER_NAMESPACE=kube-system "$@" "$upstream"
}

# Successful writes of nodes' statuses since the loop NAME began: "time node", in order. Ours are known by the user.
writes_of() { # NAME USER
  { cat "$SCIURO_CLUSTER_DIR"/audit*.log | grep --fixed-strings '"subresource":"status"' || true; } |
    jq --raw-output --arg since "${began[$1]}" --arg user "$2" '
      select(.verb == "patch" and .objectRef.resource == "nodes" and .responseStatus.code == 200)
      | select(.stageTimestamp >= $since)
      | select((.impersonatedUser.username // (if .userAgent | startswith("sciuro/") then "upstream" else "" end)) == $user)
      | "\(.stageTimestamp) \(.objectRef.name)"' | sort
}

seconds_between() { # ISO ISO
  awk -v a="$(date --date "$1" +%s.%N)" -v b="$(date --date "$2" +%s.%N)" 'BEGIN { printf "%.2f", b - a }'
}
