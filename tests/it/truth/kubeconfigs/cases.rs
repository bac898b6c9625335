//! Addresses, flags and merged files.

/// Files, environment and flags, and what comes of them.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Below the folder that is HOME and the working directory.
    pub(super) files: Vec<(&'static str, String)>,
    pub(super) encoding: Encoding,
    pub(super) kubeconfig: Option<&'static str>,
    pub(super) flags: Vec<&'static str>,
    /// `nobody`, or the server, the path before `/version`, and what it was told of the user.
    pub(super) reaches: &'static str,
}

#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Utf8,
    Utf8WithMark,
    Utf16Le,
    Utf16Be,
    /// Lines end as on Windows.
    Crlf,
}

impl Encoding {
    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.into(),
            Self::Utf8WithMark => format!("\u{feff}{text}").into(),
            Self::Utf16Le => format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16Be => format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Crlf => text.replace('\n', "\r\n").into(),
        }
    }
}

/// One file, `config`, of this text.
pub(super) fn raw(name: &'static str, text: impl Into<String>, reaches: &'static str) -> Case {
    Case {
        name,
        files: vec![("config", text.into())],
        encoding: Encoding::Utf8,
        kubeconfig: Some("{dir}/config"),
        flags: Vec::new(),
        reaches,
    }
}

/// One file with one cluster, one user and one context.
pub(super) fn case(name: &'static str, cluster: &str, user: &str, reaches: &'static str) -> Case {
    raw(name, text(cluster, user), reaches)
}

pub(super) fn text(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {{{cluster}}}\n\
         users:\n- name: u\n  user: {{{user}}}\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\n"
    )
}

impl Case {
    pub(super) fn file(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    pub(super) fn encoded(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    pub(super) fn listed(self, kubeconfig: Option<&'static str>) -> Self {
        Self { kubeconfig, ..self }
    }

    pub(super) fn flags(self, flags: &[&'static str]) -> Self {
        Self { flags: flags.to_vec(), ..self }
    }
}

/// Who is known by this token, to a server that is known by its authority.
pub(super) const TLS: &str = "server: 'https://{tls}', certificate-authority-data: {ca64}";
pub(super) const PLAIN: &str = "server: 'http://{plain}'";
pub(super) const TOKEN: &str = "token: s3cr3t-t";
pub(super) const KNOWN: &str = "tls [Bearer s3cr3t-t]";
const NOBODY: &str = "nobody";

pub(super) fn all() -> Vec<Case> {
    [addresses(), flags(), files()].into_iter().flatten().collect()
}

fn addresses() -> Vec<Case> {
    let server = |name, server: &str, reaches| case(name, &format!("server: {server}"), TOKEN, reaches);
    vec![
        server("http: nobody is told who we are", "'http://{plain}'", "plain"),
        server("host and port", "'{plain}'", "plain"),
        server("host and port with a slash", "'{plain}/'", "plain"),
        server("a name and a port", "localhost:{plain-port}", "plain"),
        server("host, port and a path", "'{plain}/x'", NOBODY),
        server("a prefix", "'http://{plain}/a/b'", "plain/a/b"),
        server("a prefix that ends in a slash", "'http://{plain}/a/'", "plain/a"),
        server("query and fragment", "'http://{plain}/a?x=1#y'", "plain/a"),
        server("a scheme in capitals", "'HTTP://{plain}'", "plain"),
        server("another scheme", "'ftp://{plain}'", NOBODY),
        server("no host", "'http://'", NOBODY),
        server("a host after too many slashes", "'http:///{plain}'", NOBODY),
        server("space before it", "' http://{plain}'", NOBODY),
        server("a name with a space", "'http://a b'", NOBODY),
        server("a port that is none", "'http://127.0.0.1:70000'", NOBODY),
        server("a bracket that stays open", "'http://[::1'", NOBODY),
        server("nothing", "''", NOBODY),
        server("null", "null", NOBODY),
        server("plain HTTP to TLS", "'http://{tls}'", NOBODY),
        server("TLS to plain HTTP", "'https://{plain}'", NOBODY),
        server("TLS of an unknown authority", "'https://{tls}'", NOBODY),
        server("a login in the URL", "'http://joe:s3cr3t-p@{plain}'", "plain [Basic am9lOnMzY3IzdC1w]"),
        server("a login without a scheme", "'joe:s3cr3t-p@{plain}'", "plain [Basic am9lOnMzY3IzdC1w]"),
        server(
            "a login that is escaped",
            "'http://joe:s3cr3t%2Dp@{plain}'",
            "plain [Basic am9lOnMzY3IzdC1w]",
        ),
        case(
            "the URL's login comes before a token",
            "server: 'https://joe:s3cr3t-p@{tls}', certificate-authority-data: {ca64}",
            TOKEN,
            "tls [Basic am9lOnMzY3IzdC1w]",
        ),
        case(
            "no scheme, but an authority",
            "server: '{tls}', certificate-authority-data: {ca64}",
            TOKEN,
            NOBODY,
        ),
        case("no scheme, but insecure", "server: '{tls}', insecure-skip-tls-verify: true", TOKEN, NOBODY),
        case(
            "the name of a server",
            "server: 'https://{named}', tls-server-name: api.example, certificate-authority-data: {ca64}",
            TOKEN,
            "named [Bearer s3cr3t-t]",
        ),
        case("another name", "server: 'https://{named}', certificate-authority-data: {ca64}", TOKEN, NOBODY),
        case(
            "a name that is none",
            "server: 'https://{tls}', tls-server-name: 'a b', certificate-authority-data: {ca64}",
            TOKEN,
            NOBODY,
        ),
    ]
}

fn flags() -> Vec<Case> {
    let flag = |name, flags: &[&'static str], reaches| case(name, TLS, TOKEN, reaches).flags(flags);
    vec![
        flag("-s with host and port", &["-s", "{plain}"], "plain"),
        case("-s with host and port alone", PLAIN, TOKEN, "other").flags(&["-s", "{other}"]),
        flag("--server", &["--server", "http://{plain}"], "plain"),
        case(
            "--server clears the name",
            "server: 'https://{named}', tls-server-name: api.example, certificate-authority-data: {ca64}",
            TOKEN,
            KNOWN,
        )
        .flags(&["--server", "https://{tls}"]),
        flag("--tls-server-name", &["--tls-server-name", "localhost"], KNOWN),
        flag("--token", &["--token", "s3cr3t-f"], "tls [Bearer s3cr3t-f]"),
        flag("--insecure-skip-tls-verify", &["--insecure-skip-tls-verify"], KNOWN),
        case(
            "--certificate-authority",
            "server: 'https://{tls}', certificate-authority-data: {pinned64}",
            TOKEN,
            KNOWN,
        )
        .file("ca.crt", "{ca}")
        .flags(&["--certificate-authority", "ca.crt"]),
        case(
            "--client-certificate and --client-key",
            "server: 'https://{mtls}', certificate-authority-data: {ca64}",
            "client-certificate-data: {other-cert64}, client-key-data: {key64}",
            "mtls",
        )
        .file("c.crt", "{cert}")
        .file("c.key", "{key}")
        .flags(&["--client-certificate", "c.crt", "--client-key", "c.key"]),
        flag("--context that is none", &["--context", "x"], NOBODY),
        flag("--cluster that is none", &["--cluster", "x"], NOBODY),
        flag("--user that is none", &["--user", "x"], NOBODY),
        flag("--as", &["--as", "jane", "--as-group", "g"], "tls [Bearer s3cr3t-t] [g] [jane]"),
        flag("--as-group alone", &["--as-group", "g"], NOBODY),
    ]
}

/// A cluster and a context of this name, at a server over plain HTTP.
fn named(name: &str, server: &str) -> String {
    format!(
        "clusters: [{{name: {name}, cluster: {{server: '{server}'}}}}]\n\
         contexts: [{{name: {name}, context: {{cluster: {name}}}}}]\n"
    )
}

fn files() -> Vec<Case> {
    let current = |name: &str| format!("current-context: {name}\n");
    let two = |name, first: String, second: String, reaches| {
        raw(name, "", reaches).file("a", first).file("b", second).listed(Some("{dir}/a:{dir}/b"))
    };
    let plain = || current("c") + &named("c", "http://{plain}");
    let other = || current("c") + &named("c", "http://{other}");
    vec![
        two(
            "the second has the current context",
            current("''") + &named("c", "http://{plain}"),
            current("c"),
            "plain",
        ),
        two("both have one", current("c"), current("d") + &named("c", "http://{plain}"), "plain"),
        two("the first entry of a name wins", plain(), other(), "plain"),
        two("wholly", current("c") + &named("c", ""), other(), NOBODY),
        two("the second is empty", plain(), String::new(), "plain"),
        two("the second is broken", plain(), "clusters: [".into(), NOBODY),
        two("the first is broken", "a: b: c".into(), plain(), NOBODY),
        raw("one of them is missing", plain(), "plain").listed(Some("{dir}/gone:{dir}/config")),
        raw("nothing between colons", plain(), "plain").listed(Some(":{dir}/config:")),
        raw("twice the same", plain(), "plain").listed(Some("{dir}/config:{dir}/config")),
        raw("all are missing", plain(), NOBODY).listed(Some("{dir}/gone")),
        raw("only colons", plain(), NOBODY).listed(Some(":")),
        raw("a folder", plain(), NOBODY).listed(Some("{dir}")),
        raw("the default file", "", "other").file(".kube/config", other()).listed(None),
        raw("an empty variable", "", "other").file(".kube/config", other()).listed(Some("")),
        raw("no file at all", "", NOBODY).listed(None),
        raw("--kubeconfig", other(), "plain").file("k", plain()).flags(&["--kubeconfig", "k"]),
        raw("--kubeconfig that is missing", plain(), NOBODY).flags(&["--kubeconfig", "gone"]),
        raw("--context", plain() + "\n", "plain").flags(&["--context", "c"]),
        raw("files are beside their kubeconfig", "", KNOWN)
            .file(
                "x/config",
                text("server: 'https://{tls}', certificate-authority: pki/ca.crt", "tokenFile: ../token"),
            )
            .file("x/pki/ca.crt", "{ca}")
            .file("token", "s3cr3t-t\n")
            .listed(Some("x/config")),
    ]
}
