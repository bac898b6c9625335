//! Certificates of forms that are found in the field.

use std::path::Path;
use std::process::Command;

use ::sandbox::{Front, Identity};

use crate::support::World;

/// An Alertmanager whose only certificate `openssl req -x509` made, as Prometheus' own guide has it.
#[test]
fn t15_e5_a_source_with_a_certificate_of_its_own() {
    let world = World::sandbox();
    let node = world.node("w1");
    world.alert(&[("alertname", "X"), ("node", &node)], "", true);
    let server = Identity::self_signed(&["127.0.0.1"], 2100);
    let front = Front::tls(world.alertmanager_url(), &server, None);
    let url = format!("https://{}", front.address());
    let other = Identity::self_signed(&["127.0.0.1"], 2100);
    let sync = |ca: &str| {
        world.file("ca.crt", ca);
        let config = world.file("http.yaml", "tls_config: {ca_file: ca.crt}\n");
        world.sync(&["--alertmanager", &url, "--http-config", config.to_str().expect("UTF-8")])
    };
    sync(&other.certificate).exits(11);
    sync(&server.certificate).exits(0);
    assert_eq!(world.condition(&node, "X").expect("a condition")["status"], "True");
}

fn openssl(folder: &Path, arguments: &str) -> String {
    let done = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output();
    let done = done.expect("openssl, which tests/cluster/up needs as well");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

mod control_plane {
    use super::*;
    use crate::support::kubeconfig;

    /// A user of that name, by a key that `openssl` makes with these arguments; without a file of extensions its certificate is
    /// one of version 1, as in `MicroK8s`.
    fn version_of(world: &World, key: &str) -> crate::support::Run {
        let pki = std::env::var("SCIURO_CLUSTER_DIR").expect("a control plane") + "/pki";
        let folder = world.file("marker", "").parent().expect("a folder").to_owned();
        openssl(&folder, &format!("{key} -out c.key"));
        openssl(&folder, "req -new -key c.key -subj /O=system:masters/CN=old -out c.csr");
        openssl(
            &folder,
            &format!(
                "x509 -req -in c.csr -CA {pki}/ca.crt -CAkey {pki}/ca.key -CAserial serial -CAcreateserial -days 1 -out c.crt"
            ),
        );
        assert!(openssl(&folder, "x509 -in c.crt -noout -text").contains("Version: 1 "));
        let server = world.server_url();
        let user = "client-certificate: c.crt, client-key: c.key";
        let file =
            world.file("old", &kubeconfig(server.trim_end_matches('/'), &format!("{pki}/ca.crt"), user));
        world.run(&["status", "--kubeconfig", file.to_str().expect("UTF-8")])
    }

    #[test]
    fn t15_e4_a_client_certificate_of_version_1() {
        let world = World::control_plane();
        version_of(&world, "ecparam -genkey -noout -name prime256v1").exits(0);
        version_of(&world, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048").exits(0);
    }

    #[test]
    fn t15_e4_keys_that_cannot_be_used() {
        let world = World::control_plane();
        let can = "ECDSA P-256 or P-384, Ed25519, and RSA of 2048 to 8192 bits can be used";
        version_of(&world, "ecparam -genkey -noout -name secp521r1")
            .exits(2)
            .says(&format!("the client's key is ECDSA P-521: {can}"));
        version_of(&world, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024")
            .exits(2)
            .says(&format!("the client's key is RSA of 1024 bits: {can}"));
    }
}
