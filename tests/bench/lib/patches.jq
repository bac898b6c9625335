# What curl has to do, in the syntax of --config: one status patch for each alert that becomes a condition.
# Input: the alerts. Arguments: $nodes as for alerts.jq, $conditions, $now, $server, $pki, $options (more lines for
# each request), and $deletes: take the conditions away again.

def quoted: tojson; # the escapes of JSON that occur here are curl's as well

($nodes[0] | map({(.name): .uid}) | add) as $uids
| limit($conditions; .[])
| .labels as $labels
| ("AlertManager_" + $labels.alertname) as $type
| {
    metadata: {uid: $uids[$labels.node]},
    status: {conditions: [
      if $deletes then {type: $type, "$patch": "delete"}
      else {
        type: $type, status: "True", reason: "AlertIsFiring", message: "[P\($labels.priority)] \(.annotations.summary)",
        lastHeartbeatTime: ($now | todate), lastTransitionTime: ($now | todate)
      } end
    ]}
  }
| "next",
  "url = \("\($server)/api/v1/nodes/\($labels.node)/status" | quoted)",
  "request = PATCH",
  "header = \"Content-Type: application/strategic-merge-patch+json\"",
  "data-raw = \(tojson | quoted)",
  "output = /dev/null",
  "fail",
  "max-time = 60",
  "cacert = \("\($pki)/ca.crt" | quoted)",
  "cert = \("\($pki)/admin.crt" | quoted)",
  "key = \("\($pki)/admin.key" | quoted)",
  $options
