//! Which server and whose credentials: context, cluster and user are picked, then flags replace single fields, as kubectl does
//! it (client-go's `tools/clientcmd`, `client_config.go` and `validation.go`).

use std::path::PathBuf;

use hyper_util::client::proxy::matcher::Intercept;
use secrecy::ExposeSecret;

use super::address::{Address, proxy};
use super::kubeconfig::{Cluster, Context, Kubeconfig, Plugin, User, files};
use crate::cli::KubernetesArgs;
use crate::error::{Error, Result};

/// What a kubeconfig and the flags come to. No file that they name was read so far, and no plugin has run.
#[derive(Clone)]
pub(super) struct Choice {
    /// Where it stands; nowhere if this is a pod's own account.
    pub(super) kubeconfigs: Vec<PathBuf>,
    pub(super) address: Address,
    pub(super) proxy: Option<Intercept>,
    pub(super) cluster: Cluster,
    /// None over plain HTTP: there, kubectl tells nobody who it is.
    pub(super) user: User,
    /// With these the same is chosen again, whatever has become the current context meanwhile.
    args: KubernetesArgs,
}

impl Choice {
    /// Of the names that `args` have.
    pub(super) fn of(cluster: Cluster, mut user: User, args: KubernetesArgs) -> Result<Self, String> {
        check_cluster(&cluster)?;
        check_user(&user)?;
        let address = Address::parse(&cluster.server)?;
        if address.is_tls() {
            check_tls(&cluster, &user, args.user.as_deref().unwrap_or_default())?;
        } else {
            let User { impersonate, impersonate_uid, impersonate_groups, impersonate_extra, .. } = user;
            user = User {
                impersonate,
                impersonate_uid,
                impersonate_groups,
                impersonate_extra,
                ..User::default()
            };
        }
        let proxy = proxy(&cluster.proxy_url, &address.url)?;
        Ok(Self { kubeconfigs: Vec::new(), address, proxy, cluster, user, args })
    }

    /// As the kubeconfig says it now. What cannot be read any more, or is of another server by now, stays as it was: a
    /// remediation goes on where it began.
    pub(super) fn again(&self) -> Self {
        // A pipe gives what is in it once.
        let can_be_read = !self.kubeconfigs.is_empty() && self.kubeconfigs.iter().all(|file| file.is_file());
        if !can_be_read {
            return self.clone();
        }
        match read(&self.args).and_then(|kubeconfig| choose(&kubeconfig.unwrap_or_default(), &self.args)) {
            Ok(Some(now)) if now.address.url == self.address.url => now,
            Ok(_) => {
                tracing::debug!("the kubeconfig names another server by now");
                self.clone()
            }
            Err(error) => {
                tracing::debug!("{error}");
                self.clone()
            }
        }
    }
}

/// The kubeconfig that `args` point at, merged from the files that exist, and which ones these are. `None`: there is none.
pub(super) fn read(args: &KubernetesArgs) -> Result<Option<Kubeconfig>> {
    let mut merged: Option<Kubeconfig> = None;
    for path in existing(args) {
        let next = Kubeconfig::read(&path).map_err(|why| {
            let path = path.display();
            Error::usage(format!("cannot read the kubeconfig {path}: {why}"))
                .hint(format!("kubectl config view --kubeconfig {path}"))
        })?;
        merged = Some(match merged {
            None => next,
            Some(earlier) => earlier.merge(next),
        });
    }
    Ok(merged)
}

/// A file that was named by a flag has to be there.
fn existing(args: &KubernetesArgs) -> Vec<PathBuf> {
    let mut files = files(args.kubeconfig.as_ref());
    files.retain(|file| args.kubeconfig.is_some() || file.exists());
    files
}

/// `None`: it says nothing of any server, which in a pod means the pod's own account.
pub(super) fn choose(kubeconfig: &Kubeconfig, args: &KubernetesArgs) -> Result<Option<Choice>> {
    let name = args.context.as_ref().unwrap_or(&kubeconfig.current_context);
    let context = match kubeconfig.contexts.get(name) {
        Some(context) => context.clone(),
        None if name.is_empty() => Context::default(),
        None => return Err(unknown("context", name, "kubectl config get-contexts")),
    };
    let pick = |flag: &Option<String>, of_context: String| flag.clone().unwrap_or(of_context);
    let (cluster_name, user_name) = (pick(&args.cluster, context.cluster), pick(&args.user, context.user));
    let mut cluster = match kubeconfig.clusters.get(&cluster_name) {
        Some(cluster) => cluster.clone(),
        None if cluster_name.is_empty() => Cluster::default(),
        None => return Err(unknown("cluster", &cluster_name, "kubectl config get-clusters")),
    };
    let mut user = match kubeconfig.users.get(&user_name) {
        Some(user) => user.clone(),
        // Over plain HTTP that does no harm.
        None if args.user.is_none() => User::default(),
        None => return Err(unknown("user", &user_name, "kubectl config get-users")),
    };
    override_cluster(&mut cluster, args);
    override_user(&mut user, args);
    if cluster.server.is_empty() {
        return if name.is_empty() && cluster_name.is_empty() {
            Ok(None)
        } else {
            Err(broken(&format!("the cluster {cluster_name:?} has no server")))
        };
    }
    let args = KubernetesArgs {
        context: Some(name.clone()),
        cluster: Some(cluster_name),
        user: Some(user_name),
        ..args.clone()
    };
    let kubeconfigs = existing(&args);
    let choice = Choice::of(cluster, user, args).map_err(|why| broken(&why))?;
    Ok(Some(Choice { kubeconfigs, ..choice }))
}

fn unknown(what: &str, name: &str, hint: &str) -> Error {
    Error::usage(format!("the kubeconfig has no {what} {name:?}")).hint(hint)
}

fn broken(why: &str) -> Error {
    Error::usage(format!("cannot use the kubeconfig: {why}")).hint("kubectl config view --minify")
}

fn override_cluster(cluster: &mut Cluster, args: &KubernetesArgs) {
    if let Some(server) = &args.server {
        cluster.server.clone_from(server);
    }
    // What the kubeconfig says of the name was about another server.
    if args.server.is_some() || args.tls_server_name.is_some() {
        cluster.tls_server_name = args.tls_server_name.clone().unwrap_or_default();
    }
    if args.certificate_authority.is_some() || args.insecure_skip_tls_verify == Some(true) {
        cluster.certificate_authority = args.certificate_authority.clone().unwrap_or_default();
        cluster.certificate_authority_data = Vec::new();
        cluster.insecure_skip_tls_verify = false;
    }
    if let Some(insecure) = args.insecure_skip_tls_verify {
        cluster.insecure_skip_tls_verify = insecure;
    }
    if let Some(disable) = args.disable_compression {
        cluster.disable_compression = disable;
    }
}

pub(super) fn override_user(user: &mut User, args: &KubernetesArgs) {
    if let Some(token) = &args.token {
        user.token = token.clone().into();
        user.token_file = String::new();
        user.exec = None;
        user.auth_provider = None;
    }
    if let Some(certificate) = &args.client_certificate {
        user.client_certificate.clone_from(certificate);
        user.client_certificate_data = Vec::new();
    }
    if let Some(key) = &args.client_key {
        user.client_key.clone_from(key);
        user.client_key_data = Vec::new().into();
    }
    if let Some(name) = &args.impersonate {
        user.impersonate.clone_from(name);
    }
    if let Some(uid) = &args.impersonate_uid {
        user.impersonate_uid.clone_from(uid);
    }
    if !args.impersonate_groups.is_empty() {
        user.impersonate_groups.clone_from(&args.impersonate_groups);
    }
    for (key, value) in &args.impersonate_extra {
        user.impersonate_extra.entry(key.clone()).or_default().push(value.clone());
    }
}

pub(super) fn has_certificate(user: &User) -> bool {
    !user.client_certificate.is_empty() || !user.client_certificate_data.is_empty()
}

fn has_authority(cluster: &Cluster) -> bool {
    !cluster.certificate_authority.is_empty() || !cluster.certificate_authority_data.is_empty()
}

fn check_cluster(cluster: &Cluster) -> Result<(), String> {
    if !cluster.certificate_authority.is_empty() && !cluster.certificate_authority_data.is_empty() {
        return Err("certificate-authority and certificate-authority-data are both set".to_owned());
    }
    readable("certificate-authority", &cluster.certificate_authority)
}

fn check_user(user: &User) -> Result<(), String> {
    let has_password = !user.username.is_empty() || !user.password.expose_secret().is_empty();
    if has_password && !user.token.expose_secret().is_empty() {
        return Err("the user has a token and a password; only one is allowed".to_owned());
    }
    if has_certificate(user) {
        let has_key_data = !user.client_key_data.expose_secret().is_empty();
        if !user.client_certificate.is_empty() && !user.client_certificate_data.is_empty() {
            return Err("client-certificate and client-certificate-data are both set".to_owned());
        }
        if !user.client_key.is_empty() && has_key_data {
            return Err("client-key and client-key-data are both set".to_owned());
        }
        if user.client_key.is_empty() && !has_key_data {
            return Err("the user has a client certificate and no key for it".to_owned());
        }
        readable("client-certificate", &user.client_certificate)?;
        readable("client-key", &user.client_key)?;
    }
    if let Some(plugin) = &user.exec {
        check_plugin(plugin)?;
        if user.auth_provider.is_some() {
            return Err("the user has an auth-provider and an exec plugin; only one is allowed".to_owned());
        }
    }
    let says_more = !user.impersonate_uid.is_empty()
        || !user.impersonate_groups.is_empty()
        || !user.impersonate_extra.is_empty();
    if says_more && user.impersonate.is_empty() {
        return Err("a UID, groups or extra are impersonated without a user (--as)".to_owned());
    }
    Ok(())
}

fn check_plugin(plugin: &Plugin) -> Result<(), String> {
    if plugin.command.is_empty() {
        return Err("the exec plugin has no command".to_owned());
    }
    if plugin.env.iter().any(|(name, _)| name.is_empty()) {
        return Err("a variable in env of the exec plugin has no name".to_owned());
    }
    match plugin.interactive_mode.as_str() {
        "Never" | "IfAvailable" | "Always" => {}
        "" => return Err("the exec plugin has no interactiveMode".to_owned()),
        _ => {
            return Err("interactiveMode of the exec plugin is not Never, IfAvailable or Always".to_owned());
        }
    }
    match plugin.api_version.as_str() {
        "client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1" => Ok(()),
        _ => {
            Err("apiVersion of the exec plugin is not client.authentication.k8s.io/v1 or v1beta1".to_owned())
        }
    }
}

/// What matters only where there is TLS.
fn check_tls(cluster: &Cluster, user: &User, name: &str) -> Result<(), String> {
    if has_authority(cluster) && cluster.insecure_skip_tls_verify {
        return Err("insecure-skip-tls-verify is set, and a certificate authority as well".to_owned());
    }
    // kubectl would ask for a name and a password, which no server has taken since 1.19.
    let is_known = has_certificate(user)
        || !user.token.expose_secret().is_empty()
        || !user.token_file.is_empty()
        || !user.username.is_empty()
        || user.auth_provider.is_some()
        || user.exec.is_some();
    if is_known { Ok(()) } else { Err(format!("the user {name:?} has no credentials")) }
}

fn readable(what: &str, file: &str) -> Result<(), String> {
    if file.is_empty() {
        return Ok(());
    }
    std::fs::File::open(file).map(drop).map_err(|error| format!("cannot read {what} {file}: {error}"))
}
