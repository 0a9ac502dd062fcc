//! DER (X.690 section 10), read without a copy: tags of one byte, and lengths in their one form. What stands in an
//! element is the business of its reader.

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A run of elements, read from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Tag and length included.
    pub(crate) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element.
    pub(crate) fn next(&mut self) -> Option<Element<'a>> {
        let all = self.0;
        let (&tag, rest) = all.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(short), rest),
            // Longer than four bytes is no length of anything here.
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let number = digits
                    .iter()
                    .fold(0_usize, |number, digit| number << 8 | usize::from(*digit));
                let is_minimal = digits.first() != Some(&0) && number > 0x7f;
                (is_minimal.then_some(number)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = all.get(..all.len() - rest.len())?;
        // A tag number of 31 says that it goes on; nothing here has such a one.
        if tag & 0x1f == 0x1f {
            return None;
        }
        self.0 = rest;
        Some(Element {
            tag,
            content,
            whole,
        })
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let element = self.next()?;
        (element.tag == tag).then_some(element.content)
    }

    /// The elements within the next one, which must have this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).map(Reader)
    }

    /// The content of the next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let content = ahead.take(tag)?;
        *self = ahead;
        Some(content)
    }
}

/// The element that a text is made of, with nothing behind it.
pub(crate) fn only(tag: u8, der: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader(der);
    let inner = reader.enter(tag)?;
    reader.is_empty().then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_form() {
        let take = |der: &'static [u8]| Reader(der).take(4);
        assert_eq!(take(&[4, 1, 7, 9]), Some([7].as_slice()));
        let long = [&[4, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(Reader(&long).take(4), Some([7; 0x80].as_slice()));
        for der in [
            &[4, 0x81, 1, 7][..],
            &[5, 1, 7],
            &[4, 2, 7],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[4, 0x80, 0, 0],
            &[4],
            &[],
        ] {
            assert_eq!(Reader(der).take(4), None, "{der:?}");
        }
    }
}
