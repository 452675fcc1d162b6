//! Who may hold a connection. Those whose request is being answered have places of their own: whoever
//! sends no whole request, or keeps a connection for a later one, waits among others of their kind,
//! and the one that has waited longest goes when they are too many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Most connections without a whole request.
pub(super) const MAX_WAITING: usize = 64;
/// Most requests that are answered at a time, the clients of the picture among them.
pub(super) const MAX_ANSWERED: usize = 64;
/// How long a connection may surely wait: a head takes milliseconds in a local network, and an open
/// page asks more often than that.
const PATIENCE: Duration = Duration::from_millis(600);

/// The places of all connections.
#[derive(Default)]
pub(super) struct Places {
    inner: Mutex<Inner>,
    /// A place has become free.
    freed: Notify,
}

#[derive(Default)]
struct Inner {
    next: u64,
    /// Connections without a whole request, by how long they have waited, the longest first.
    waiting: BTreeMap<u64, Waiting>,
    answered: usize,
}

struct Waiting {
    since: Instant,
    cut: Arc<Notify>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more connection may wait, at most for [`PATIENCE`]: then the one that has
    /// waited longest is cut.
    pub async fn room(&self) {
        loop {
            let due = {
                let mut inner = self.lock();
                if inner.waiting.len() < MAX_WAITING {
                    return;
                }
                let Some(oldest) = inner.waiting.first_entry() else { return };
                let due = oldest.get().since + PATIENCE;
                if due <= Instant::now() {
                    oldest.remove().cut.notify_one();
                    return;
                }
                due
            };
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.freed.notified() => {}
            }
        }
    }

    /// The place of a new connection.
    pub fn enter(self: &Arc<Self>) -> Arc<Place> {
        let cut = Arc::new(Notify::new());
        let number = self.wait(&cut);
        Arc::new(Place { places: Arc::clone(self), cut, number: Mutex::new(Some(number)) })
    }

    fn wait(&self, cut: &Arc<Notify>) -> u64 {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.waiting.insert(number, Waiting { since: Instant::now(), cut: Arc::clone(cut) });
        number
    }

    fn leave(&self, number: u64) {
        self.lock().waiting.remove(&number);
        self.freed.notify_one();
    }
}

/// A connection's place.
pub(super) struct Place {
    places: Arc<Places>,
    cut: Arc<Notify>,
    /// Its number while it waits.
    number: Mutex<Option<u64>>,
}

impl Place {
    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the connection is to be closed.
    pub async fn cut(&self) {
        self.cut.notified().await;
    }

    /// A whole request has come: it is being answered until what is returned is dropped. `None` if too
    /// many are.
    pub fn answer(self: &Arc<Self>) -> Option<Answered> {
        let mut number = self.number();
        {
            let mut inner = self.places.lock();
            if inner.answered >= MAX_ANSWERED {
                return None;
            }
            inner.answered += 1;
        }
        if let Some(number) = number.take() {
            self.places.leave(number);
        }
        Some(Answered(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(number) = self.number().take() {
            self.places.leave(number);
        }
    }
}

/// A request that is being answered.
pub(super) struct Answered(Arc<Place>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.places.lock().answered -= 1;
        let mut number = self.0.number();
        if number.is_none() {
            *number = Some(self.0.places.wait(&self.0.cut));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_waited_longest_goes_and_who_is_answered_stays() {
        let places = Arc::new(Places::default());
        let answered: Vec<_> = (0..3).map(|_| places.enter()).collect();
        let requests: Vec<_> = answered.iter().map(|place| place.answer().unwrap()).collect();
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            places.room().await;
            waiting.push(places.enter());
        }
        let before = Instant::now();
        places.room().await;
        assert!(before.elapsed() > PATIENCE / 2, "until the first has waited long enough");
        waiting[0].cut().await;
        assert_eq!(places.lock().waiting.len(), MAX_WAITING - 1);
        // A place that is left is taken at once.
        waiting.push(places.enter());
        drop(waiting.pop());
        let before = Instant::now();
        places.room().await;
        assert!(before.elapsed() < PATIENCE / 2);
        // Behind its answer a connection waits anew.
        drop(requests);
        assert_eq!(places.lock().answered, 0);
        assert_eq!(places.lock().waiting.len(), MAX_WAITING + 2);
        drop((answered, waiting));
        assert!(places.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn only_so_many_are_answered_at_a_time() {
        let places = Arc::new(Places::default());
        let all: Vec<_> = (0..=MAX_ANSWERED).map(|_| places.enter()).collect();
        let mut requests: Vec<_> = all.iter().map(Place::answer).collect();
        assert!(requests.pop().unwrap().is_none());
        requests.truncate(3);
        assert!(all[MAX_ANSWERED].answer().is_some());
    }
}
