//! kubeconfig files as kubectl reads and merges them (client-go's `tools/clientcmd`). Not kube's own reader, which takes an
//! empty field for one that was set, refuses what kubectl takes, and shows values in its errors.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::yaml::{Table, document, text};

/// No kubeconfig is longer.
const MAX_FILE: u64 = 64 << 20;

/// The cluster's extension that is handed to a credential plugin.
const PLUGIN_EXTENSION: &str = "client.authentication.k8s.io/exec";

/// One file, or several that were merged.
#[derive(Clone, Default)]
pub(super) struct Kubeconfig {
    pub(super) current_context: String,
    pub(super) contexts: BTreeMap<String, Context>,
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) users: BTreeMap<String, User>,
}

#[derive(Clone, Default)]
pub(super) struct Context {
    pub(super) cluster: String,
    pub(super) user: String,
}

#[derive(Clone, Default)]
pub(super) struct Cluster {
    pub(super) server: String,
    pub(super) tls_server_name: String,
    pub(super) insecure_skip_tls_verify: bool,
    pub(super) certificate_authority: String,
    pub(super) certificate_authority_data: Vec<u8>,
    pub(super) proxy_url: String,
    pub(super) disable_compression: bool,
    pub(super) for_plugin: Option<Value>,
}

#[derive(Clone, Default)]
pub(super) struct User {
    pub(super) client_certificate: String,
    pub(super) client_certificate_data: Vec<u8>,
    pub(super) client_key: String,
    pub(super) client_key_data: secrecy::SecretSlice<u8>,
    pub(super) token: SecretString,
    pub(super) token_file: String,
    pub(super) username: String,
    pub(super) password: SecretString,
    pub(super) impersonate: String,
    pub(super) impersonate_uid: String,
    pub(super) impersonate_groups: Vec<String>,
    pub(super) impersonate_extra: BTreeMap<String, Vec<String>>,
    /// The name of a provider, and its own settings.
    pub(super) auth_provider: Option<(String, BTreeMap<String, SecretString>)>,
    pub(super) exec: Option<Plugin>,
}

/// A credential plugin.
#[derive(Clone, Default)]
pub(super) struct Plugin {
    pub(super) api_version: String,
    pub(super) command: String,
    pub(super) args: Vec<SecretString>,
    pub(super) env: Vec<(String, SecretString)>,
    pub(super) install_hint: String,
    pub(super) interactive_mode: String,
    pub(super) provide_cluster_info: bool,
}

impl Kubeconfig {
    /// Reads a file; relative paths in it are relative to its folder.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(format!("it is larger than {} MiB", MAX_FILE >> 20));
        }
        let mut kubeconfig = Self::parse(&text(bytes)?)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let folder = std::path::absolute(folder.join("")).unwrap_or_else(|_| folder.to_owned());
        let resolve = |file: &mut String| {
            if !file.is_empty() {
                *file = folder.join(&*file).display().to_string();
            }
        };
        for cluster in kubeconfig.clusters.values_mut() {
            resolve(&mut cluster.certificate_authority);
        }
        for user in kubeconfig.users.values_mut() {
            resolve(&mut user.client_certificate);
            resolve(&mut user.client_key);
            resolve(&mut user.token_file);
            // A plugin without a folder is looked for in PATH.
            let plugin = user.exec.as_mut().map(|plugin| &mut plugin.command);
            plugin.filter(|command| command.contains(std::path::MAIN_SEPARATOR)).map(resolve);
        }
        Ok(kubeconfig)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let root = document(text)?;
        let root = Table::of(&root, "the file".to_owned())?;
        for (key, known) in [("kind", "Config"), ("apiVersion", "v1")] {
            let found = root.text(key)?;
            if !found.is_empty() && found != known {
                return Err(format!("{key} is not {known}"));
            }
        }
        Ok(Self {
            current_context: root.text("current-context")?,
            contexts: named(&root, "contexts", "context", |table| {
                table.text("namespace")?; // which has to be text, and is the flags' business
                Ok(Context { cluster: table.text("cluster")?, user: table.text("user")? })
            })?,
            clusters: named(&root, "clusters", "cluster", cluster)?,
            users: named(&root, "users", "user", user)?,
        })
    }

    /// Adds what is not there yet: the first of several files wins, whole entries at a time.
    pub(super) fn merge(mut self, next: Self) -> Self {
        if self.current_context.is_empty() {
            self.current_context = next.current_context;
        }
        let Self { contexts, clusters, users, .. } = next;
        for (name, context) in contexts {
            self.contexts.entry(name).or_insert(context);
        }
        for (name, cluster) in clusters {
            self.clusters.entry(name).or_insert(cluster);
        }
        for (name, user) in users {
            self.users.entry(name).or_insert(user);
        }
        self
    }
}

fn cluster(table: &Table<'_>) -> Result<Cluster, String> {
    let mut for_plugin = None;
    for extension in table.list("extensions")? {
        if extension.text("name")? == PLUGIN_EXTENSION {
            for_plugin = extension.fields.and_then(|fields| fields.get("extension")).cloned();
        }
    }
    Ok(Cluster {
        server: table.text("server")?,
        tls_server_name: table.text("tls-server-name")?,
        insecure_skip_tls_verify: table.flag("insecure-skip-tls-verify")?,
        certificate_authority: table.text("certificate-authority")?,
        certificate_authority_data: table.data("certificate-authority-data")?,
        proxy_url: table.text("proxy-url")?,
        disable_compression: table.flag("disable-compression")?,
        for_plugin,
    })
}

fn user(table: &Table<'_>) -> Result<User, String> {
    let extra = match table.table("as-user-extra")? {
        Some(extra) => {
            let keys = extra.fields.into_iter().flat_map(Map::keys);
            keys.map(|key| Ok((key.clone(), extra.texts(key)?))).collect::<Result<_, String>>()?
        }
        None => BTreeMap::new(),
    };
    let auth_provider = match table.table("auth-provider")? {
        Some(provider) => {
            let config = provider.table("config")?;
            let keys = config.iter().filter_map(|config| config.fields).flat_map(Map::keys);
            let text =
                |key: &String| config.as_ref().map_or_else(|| Ok(String::new()), |config| config.text(key));
            let config =
                keys.map(|key| Ok((key.clone(), text(key)?.into()))).collect::<Result<_, String>>()?;
            Some((provider.text("name")?, config))
        }
        None => None,
    };
    Ok(User {
        client_certificate: table.text("client-certificate")?,
        client_certificate_data: table.data("client-certificate-data")?,
        client_key: table.text("client-key")?,
        client_key_data: table.data("client-key-data")?.into(),
        token: table.text("token")?.into(),
        token_file: table.text("tokenFile")?,
        username: table.text("username")?,
        password: table.text("password")?.into(),
        impersonate: table.text("as")?,
        impersonate_uid: table.text("as-uid")?,
        impersonate_groups: table.texts("as-groups")?,
        impersonate_extra: extra,
        auth_provider,
        exec: table.table("exec")?.as_ref().map(plugin).transpose()?,
    })
}

fn plugin(table: &Table<'_>) -> Result<Plugin, String> {
    let api_version = table.text("apiVersion")?;
    let mut interactive_mode = table.text("interactiveMode")?;
    if interactive_mode.is_empty() && api_version.ends_with("/v1beta1") {
        "IfAvailable".clone_into(&mut interactive_mode);
    }
    let env = table.list("env")?;
    let env = env.iter().map(|env| Ok((env.text("name")?, env.text("value")?.into())));
    Ok(Plugin {
        command: table.text("command")?,
        args: table.texts("args")?.into_iter().map(SecretString::from).collect(),
        env: env.collect::<Result<_, String>>()?,
        install_hint: table.text("installHint")?,
        provide_cluster_info: table.flag("provideClusterInfo")?,
        interactive_mode,
        api_version,
    })
}

/// The entries of a list by their names, which have to differ.
fn named<T>(
    root: &Table<'_>,
    list: &str,
    of: &str,
    read: impl Fn(&Table<'_>) -> Result<T, String>,
) -> Result<BTreeMap<String, T>, String> {
    let mut all = BTreeMap::new();
    for entry in root.list(list)? {
        let name = entry.text("name")?;
        let table =
            entry.table(of)?.unwrap_or(Table { fields: None, place: format!("{}.{of}", entry.place) });
        if all.insert(name, read(&table)?).is_some() {
            return Err(format!("{} has the name of another", entry.place));
        }
    }
    Ok(all)
}

/// Which files there are: `--kubeconfig` alone, else the files of `KUBECONFIG`, else the default one.
pub(super) fn files(explicit: Option<&PathBuf>) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.clone()];
    }
    let listed = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    match listed {
        Some(list) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => std::env::home_dir().map(|home| home.join(".kube").join("config")).into_iter().collect(),
    }
}
