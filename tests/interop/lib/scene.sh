# shellcheck shell=bash
# What runs on the machines while somebody reboots them, the same for everybody, and what is seen of it from outside.
# Uses: $checkout, $work, $enter, $pids, $SCIURO_MACHINES_DIR, $SCIURO_SSH_CONFIG, say, fail.

# In the network of the machines.
kubectl() { "$enter" kubectl "$@"; }

# Its sshd may start after its kubelet.
on() { # MACHINE COMMAND...
  local address try
  address=$(<"$SCIURO_MACHINES_DIR/machines/$1/address")
  for ((try = 0; try < 60; try++)); do
    "$enter" ssh -F "$SCIURO_SSH_CONFIG" "$address" -- "${@:2}" 2>"$work/ssh" && return
    grep --quiet --extended-regexp 'ssh: connect to host|kex_exchange|Connection (closed|reset)|not permitted to log in yet' "$work/ssh" || {
      cat "$work/ssh" >&2
      return 1
    }
    sleep 0.5
  done
  fail "$1 cannot be reached: $(<"$work/ssh")"
}

boots() { "$checkout/tests/machines/power" "$1" boots; } # MACHINE
boot_id() { on "$1" cat /proc/sys/kernel/random/boot_id </dev/null; } # MACHINE
of_node() { kubectl get node "$1" --output "jsonpath={$2}"; } # NODE PATH
is_cordoned() { [[ $(of_node "$1" .spec.unschedulable) == true ]]; } # NODE
pods() { kubectl --namespace shop get pods --output json | jq --raw-output "$@"; }

until_so() { # SECONDS WHAT COMMAND...
  local limit=$1 what=$2 deadline=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "not in $limit s: $what"
    sleep 0.3
  done
}

# A Deployment with a budget, a StatefulSet, a DaemonSet, pods with an emptyDir, with a folder of the machine, without an owner, and
# that ignore SIGTERM: one of each on each machine.
workloads() {
  local pod='"containers": [{"name": "c", "image": "registry.example/c:1"}], "automountServiceAccountToken": false'
  # shellcheck disable=SC2016
  jq --null-input --argjson pod "{$pod}" '
    def spread($app): {topologySpreadConstraints: [{maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "ScheduleAnyway",
      labelSelector: {matchLabels: {app: $app}}, nodeTaintsPolicy: "Honor"}]};
    def workload($kind; $app; $more): {apiVersion: "apps/v1", kind: $kind, metadata: {name: $app, namespace: "shop"}, spec: ({
      selector: {matchLabels: {app: $app}}, template: {metadata: {labels: {app: $app}}, spec: ($pod + $more)}}
      + if $kind == "DaemonSet" then {} else {replicas: 2} end + if $kind == "StatefulSet" then {serviceName: $app} else {} end)};
    def bare($machine): {apiVersion: "v1", kind: "Pod", metadata: {name: "shell-\($machine)", namespace: "shop", labels: {app: "shell"}},
      spec: ($pod + {nodeName: $machine})};
    {apiVersion: "v1", kind: "List", items: [
      workload("Deployment"; "web"; spread("web")),
      {apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: {name: "web", namespace: "shop"},
        spec: {maxUnavailable: 1, selector: {matchLabels: {app: "web"}}}},
      workload("StatefulSet"; "db"; spread("db")),
      workload("DaemonSet"; "agent"; {volumes: [{name: "run", hostPath: {path: "/run"}}], containers: [$pod.containers[0] + {
        volumeMounts: [{name: "run", mountPath: "/machine"}],
        readinessProbe: {exec: {command: ["test", "!", "-e", "/machine/agent-fails"]}, periodSeconds: 1, failureThreshold: 1}}]}),
      workload("Deployment"; "cache"; spread("cache") + {volumes: [{name: "scratch", emptyDir: {}}]}),
      workload("Deployment"; "disk"; spread("disk") + {volumes: [{name: "disk", hostPath: {path: "/var/lib/disk", type: "DirectoryOrCreate"}}]}),
      workload("Deployment"; "deaf"; spread("deaf") + {terminationGracePeriodSeconds: 3,
        containers: [$pod.containers[0] + {command: ["sh", "-c", "trap \"\" TERM; while :; do sleep 1; done"]}]}),
      bare("m2"), bare("m3")]}'
}

# A pod on m2 that only goes when its budget does.
stubborn_pod() {
  kubectl --namespace shop create --filename - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: stubborn, namespace: shop, labels: {app: stubborn}}
spec: {nodeName: m2, automountServiceAccountToken: false, containers: [{name: c, image: registry.example/c:1}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: stubborn, namespace: shop}
spec: {minAvailable: 1, selector: {matchLabels: {app: stubborn}}}
YAML
  until_so 60 "a budget that has counted" eval '[[ $(kubectl --namespace shop get poddisruptionbudget stubborn --output "jsonpath={.status.currentHealthy}") == 1 ]]'
}

all_ready() { # on the machines of the scene: 6 of each kind that is drained or not, and the agent on m1
  [[ $(pods '[.items[] | select(.status.conditions[]? | .type == "Ready" and .status == "True") | .spec.nodeName] | group_by(.) |
    map("\(.[0])=\(length)") | join(" ")') == "m1=1 m2=7 m3=7" ]]
}

# Made anew: whoever comes next finds what the one before found.
set_the_scene() {
  local node
  kubectl delete namespace shop --ignore-not-found --timeout 120s >/dev/null
  for node in m2 m3; do
    kubectl uncordon "$node" >/dev/null
    on "$node" rm -f /run/agent-fails /run/reboot-required
  done
  kubectl cordon m1 >/dev/null
  kubectl create namespace shop >/dev/null
  until_so 30 "a service account" kubectl --namespace shop get serviceaccount default
  workloads | kubectl create --filename - >/dev/null
  until_so 120 "pods that are Ready on m2 and m3" all_ready
  kubectl uncordon m1 >/dev/null
  sleep 2 # until the scheduler and the budget know
}

# Until watched_no_more: when each node was cordoned and Ready, and how many pods of web were available.
watched_as() { # NAME
  "$enter" kubectl get nodes --watch --output json 2>/dev/null > >(jq --unbuffered --compact-output '[now, .metadata.name,
    .spec.unschedulable == true, ([.status.conditions[] | select(.type == "Ready") | .status][0])]' >"$work/$1.nodes") &
  pids[watch-nodes]=$!
  "$enter" kubectl --namespace shop get deployment web --watch --output json 2>/dev/null \
    > >(jq --unbuffered '.status.availableReplicas // 0' >"$work/$1.web") &
  pids[watch-web]=$!
}

watched_no_more() {
  sleep 1
  stop watch-nodes
  stop watch-web
}

# "CORDONED UNCORDONED" in seconds since the epoch; the last uncordon after the first cordon, or null.
cordon_of() { # NAME NODE
  jq --slurp --raw-output --arg node "$2" 'map(select(.[1] == $node)) | (map(.[2]) | indices(true)) as $on |
    "\(.[$on[0] // length][0]) \(.[($on[-1] // length) + 1][0])"' "$work/$1.nodes"
}

was_ready() { # NAME NODE: all that its Ready condition was
  jq --slurp --raw-output --arg node "$2" 'map(select(.[1] == $node)[3]) | unique | join(", ")' "$work/$1.nodes"
}

between() { jq --null-input --raw-output "($2 - $1) * 10 | round / 10"; } # EARLIER LATER

# What nodes, Leases, pods outside of the scene have that others may have left, one a line.
marks() {
  kubectl get nodes --output json | jq --raw-output '.items[] | .metadata.name as $name | (
    (.metadata.annotations // {} | keys[] | "annotation \(.) on \($name)"), (.metadata.labels | keys[] | "label \(.) on \($name)"),
    (.spec.taints // [] | .[] | "taint \(.key) on \($name)"), (.status.conditions[] | "condition \(.type) on \($name)"))'
  kubectl get leases,pods --all-namespaces --output json |
    jq --raw-output '.items[] | select(.metadata.namespace != "shop") | "\(.kind) \(.metadata.namespace)/\(.metadata.name)"'
  kubectl --namespace kube-system get daemonsets --output json |
    jq --raw-output '.items[] | .metadata.name as $name | .metadata.annotations // {} | keys[] | "annotation \(.) on DaemonSet \($name)"'
  local node
  for node in m2 m3; do on "$node" ls /run | sed -n "s/^reboot-required$/sentinel on $node/p"; done
}
