# shellcheck shell=bash
# One CA for servers and clients, and what it signs. Elliptic keys: RSA keys take seconds.
# Uses: $cluster_dir. Every file is 0600 by the caller's umask.

quiet_openssl() {
  local output
  output=$(openssl "$@" 2>&1) || {
    printf '%s\n' "$output" >&2
    return 1
  }
}

new_key() { quiet_openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

make_ca() {
  local pki=$cluster_dir/pki
  new_key "$pki/ca.key"
  quiet_openssl req -x509 -new -key "$pki/ca.key" -sha256 -days 365 -out "$pki/ca.crt" \
    -subj /CN=kubectl-sciuro-cluster
}

# Signs NAME.crt for SUBJECT: a user is its CN and the groups are its O, kubernetes.io/docs,
# "X509 client certificates". A kubelet's would be /O=system:nodes/CN=system:node:NAME.
# Valid since yesterday, as tests have clients whose clock is behind: before OpenSSL 3.4 only `ca` can say that.
make_certificate() { # NAME SUBJECT EXTENSIONS
  local file=$cluster_dir/pki/$1 pki=$cluster_dir/pki issued=$cluster_dir/pki/issued
  new_key "$file.key"
  quiet_openssl req -new -key "$file.key" -sha256 -subj "$2" -out "$file.csr"
  printf '%s\n' "$3" >"$file.ext"
  mkdir "$issued"
  : >"$issued/database"
  printf '%s\n' '[ca]' "database = $issued/database" 'rand_serial = yes' '[any]' organizationName=optional commonName=supplied \
    >"$issued/config"
  quiet_openssl ca -batch -notext -config "$issued/config" -name ca -policy any \
    -cert "$pki/ca.crt" -keyfile "$pki/ca.key" -md sha256 -outdir "$issued" \
    -startdate "$(date --utc --date=yesterday +%Y%m%d%H%M%SZ)" -days 365 \
    -in "$file.csr" -extfile "$file.ext" -out "$file.crt"
  rm -r "$issued" "$file.csr" "$file.ext"
}

make_server_certificate() { # NAME
  make_certificate "$1" "/CN=$1" "extendedKeyUsage=serverAuth
subjectAltName=IP:127.0.0.1,DNS:localhost${address:+,IP:$address}"
}

make_client_certificate() { # NAME SUBJECT
  make_certificate "$1" "$2" extendedKeyUsage=clientAuth
}

make_pki() {
  local pki=$cluster_dir/pki
  make_ca
  make_server_certificate server
  make_client_certificate admin /O=system:masters/CN=admin
  make_client_certificate controller-manager /CN=system:kube-controller-manager
  make_client_certificate scheduler /CN=system:kube-scheduler
  make_client_certificate kubelet-client /CN=kube-apiserver-kubelet-client
  new_key "$pki/service-account.key"
  quiet_openssl pkey -in "$pki/service-account.key" -pubout -out "$pki/service-account.pub"
}

# Self-contained, so that it can be copied and mounted.
write_kubeconfig() { # FILE CERTIFICATE_NAME SERVER
  local pki=$cluster_dir/pki
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
current-context: sciuro-test
contexts:
- name: sciuro-test
  context: {cluster: sciuro-test, user: $2}
clusters:
- name: sciuro-test
  cluster:
    server: $3
    certificate-authority-data: $(base64 -w 0 "$pki/ca.crt")
users:
- name: $2
  user:
    client-certificate-data: $(base64 -w 0 "$pki/$2.crt")
    client-key-data: $(base64 -w 0 "$pki/$2.key")
YAML
}
