//! Values of a DICOM object, and elements to write.

use dicom_core::dictionary::DataDictionary;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// An element that is there with a value that cannot be read, such as decimal commas or too few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable(pub Tag);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tag(group, element) = self.0;
        let name = StandardDataDictionary.by_tag(self.0).map_or("element", |entry| entry.alias);
        write!(f, "{name} ({group:04X},{element:04X})")
    }
}

/// A text, without padding; `None` if it is not there or empty.
pub fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = object.get(tag)?.value();
    if let Some(PrimitiveValue::U8(_)) = value.primitive() {
        return None;
    }
    let text = value.to_str().ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Finite numbers; `None` if the element is not there or empty.
pub fn numbers(object: &InMemDicomObject, tag: Tag) -> Result<Option<Vec<f64>>, Unreadable> {
    let Some(element) = object.get(tag) else { return Ok(None) };
    let value = element.value().primitive().ok_or(Unreadable(tag))?;
    let numbers: Option<Vec<f64>> = match value {
        PrimitiveValue::Empty => return Ok(None),
        // Bytes of an unknown kind.
        PrimitiveValue::U8(_) => None,
        PrimitiveValue::Str(_) | PrimitiveValue::Strs(_) => {
            let text = value.to_str();
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
            if text.is_empty() {
                return Ok(None);
            }
            let number = |part: &str| {
                part.trim_matches(|c: char| c.is_whitespace() || c == '\0').parse().ok()
            };
            text.split('\\').map(number).collect()
        }
        _ => value.to_multi_float64().ok(),
    };
    let finite = |numbers: &Vec<f64>| numbers.iter().all(|v| v.is_finite());
    numbers.filter(finite).map(Some).ok_or(Unreadable(tag))
}

/// As many finite numbers as asked for; `None` if the element is not there or empty.
pub fn exactly<const N: usize>(
    object: &InMemDicomObject,
    tag: Tag,
) -> Result<Option<[f64; N]>, Unreadable> {
    let numbers = numbers(object, tag)?;
    numbers.map(|numbers| numbers.try_into().map_err(|_| Unreadable(tag))).transpose()
}

/// A single finite number.
pub fn number(object: &InMemDicomObject, tag: Tag) -> Result<Option<f64>, Unreadable> {
    Ok(exactly(object, tag)?.map(|[value]: [f64; 1]| value))
}

/// A whole number, the first if there are several; `None` if it is not there or cannot be read.
pub fn integer(object: &InMemDicomObject, tag: Tag) -> Option<i64> {
    whole(object, tag).ok().flatten()
}

/// A whole number, the first if there are several; `None` if the element is not there or empty.
pub fn whole(object: &InMemDicomObject, tag: Tag) -> Result<Option<i64>, Unreadable> {
    let Some(numbers) = numbers(object, tag)? else { return Ok(None) };
    let first = numbers.first().copied().filter(|v| v.fract() == 0.0 && v.abs() < 9e15);
    first.map(|value| Some(value as i64)).ok_or(Unreadable(tag))
}

/// The items of a sequence.
pub fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|element| element.value().items()).unwrap_or_default()
}

/// The first item of a sequence.
pub fn first(object: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    items(object, tag).first()
}

/// An element of text.
pub fn put(tag: Tag, vr: VR, value: &str) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

/// An element of 16-bit numbers.
pub fn short(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

/// A sequence.
pub fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// An item.
pub fn item(elements: impl IntoIterator<Item = InMemElement>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

/// Numbers as decimal strings of at most 16 characters.
pub fn decimals(tag: Tag, values: &[f64]) -> InMemElement {
    let texts: Vec<String> = values.iter().map(|value| decimal(*value)).collect();
    put(tag, VR::DS, &texts.join("\\"))
}

fn decimal(value: f64) -> String {
    let shortest = format!("{value}");
    if shortest.len() <= 16 {
        return shortest;
    }
    let places = (0..=12).rev().map(|places| format!("{value:.places$}"));
    places.into_iter().find(|text| text.len() <= 16).unwrap_or_else(|| format!("{value:.8e}"))
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_what_is_not_there() {
        let position = tags::IMAGE_POSITION_PATIENT;
        let read = |text: &str| exactly::<3>(&item([put(position, VR::DS, text)]), position);
        assert_eq!(read("1\\-2.5 \\ 3e1\0"), Ok(Some([1.0, -2.5, 30.0])));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(" \0"), Ok(None));
        for wrong in ["1,5\\2\\3", "1\\2", "1\\2\\", "1\\2\\nan", "1\\2\\3\\4"] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.to_string(), "ImagePositionPatient (0020,0032)", "{wrong}");
        }
        assert_eq!(exactly::<3>(&item([]), position), Ok(None));
        let rows = |element| whole(&item([element]), tags::ROWS);
        assert_eq!(rows(short(tags::ROWS, 7)), Ok(Some(7)));
        assert_eq!(rows(put(tags::ROWS, VR::IS, "7.5")), Err(Unreadable(tags::ROWS)));
    }

    #[test]
    fn decimal_strings_fit() {
        for value in [0.0, -1.5, 1.0 / 3.0, -123_456.789_012_34, 1e-20, -1e300, 0.9765625] {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            let read: f64 = text.parse().unwrap();
            assert!((read - value).abs() <= 1e-7 * value.abs().max(1.0), "{text}");
        }
    }
}
