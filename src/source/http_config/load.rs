//! The files that a configuration names, read anew each time: tokens and certificates are rotated under our feet.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::{Auth, Given, HttpConfig, Proxy, sensitive};
use crate::error::Error;
use crate::tls::Tls;
use crate::trusted_file;

/// No token, certificate or configuration is longer.
const MAX_FILE: u64 = 1 << 20;

/// A configuration with everything that its files say.
#[derive(Default, Clone)]
pub(in crate::source) struct Loaded {
    /// `Authorization` and `http_headers`: for the source's own host and nobody else.
    pub(in crate::source) headers: HeaderMap,
    pub(in crate::source) tls: Tls,
    pub(in crate::source) proxy: Proxy,
    pub(in crate::source) follows_redirects: bool,
    /// What must not be shown, should a server repeat it.
    pub(in crate::source) secrets: Vec<SecretString>,
}

impl HttpConfig {
    /// Reads the files. An error names the file and what was wrong with it, never what is in it.
    pub(in crate::source) fn load(&self) -> Result<Loaded, String> {
        let mut secrets = Vec::new();
        let mut headers = HeaderMap::new();
        if let Some(value) = self.authorization(&mut secrets)? {
            headers.insert(AUTHORIZATION, value);
        }
        for (name, values) in &self.headers {
            for value in values {
                let text = value.text(&mut secrets)?;
                let value = sensitive(&text)
                    .ok_or_else(|| format!("{}: a header's value is one line of text", value.place()))?;
                headers.append(name.clone(), value);
            }
        }
        if let Proxy::Url { url, connect_headers, .. } = &self.proxy {
            let password =
                url::Url::parse(url.expose_secret()).ok().and_then(|url| url.password().map(str::to_owned));
            secrets.extend(password.map(SecretString::from));
            secrets.extend(connect_headers.iter().flat_map(|(_, values)| values.iter().cloned()));
        }
        let bytes = |given: &Option<Given>| given.as_ref().map(Given::bytes).transpose();
        let identity = bytes(&self.tls.cert)?.zip(bytes(&self.tls.key)?);
        let tls = Tls {
            ca: bytes(&self.tls.ca)?,
            identity,
            server_name: self.tls.server_name.clone(),
            insecure_skip_verify: self.tls.insecure_skip_verify,
            only: self.tls.only,
        };
        let follows_redirects = self.follows_redirects();
        Ok(Loaded { headers, tls, proxy: self.proxy.clone(), follows_redirects, secrets })
    }

    fn authorization(&self, secrets: &mut Vec<SecretString>) -> Result<Option<HeaderValue>, String> {
        let (text, place) = match &self.auth {
            None | Some(Auth::Header { credentials: None, .. }) => return Ok(None),
            Some(Auth::Basic { username, password }) => {
                // A user's name is no secret, but it may be kept beside the password.
                let username = username.as_ref().map(|given| given.text(&mut Vec::new())).transpose()?;
                let password = password.as_ref().map(|given| given.text(secrets)).transpose()?;
                let [username, password] = [&username, &password]
                    .map(|text| text.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default());
                return Ok(Some(basic(username, password, secrets)));
            }
            Some(Auth::Header { scheme, credentials: Some(given) }) => {
                let credentials = given.text(secrets)?;
                (SecretString::from(format!("{scheme} {}", credentials.expose_secret())), given.place())
            }
        };
        sensitive(&text).map(Some).ok_or_else(|| format!("{place}: credentials are one line of text"))
    }
}

/// The header for a name and a password.
pub(in crate::source) fn basic(
    username: &str,
    password: &str,
    secrets: &mut Vec<SecretString>,
) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let value = sensitive(&format!("Basic {encoded}").into());
    secrets.push(encoded.into());
    value.unwrap_or_else(|| HeaderValue::from_static("")) // never: base64 is text
}

impl Given {
    fn place(&self) -> String {
        match self {
            Self::Here(_) => "the http-config file".into(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Without the white space around it, which an editor leaves at a file's end.
    fn text(&self, secrets: &mut Vec<SecretString>) -> Result<SecretString, String> {
        let text: SecretString = match self {
            Self::Here(text) => text.clone(),
            Self::File(path) => read_text(path)?.trim().to_owned().into(),
        };
        secrets.push(text.clone());
        Ok(text)
    }

    fn bytes(&self) -> Result<SecretSlice<u8>, String> {
        match self {
            Self::Here(text) => Ok(text.expose_secret().as_bytes().to_vec().into()),
            Self::File(path) => Ok(read(path)?.into()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_from(File::open(path), path)
}

fn read_from(file: std::io::Result<File>, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} is larger than 1 MiB", path.display()));
    }
    Ok(bytes)
}

fn read_text(path: &Path) -> Result<String, String> {
    text(read(path)?, path)
}

/// The configuration itself, which only its owner may write to.
pub(in crate::source) fn read_configuration(path: &Path) -> Result<String, Error> {
    let file = trusted_file::open(path)
        .map_err(|error| trusted_file::unread("--http-config: cannot read", path, &error))?;
    let read = read_from(Ok(file), path).and_then(|bytes| text(bytes, path));
    read.map_err(|why| Error::usage(format!("--http-config: {why}")))
}

fn text(bytes: Vec<u8>, path: &Path) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("{} is not text in UTF-8", path.display()))
}
