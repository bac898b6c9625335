//! Who we are to the server: the files that a kubeconfig names, or the credential plugin, are turned into what goes into a
//! handshake and a header.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::choice::{Choice, has_certificate};
use super::kubeconfig::User;
use super::plugin;
use crate::tls::Tls;

/// What a client is made with. If it is the same as before, so would the client be.
#[derive(Clone, PartialEq)]
pub(super) struct Credentials {
    pub(super) tls: Tls,
    pub(super) authorization: Option<HeaderValue>,
    /// When they end, if they say so.
    pub(super) valid_until: Option<Timestamp>,
}

impl Credentials {
    /// Reads the files, and runs the plugin if there is one.
    pub(super) async fn of(choice: &Choice) -> Result<Self, String> {
        let Choice { cluster, user, address, .. } = choice;
        let mut tls = Tls { insecure_skip_verify: cluster.insecure_skip_tls_verify, ..Tls::default() };
        if address.is_tls() {
            tls.ca = part(
                "certificate-authority",
                &cluster.certificate_authority,
                &cluster.certificate_authority_data,
            )?;
            tls.server_name = Some(cluster.tls_server_name.clone()).filter(|name| !name.is_empty());
            if has_certificate(user) {
                let certificate =
                    part("client-certificate", &user.client_certificate, &user.client_certificate_data)?;
                let key = part("client-key", &user.client_key, user.client_key_data.expose_secret())?;
                tls.identity = certificate.zip(key);
            }
        }
        // A login in the URL comes before all others: Go's client sets it before client-go is asked.
        let mut authorization = match (&address.login, bearer(user)?, &user.auth_provider) {
            (Some((name, password)), ..) => Some(login_header(name, password.expose_secret())?),
            (None, Some(token), _) => Some(token_header(&token)?),
            (None, None, Some(provider)) => Some(token_header(&token_of(provider)?)?),
            (None, None, None) if user.username.is_empty() => None,
            (None, None, None) => Some(login_header(&user.username, user.password.expose_secret())?),
        };
        let mut valid_until = tls.valid_until();
        if let Some(exec) = user.exec.as_ref().filter(|_| authorization.is_none() && tls.identity.is_none()) {
            let authority = tls.ca.as_ref().map(ExposeSecret::expose_secret);
            let given = plugin::run(exec, cluster, &cluster.server, authority).await?;
            authorization = given.token.as_ref().map(token_header).transpose()?;
            tls.identity = given.identity;
            valid_until = given.until.into_iter().chain(tls.valid_until()).min();
        }
        Ok(Self { tls, authorization, valid_until })
    }
}

/// The files whose change means other credentials.
pub(super) fn files(choice: &Choice) -> impl Iterator<Item = &Path> {
    let Choice { cluster, user, .. } = choice;
    [&cluster.certificate_authority, &user.client_certificate, &user.client_key, &user.token_file]
        .into_iter()
        .filter(|file| !file.is_empty())
        .map(Path::new)
}

/// What stands in the kubeconfig itself, or in the file that it names.
fn part(what: &str, file: &str, data: &[u8]) -> Result<Option<SecretSlice<u8>>, String> {
    if file.is_empty() || !data.is_empty() {
        return Ok((!data.is_empty()).then(|| data.to_vec().into()));
    }
    let read = std::fs::read(file).map_err(|error| format!("cannot read {what} {file}: {error}"))?;
    Ok(Some(read.into()))
}

/// The file's token comes first, if it can be read: the other one may be from when the process began.
fn bearer(user: &User) -> Result<Option<SecretString>, String> {
    let given = Some(&user.token).filter(|token| !token.expose_secret().is_empty()).cloned();
    if user.token_file.is_empty() {
        return Ok(given);
    }
    match (std::fs::read_to_string(&user.token_file), given) {
        (Ok(token), given) if token.trim().is_empty() => {
            given.map(Some).ok_or_else(|| format!("there is no token in {}", user.token_file))
        }
        (Ok(token), _) => Ok(Some(token.trim().into())),
        (Err(_), Some(given)) => Ok(Some(given)),
        (Err(error), None) => Err(format!("cannot read tokenFile {}: {error}", user.token_file)),
    }
}

/// Only OIDC is left of them, and that without renewing its token.
fn token_of(
    (name, config): &(String, std::collections::BTreeMap<String, SecretString>),
) -> Result<SecretString, String> {
    if name != "oidc" {
        return Err(format!(
            "the auth-provider {name:?} is not supported; kubectl has none of that name either"
        ));
    }
    let token = config.get("id-token").filter(|token| !token.expose_secret().is_empty());
    token.cloned().ok_or_else(|| "the auth-provider oidc has no id-token; use an exec plugin".to_owned())
}

fn token_header(token: &SecretString) -> Result<HeaderValue, String> {
    secret(&format!("Bearer {}", token.expose_secret()))
}

fn login_header(name: &str, password: &str) -> Result<HeaderValue, String> {
    secret(&format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))))
}

fn secret(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the token is not one line of text".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
