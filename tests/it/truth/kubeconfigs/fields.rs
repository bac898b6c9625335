//! Fields that are empty, of another type or in another form, and certificates and tokens.

use super::cases::{Case, Encoding, KNOWN, PLAIN, TLS, TOKEN, case, raw, text};

const NOBODY: &str = "nobody";
const MTLS: &str = "server: 'https://{mtls}', certificate-authority-data: {ca64}";

pub(super) fn all() -> Vec<Case> {
    [empty(), forms(), types(), authorities(), client_certificates(), tokens()]
        .into_iter()
        .flatten()
        .collect()
}

fn empty() -> Vec<Case> {
    let cluster = |name, more: &str| case(name, &format!("{TLS}, {more}"), TOKEN, KNOWN);
    let user = |name, more: &str| case(name, TLS, &format!("{TOKEN}, {more}"), KNOWN);
    vec![
        cluster("an empty tls-server-name", "tls-server-name: ''"),
        cluster("an empty certificate-authority beside its data", "certificate-authority: ''"),
        cluster("an empty proxy-url", "proxy-url: ''"),
        cluster(
            "fields that are null",
            "tls-server-name: null, proxy-url: ~, insecure-skip-tls-verify: null, extensions: null",
        ),
        cluster("an unknown field", "location: {rack: 7}"),
        case(
            "empty data of an authority",
            "server: 'https://{tls}', certificate-authority-data: '', insecure-skip-tls-verify: true",
            TOKEN,
            KNOWN,
        ),
        user("an empty tokenFile", "tokenFile: ''"),
        user("empty data of a client", "client-certificate-data: '', client-key-data: ''"),
        user("empty files of a client", "client-certificate: '', client-key: ''"),
        user("nobody is impersonated", "as: '', as-uid: '', as-groups: [], as-user-extra: {}"),
        user("no name and no password", "username: '', password: ''"),
        user(
            "users' fields that are null",
            "exec: null, auth-provider: null, as-groups: null, client-key-data: null",
        ),
        case("a cluster that is null", "", TOKEN, NOBODY),
        raw(
            "an entry without its cluster",
            "current-context: c\nclusters: [{name: c}]\ncontexts: [{name: c, context: {cluster: c}}]\n",
            NOBODY,
        ),
        raw("a context of no cluster", text(PLAIN, TOKEN).replace("cluster: c,", "cluster: x,"), NOBODY),
        raw("a context of no user, plainly", text(PLAIN, TOKEN).replace("user: u}", "user: x}"), "plain"),
        raw("a context of no user, by TLS", text(TLS, TOKEN).replace("user: u}", "user: x}"), NOBODY),
        raw("a context that names no user", text(TLS, TOKEN).replace(", user: u}", "}"), NOBODY),
        raw(
            "a current context that is none",
            text(PLAIN, TOKEN).replace("current-context: c", "current-context: x"),
            NOBODY,
        ),
        raw(
            "no current context",
            text(PLAIN, TOKEN).replace("current-context: c", "current-context: ''"),
            NOBODY,
        ),
        case("no credentials", TLS, "", NOBODY),
    ]
}

/// The authority's data, standing by itself below its cluster.
fn with_data(name: &'static str, data: &str, reaches: &'static str) -> Case {
    let head = "current-context: c\nusers: [{name: u, user: {token: s3cr3t-t}}]\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\nclusters:\n- name: c\n  cluster:\n";
    let text = format!("{head}    server: 'https://{{tls}}'\n    certificate-authority-data: {data}\n");
    raw(name, text, reaches)
}

fn forms() -> Vec<Case> {
    let plain = || text(PLAIN, TOKEN);
    let without = |what: &str| text(PLAIN, TOKEN).replace(what, "");
    vec![
        with_data("data in quotes with an end of line", "\"{ca64}\\n\"", KNOWN),
        with_data("data as a block", "|\n      {ca64}", KNOWN),
        with_data("data as a block of lines", "|-\n      {ca64-lines}", KNOWN),
        with_data("data that is folded has spaces", ">\n      {ca64-lines}", NOBODY),
        with_data("data that is PEM", "|\n      -----BEGIN CERTIFICATE-----", NOBODY),
        with_data("data without its padding", "QQ", NOBODY),
        with_data("data that is no certificate", "bm90aGluZwo=", NOBODY),
        with_data("ends of lines as on Windows", "\"{ca64}\"", KNOWN).encoded(Encoding::Crlf),
        raw("a byte order mark", plain(), "plain").encoded(Encoding::Utf8WithMark),
        raw("UTF-16", plain(), "plain").encoded(Encoding::Utf16Le),
        raw("UTF-16 the other way round", plain(), "plain").encoded(Encoding::Utf16Be),
        raw(
            "JSON",
            r#"{"current-context":"c","clusters":[{"name":"c","cluster":{"server":"http://{plain}"}}],
            "contexts":[{"name":"c","context":{"cluster":"c"}}]}"#,
            "plain",
        ),
        raw("neither kind nor apiVersion", without("apiVersion: v1\nkind: Config\n"), "plain"),
        raw("another kind", plain().replace("kind: Config", "kind: Pod"), NOBODY),
        raw("another version", plain().replace("apiVersion: v1", "apiVersion: v2"), NOBODY),
        raw("a mark of a document before it", format!("---\n{}", plain()), "plain"),
        raw("two documents", format!("{}---\ncurrent-context: x\n", plain()), "plain"),
        raw("only a comment", "# nothing\n", NOBODY),
        raw("only space", " \n\n", NOBODY),
        raw("a list", "- a\n", NOBODY),
        raw("a word", "kubeconfig\n", NOBODY),
        raw("indented by tabs", "clusters:\n\t- name: c\n", NOBODY),
        raw(
            "an alias",
            plain()
                .replace("user: {", "user: &me {")
                .replace("kind: Config", "kind: Config\npreferences: {}"),
            "plain",
        ),
        raw(
            "merged mappings",
            "x: &x {server: 'http://{plain}'}\ncurrent-context: c\nclusters: [{name: c, cluster: {<<: *x}}]\n\
             contexts: [{name: c, context: {cluster: c}}]\n",
            "plain",
        ),
        case(
            "a key twice: the last counts",
            "server: 'http://{other}', server: 'http://{plain}'",
            TOKEN,
            "plain",
        ),
        raw(
            "a name twice",
            plain().replace("users:", "- name: c\n  cluster: {server: 'http://{other}'}\nusers:"),
            NOBODY,
        ),
    ]
}

fn types() -> Vec<Case> {
    vec![
        case("a token that is a number", PLAIN, "token: 12345", NOBODY),
        case("a token that looks like one", TLS, "token: '12345'", "tls [Bearer 12345]"),
        raw(
            "a namespace that is a number",
            text(PLAIN, TOKEN).replace("user: u}", "user: u, namespace: 7}"),
            NOBODY,
        ),
        case("yes", "server: 'https://{tls}', insecure-skip-tls-verify: yes", TOKEN, KNOWN),
        case("true in quotes", "server: 'https://{tls}', insecure-skip-tls-verify: 'true'", TOKEN, NOBODY),
        case("a server that is a list", "server: ['http://{plain}']", TOKEN, NOBODY),
        raw("clusters that are a mapping", "clusters: {c: {}}\n", NOBODY),
        raw(
            "users that are null",
            text(PLAIN, TOKEN).replace("users:\n- name: u\n  user: {token: s3cr3t-t}\n", "users: null\n"),
            "plain",
        ),
        raw(
            "another user's data is broken",
            text(PLAIN, TOKEN).replace("users:", "users:\n- name: x\n  user: {client-key-data: 's3cr3t!'}"),
            NOBODY,
        ),
    ]
}

fn authorities() -> Vec<Case> {
    let of = |name, cluster: &str, reaches| case(name, cluster, TOKEN, reaches);
    vec![
        of("an authority's file", "server: 'https://{tls}', certificate-authority: ca.crt", KNOWN)
            .file("ca.crt", "subject=servers\n{ca}"),
        of(
            "one of several, and something else",
            "server: 'https://{tls}', certificate-authority: ca.crt",
            KNOWN,
        )
        .file("ca.crt", "{other-cert}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{ca}"),
        of("a file without a certificate", "server: 'https://{tls}', certificate-authority: ca.crt", NOBODY)
            .file("ca.crt", "nothing\n"),
        of("an empty file", "server: 'https://{tls}', certificate-authority: ca.crt", NOBODY)
            .file("ca.crt", ""),
        of("a file that is missing", "server: 'https://{tls}', certificate-authority: gone", NOBODY),
        of(
            "file and data",
            "server: 'https://{tls}', certificate-authority: ca.crt, certificate-authority-data: {ca64}",
            NOBODY,
        )
        .file("ca.crt", "{ca}"),
        of(
            "an authority, and insecure",
            "server: 'https://{tls}', certificate-authority-data: {ca64}, insecure-skip-tls-verify: true",
            NOBODY,
        ),
        of(
            "the server's own certificate",
            "server: 'https://{pinned}', certificate-authority-data: {pinned64}",
            "pinned [Bearer s3cr3t-t]",
        ),
        of(
            "that of another",
            "server: 'https://{pinned}', certificate-authority-data: {elsewhere64}",
            NOBODY,
        ),
        of(
            "its own, of another name",
            "server: 'https://{elsewhere}', certificate-authority-data: {elsewhere64}",
            NOBODY,
        ),
        of(
            "its own, which has ended",
            "server: 'https://{once}', certificate-authority-data: {once64}",
            NOBODY,
        ),
        of(
            "a proxy of another kind",
            "server: 'https://{tls}', certificate-authority-data: {ca64}, proxy-url: 'ftp://{plain}'",
            NOBODY,
        ),
        of(
            "a proxy that is none",
            "server: 'https://{tls}', certificate-authority-data: {ca64}, proxy-url: 'http://joe:s3cr3t-p@127.0.0.1:1'",
            NOBODY,
        ),
    ]
}

fn client_certificates() -> Vec<Case> {
    let of = |name, user: &str, reaches| case(name, MTLS, user, reaches);
    let files = |name, certificate: &str, key: &str, reaches| {
        of(name, "client-certificate: c.crt, client-key: c.key", reaches)
            .file("c.crt", certificate)
            .file("c.key", key)
    };
    vec![
        of("in the file itself", "client-certificate-data: {cert64}, client-key-data: {key64}", "mtls"),
        files("in files", "{cert}", "{key}", "mtls"),
        of("a key's file", "client-certificate-data: {cert64}, client-key: c.key", "mtls")
            .file("c.key", "{key}"),
        files("with text around it", "Bag Attributes\n{cert}\n", "key:\n{key}\n", "mtls"),
        files("both in one file", "{key}{cert}", "{cert}{key}", "mtls"),
        files("RSA, PKCS #8", "{cert-rsa-8}", "{key-rsa-8}", "mtls"),
        files("RSA, PKCS #1", "{cert-rsa-1}", "{key-rsa-1}", "mtls"),
        files("ECDSA, SEC 1", "{cert-ec}", "{key-ec}", "mtls"),
        files("ECDSA P-384 with its parameters", "{cert-p384}", "{key-p384}", "mtls"),
        files("Ed25519", "{cert-ed}", "{key-ed}", "mtls"),
        files("another's key", "{cert-ec}", "{key}", NOBODY),
        files("no key", "{cert}", "nothing", NOBODY),
        files("no certificate", "nothing", "{key}", NOBODY),
        of("a certificate without a key", "client-certificate-data: {cert64}", NOBODY),
        case("a key without a certificate", TLS, "token: s3cr3t-t, client-key-data: {key64}", KNOWN),
        of("a file that is missing", "client-certificate: gone, client-key-data: {key64}", NOBODY),
        of(
            "file and data",
            "client-certificate: c.crt, client-certificate-data: {cert64}, client-key-data: {key64}",
            NOBODY,
        )
        .file("c.crt", "{cert}"),
        of(
            "a token as well",
            "client-certificate-data: {cert64}, client-key-data: {key64}, token: s3cr3t-t",
            "mtls [Bearer s3cr3t-t]",
        ),
        of("a token only", TOKEN, NOBODY),
    ]
}

fn tokens() -> Vec<Case> {
    let of = |name, user: &str, reaches| case(name, TLS, user, reaches);
    let jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.s3cr3t";
    let oidc = |more: &str| {
        format!(
            "auth-provider: {{name: oidc, config: {{idp-issuer-url: 'https://127.0.0.1:1', client-id: k{more}}}}}"
        )
    };
    vec![
        of("a token's file", "tokenFile: t", KNOWN).file("t", "s3cr3t-t\n"),
        of("the file comes first", "token: s3cr3t-old, tokenFile: t", KNOWN).file("t", "s3cr3t-t"),
        of("unless it is missing", "token: s3cr3t-t, tokenFile: gone", KNOWN),
        of("a file that is missing", "tokenFile: gone", NOBODY),
        of("a file that is empty", "tokenFile: t", NOBODY).file("t", ""),
        of("a token of two lines", "token: \"s3cr3t\\nx\"", NOBODY),
        of("a name and a password", "username: joe, password: s3cr3t-p", "tls [Basic am9lOnMzY3IzdC1w]"),
        of("a password and a token", "username: joe, password: s3cr3t-p, token: s3cr3t-t", NOBODY),
        of(
            "somebody else",
            "token: s3cr3t-t, as: jane, as-uid: '7', as-groups: [g, h], as-user-extra: {why: [x]}",
            "tls [7] [Bearer s3cr3t-t] [g] [h] [jane] [x]",
        ),
        of("groups of nobody", "token: s3cr3t-t, as-groups: [g]", NOBODY),
        of(
            "OIDC",
            &oidc(&format!(", id-token: {jwt}")),
            "tls [Bearer eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.s3cr3t]",
        ),
        of("OIDC without a token", &oidc(""), NOBODY),
        of(
            "a provider that is no more",
            "auth-provider: {name: gcp, config: {access-token: s3cr3t}}",
            NOBODY,
        ),
    ]
}
