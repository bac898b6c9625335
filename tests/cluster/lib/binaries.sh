# shellcheck shell=bash
# Where the binaries come from: KUBEBUILDER_ASSETS, PATH, the cache, or made for the cache.
# Uses: $here, say, die, interruptibly. Sets: binary[NAME]=PATH.

cache_root=${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-sciuro
declare -A binary=()
to_build=()
missing=()

# Each is a folder here with a go.mod that declares the commands as its tools.
declare -A module=(
  [alertmanager]=github.com/prometheus/alertmanager
  [etcd]=go.etcd.io/etcd/server/v3
  [kubernetes]=k8s.io/kubernetes
)

part_of() { # NAME
  case $1 in
    kube*) printf kubernetes ;;
    amtool) printf alertmanager ;;
    *) printf '%s' "$1" ;;
  esac
}

package_of() { # NAME; etcd's command is the root of its module
  case $1 in
    etcd) printf '%s' "${module[etcd]}" ;;
    *) printf '%s/cmd/%s' "${module[$(part_of "$1")]}" "$1" ;;
  esac
}

# The version that the part's go.mod requires: the one place that says it.
version_of() { # PART
  awk -v module="${module[$1]}" '
    $1 == "require" { $1 = ""; $0 = $0 }
    $1 == module && $2 ~ /^v/ { print $2 }' "$here/$1/go.mod"
}

cache_of() { printf '%s/%s-%s' "$cache_root" "$1" "$(version_of "$1")"; } # PART

find_binaries() {
  local name
  to_build=()
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do find_binary "$name"; done

  # A kubectl on PATH may be of any age, so it is the last choice, but good enough where
  # nothing else of Kubernetes has to be built.
  if ! find_cached kubectl; then
    if [[ " ${to_build[*]} " == *' kube-'* ]]; then to_build+=(kubectl); else find_binary kubectl; fi
  fi

  # Debian calls it prometheus-alertmanager. Its package must be installed to work (its templates
  # have a fixed path), so this one is built where PATH does not have it.
  find_pair alertmanager amtool || find_pair prometheus-alertmanager amtool ||
    find_cached alertmanager amtool || to_build+=(alertmanager amtool)
  find_pair prometheus promtool || find_unpacked_prometheus || true
}

find_binary() { # NAME
  local path=
  if [[ -x ${KUBEBUILDER_ASSETS:-}/$1 ]]; then
    path=$KUBEBUILDER_ASSETS/$1
  else
    path=$(type -P "$1") || true
  fi
  if [[ $path ]]; then
    use_outside "$1" "$path"
  else
    find_cached "$1" || to_build+=("$1")
  fi
}

use_outside() { # NAME PATH
  # A link in the bin folder of another cluster would break when that one is stopped.
  binary[$1]=$(readlink -f "$2")
  [[ ${binary[$1]} == "$cache_root"/* ]] || say "$1: using ${binary[$1]}"
}

find_cached() { # NAMES...
  local name folder
  folder=$(cache_of "$(part_of "$1")")
  for name in "$@"; do
    [[ -x $folder/$name ]] || return 1
    binary[$name]=$folder/$name
  done
}

# One without the other is of no use.
find_pair() { # DAEMON TOOL
  local daemon tool
  daemon=$(type -P "$1") && tool=$(type -P "$2") || return 1
  use_outside "${1#prometheus-}" "$daemon"
  use_outside "$2" "$tool"
}

find_unpacked_prometheus() {
  local folders=("$cache_root/prometheus"-*) newest
  [[ -d ${folders[0]} ]] || return 1
  newest=$(printf '%s\n' "${folders[@]}" | sort -V | tail -n 1)
  binary[prometheus]=$newest/prometheus
  binary[promtool]=$newest/promtool
}

# Everything that is not here and cannot be made is named at once, before anything starts.
check_requirements() {
  need_command openssl "certificates; Debian: apt-get install openssl"
  need_command curl "readiness checks; Debian: apt-get install curl"
  need_command setsid "util-linux"
  need_command flock "util-linux"
  ((nodes == 0)) || need_command cargo "the kubelet double is built with it; --nodes 0 does without"
  ((${#to_build[@]} == 0)) || need_go
  if [[ ! ${binary[prometheus]:-} ]]; then
    need_command apt-get "Prometheus is taken from Debian's package; elsewhere put prometheus and promtool on PATH"
    need_command dpkg-deb "as apt-get"
  fi
  ((${#missing[@]})) || return 0
  say "cannot start, this is missing:"
  printf '  - %s\n' "${missing[@]}" >&2
  exit 3
}

need_command() { # NAME WHAT_FOR
  type -P "$1" >/dev/null || missing+=("$1 ($2)")
}

need_go() {
  local wanted found why
  wanted=$(awk '$1 == "go" { split($2, part, "."); print part[1] "." part[2] }' "$here/kubernetes/go.mod")
  why="to build ${to_build[*]}; or put those in the folder that KUBEBUILDER_ASSETS names, or on PATH"
  if ! type -P go >/dev/null; then
    missing+=("Go $wanted ($why)")
    return
  fi
  found=$(GOTOOLCHAIN=local go env GOVERSION)
  # Not a newer one: with Go 1.27's encoding/json the API server of Kubernetes 1.36 serves an
  # OpenAPI document that kubectl cannot validate against (measured).
  [[ $found =~ ^go"$wanted"([^0-9]|$) ]] || missing+=("Go $wanted, neither older nor newer; go is $found ($why)")
}

make_missing_binaries() {
  go_build etcd
  go_build alertmanager
  go_build kubernetes
  [[ ${binary[prometheus]:-} ]] || unpack_prometheus
}

# As each project's own build does. Without it Kubernetes calls itself v0.0.0, and kubectl and the
# API server judge features by version.
version_stamps() { # PART
  local version major minor package
  version=$(version_of "$1")
  case $1 in
    alertmanager) printf -- '-X github.com/prometheus/common/version.Version=%s' "${version#v}" ;;
    kubernetes)
      IFS=. read -r major minor _ <<<"${version#v}"
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf -- '-X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s ' \
          "$package" "$version" "$package" "$major" "$package" "$minor"
      done
      ;;
  esac
}

# Builds what is missing of a part into $unfinished and moves whole files, so that what the cache
# has is complete. The lock of `up` makes this one the only user of $unfinished.
unfinished=$cache_root/unfinished
go_build() { # PART
  local name names=() packages=() folder output
  for name in "${to_build[@]}"; do
    [[ $(part_of "$name") == "$1" ]] || continue
    names+=("$name")
    packages+=("$(package_of "$name")")
  done
  ((${#names[@]})) || return 0
  say "building ${names[*]}, once"
  folder=$(cache_of "$1")
  rm -rf "$unfinished"
  mkdir -p "$unfinished/work" "$folder"
  # go names several by their packages, and one as it is told.
  output=$unfinished/
  ((${#names[@]} > 1)) || output+=${names[0]}
  interruptibly env -C "$here/$1" GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 GOTMPDIR="$unfinished/work" \
    go build -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w $(version_stamps "$1")" \
    -o "$output" "${packages[@]}" 9>&- ||
    die 3 "${names[*]} could not be built, see above; or put them in the folder that KUBEBUILDER_ASSETS names or on PATH"
  for name in "${names[@]}"; do
    mv "$unfinished/$name" "$folder/"
    binary[$name]=$folder/$name
  done
  rm -rf "$unfinished"
  phase_done "${folder##*/} built"
}

# Unpacked, not installed: no service starts and root is not needed.
unpack_prometheus() {
  local folder
  rm -rf "$unfinished"
  mkdir -p "$unfinished/prometheus"
  apt_download prometheus ||
    die 3 "the package prometheus could not be had, see above; or put prometheus and promtool on PATH"
  dpkg-deb -x "$unfinished/prometheus.deb" "$unfinished/root"
  mv "$unfinished/root/usr/bin/"{prometheus,promtool} "$unfinished/prometheus/"
  folder=$cache_root/prometheus-$(dpkg-deb -f "$unfinished/prometheus.deb" Version)
  mv -T "$unfinished/prometheus" "$folder"
  rm -rf "$unfinished"
  find_unpacked_prometheus
  phase_done "${folder##*/} unpacked"
}

# The machine's package lists may be empty or out of date, and updating those needs root;
# lists of our own do not.
apt_download() { # PACKAGE
  local options=() own=$cache_root/apt
  # Otherwise apt warns that its own user cannot write here.
  ((EUID != 0)) || options+=(-o APT::Sandbox::User=root)
  if ! fetch_package "$1"; then
    mkdir -p "$own"/{state/lists/partial,cache/archives/partial}
    options+=(-o "Dir::State=$own/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$own/cache")
    say "trying with package lists of our own"
    interruptibly apt-get -q "${options[@]}" update 9>&- && fetch_package "$1" && rm -rf "$own"
  fi
}

fetch_package() { # PACKAGE; uses options of apt_download
  interruptibly env -C "$unfinished" apt-get -q "${options[@]}" download "$1" 9>&- &&
    mv "$unfinished/$1"_*.deb "$unfinished/$1.deb"
}

link_binaries() {
  local name
  for name in "${!binary[@]}"; do ln -s "${binary[$name]}" "$cluster_dir/bin/$name"; done
}
