# shellcheck shell=bash
# The directory of one cluster. Uses: $cluster_dir, die.

# Not XDG_RUNTIME_DIR: it is often a tmpfs of a tenth of the memory, and etcd with a few
# thousand nodes fills that.
default_dir() { printf '%s' "${TMPDIR:-/tmp}/kubectl-sciuro-cluster-$(id -u)"; }

# Only a directory with this file in it is ever emptied or removed, so that a mistaken --dir
# costs nothing.
marker=.kubectl-sciuro-cluster

check_dir() {
  [[ -e $cluster_dir || -L $cluster_dir ]] || return 0
  [[ -d $cluster_dir && -O $cluster_dir ]] || die 2 "$cluster_dir is not a directory of yours"
  [[ -e $cluster_dir/$marker || ! $(ls -A "$cluster_dir") ]] ||
    die 2 "$cluster_dir is not empty and was not made by tests/cluster/up"
}

make_dir() {
  mkdir -p "$cluster_dir"
  chmod 0700 "$cluster_dir"
  : >"$cluster_dir/$marker"
  mkdir "$cluster_dir"/{alertmanager,bin,etcd,log,pid,pki,prometheus,rules,targets}
}

# The marker goes last: what an interrupted removal leaves behind is still known as ours.
remove_dir() {
  [[ -e $cluster_dir/$marker ]] || return 0
  find "$cluster_dir" -mindepth 1 -maxdepth 1 ! -name "$marker" -exec rm -rf {} +
  rm -f "$cluster_dir/$marker"
  rmdir "$cluster_dir"
}
