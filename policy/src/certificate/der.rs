//! DER (X.690 section 10), read without a copy: tags of one byte, and lengths in their one form. What stands in an
//! element is the business of its reader.

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
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

    /// The object identifier that comes next: numbers of seven bits a byte, each in its one form (X.690 section 8.19).
    pub(crate) fn object_identifier(&mut self) -> Option<&'a [u8]> {
        let name = self.take(OBJECT_IDENTIFIER)?;
        let ends = name.last().is_some_and(|byte| byte & 0x80 == 0);
        let mut numbers = name.split_inclusive(|byte| byte & 0x80 == 0);
        let is_minimal = numbers.all(|number| number.first() != Some(&0x80));
        (ends && is_minimal).then_some(name)
    }

    /// The number that comes next, big-endian and without leading zeros; `None` if it is below zero or not in its one
    /// form (X.690 section 8.3).
    pub(crate) fn natural(&mut self) -> Option<&'a [u8]> {
        match self.take(INTEGER)? {
            [0] => Some(&[]),
            [0, rest @ ..] => rest
                .first()
                .is_some_and(|byte| byte & 0x80 != 0)
                .then_some(rest),
            number => number
                .first()
                .is_some_and(|byte| byte & 0x80 == 0)
                .then_some(number),
        }
    }

    /// A boolean that is written only if it is true (X.690 sections 11.1 and 11.5).
    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.optional(BOOLEAN) {
            None => Some(false),
            Some([0xff]) => Some(true),
            Some(_) => None,
        }
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

    #[test]
    fn numbers_and_names_have_one_form() {
        let natural = |content: &'static [u8]| {
            let der = [&[INTEGER, u8::try_from(content.len()).unwrap()], content].concat();
            Reader(&der).natural().map(<[u8]>::to_vec)
        };
        assert_eq!(natural(&[0]), Some(vec![]));
        assert_eq!(natural(&[0x7f, 0]), Some(vec![0x7f, 0]));
        assert_eq!(natural(&[0, 0x80]), Some(vec![0x80]));
        for content in [&[][..], &[0, 0], &[0, 0x7f], &[0x80], &[0xff]] {
            assert_eq!(natural(content), None, "{content:?}");
        }
        let name = |content: &'static [u8]| {
            let der = [
                &[OBJECT_IDENTIFIER, u8::try_from(content.len()).unwrap()],
                content,
            ]
            .concat();
            Reader(&der).object_identifier().map(<[u8]>::to_vec)
        };
        assert_eq!(name(&[0x55, 0x81, 0]), Some(vec![0x55, 0x81, 0]));
        for content in [&[][..], &[0x55, 0x80, 1], &[0x55, 0x81]] {
            assert_eq!(name(content), None, "{content:?}");
        }
    }

    #[test]
    fn a_flag_is_written_if_it_is_set() {
        let flag = |der: &'static [u8]| Reader(der).flag();
        assert_eq!((flag(&[]), flag(&[INTEGER, 0])), (Some(false), Some(false)));
        assert_eq!(flag(&[BOOLEAN, 1, 0xff]), Some(true));
        for der in [
            &[BOOLEAN, 1, 0][..],
            &[BOOLEAN, 1, 1],
            &[BOOLEAN, 0],
            &[BOOLEAN, 2, 0xff, 0xff],
        ] {
            assert_eq!(flag(der), None, "{der:?}");
        }
    }
}
