//! The kubeconfig, kubectl's flags and the pod's own account become one client configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo, NamedCluster,
    NamedContext,
};
use secrecy::SecretString;

use crate::cli::KubernetesArgs;
use crate::error::{Error, Result};

const AGENT: &str = concat!("kubectl-sciuro/", env!("CARGO_PKG_VERSION"));

/// What the kubeconfig has, by name.
#[derive(Debug, Default)]
pub struct KubeconfigNames {
    pub contexts: Vec<String>,
    pub clusters: Vec<String>,
    pub users: Vec<String>,
}

/// The names in the kubeconfig that `args` point at; nothing is contacted and no plugin runs.
pub fn kubeconfig_names(args: &KubernetesArgs) -> Result<KubeconfigNames> {
    let kubeconfig = read(args)?.unwrap_or_default();
    Ok(KubeconfigNames {
        contexts: kubeconfig.contexts.into_iter().map(|context| context.name).collect(),
        clusters: kubeconfig.clusters.into_iter().map(|cluster| cluster.name).collect(),
        users: kubeconfig.auth_infos.into_iter().map(|user| user.name).collect(),
    })
}

/// Reads what `args` point at; nothing is contacted, but an exec credential plugin may run. And whether it is the
/// account of the pod that this runs in.
pub(super) async fn load(args: &KubernetesArgs) -> Result<(Config, bool)> {
    let (mut config, in_cluster) = read_config(args).await?;
    // Evictions and patches need to know about a 429 at once; `api` retries what is to be retried.
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Ok((config, in_cluster))
}

async fn read_config(args: &KubernetesArgs) -> Result<(Config, bool)> {
    match read(args)? {
        Some(kubeconfig) => Ok((from_kubeconfig(kubeconfig, args).await?, false)),
        None if in_a_pod() => {
            let mut config = Config::incluster().map_err(|error| {
                Error::usage(format!("cannot use the pod's service account: {}", first_line(&error)))
            })?;
            override_user(&mut config.auth_info, args);
            config.proxy_url = proxy_of_environment(&config.cluster_url)?;
            Ok((config, true))
        }
        None => Err(Error::usage("no kubeconfig was found, and this is not a pod of a cluster")
            .hint("set KUBECONFIG, or add --kubeconfig FILE")),
    }
}

/// The proxy that the environment names for `url`, unless `NO_PROXY` exempts it. Not left to kube 5.0.0, which looks
/// for the proxy's own host in `NO_PROXY` (`kube-client/src/config/file_loader.rs`, `proxy_url`).
fn proxy_of_environment(url: &http::Uri) -> Result<Option<http::Uri>> {
    if Matcher::from_env().intercept(url).is_none() {
        return Ok(None);
    }
    let names = if url.scheme_str() == Some("https") {
        ["HTTPS_PROXY", "https_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy"]
    };
    let Some((name, text)) = names
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| (name, text)))
    else {
        return Ok(None);
    };
    let text = if text.contains("://") { text } else { format!("http://{text}") };
    // The text is not repeated: it may hold a password.
    text.parse().map(Some).map_err(|_| Error::usage(format!("{name} is not the URL of a proxy")))
}

fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// client-go's rule: `--kubeconfig` alone, else the files of `KUBECONFIG` that exist, merged, else the
/// default file. `None` if there is none of them, and no `--server` to do without.
fn read(args: &KubernetesArgs) -> Result<Option<Kubeconfig>> {
    if let Some(path) = &args.kubeconfig {
        return read_file(path).map(Some);
    }
    let listed: Vec<PathBuf> = std::env::var_os("KUBECONFIG")
        .map(|list| std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    let fallback = || std::env::home_dir().map(|home| home.join(".kube").join("config"));
    let paths = if listed.is_empty() { fallback().into_iter().collect() } else { listed };
    let mut merged: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| path.exists()) {
        let next = read_file(path)?;
        merged = Some(match merged {
            None => next,
            Some(earlier) => earlier.merge(next).map_err(|error| broken(path, &error))?,
        });
    }
    Ok(merged.or_else(|| args.server.as_ref().map(|_| Kubeconfig::default())))
}

fn read_file(path: &Path) -> Result<Kubeconfig> {
    Kubeconfig::read_from(path).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &KubeconfigError) -> Error {
    Error::usage(format!("cannot read the kubeconfig {}: {}", path.display(), first_line(error)))
        .hint(format!("kubectl config view --kubeconfig {}", path.display()))
}

/// Picks context, cluster and user, then lets the flags override single fields of them, as kubectl does.
async fn from_kubeconfig(kubeconfig: Kubeconfig, args: &KubernetesArgs) -> Result<Config> {
    let context_name =
        args.context.clone().or_else(|| kubeconfig.current_context.clone()).filter(|name| !name.is_empty());
    let context = match &context_name {
        Some(name) => {
            Some(find(name, "context", "kubectl config get-contexts", &kubeconfig.contexts, |named| {
                (&named.name, named.context.clone())
            })?)
        }
        None if args.server.is_some() || args.cluster.is_some() => None,
        None => {
            return Err(Error::usage("the kubeconfig has no current context")
                .hint("kubectl config use-context NAME, or add --context NAME"));
        }
    };
    let cluster_name =
        args.cluster.clone().or_else(|| context.as_ref().map(|context| context.cluster.clone()));
    let mut cluster = match &cluster_name {
        Some(name) => find(name, "cluster", "kubectl config get-clusters", &kubeconfig.clusters, |named| {
            (&named.name, named.cluster.clone())
        })?,
        None => Cluster::default(),
    };
    let user_name = args.user.clone().or_else(|| context.as_ref().and_then(|context| context.user.clone()));
    let mut user = match user_name.filter(|name| !name.is_empty()) {
        Some(name) => find(&name, "user", "kubectl config get-users", &kubeconfig.auth_infos, |named| {
            (&named.name, Some(named.auth_info.clone().unwrap_or_default()))
        })?,
        None => AuthInfo::default(),
    };
    override_cluster(&mut cluster, args);
    override_user(&mut user, args);
    let proxy = cluster.proxy_url.clone();
    let namespace = context.and_then(|context| context.namespace);
    let effective = Kubeconfig {
        clusters: vec![NamedCluster {
            name: "effective".into(),
            cluster: Some(cluster),
            other: BTreeMap::default(),
        }],
        auth_infos: vec![NamedAuthInfo {
            name: "effective".into(),
            auth_info: Some(user),
            other: BTreeMap::default(),
        }],
        contexts: vec![NamedContext {
            name: "effective".into(),
            context: Some(Context {
                cluster: "effective".into(),
                user: Some("effective".into()),
                namespace,
                ..Context::default()
            }),
            other: BTreeMap::default(),
        }],
        current_context: Some("effective".into()),
        ..Kubeconfig::default()
    };
    let broken = |error: KubeconfigError| {
        Error::usage(format!("cannot use the kubeconfig: {}", first_line(&error)))
            .hint("kubectl config view --minify")
    };
    let mut config =
        Config::from_custom_kubeconfig(effective, &KubeConfigOptions::default()).await.map_err(broken)?;
    config.proxy_url = match proxy.filter(|proxy| !proxy.is_empty()) {
        Some(proxy) => Some(proxy.parse().map_err(|error| broken(KubeconfigError::ParseProxyUrl(error)))?),
        None => proxy_of_environment(&config.cluster_url)?,
    };
    Ok(config)
}

fn find<T, V>(
    name: &str,
    what: &str,
    command: &str,
    entries: &[T],
    view: impl Fn(&T) -> (&String, Option<V>),
) -> Result<V> {
    entries
        .iter()
        .map(view)
        .find_map(|(known, value)| value.filter(|_| known == name))
        .ok_or_else(|| Error::usage(format!("the kubeconfig has no {what} {name:?}")).hint(command))
}

fn override_cluster(cluster: &mut Cluster, args: &KubernetesArgs) {
    let set = |field: &mut Option<String>, value: &Option<String>| {
        if value.is_some() {
            field.clone_from(value);
        }
    };
    set(&mut cluster.server, &args.server);
    set(&mut cluster.tls_server_name, &args.tls_server_name);
    if args.certificate_authority.is_some() {
        cluster.certificate_authority.clone_from(&args.certificate_authority);
        cluster.certificate_authority_data = None;
    }
    cluster.insecure_skip_tls_verify = args.insecure_skip_tls_verify.or(cluster.insecure_skip_tls_verify);
    cluster.disable_compression = args.disable_compression.or(cluster.disable_compression);
}

fn override_user(user: &mut AuthInfo, args: &KubernetesArgs) {
    if let Some(token) = &args.token {
        user.token = Some(SecretString::from(token.clone()));
        user.token_file = None;
        user.exec = None;
        user.auth_provider = None;
    }
    if args.client_certificate.is_some() {
        user.client_certificate.clone_from(&args.client_certificate);
        user.client_certificate_data = None;
    }
    if args.client_key.is_some() {
        user.client_key.clone_from(&args.client_key);
        user.client_key_data = None;
    }
    if args.impersonate.is_some() {
        user.impersonate.clone_from(&args.impersonate);
    }
    if args.impersonate_uid.is_some() {
        user.impersonate_uid.clone_from(&args.impersonate_uid);
    }
    if !args.impersonate_groups.is_empty() {
        user.impersonate_groups = Some(args.impersonate_groups.clone());
    }
    for (key, value) in &args.impersonate_extra {
        user.impersonate_user_extra
            .get_or_insert_default()
            .entry(key.clone())
            .or_default()
            .push(value.clone());
    }
}

/// The first line only: YAML errors go on with a picture of the file, which may show a token.
fn first_line(error: &impl std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
