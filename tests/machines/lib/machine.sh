# shellcheck shell=bash
# One machine: its files, its power. Uses: $machines, $directory, $base, $network, make_client_certificate, write_kubeconfig.

address_of() { printf '%s.1%s' "$network" "$1"; } # NUMBER

# Not a disk, if there is memory for it: when a container ends, its overlay is unmounted, and that waits for what anybody has written to
# the disk.
default_dir() {
  local place=${TMPDIR:-/tmp}
  [[ ! -w /dev/shm || $(stat --file-system --format %T /dev/shm) != tmpfs ]] || place=/dev/shm
  printf '%s/kubectl-sciuro-machines' "$place"
}

# What all machines have of us, once: kubelet, and the images that they import.
make_shared() {
  local root=$directory/shared
  mkdir -p "$root"/usr/local/{bin,share}
  install -m 0755 "${binary[kubelet]}" "$root/usr/local/bin/kubelet"
  make_image "$root/usr/local/share/image.tar"
  find "$root" -type d -exec chmod 0755 {} +
}

# NUMBER is that of its addresses: NETWORK.1NUMBER, and pods in 10.244.NUMBER.0/24.
make_machine() { # NAME NUMBER OF
  local name=$1 number=$2 of=$3 machine=$directory/machines/$1 root each
  root=$machine/overlay/upper
  mkdir -p "$machine"/{containerd,kubelet} "$root"/etc/{sciuro,cni/net.d,systemd/system/multi-user.target.wants} \
    "$root/var/log/journal" "$root/root/.ssh"
  cp -R "$machines/files/." "$root/"
  echo 0.5 >"$machine/firmware-seconds"
  address_of "$number" >"$machine/address"
  tr -d - </proc/sys/kernel/random/uuid >"$machine/machine-id"
  cp "$machine/machine-id" "$root/etc/machine-id"
  echo "$name" >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n%s %s\n' "$(address_of "$number")" "$name" >"$root/etc/hosts"
  printf 'NODE_IP=%s\n' "$(address_of "$number")" >"$root/etc/sciuro/environment"
  {
    printf 'ip link set lo up\nip address add %s/24 dev host0\nip link set host0 up\nip route add default via %s.1\n' "$(address_of "$number")" "$network"
    for ((each = 1; each <= of; each++)); do
      ((each == number)) || printf 'ip route add 10.244.%s.0/24 via %s\n' "$each" "$(address_of "$each")"
    done
  } >"$root/etc/sciuro/network"
  cat >"$root/etc/cni/net.d/10-sciuro.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "sciuro", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {"type": "host-local", "subnet": "10.244.$number.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  for each in kubelet sciuro-cgroups sciuro-network sciuro-images containerd ssh; do
    ln -sf "/etc/systemd/system/$each.service" "$root/etc/systemd/system/multi-user.target.wants/$each.service"
    [[ -e $machines/files/etc/systemd/system/$each.service ]] ||
      ln -sf "/lib/systemd/system/$each.service" "$root/etc/systemd/system/multi-user.target.wants/$each.service"
  done
  for each in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-resolved.service \
    systemd-timesyncd.service systemd-networkd.service console-getty.service getty.target apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-tmpfiles-clean.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$each"
  done
  cluster_dir=$directory/cluster make_client_certificate "node-$name" "/O=system:nodes/CN=system:node:$name"
  cluster_dir=$directory/cluster write_kubeconfig "$root/etc/kubernetes/kubeconfig" "node-$name" "$server"
  cp "$directory/cluster/pki/ca.crt" "$root/etc/kubernetes/"
  rm -f "$root/etc/ssh/ssh_host_ed25519_key"
  ssh-keygen -q -t ed25519 -N '' -C '' -f "$root/etc/ssh/ssh_host_ed25519_key"
  cp "$directory/ssh/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
  chmod -R go= "$root/root/.ssh"
  chmod 0755 "$root" "$root"/{etc,var,root}
  printf '%s %s' "$(address_of "$number")" "$(cut -d ' ' -f 1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >>"$directory/ssh/known_hosts"
  printf '\n' >>"$directory/ssh/known_hosts"
  find "$root" -type d -exec chmod go+rx {} +
  find "$root"/etc -type f -exec chmod go+r {} +
  chmod 0600 "$root/etc/ssh/ssh_host_ed25519_key" "$root/etc/kubernetes/kubeconfig"
  chmod 0700 "$root/root/.ssh"
}

# The pid of the machine's own init, as this machine sees it. It has to be in a PID namespace of its own: whatever is done to it
# stays there.
init_of() { # NAME
  local nspawn pid
  nspawn=$(cat "$directory/machines/$1/nspawn" 2>/dev/null) || return 1
  pid=$(pgrep --parent "$nspawn" | head -n 1)
  [[ $pid && $(readlink "/proc/$pid/ns/pid") != $(readlink /proc/self/ns/pid) ]] && printf '%s' "$pid"
}

is_on() { pid_of "machine-$1" >/dev/null; } # NAME

switch_on() { # NAME
  ! is_on "$1" || return 0
  start "machine-$1" nsenter --net="/proc/$(pid_of network)/ns/net" unshare --mount "$machines/lib/mainboard" "$directory" "$1" "$base"
  # Whoever runs this may end our process group as soon as we have ended: wait until it is out of it.
  local pid
  while pid=$(pid_of "machine-$1") && (($(ps --no-headers --format sid --pid "$pid") != pid)); do sleep 0.01; done
}

# As if the plug was pulled: its mainboard does it, in whatever state the machine is.
switch_off() { # NAME
  local pid
  ! pid=$(pid_of "machine-$1") || kill -TERM "$pid"
  while is_on "$1"; do sleep 0.05; done
}

remove_cgroups() {
  local file folder
  for file in "$directory"/machines/*/cgroups; do
    [[ ! -e $file ]] || while read -r folder; do
      find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done <"$file"
  done
}
