//! The tokens of one request. Each is looked for, copied and parsed once, however many rules ask for it and
//! however often a header repeats it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::failure::TokenFailure;
use super::jws::Jws;
use super::mode::TokenMode;
use crate::policy_set::TokenPlace;
use crate::request::View;

/// What is known of the tokens so far.
#[derive(Default)]
pub(super) struct Tokens<'a> {
    all: Vec<Token>,
    by_bytes: BTreeMap<Rc<[u8]>, usize>,
    /// The tokens at a place, as long as nothing changes there. Policies name a few places.
    found: Vec<(&'a TokenPlace, Rc<[usize]>)>,
}

struct Token {
    bytes: Rc<[u8]>,
    parsed: Option<Parsed>,
    /// What rules say of it, by their number; `None` is nothing yet.
    judged: Vec<Option<Result<(), TokenFailure>>>,
}

type Parsed = Result<Arc<Jws>, TokenFailure>;

impl<'a> Tokens<'a> {
    /// The numbers of the tokens at a place.
    pub(super) fn at(&mut self, place: &'a TokenPlace, view: View<'_>) -> Rc<[usize]> {
        if let Some((_, found)) = self.found.iter().find(|(known, _)| *known == place) {
            return Rc::clone(found);
        }
        let tokens = place.tokens(view).into_iter();
        let found: Rc<[usize]> = tokens.map(|bytes| self.number(&bytes)).collect();
        self.found.push((place, Rc::clone(&found)));
        found
    }

    fn number(&mut self, bytes: &[u8]) -> usize {
        if let Some(number) = self.by_bytes.get(bytes) {
            return *number;
        }
        let number = self.all.len();
        let bytes: Rc<[u8]> = bytes.into();
        self.by_bytes.insert(Rc::clone(&bytes), number);
        self.all.push(Token {
            bytes,
            parsed: None,
            judged: Vec::new(),
        });
        number
    }

    /// The token as a JWS.
    pub(super) fn parse(&mut self, number: usize, mode: &TokenMode) -> Parsed {
        // No other number is given out.
        let token = self.all.get_mut(number).ok_or(TokenFailure::Form)?;
        let parsed = || Jws::parse(&token.bytes, mode).map(Arc::new);
        token.parsed.get_or_insert_with(parsed).clone()
    }

    /// What a rule said of it.
    pub(super) fn judged(&self, number: usize, rule: usize) -> Option<Result<(), TokenFailure>> {
        *self.all.get(number)?.judged.get(rule)?
    }

    /// Remembers what a rule says of it.
    pub(super) fn judge(&mut self, number: usize, rule: usize, outcome: Result<(), TokenFailure>) {
        if let Some(token) = self.all.get_mut(number) {
            if token.judged.len() <= rule {
                token.judged.resize(rule + 1, None);
            }
            if let Some(place) = token.judged.get_mut(rule) {
                *place = Some(outcome);
            }
        }
    }

    /// The header is another one from now on.
    pub(super) fn header_changed(&mut self, header: &[u8]) {
        self.found.retain(|(place, _)| match place {
            TokenPlace::Header { name, .. } => **name != *header,
            TokenPlace::Param(_) => true,
            TokenPlace::Cookie(_) => header != b"cookie",
        });
    }

    /// The path is another one from now on.
    pub(super) fn path_changed(&mut self) {
        self.header_changed(b":path");
        self.found
            .retain(|(place, _)| !matches!(place, TokenPlace::Param(_)));
    }
}
