# shellcheck shell=bash disable=SC2034,SC2154 # the benchmarks use what is set here, and set what is used
# Sourced by the benchmarks: what they need, the binary, and a real control plane with nodes and alerts. $work has it all.

say() { printf 'bench: %s\n' "$*" >&2; }

die() { # EXIT_CODE WORDS...
  local code=$1
  shift
  printf 'bench: error: %s\n' "$*" >&2
  exit "$code"
}

# The options of a benchmark are variables: those in `numbers`, which are checked, those in `files`, and --binary.
read_arguments() {
  local name
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit
        ;;
      --*) [[ " ${numbers[*]} ${files[*]-} binary " == *" ${1#--} "* ]] || die 2 "unknown option: $1 (see --help)" ;;
      *) die 2 "unknown argument: $1 (see --help)" ;;
    esac
    (($# > 1)) || die 2 "$1 needs a value"
    printf -v "${1#--}" '%s' "$2"
    shift 2
  done
  for name in "${numbers[@]}"; do
    [[ ${!name} =~ ^[1-9][0-9]{0,5}$ ]] || die 2 "--$name: not a number from 1: ${!name}"
  done
  ((conditions <= nodes)) || die 2 "--conditions: more than there are nodes"
  [[ ! $binary || -x $binary ]] || die 2 "--binary: cannot be run: $binary"
}

# Everything that is not here is named at once.
check_requirements() {
  local missing=()
  type -P curl >/dev/null || missing+=("curl (Debian: apt-get install curl)")
  type -P jq >/dev/null || missing+=("jq (Debian: apt-get install jq)")
  [[ $binary ]] || type -P cargo >/dev/null || missing+=("cargo (or --binary FILE)")
  find_time || missing+=("GNU time (Debian: apt-get install time)")
  ((${#missing[@]})) || return 0
  say "cannot measure, this is missing:"
  printf '  - %s\n' "${missing[@]}" >&2
  exit 3
}

# GNU's: the shell's own does not know the peak of memory.
find_time() {
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-sciuro/time
  for gnu_time in "$(type -P time)" "$cache/time"; do
    [[ ! -x $gnu_time || $("$gnu_time" --version 2>&1) != *GNU* ]] || return 0
  done
  type -P apt-get dpkg-deb >/dev/null || return 1
  mkdir "$work/time"
  (cd "$work/time" && apt-get -q download time && dpkg-deb -x ./*.deb .) >&2 || return 1
  mkdir -p "$cache"
  mv "$work/time/usr/bin/time" "$cache/time"
}

work=
# shellcheck disable=SC2317 # called by the trap
clean_up() {
  trap '' HUP INT TERM
  [[ $work ]] || return 0
  [[ ! -e $work/cluster ]] || "$checkout/tests/cluster/down" --dir "$work/cluster" || true
  rm -rf "$work"
}

build() {
  [[ ! $binary ]] || return 0
  say "building target/release"
  cargo build --release --locked --manifest-path "$checkout/Cargo.toml" >&2
  binary=$(cargo metadata --no-deps --format-version 1 --manifest-path "$checkout/Cargo.toml" |
    jq --raw-output .target_directory)/release/kubectl-sciuro
}

start_cluster() {
  local lines
  lines=$("$checkout/tests/cluster/up" --nodes "$nodes" --dir "$work/cluster")
  eval "$lines"
  unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY # curl has --noproxy besides
  pki=$SCIURO_CLUSTER_DIR/pki
  server=$(kubectl config view --minify --output 'jsonpath={.clusters[0].cluster.server}')
  # The query of sync.
  cat >"$work/alerts.curl" <<TEXT
url = "$ALERTMANAGER_URL/api/v2/alerts?receiver=node-condition-k8s"
output = /dev/null
write-out = "%{time_total}\n"
TEXT
  cat >"$work/list.curl" <<TEXT
url = "$server/api/v1/nodes"
cacert = "$pki/ca.crt"
cert = "$pki/admin.crt"
key = "$pki/admin.key"
http1.1
output = /dev/null
write-out = "%{time_total}\n"
TEXT
  sed --in-place '1i silent\nshow-error\nfail\nnoproxy = "*"\nmax-time = 60' "$work"/{alerts,list}.curl
}

# Gets what the config FILE asks for, to stdout.
get() { # FILE
  sed '/^output\|^write-out/d' "$work/$1.curl" | curl --disable --config -
}

# Nodes of the size of real ones, and as many alerts for them as $alerts. Leaves $work/{nodes,alerts}.json.
prepare() {
  local smallest
  get list >"$work/list.json"
  list_bytes=$(stat --format %s "$work/list.json")
  jq --compact-output '[.items[] | {name: .metadata.name, uid: .metadata.uid, size: (tojson | utf8bytelength),
    ip: first(.status.addresses[] | select(.type == "InternalIP").address)}]' "$work/list.json" >"$work/nodes.json"
  rm "$work/list.json"
  smallest=$(jq 'map(.size) | min' "$work/nodes.json")
  ((smallest >= 13000)) || die 1 "a node has $smallest bytes, it should be at least 13,000"

  now=$(date +%s)
  jq --compact-output --from-file "$here/lib/alerts.jq" --argjson alerts "$alerts" --argjson conditions "$conditions" \
    --argjson now "$now" "$work/nodes.json" >"$work/alerts"
  jq --slurp . "$work/alerts" >"$work/alerts.json"
  mkdir "$work/batch"
  split --lines 1000 "$work/alerts" "$work/batch/"
  post_alerts
  alert_bytes=$(get alerts | tee "$work/received.json" | wc -c)
  [[ $(jq length "$work/received.json") == "$alerts" ]] || die 1 "Alertmanager does not have all $alerts alerts"
  rm "$work/received.json"
}

post_alerts() {
  local file
  for file in "$work"/batch/*; do
    jq --slurp --compact-output . "$file" |
      curl --disable --silent --show-error --fail --noproxy '*' --max-time 60 --header 'Content-Type: application/json' \
        --data-binary @- "$ALERTMANAGER_URL/api/v2/alerts"
  done
}

# The header of a request whose answer need not be the whole node.
metadata_only='header = "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"'

# Leaves in $work/FILE.curl what curl has to do to write the conditions, or to delete them.
write_patches() { # FILE DELETES OPTIONS
  jq --raw-output --from-file "$here/lib/patches.jq" --argjson conditions "$conditions" --argjson now "$now" \
    --arg server "$server" --arg pki "$pki" --slurpfile nodes "$work/nodes.json" \
    --argjson deletes "$2" --arg options "$3" "$work/alerts.json" >"$work/$1.curl"
}

# Needs $work/deletes.curl.
reset_nodes() {
  timeout --foreground 180 curl --disable --no-progress-meter --noproxy '*' --parallel --parallel-max 8 --config "$work/deletes.curl"
  expect_conditions 0 "the conditions were deleted"
}

# True conditions of ours, and on how many nodes.
expect_conditions() { # COUNT AFTER
  local found
  found=$(get list | jq --raw-output '
    [.items[].status.conditions | map(select(.type | startswith("AlertManager_"))) | select(length > 0)]
    | "\(map(map(select(.status == "True" and .reason == "AlertIsFiring"))[]) | length) \(length)"')
  [[ $found == "$1 $1" ]] || die 1 "after $2: expected $1 True conditions on as many nodes, found (conditions, nodes): $found"
}

# What each benchmark begins with, once it knows what is wanted: with alerts, or on the bare control plane.
begin() {
  begin_bare
  prepare
}

begin_bare() {
  work=$(mktemp --directory --tmpdir kubectl-sciuro-bench.XXXXXX)
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  load=$(cut --delimiter ' ' --fields 1 /proc/loadavg)
  check_requirements
  build
  start_cluster
}
