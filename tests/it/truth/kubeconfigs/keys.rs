//! Keys in each form in which they are found, made for these tests: by `openssl genrsa`, `ecparam -genkey` and `genpkey`.

pub(super) struct Key {
    /// The word for the key, and that for a certificate of it.
    pub(super) words: (&'static str, &'static str),
    pub(super) pkcs8: &'static str,
    pub(super) pem: &'static str,
}

pub(super) const KEYS: [Key; 5] = [
    Key { words: ("key-rsa-8", "cert-rsa-8"), pkcs8: RSA, pem: RSA },
    Key { words: ("key-rsa-1", "cert-rsa-1"), pkcs8: RSA, pem: RSA_PKCS1 },
    Key { words: ("key-ec", "cert-ec"), pkcs8: EC, pem: EC_SEC1 },
    Key { words: ("key-p384", "cert-p384"), pkcs8: P384, pem: P384_WITH_PARAMETERS },
    Key { words: ("key-ed", "cert-ed"), pkcs8: ED25519, pem: ED25519 },
];

const RSA: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCbUtgf6SPazZSW
IQyrbLsch87N1gmZwV8T5RyrqGGaA/xvHS9qj3GyjPolAz+2Tobklj6fF4mT898F
i9P42sYBY000Ov75yZEot6dS5DhGbUunUARya32goRtEGZO/Fwp7KRmphCCZIppF
yBqgd1VHst6Z51+rvyPxKoXqk3F95M98X1bUi3isND8CKe2VUpfuysvMSv8p/i7P
C2h7UGCpIEcG9Y+DKbUuUDp9lpyonak8TfSTSY9jMTUKVcYnbrcyfTJSWOMGS3xd
fOYf0+R3M76A8PeQnn5gSyXdfIhZkpSjWdV+4m8Zcs6WFLLmk26v4SmL2DHbmLZs
XZm0KfSHAgMBAAECggEAAc1pzaD+dgUJst5KT9jwqOmYiEHyFZMtX8U6WnGXRFrE
fKOZj8J/XsONCY3qmNp7bT6jFmSHB6z+Swmu2YXsY0q8NB11JP/mS9MpwWf9kS+m
f5gJnSxLJmiIMPedA8woJnq5HgL2/9/ra2DhkjggSLc2JxIMxajvqVZFfI3edMgE
zWAU9ow90v9YoldgHvUxDlLPVNtNPsWJWKlBnz2rQZD8RW61y0a1Zum95gOT4fXl
jJxY6iCbtGTyAv5n/3zAqJHvgpjiOT3hYX7T7iruPuhTmP1tP2NJ19SjBBzxw3zh
SnjyRYrLWVyPL++Swrahfi7aLoHUpoNTnEE1XDOnWQKBgQDY/IcRLbmgp74QSBPF
90ThpeaxWl40y8e6ul2FTA1Vz8iAPZxINRkqZsDVd6SudclhI639c95hvzjm/J9y
8DAHj7P4SRV4GVMI0O+PF8PWyh1P79xWvxlrxYHnQsAnuVf8Hlb8mo3qY8b4re3J
ZSDhKkDAuPjY9OOQ9lfywCv36QKBgQC3QBgdt+siKW67ih1noaazljDM91mnKp1r
bi+PMt3jjbCy9BsYhO7R7xCNVOP+2TGwyGAqzXGhb+lbXt2LTIkyzzA0o6PAYpWc
qJb1abq/zYwUPu/bSNb2SdXrYAJEinfvatfYjySWKVTNfjJ1nJT8q2FWsYr4gxNb
zEIJceIy7wKBgB+XtPq1U5+mjK/GLsrWE7te8lXEOI8rVGtFkzRDPHXQCPtS/Rwu
TvmzeEQcZWfZUnbIQR7z7d8BfoFzKqwLeJLBQ4zU50FTPpm8AgUtiqANUXNAEy62
KDdezGkleODPxZW5vSSORDdqS6ANgt+dz8m44zCsPd8o2LFUjL2VaVFxAoGAZvwH
UZRN+ZntWEorclUfmWe7r0UHRnIlm/2FjuWYW80CU9/p5mK20JaY58SgiVXInkBO
A2AIDyEUtTvgJ+vwYvSbc8nPOkxtJmh8xhkQUcCTi8E/DS6nWCxwo2IGhDyJYKzb
9yGi/xzlQsM8WmqQNFugTZdjsXwAgiONrT8qT1MCgYAow3sFpD3vfMU/wmW/SgcU
rdZzXaQtovZ5y8Wt7L/DjlTwxMFaiB6IYvA1gxGFYVa7enfctW/1z+tKgVSCPTyM
r9TCIWZpP6jpKu/+vnVa0wSUhYnlAy3oXbZVqbPzddwSNTKNHfgmsjAUDiv0yFKp
wc9WsIkwoAuQiuUds0s3zQ==
-----END PRIVATE KEY-----
";

const RSA_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIIEogIBAAKCAQEAm1LYH+kj2s2UliEMq2y7HIfOzdYJmcFfE+Ucq6hhmgP8bx0v
ao9xsoz6JQM/tk6G5JY+nxeJk/PfBYvT+NrGAWNNNDr++cmRKLenUuQ4Rm1Lp1AE
cmt9oKEbRBmTvxcKeykZqYQgmSKaRcgaoHdVR7Lemedfq78j8SqF6pNxfeTPfF9W
1It4rDQ/AintlVKX7srLzEr/Kf4uzwtoe1BgqSBHBvWPgym1LlA6fZacqJ2pPE30
k0mPYzE1ClXGJ263Mn0yUljjBkt8XXzmH9PkdzO+gPD3kJ5+YEsl3XyIWZKUo1nV
fuJvGXLOlhSy5pNur+Epi9gx25i2bF2ZtCn0hwIDAQABAoIBAAHNac2g/nYFCbLe
Sk/Y8KjpmIhB8hWTLV/FOlpxl0RaxHyjmY/Cf17DjQmN6pjae20+oxZkhwes/ksJ
rtmF7GNKvDQddST/5kvTKcFn/ZEvpn+YCZ0sSyZoiDD3nQPMKCZ6uR4C9v/f62tg
4ZI4IEi3NicSDMWo76lWRXyN3nTIBM1gFPaMPdL/WKJXYB71MQ5Sz1TbTT7FiVip
QZ89q0GQ/EVutctGtWbpveYDk+H15YycWOogm7Rk8gL+Z/98wKiR74KY4jk94WF+
0+4q7j7oU5j9bT9jSdfUowQc8cN84Up48kWKy1lcjy/vksK2oX4u2i6B1KaDU5xB
NVwzp1kCgYEA2PyHES25oKe+EEgTxfdE4aXmsVpeNMvHurpdhUwNVc/IgD2cSDUZ
KmbA1XekrnXJYSOt/XPeYb845vyfcvAwB4+z+EkVeBlTCNDvjxfD1sodT+/cVr8Z
a8WB50LAJ7lX/B5W/JqN6mPG+K3tyWUg4SpAwLj42PTjkPZX8sAr9+kCgYEAt0AY
HbfrIiluu4odZ6Gms5YwzPdZpyqda24vjzLd442wsvQbGITu0e8QjVTj/tkxsMhg
Ks1xoW/pW17di0yJMs8wNKOjwGKVnKiW9Wm6v82MFD7v20jW9knV62ACRIp372rX
2I8klilUzX4ydZyU/KthVrGK+IMTW8xCCXHiMu8CgYAfl7T6tVOfpoyvxi7K1hO7
XvJVxDiPK1RrRZM0Qzx10Aj7Uv0cLk75s3hEHGVn2VJ2yEEe8+3fAX6BcyqsC3iS
wUOM1OdBUz6ZvAIFLYqgDVFzQBMutig3XsxpJXjgz8WVub0kjkQ3akugDYLfnc/J
uOMwrD3fKNixVIy9lWlRcQKBgGb8B1GUTfmZ7VhKK3JVH5lnu69FB0ZyJZv9hY7l
mFvNAlPf6eZittCWmOfEoIlVyJ5ATgNgCA8hFLU74Cfr8GL0m3PJzzpMbSZofMYZ
EFHAk4vBPw0up1gscKNiBoQ8iWCs2/chov8c5ULDPFpqkDRboE2XY7F8AIIjja0/
Kk9TAoGAKMN7BaQ973zFP8Jlv0oHFK3Wc12kLaL2ecvFrey/w45U8MTBWogeiGLw
NYMRhWFWu3p33LVv9c/rSoFUgj08jK/UwiFmaT+o6Srv/r51WtMElIWJ5QMt6F22
Vamz83XcEjUyjR34JrIwFA4r9MhSqcHPVrCJMKALkIrlHbNLN80=
-----END RSA PRIVATE KEY-----
";

const EC: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/OY6196y0aHmRR9l
KF77mT8lFVvCZ1PtoZWXFpciFDOhRANCAAQpUASOdxe0HjOaE9x/38Y4Lz8z2OaC
Fz5K//7RDRxyjFvFxOu7SI2Q6zsF9gcZ8hLmM/WSwwtIcnDZv9XjOtOX
-----END PRIVATE KEY-----
";

const EC_SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIPzmOtfestGh5kUfZShe+5k/JRVbwmdT7aGVlxaXIhQzoAoGCCqGSM49
AwEHoUQDQgAEKVAEjncXtB4zmhPcf9/GOC8/M9jmghc+Sv/+0Q0ccoxbxcTru0iN
kOs7BfYHGfIS5jP1ksMLSHJw2b/V4zrTlw==
-----END EC PRIVATE KEY-----
";

const P384: &str = "\
-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDBrf75zw/C87wZmnDTQ
mY9nRm7t7htLFyU36rqx/iESQeMuFjS0p0yoAhXuGUvpCN+hZANiAASdkQQpJqze
2ObqPXLiCJuIRUCYDGslposGMhk1KPppCp/R7sfrxGJ+qRVofp9A1hfrlNRIGrnG
Dn1fN7J1/hwY8/c/tOv/gdIaUl7tg8VMr2fo52cHP5WnoGA6ZCye0NQ=
-----END PRIVATE KEY-----
";

const P384_WITH_PARAMETERS: &str = "\
-----BEGIN EC PARAMETERS-----
BgUrgQQAIg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDBrf75zw/C87wZmnDTQmY9nRm7t7htLFyU36rqx/iESQeMuFjS0p0yo
AhXuGUvpCN+gBwYFK4EEACKhZANiAASdkQQpJqze2ObqPXLiCJuIRUCYDGslposG
Mhk1KPppCp/R7sfrxGJ+qRVofp9A1hfrlNRIGrnGDn1fN7J1/hwY8/c/tOv/gdIa
Ul7tg8VMr2fo52cHP5WnoGA6ZCye0NQ=
-----END EC PRIVATE KEY-----
";

const ED25519: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIHejdcDapEGx6gTPi7Itevg0gSu9Rth/es5Cw02Ff+1x
-----END PRIVATE KEY-----
";
