//! What may be in force at a moment: the versions of the policies and the generations of the changing keys.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use super::version::{Version, Whose};

/// A moment.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// The newest versions, in order; those before the first in force are kept for requests that are under way.
    versions: VecDeque<Arc<Version>>,
    /// The numbers of the versions that may be in force.
    in_force: RangeInclusive<usize>,
    /// The generations of the changing keys that a worker may have.
    generations: RangeInclusive<usize>,
}

/// The present moment, for those who send and the one who changes things.
#[derive(Debug)]
pub(super) struct Window(Mutex<Arc<Moment>>);

/// How many versions are kept.
const KEPT: usize = 8;

impl Moment {
    /// The version that is surely in force, or the one that is being replaced.
    pub(super) fn oldest(&self) -> Option<&Arc<Version>> {
        let number = *self.in_force.start();
        self.versions
            .iter()
            .find(|version| version.number == number)
    }

    /// Where an answer that came until `end` to a request that was sent at this moment may come from.
    pub(super) fn until<'e>(
        &self,
        end: &'e Self,
    ) -> impl Iterator<Item = (&'e Arc<Version>, usize)> + Clone {
        let versions = *self.in_force.start()..=*end.in_force.end();
        let generations = *self.generations.start()..=*end.generations.end();
        let versions = end
            .versions
            .iter()
            .filter(move |version| versions.contains(&version.number));
        versions.flat_map(move |version| {
            generations
                .clone()
                .map(move |generation| (version, generation))
        })
    }

    /// The answers that are right for a request, each with its version and generation.
    pub(super) fn right<'e>(
        &self,
        end: &'e Self,
        whose: Whose,
        index: usize,
    ) -> impl Iterator<Item = (&'e Arc<Version>, usize, Option<&'e super::answer::Answer>)> {
        self.until(end).map(move |(version, generation)| {
            (
                version,
                generation,
                version.answer(whose, index, generation),
            )
        })
    }
}

impl Window {
    pub(super) fn new(first: Arc<Version>) -> Self {
        let number = first.number;
        Self(Mutex::new(Arc::new(Moment {
            versions: [first].into(),
            in_force: number..=number,
            generations: 0..=0,
        })))
    }

    pub(super) fn now(&self) -> Arc<Moment> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Moment)) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Moment::clone(&now);
        change(&mut next);
        *now = Arc::new(next);
    }

    /// From here on the version may be in force, beside the one before.
    pub(super) fn begin(&self, version: Arc<Version>) {
        self.change(|moment| {
            moment.in_force = *moment.in_force.start()..=version.number;
            moment.versions.push_back(version);
            if moment.versions.len() > KEPT {
                moment.versions.pop_front();
            }
        });
    }

    /// From here on no version before the newest is in force.
    pub(super) fn complete(&self) {
        self.change(|moment| {
            moment.in_force = *moment.in_force.end()..=*moment.in_force.end();
        });
    }

    /// From here on the key server may give the next generation.
    pub(super) fn rotate(&self) -> usize {
        self.change(|moment| {
            moment.generations = *moment.generations.start()..=*moment.generations.end() + 1;
        });
        *self.now().generations.end()
    }

    /// From here on every worker has the newest generation.
    pub(super) fn settle(&self) {
        self.change(|moment| {
            moment.generations = *moment.generations.end()..=*moment.generations.end();
        });
    }
}
