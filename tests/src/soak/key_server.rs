//! The server of the key sets, which does what such servers do on a bad day.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use portcullis_mint::public_jwks;

use super::version::{FETCHED, keys_of};
use crate::fuzz::random::Random;
use crate::server::{Reply, Request, Server};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    /// The right answer, late.
    Slow,
    /// 500
    Failing,
    /// 200 with what is no key set.
    Garbage,
    /// No server.
    Gone,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    generation: usize,
    /// When the newest generation of the changing keys was last given.
    served: Option<Instant>,
    asked: u64,
    bad: u64,
}

/// The running server.
#[derive(Debug)]
pub(super) struct KeyServer {
    state: Arc<Mutex<State>>,
    server: Option<Server>,
    port: u16,
}

const DELAY: Duration = Duration::from_millis(700);

impl KeyServer {
    pub(super) fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Good,
            generation: 0,
            served: None,
            asked: 0,
            bad: 0,
        }));
        let server = serve(&state, 0)?;
        let port = server.address().port();
        Ok(Self {
            state,
            server: Some(server),
            port,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Changes how it answers.
    ///
    /// # Errors
    /// Somebody else took its port while it was gone.
    pub(super) fn set(&mut self, mood: Mood) -> Result<()> {
        lock(&self.state).mood = mood;
        if mood == Mood::Gone {
            self.server = None;
        } else if self.server.is_none() {
            self.server = Some(serve(&self.state, self.port)?);
        }
        Ok(())
    }

    /// Changes it to a mood of chance.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub(super) fn change(&mut self, random: &mut Random) -> Result<()> {
        let moods = [
            Mood::Good,
            Mood::Slow,
            Mood::Failing,
            Mood::Garbage,
            Mood::Gone,
        ];
        let mood = moods[random.weighted(&[40, 20, 15, 15, 10])];
        self.set(mood)
    }

    /// Gives another generation of the changing keys from now on.
    pub(super) fn rotate(&self, generation: usize) {
        let mut state = lock(&self.state);
        state.generation = generation;
        state.served = None;
    }

    /// When the newest generation was last given.
    pub(super) fn served(&self) -> Option<Instant> {
        lock(&self.state).served
    }

    /// How often it was asked, and how often it gave no key set.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.asked, state.bad)
    }
}

fn serve(state: &Arc<Mutex<State>>, port: u16) -> Result<Server> {
    let state = Arc::clone(state);
    Server::start(port, move |request| answer(&state, request))
}

fn answer(state: &Mutex<State>, request: &Request) -> Reply {
    let (mood, generation) = {
        let mut state = lock(state);
        state.asked += 1;
        state.bad += u64::from(matches!(state.mood, Mood::Failing | Mood::Garbage));
        (state.mood, state.generation)
    };
    let reply = |status, body: Vec<u8>| Reply::new(status, "application/json", body);
    match mood {
        Mood::Failing => return reply(500, Vec::new()),
        Mood::Garbage => return reply(200, b"<html>maintenance</html>".to_vec()),
        Mood::Slow => std::thread::sleep(DELAY),
        Mood::Good | Mood::Gone => {}
    }
    let set = FETCHED
        .iter()
        .find(|(uri, _)| uri.ends_with(request.path.as_str()));
    let body = match set {
        Some((_, [])) => public_jwks(&keys_of(generation)),
        Some((_, names)) => public_jwks(names),
        None => return reply(404, Vec::new()),
    };
    if matches!(set, Some((_, []))) {
        let mut state = lock(state);
        if state.generation == generation {
            state.served = Some(Instant::now());
        }
    }
    reply(200, body.expect("the keys are fixtures").into_bytes())
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
