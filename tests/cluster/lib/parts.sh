# shellcheck shell=bash
# The parts and their flags. Uses: $here, $cluster_dir, $nodes, $kubelet_options, binary, start, wait_until.

loopback=127.0.0.1

# Ports below the ephemeral range (32768 and up, ip(7)) and below node ports (30000 and up),
# so that no outgoing connection takes one between this look and the part's bind. Two `up`s of
# one user never look at the same time: they hold the lock.
declare -A port=()
choose_ports() { # NAMES...
  local name port_number hex taken
  taken=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true)
  for name in "$@"; do
    while :; do
      port_number=$((20000 + RANDOM % 10000))
      hex=$(printf ':%04X ' "$port_number")
      [[ $taken == *"$hex"* ]] || break
    done
    taken+=$hex
    port[$name]=$port_number
  done
}

answers() { curl --silent --fail --noproxy '*' --max-time 2 "$@"; }
tls_answers() { answers --cacert "$cluster_dir/pki/ca.crt" "$@"; }

start_etcd() {
  local client=http://$loopback:${port[etcd]} peer=http://$loopback:${port[etcd_peer]} flags=()
  # Consistent lists from the watch cache ask etcd for progress. The flag lost its prefix in 3.6.
  local progress=watch-progress-notify-interval
  local help
  help=$("${binary[etcd]}" --help 2>&1 || true)
  if [[ $help == *"--$progress"* ]]; then
    flags+=("--$progress=5s")
  elif [[ $help == *"--experimental-$progress"* ]]; then
    flags+=("--experimental-$progress=5s")
  fi
  start etcd "${binary[etcd]}" --name=sciuro --data-dir="$cluster_dir/etcd" \
    --listen-client-urls="$client" --advertise-client-urls="$client" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" \
    --initial-cluster="sciuro=$peer" --log-level=warn \
    --unsafe-no-fsync --quota-backend-bytes=4294967296 "${flags[@]}"
}

etcd_ready() { answers "http://$loopback:${port[etcd]}/health"; }

# No endpoints are written for the API server: it would refuse to announce loopback.
# The request limits are for 5,000 nodes of the kubelet double; NodeRestriction and how kubelets are called as kubeadm has it:
# by address, with a client certificate, and without a look at the kubelet's own.
start_apiserver() {
  local pki=$cluster_dir/pki
  cp "$here/config/audit-policy.yaml" "$cluster_dir/"
  start kube-apiserver "${binary[kube-apiserver]}" \
    --etcd-servers="http://$loopback:${port[etcd]}" \
    --bind-address="$([[ $address ]] && echo 0.0.0.0 || echo "$loopback")" --advertise-address="${address:-$loopback}" \
    --secure-port="${port[apiserver]}" \
    --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 \
    --tls-cert-file="$pki/server.crt" --tls-private-key-file="$pki/server.key" \
    --client-ca-file="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
    --kubelet-preferred-address-types=ExternalIP,InternalIP \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$pki/service-account.pub" \
    --service-account-signing-key-file="$pki/service-account.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --allow-privileged=true \
    --audit-policy-file="$cluster_dir/audit-policy.yaml" --audit-log-path="$cluster_dir/audit.log" \
    --audit-log-maxsize=200 --audit-log-maxbackup=2 \
    --max-requests-inflight=3000 --max-mutating-requests-inflight=1500
}

apiserver_ready() { tls_answers "https://$loopback:${port[apiserver]}/readyz"; }

# Those that concern pods, nodes and permissions; clouds, volumes and autoscaling are left out.
controllers=(
  clusterrole-aggregation-controller cronjob-controller daemonset-controller
  deployment-controller disruption-controller endpointslice-controller
  garbage-collector-controller job-controller namespace-controller node-lifecycle-controller
  pod-garbage-collector-controller replicaset-controller root-ca-certificate-publisher-controller
  serviceaccount-controller serviceaccount-token-controller statefulset-controller
  taint-eviction-controller validatingadmissionpolicy-status-controller
)

# 50 s of grace is the default since 1.32; the shorter period makes the moment sharper.
start_controller_manager() {
  local pki=$cluster_dir/pki kubeconfig=$cluster_dir/pki/controller-manager.kubeconfig
  start kube-controller-manager "${binary[kube-controller-manager]}" \
    --kubeconfig="$kubeconfig" --leader-elect=false --use-service-account-credentials \
    --bind-address="$loopback" --secure-port="${port[controller_manager]}" \
    --tls-cert-file="$pki/server.crt" --tls-private-key-file="$pki/server.key" \
    --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/service-account.key" \
    --controllers="$(IFS=,; printf '%s' "${controllers[*]}")" \
    --node-monitor-period=2s --node-monitor-grace-period=50s \
    --kube-api-qps=200 --kube-api-burst=400
}

# Healthy is not enough: pods need the default service account.
controller_manager_ready() {
  tls_answers "https://$loopback:${port[controller_manager]}/healthz" &&
    "${binary[kubectl]}" --kubeconfig "$cluster_dir/kubeconfig" --request-timeout=2s \
      get serviceaccount default --namespace default
}

start_scheduler() {
  local pki=$cluster_dir/pki
  start kube-scheduler "${binary[kube-scheduler]}" \
    --kubeconfig="$cluster_dir/pki/scheduler.kubeconfig" --leader-elect=false \
    --bind-address="$loopback" --secure-port="${port[scheduler]}" \
    --tls-cert-file="$pki/server.crt" --tls-private-key-file="$pki/server.key" \
    --kube-api-qps=500 --kube-api-burst=1000
}

scheduler_ready() { tls_answers "https://$loopback:${port[scheduler]}/readyz"; }

# An empty cluster address: alone, without gossip.
start_alertmanager() {
  cp "$here/config/alertmanager.yaml" "$cluster_dir/"
  start alertmanager "${binary[alertmanager]}" --config.file="$cluster_dir/alertmanager.yaml" \
    --storage.path="$cluster_dir/alertmanager" --cluster.listen-address= \
    --web.listen-address="$loopback:${port[alertmanager]}" \
    --web.external-url="http://$loopback:${port[alertmanager]}" --log.level=warn
}

alertmanager_ready() { answers "http://$loopback:${port[alertmanager]}/-/ready"; }

# Prometheus finds its Alertmanager up to 5 s after its start, and an alert that fires before is sent
# again after the resend delay only, by default 1 m (measured). An alert ends four delays after the
# last time it was sent, so 10 s also means: 40 s after Prometheus is gone.
start_prometheus() {
  write_prometheus_config
  start prometheus "${binary[prometheus]}" --config.file="$cluster_dir/prometheus.yaml" \
    --storage.tsdb.path="$cluster_dir/prometheus" --web.enable-lifecycle \
    --rules.alert.resend-delay=10s \
    --web.listen-address="$loopback:${port[prometheus]}" \
    --web.external-url="http://$loopback:${port[prometheus]}" --log.level=warn
}

prometheus_ready() { answers "http://$loopback:${port[prometheus]}/-/ready"; }

# Prometheus takes relative paths from the folder of its configuration.
write_prometheus_config() {
  cat >"$cluster_dir/prometheus.yaml" <<YAML
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
  external_labels: {cluster: a.k8s, prometheus: k8s-a}
scrape_configs:
- job_name: exporters
  honor_labels: true
  file_sd_configs:
  - files: [targets/*.json]
    refresh_interval: 1s
alerting:
  alertmanagers:
  - static_configs:
    - targets: ['$loopback:${port[alertmanager]}']
rule_files:
- rules/*.yaml
$(shipped_rules | sed "s/'/''/g; s/.*/- '&'/")
YAML
}

# Files with rules for Prometheus: not their promtool tests, nor rules in a Kubernetes manifest.
shipped_rules() {
  grep --files-with-matches --no-messages '^groups:' "$checkout"/deploy/rules/*.yaml || true
}

build_kubelet_double() {
  interruptibly cargo build --quiet --package sandbox --manifest-path "$checkout/Cargo.toml" 9>&- ||
    die 1 "the kubelet double could not be built, see above; --nodes 0 does without"
  phase_done "kubelet double built"
}

start_nodes() {
  start nodes "$(realpath "${CARGO_TARGET_DIR:-$checkout/target}")/debug/sandbox" kubelet \
    --kubeconfig "$cluster_dir/kubeconfig" --nodes "$nodes" \
    --ready-file "$cluster_dir/nodes-ready" "${kubelet_options[@]}"
}

nodes_ready() { [[ -e $cluster_dir/nodes-ready ]]; }
