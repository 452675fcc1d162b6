//! Text in character sets that change within a value (PS3.5 6.1.2.5, ISO 2022), as Japanese, Korean and
//! Chinese hospitals write names. `dicom-rs` 0.10 knows one character set a file.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::value::{C, DataSetSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};
use dicom_object::mem::InMemElement;
use dicom_object::{DefaultDicomObject, InMemDicomObject};

const ESCAPE: u8 = 0x1b;

/// What follows the escape, and the character set that it begins, for both halves of the code table.
/// `true`: the set is told by the escape and read with it (ISO 2022-JP); `false`: it is read without.
const SETS: [(&[u8], &str, bool); 18] = [
    (b"(B", "ISO_IR 6", false),
    (b"(J", "ISO_IR 13", false),
    (b")I", "ISO_IR 13", false),
    (b"-A", "ISO_IR 100", false),
    (b"-B", "ISO_IR 101", false),
    (b"-C", "ISO_IR 109", false),
    (b"-D", "ISO_IR 110", false),
    (b"-F", "ISO_IR 126", false),
    (b"-G", "ISO_IR 127", false),
    (b"-H", "ISO_IR 138", false),
    (b"-L", "ISO_IR 144", false),
    (b"-M", "ISO_IR 148", false),
    (b"-T", "ISO_IR 166", false),
    (b"$B", "ISO_IR 87", true),
    (b"$@", "ISO_IR 87", true),
    (b"$)C", "ISO_IR 149", false),
    (b"$)A", "ISO 2022 IR 58", false),
    (b"$(D", "ISO_IR 159", true),
];

/// Whether a file has text of character sets that change within a value.
pub fn is_extended(object: &InMemDicomObject) -> bool {
    let Some(element) = object.get(tags::SPECIFIC_CHARACTER_SET) else { return false };
    let names = element.value().to_multi_str();
    names.is_ok_and(|names| names.len() > 1 || names.iter().any(|n| n.contains("2022")))
}

/// The text of a file that was read as bytes.
pub fn decoded(object: DefaultDicomObject) -> DefaultDicomObject {
    let meta = object.meta().clone();
    decoded_items(object.into_inner(), "ISO_IR 6").with_exact_meta(meta)
}

fn decoded_items(object: InMemDicomObject, outer: &str) -> InMemDicomObject {
    let own = object.get(tags::SPECIFIC_CHARACTER_SET).and_then(|element| {
        let names = element.value().to_multi_str().ok()?;
        // The first one holds from the start of every value, without an escape.
        Some(names.first()?.trim().replace("ISO 2022 IR", "ISO_IR"))
    });
    let set = own.unwrap_or_else(|| outer.to_owned());
    let set = if set.is_empty() { "ISO_IR 6" } else { &set };
    let elements = object.into_iter().map(|element| decoded_element(element, set));
    InMemDicomObject::from_element_iter(elements)
}

fn decoded_element(element: InMemElement, set: &str) -> InMemElement {
    let (header, value) = element.into_parts();
    let tag = header.tag;
    match value {
        Value::Sequence(sequence) => {
            let items: C<InMemDicomObject> =
                sequence.into_items().into_iter().map(|item| decoded_items(item, set)).collect();
            DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
        }
        Value::Primitive(PrimitiveValue::U8(bytes)) => match text_kind(tag) {
            Some(vr) => {
                let several = !matches!(vr, VR::ST | VR::LT | VR::UT);
                let values: C<String> = match several {
                    true => parts(&bytes).into_iter().map(|part| decode(part, set)).collect(),
                    false => std::iter::once(decode(&bytes, set)).collect(),
                };
                DataElement::new(tag, vr, PrimitiveValue::Strs(values))
            }
            None => DataElement::new(tag, header.vr, PrimitiveValue::U8(bytes)),
        },
        value => DataElement::new(tag, header.vr, value),
    }
}

fn text_kind(tag: Tag) -> Option<VR> {
    let vr = StandardDataDictionary.by_tag(tag)?.vr().relaxed();
    matches!(vr, VR::PN | VR::LO | VR::SH | VR::ST | VR::LT | VR::UC | VR::UT).then_some(vr)
}

/// The values of a text: a backslash between them, unless it is half of a character of two bytes.
fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut start, mut double, mut at) = (Vec::new(), 0, false, 0);
    while at < bytes.len() {
        let rest = &bytes[at + 1..];
        match bytes[at] {
            ESCAPE => {
                double =
                    rest.starts_with(b"$B") || rest.starts_with(b"$@") || rest.starts_with(b"$(D");
                at += 1;
            }
            b'\\' if !double => {
                parts.push(&bytes[start..at]);
                start = at + 1;
                at += 1;
            }
            _ if double => at += 2,
            _ => at += 1,
        }
    }
    parts.push(&bytes[start.min(bytes.len())..]);
    parts
}

/// Text without escapes, from `set` on. Characters of sets that nobody here knows become U+FFFD.
fn decode(bytes: &[u8], set: &str) -> String {
    let mut text = String::new();
    let mut current = (set.to_owned(), false);
    let mut run: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let known = SETS
            .iter()
            .find(|(escape, _, _)| bytes[at] == ESCAPE && bytes[at + 1..].starts_with(escape));
        match known {
            Some((escape, name, with)) => {
                finish(&mut run, &current, &mut text);
                current = ((*name).to_owned(), *with);
                if *with {
                    run.extend(&bytes[at..=at + escape.len()]);
                }
                at += 1 + escape.len();
            }
            None => {
                // Delimiters of names' parts and of lines bring the first set back.
                if matches!(bytes[at], b'^' | b'=' | b'\r' | b'\n') && !current.1 {
                    finish(&mut run, &current, &mut text);
                    current = (set.to_owned(), false);
                }
                run.push(bytes[at]);
                at += 1;
            }
        }
    }
    finish(&mut run, &current, &mut text);
    text.trim_matches(|c: char| c == ' ' || c == '\0').to_owned()
}

fn finish(run: &mut Vec<u8>, (name, with): &(String, bool), text: &mut String) {
    let bytes = std::mem::take(run);
    if bytes.is_empty() || *with && bytes.len() <= 3 {
        return;
    }
    let codec = SpecificCharacterSet::from_code(name);
    match codec.and_then(|codec| codec.decode(&bytes).ok()) {
        Some(decoded) => text.push_str(&decoded),
        None => text.push(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PS3.5 H.3 and I.2.
    #[test]
    fn names_of_the_standard_are_read() {
        let japanese =
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B";
        assert_eq!(decode(japanese, "ISO_IR 6"), "Yamada^Tarou=山田^太郎=やまだ^たろう");
        let korean = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf";
        assert_eq!(decode(korean, "ISO_IR 6"), "Hong^Gildong=洪^吉洞=홍^길동");
        let katakana = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J";
        assert_eq!(decode(katakana, "ISO_IR 13"), "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎");
        assert_eq!(decode(b"M\xfcller^J\xf6rg ", "ISO_IR 100"), "Müller^Jörg");
        assert_eq!(decode(b"\x1b$(D0!0\"\x1b(B", "ISO_IR 6"), "\u{fffd}");
    }

    #[test]
    fn a_backslash_within_a_character_is_none_between_values() {
        // The second byte of U+8868 is a backslash in JIS X 0208's neighbours; here as 0x5C of a pair.
        let bytes = b"a\\\x1b$B!\\\x1b(B\\b";
        assert_eq!(parts(bytes), [b"a".as_slice(), b"\x1b$B!\\\x1b(B", b"b"]);
    }
}
