# Alerts as Prometheus posts them. Input: [{name, uid, ip}] of the nodes. Arguments: the numbers $alerts and
# $conditions, $now in seconds. As many as $conditions name a node each and win there. A quarter of the others are a
# second series of such an alert, of lower priority. The rest name no node of this cluster, half by `node`, half by `instance` alone.

def rules: [
  ["CalicoTooManyInterfacesEarly", "calico-node", "calico"], ["NodeFilesystemAlmostOutOfSpace", "node-exporter", "storage"],
  ["NodeMemoryCorrectableErrorsRate", "node-exporter", "hardware"], ["NodeDiskReadErrorsPersist", "smartctl-exporter", "storage"],
  ["NodeConntrackTableNearlyFull", "node-exporter", "network"], ["NodeClockSkewIsTooLarge", "node-exporter", "platform"],
  ["NodeKernelDeadlockDetected", "node-problem-detector", "platform"], ["NodeRaidArrayDegraded", "node-exporter", "hardware"],
  ["NodeNetworkReceiveErrsTooHigh", "node-exporter", "network"], ["ContainerRuntimeDoesNotRespond", "kubelet", "platform"]];

def alert($i; $rule; $device; $priority; $where):
  {
    labels: ({
      alertname: $rule[0], cluster: "a.k8s", container: $rule[1], device: $device, endpoint: "https-metrics",
      job: $rule[1], namespace: "monitoring-system", notify: "chat-k8s-\($rule[2]) node-condition-k8s",
      pod: "\($rule[1])-\(100000 + $i)", priority: $priority, prometheus: "monitoring-system/k8s-a",
      service: "\($rule[1])-metrics", severity: (if $i % 4 == 0 then "critical" else "warning" end), team: $rule[2]
    } + $where),
    annotations: {
      summary: "\($rule[0]) on \($where.node // $where.instance), device \($device): above its threshold for 15 minutes",
      description: "Device \($device) of \($where.instance) has been above the threshold of the rule \($rule[0]) for more than 15 minutes, measured \($i % 97 + 3).4 percent. Workloads on it may be slowed down, or evicted once the kubelet sees the pressure as well.",
      runbook_url: "https://runbooks.example.org/\($rule[2])/\($rule[0] | ascii_downcase)"
    },
    startsAt: ($now - 600 - $i | todate),
    endsAt: ($now + 86400 | todate),
    generatorURL: "http://prometheus-k8s-a.example.org:9090/graph?g0.expr=max_over_time%28\($rule[0] | ascii_downcase)_ratio%5B5m%5D%29+%3E+0.9&g0.tab=1"
  };

. as $nodes
| ($nodes | length) as $count
| ((($alerts - $conditions) / 4 | floor) as $quarter | [$quarter, $conditions] | min) as $seconds
| range($alerts) as $i
| rules[$i % 10] as $rule
| if $i < $conditions then
    $nodes[$i * $count / $conditions | floor] as $node
    | alert($i; $rule; "nvme0n1"; "\($i % 6)"; {node: $node.name, instance: "\($node.ip):9100"})
  elif $i < $conditions + $seconds then
    ($i - $conditions) as $j
    | $nodes[$j * $count / $conditions | floor] as $node
    | alert($i; rules[$j % 10]; "nvme1n1"; "7"; {node: $node.name, instance: "\($node.ip):9100"})
  elif $i % 2 == 0 then
    alert($i; $rule; "nvme0n1"; "5"; {node: "storage-\($i).rack\($i % 40).b.k8s.example.org", instance: "10.64.\($i / 250 | floor).\($i % 250):9100"})
  else
    alert($i; $rule; "nvme0n1"; "5"; {instance: "10.65.\($i / 250 | floor).\($i % 250):9100", rack: "rack-\($i % 40)"})
  end
