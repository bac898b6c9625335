# shellcheck shell=bash
# What machines are made of, once for all of them and kept in the cache: systemd-nspawn, unpacked and not installed; a Debian with
# systemd, containerd and sshd. Uses: $machines, $cache_root, say, die, interruptibly, apt_download.

suite=bookworm
packages=systemd-sysv,dbus,containerd,containernetworking-plugins,openssh-server,iproute2,procps,kmod,util-linux,conntrack,iptables,prometheus-node-exporter

# Whoever changes this file makes another base.
base=$cache_root/machines-$suite-$(sha256sum "$machines/lib/base.sh" | cut --characters 1-12)

make_base() {
  local package
  [[ ! -e $base/complete ]] || return 0
  exec 7>>"$cache_root/lock-machines"
  flock 7
  [[ ! -e $base/complete ]] || return 0
  say "making what the machines are made of, once"
  unfinished=$cache_root/unfinished-machines
  rm -rf --one-file-system "$base" "$unfinished"
  mkdir -p "$unfinished/tools"
  for package in debootstrap systemd-container libsystemd-shared busybox-static; do
    apt_download "$package" || die 3 "the package $package could not be had, see above"
    dpkg-deb -x "$unfinished/$package.deb" "$unfinished/tools"
  done
  # What it mounts (proc and sys, and /dev's nodes where none can be made) is in a mount namespace that ends with it: whatever happens
  # to it, nothing of this machine is below a folder that is removed.
  DEBOOTSTRAP_DIR=$unfinished/tools/usr/share/debootstrap interruptibly unshare --mount "$unfinished/tools/usr/sbin/debootstrap" \
    --variant=minbase --include="$packages" "$suite" "$unfinished/root" "$(mirror)" ||
    die 3 "debootstrap could not make a Debian, see above"
  rm -f "$unfinished"/*.deb
  rm -rf "$unfinished"/root/var/{cache/apt,lib/apt/lists}/*
  mv -T "$unfinished" "$base"
  : >"$base/complete"
  phase_done "${base##*/} made"
}

# Where this machine's own packages come from.
mirror() {
  local uri
  uri=$(apt-get indextargets --format '$(SITE)' 2>/dev/null | grep --max-count 1 debian) || uri=http://deb.debian.org/debian
  printf '%s' "$uri"
}
