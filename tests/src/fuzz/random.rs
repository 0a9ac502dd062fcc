//! A small generator of pseudo-random numbers, and texts that nearly collide.

/// Splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014): tiny, the
/// same everywhere, and good enough to choose test cases.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The same seed and stream give the same choices.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed);
        let start = random.next();
        Self(start ^ stream.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a length fits 64 bits");
        usize::try_from(self.next() % end).expect("it is below a length")
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several, which are not none.
    pub(crate) fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }

    /// One of several, which are not none.
    pub(crate) fn of<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// Some different ones, in their order.
    pub(crate) fn some(&mut self, count: usize, from: &[&str]) -> Vec<String> {
        let mut left: Vec<&str> = from.to_vec();
        while left.len() > count {
            left.remove(self.below(left.len()));
        }
        left.into_iter().map(str::to_owned).collect()
    }

    /// The index of one of the weights, each as likely as its share.
    pub(crate) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if at < *weight {
                return index;
            }
            at -= weight;
        }
        unreachable!("the weights sum up to more than the number below their sum")
    }

    /// A value of a policy that meets `word`, or nearly does: whole, cut with a star, changed.
    pub(crate) fn pattern(&mut self, word: &str) -> String {
        let characters: Vec<char> = word.chars().collect();
        let cut = self.below(characters.len() + 1);
        let (head, tail) = characters.split_at(cut);
        let (head, tail): (String, String) = (head.iter().collect(), tail.iter().collect());
        match self.weighted(&[40, 14, 14, 5, 12, 4, 4, 3]) {
            0 => word.to_owned(),
            1 => format!("{head}*"),
            2 => format!("*{tail}"),
            3 => "*".to_owned(),
            4 => self.mutant(word),
            5 => format!("{head}*{tail}"),
            6 => format!("*{word}*"),
            _ => {
                let mutant = self.mutant(word);
                format!("{mutant}*")
            }
        }
    }

    /// The word itself more often than not, else something close to it.
    pub(crate) fn near(&mut self, word: &str) -> String {
        if self.chance(75) {
            word.to_owned()
        } else {
            self.mutant(word)
        }
    }

    /// Something close to a word and seldom the word: cut, lengthened, in another case. It may be empty.
    pub(crate) fn mutant(&mut self, word: &str) -> String {
        let mut characters: Vec<char> = word.chars().collect();
        let at = self.below(characters.len() + 1);
        match self.below(7) {
            0 => characters.truncate(at),
            1 => drop(characters.drain(..at)),
            2 => characters.insert(at, *self.of(&['a', 'X', '*', '.', '-', '/', '1'])),
            3 => return word.to_ascii_uppercase(),
            4 => {
                if let Some(character) = characters.get_mut(at) {
                    *character = if character.is_ascii_uppercase() {
                        character.to_ascii_lowercase()
                    } else {
                        character.to_ascii_uppercase()
                    };
                }
            }
            5 if at < characters.len() => drop(characters.remove(at)),
            _ => characters.push(*self.of(&['a', '/', 'z', '.', '*'])),
        }
        characters.into_iter().collect()
    }

    /// A text with a few of its characters changed to ones that a parser minds.
    pub(crate) fn scrambled(&mut self, text: &str, alphabet: &[char]) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(2) {
            let at = self.below(characters.len() + 1);
            match self.below(4) {
                0 if at < characters.len() => drop(characters.remove(at)),
                1 if at < characters.len() => characters[at] = *self.of(alphabet),
                2 => {
                    let end = characters.len().min(at + 1 + self.below(6));
                    let copy: Vec<char> = characters[at..end].to_vec();
                    characters.splice(at..at, copy);
                }
                _ => characters.insert(at, *self.of(alphabet)),
            }
        }
        characters.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_choices() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..8).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn the_first_numbers_are_those_of_splitmix64() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
