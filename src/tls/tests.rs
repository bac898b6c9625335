#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection, Error, ServerConfig, ServerConnection};
use sandbox::{Authority, Identity};

use super::*;

/// `openssl x509 -req` without a file of extensions makes one of version 1.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBGTCBvwIUHH0iC180FVklln4wgiRp9AwzbUkwCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEzMDAxMTIzMFoYDzIxMjYxMTA2MDExMjMwWjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQpUASOdxe0HjOa
E9x/38Y4Lz8z2OaCFz5K//7RDRxyjFvFxOu7SI2Q6zsF9gcZ8hLmM/WSwwtIcnDZ
v9XjOtOXMAoGCCqGSM49BAMCA0kAMEYCIQCM5Av2ye5uR3M9QzlJWjdO60oriap3
ipXPX11z+sUF1QIhALB6UV+u//bzXYLNsqO44aPpZfsDoMHHMUEBjHVu+AZG
-----END CERTIFICATE-----
";

const ITS_KEY: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIPzmOtfestGh5kUfZShe+5k/JRVbwmdT7aGVlxaXIhQzoAoGCCqGSM49
AwEHoUQDQgAEKVAEjncXtB4zmhPcf9/GOC8/M9jmghc+Sv/+0Q0ccoxbxcTru0iN
kOs7BfYHGfIS5jP1ksMLSHJw2b/V4zrTlw==
-----END EC PRIVATE KEY-----
";

const P521: &str = "-----BEGIN EC PRIVATE KEY-----
MIHcAgEBBEIAb/qOSEMQkAKP59JP32jU0uBvCoxbNdQYb+l7Fqg0C99we7GjK7EH
UBRP84N3I0ZSCySKSlqbavArv1DPsaWyVwegBwYFK4EEACOhgYkDgYYABAGy/NAo
aAzSfItceu4W1KXXk927Tcl+y0pWq1MCGxpzRdLWSbqMmHJaTNestEqWMv46XkBe
wGnV3ATESLqQaXIY2wEhjPZIuJyqX5gR60azPA3c8jxp4ZjafDYuGmPeyWjATNCw
IwnbYO9stciKOy7pGg3dCR9vE2Sf94UsgEJJM9fP/Q==
-----END EC PRIVATE KEY-----
";

const RSA_1024: &str = "-----BEGIN PRIVATE KEY-----
MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBAPMDNAreoV/ki2GY
OEpn2Ny+V6F2Io8S+pJGkV1LtGJ9bLZ4GRsvxJnS9uMlbZUx8EAHPbl//uRdW9YL
9rS5Qcv5UJiuzQXE3f6xn5DjMSG3LZjugw8/nzMGut6edyAuDjl+84Nkqgic0MJh
cUx2ZJeRfPnjwnbTwp+g+PT1/aWXAgMBAAECgYEA30RuKB5rPWMI+92Suim3APiQ
InQbREA3nvTe0Uygqmx52Rt2VZgJlRpSYlcc2xpKlUkR2MBUOxPbMElFnL0oSKia
Vs2Q6LpxoUIFjOfIsxPpmmYmwqnhLy4DjWJ4tk68PmIR9R5aExUiQR6YhSlfbU/x
rAAHjXsCxZx67R+S+WECQQD+azk2s/HIJkBSxSB0UIOUUkRagHteTIPxueJ/ZXQD
Y4+RIUGdLrCHA4boG9ePfT2TwA0Fvs7iwqDPaNKj2G4DAkEA9IXVHvwW0CIsDCNr
Qee7Nv1ZyIEjG1meO2BGdyvTSL2Np3sM+PUWi5EJVb/ECuMbAGDaFbIaYoA0kARz
xZGP3QJBAKgc39RmuQghRnWq7lQNc7SJW8NVjK917eXHh4PY3Pz0R8SFbh7X4CuG
yBkNdLXK8upzh+dY+snaA3qp8C318FMCQQDO6tmYKLadVe10MBy5XoE8XVO2qiCt
Kj8N+8BlY/6dFVpjmWs22R9E52zA1U/t7pSQ02R464gMRnU0UbAuRak5AkBAqGiw
9bhwTHN2piX2zLbxHxZNZxdoy9myWZijksMiGJLKre0UsS9krsyxmHxyVp2QWDy/
VYTiPyuo5YInq+xM
-----END PRIVATE KEY-----
";

const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi8MEveIOe+7QICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEAiij8+XCXwm0NPhf1ix9JcEgZC1
JH+TS0S95NnEiH59vmHUn3Ac57Z6SrZkshGsEGGqLoSjTcWTjxUJeA1XDvwSiH+6
F43NUMkJRJz6AzUuTpiqq5RLL4xtFvOG/k+sQSuQiTRWzUuVPXThAD/JbmNt6yUe
EQ2hi2crEcJA21UH21o0RRaV2sxSBtxDJf5ETuFl+M1wOywIUNgvNpp+88oqIzs=
-----END ENCRYPTED PRIVATE KEY-----
";

fn with(certificate: &str, key: &str) -> Tls {
    let bytes = |text: &str| text.as_bytes().to_vec().into();
    Tls { identity: Some((bytes(certificate), bytes(key))), ..Tls::default() }
}

#[track_caller]
fn refuses(certificate: &str, key: &str, why: &str) {
    let refused = client_config(&with(certificate, key)).map(drop);
    assert_eq!(refused.unwrap_err(), why);
}

#[test]
fn t15_e4_a_certificate_of_version_1_is_sent_as_it_is() {
    let tls = with(VERSION_1, ITS_KEY);
    client_config(&tls).unwrap();
    assert_eq!(tls.valid_until(), Some("2126-11-06T01:12:30Z".parse().unwrap()));
}

#[test]
fn t15_e4_a_key_belongs_to_its_certificate() {
    let other = Authority::new("ca").issue(&["client"]);
    refuses(VERSION_1, &other.key, "the client's certificate is not for this key");
    refuses(&other.certificate, ITS_KEY, "the client's certificate is not for this key");
    client_config(&with(&other.certificate, &other.key)).unwrap();
}

#[test]
fn t15_e4_keys_that_cannot_be_used_say_what_can() {
    let can = "ECDSA P-256 or P-384, Ed25519, and RSA of 2048 to 8192 bits can be used; make a new key and have it certified";
    refuses(VERSION_1, P521, &format!("the client's key is ECDSA P-521: {can}"));
    refuses(VERSION_1, RSA_1024, &format!("the client's key is RSA of 1024 bits: {can}"));
    refuses(
        VERSION_1,
        ENCRYPTED,
        "the client's key is encrypted: only a key without a passphrase can be used",
    );
    refuses(VERSION_1, VERSION_1, "the client's key is not a private key in PEM");
    refuses("", ITS_KEY, "there is no certificate in the client's certificate file");
    refuses(ITS_KEY, ITS_KEY, "there is no certificate in the client's certificate file");
}

#[test]
fn authorities_are_certificates() {
    let tls = |ca: &str| Tls { ca: Some(ca.as_bytes().to_vec().into()), ..Tls::default() };
    client_config(&tls(&format!("# ours\n{VERSION_1}"))).unwrap();
    for none in ["", ITS_KEY, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(client_config(&tls(none)).map(drop).unwrap_err(), "there is no CA certificate in PEM");
    }
}

#[test]
fn dates_of_certificates() {
    let facts = |certificate: &str| {
        let der = chain(certificate.as_bytes()).next().unwrap();
        let facts = certificate::Facts::of(&der).unwrap();
        (facts.not_before, facts.not_after)
    };
    assert_eq!(
        facts(VERSION_1),
        ("2026-11-30T01:12:30Z".parse().unwrap(), "2126-11-06T01:12:30Z".parse().unwrap())
    );
    assert_eq!(
        facts(&Identity::self_signed(&["web"], 2049).certificate).1,
        "2049-12-31T00:00:00Z".parse().unwrap()
    );
    // RFC 5280 §4.1.2.5: no end.
    assert_eq!(facts(&Identity::self_signed(&["web"], 9999).certificate).1, Timestamp::MAX);
}

/// Whatever there is, reading it has an end.
#[test]
fn what_is_no_certificate_has_no_facts() {
    let der = chain(VERSION_1.as_bytes()).next().unwrap();
    for length in 0..der.len() {
        assert_eq!(certificate::Facts::of(&der[..length]), None);
    }
    for place in 0..der.len() {
        for byte in [0x00, 0x30, 0x7f, 0x80, 0x84, 0xff] {
            let mut broken = der.to_vec();
            broken[place] = byte;
            let _either_way = certificate::Facts::of(&broken);
            let _either_way = certificate::rsa_bits(&broken);
        }
    }
}

/// A client of these settings meets a server that shows this certificate and has this key.
fn meets(tls: &Tls, certificate: &str, key: &str, name: &str) -> Result<(), Error> {
    let chain = chain(certificate.as_bytes()).collect();
    let shown = CertifiedKey::new(chain, key::read(key.as_bytes()).unwrap());
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config(tls).unwrap()), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

/// A certificate that was given is believed of whoever has its key, as long as it is in force, for its own name.
#[test]
fn t15_e5_a_servers_own_certificate() {
    let own = Identity::self_signed(&["web"], 2100);
    let other = Identity::self_signed(&["web"], 2100);
    let over = Identity::self_signed(&["web"], 2020);
    let early = Identity::in_force(&["web"], 2090, 2100);
    let leaf = Authority::new("ca").issue(&["web"]);
    for only in [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3] {
        let given = |certificates: &[&str]| Tls {
            ca: Some(certificates.concat().into_bytes().into()),
            only: Some(only),
            ..Tls::default()
        };
        let with = |given: &Tls, shown: &Identity, name| meets(given, &shown.certificate, &shown.key, name);
        for certificate in [&own, &leaf] {
            let exactly = given(&[&certificate.certificate]);
            with(&exactly, certificate, "web").unwrap();
            with(&given(&[&other.certificate, &certificate.certificate]), certificate, "web").unwrap();
            let refused = |met: Result<(), Error>| {
                let error = met.unwrap_err();
                assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
                error
            };
            let why = refused(with(&exactly, certificate, "elsewhere"));
            assert!(
                matches!(why, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
                "{why:?}"
            );
            // Who has only read it.
            let why = refused(meets(&exactly, &certificate.certificate, &other.key, "web"));
            assert_eq!(why, Error::InvalidCertificate(CertificateError::BadSignature));
            // Another of the same name.
            refused(with(&exactly, &other, "web"));
            // Nobody has given it: the machine's own authorities are what they were.
            let machines = Tls { only: Some(only), ..Tls::default() };
            refused(with(&machines, certificate, "web"));
        }
        let why = with(&given(&[&over.certificate]), &over, "web").unwrap_err();
        assert!(matches!(why, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{why:?}");
        let why = with(&given(&[&early.certificate]), &early, "web").unwrap_err();
        assert!(
            matches!(why, Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })),
            "{why:?}"
        );
    }
}

/// Whatever webpki says first: dates are looked at here, too.
#[test]
fn t15_e5_dates_are_looked_at() {
    let at = |identity: &Identity, year: i64| {
        let der = chain(identity.certificate.as_bytes()).next().unwrap();
        let seconds = u64::try_from((year - 1970) * 31_557_600).unwrap();
        verifier::is_in_force(
            &der,
            rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
        )
    };
    let identity = Identity::in_force(&["web"], 2030, 2040);
    assert_eq!(at(&identity, 2029), Err(CertificateError::NotValidYet));
    assert_eq!(at(&identity, 2035), Ok(()));
    assert_eq!(at(&identity, 2042), Err(CertificateError::Expired));
}
