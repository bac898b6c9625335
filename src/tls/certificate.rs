//! The few facts about a certificate that are asked for where no verifier is at work. Whether it is to be trusted is not
//! decided by them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which one of version 1 does not state.
const VERSION: u8 = 0xa0;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts<'c> {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// Its `SubjectPublicKeyInfo`.
    pub(super) public_key: &'c [u8],
}

impl<'c> Facts<'c> {
    /// RFC 5280 §4.1, whatever the version.
    pub(super) fn of(certificate: &'c [u8]) -> Option<Self> {
        let signed = Elements(certificate).content_of(SEQUENCE)?;
        let mut fields = Elements(Elements(signed).content_of(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        let (_serial, _signature, _issuer) = (fields.next()?, fields.next()?, fields.next()?);
        let mut validity = Elements(fields.content_of(SEQUENCE)?);
        let (not_before, not_after) = (time(&validity.next()?)?, time(&validity.next()?)?);
        let _subject = fields.next()?;
        Some(Self { not_before, not_after, public_key: fields.next()?.whole })
    }
}

/// How many bits the modulus of an RSA key has (RFC 8017 §A.1.2).
pub(super) fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut fields = Elements(Elements(key).content_of(SEQUENCE)?);
    let (_version, modulus) = (fields.content_of(INTEGER)?, fields.content_of(INTEGER)?);
    let digits = &modulus[modulus.iter().position(|&byte| byte != 0)?..];
    Some(digits.len() * 8 - digits[0].leading_zeros() as usize)
}

struct Element<'d> {
    tag: u8,
    content: &'d [u8],
    /// With tag and length.
    whole: &'d [u8],
}

/// Elements of DER, one after another.
struct Elements<'d>(&'d [u8]);

impl<'d> Iterator for Elements<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (digits, after) =
                rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some(Element { tag, content, whole })
    }
}

impl<'d> Elements<'d> {
    /// What is in the next one, if it is of this kind.
    fn content_of(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }
}

fn time(element: &Element<'_>) -> Option<Timestamp> {
    let text = std::str::from_utf8(element.content).ok()?.strip_suffix('Z')?;
    let text = match element.tag {
        // RFC 5280 §4.1.2.5.1
        UTC_TIME if text < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?;
    // The last moment of the year 9999, which means that there is no end, is beyond what a Timestamp holds.
    Some(time.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |time| time.timestamp()))
}
