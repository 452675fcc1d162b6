//! How often a peer or a session may ask, and how often a peer may guess the token.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most that are remembered; the one that was quiet longest is forgotten.
const MAX_KNOWN: usize = 1024;

/// Tokens that flow in at a rate up to a limit; each use takes one.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    filled: Instant,
}

impl Bucket {
    fn fill(&mut self, limit: &Limit, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + seconds * limit.per_second).min(limit.burst);
        self.filled = now;
    }

    fn take(&mut self) -> bool {
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

/// How much a bucket holds and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub burst: f64,
    pub per_second: f64,
}

/// One bucket for each peer or session.
#[derive(Debug)]
pub(super) struct RateLimit<K> {
    limit: Limit,
    known: Mutex<HashMap<K, Bucket>>,
}

impl<K: Copy + Eq + Hash> RateLimit<K> {
    pub fn new(limit: Limit) -> Self {
        Self { limit, known: Mutex::new(HashMap::new()) }
    }

    /// Takes one use from a bucket, a full one if there was none; `false` if it is empty.
    pub fn allow(&self, key: K, now: Instant) -> bool {
        self.with(key, now, Bucket::take)
    }

    /// Whether there is a use left, without taking it.
    pub fn has(&self, key: K, now: Instant) -> bool {
        self.with(key, now, |bucket| bucket.left >= 1.0)
    }

    /// As [`RateLimit::allow`] for one that is known; `None` for one that is not.
    pub fn allow_known(&self, key: K, now: Instant) -> Option<bool> {
        let mut known = self.lock();
        let bucket = known.get_mut(&key)?;
        bucket.fill(&self.limit, now);
        Some(bucket.take())
    }

    fn with(&self, key: K, now: Instant, ask: impl FnOnce(&mut Bucket) -> bool) -> bool {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN && !known.contains_key(&key) {
            let quiet = known.iter().min_by_key(|(_, bucket)| bucket.filled).map(|(key, _)| *key);
            if let Some(quiet) = quiet {
                known.remove(&quiet);
            }
        }
        let full = Bucket { left: self.limit.burst, filled: now };
        let bucket = known.entry(key).or_insert(full);
        bucket.fill(&self.limit, now);
        ask(bucket)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Bucket>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has an IPv6 address usually has the 2^64 beside it as well.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again_for_each_peer_alone() {
        let rate = RateLimit::new(Limit { burst: 3.0, per_second: 2.0 });
        let now = Instant::now();
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        assert_eq!([0; 4].map(|_| rate.allow(one, now)), [true, true, true, false]);
        assert!(rate.allow(other, now));
        assert!(rate.allow(one, now + Duration::from_millis(600)));
        assert!(!rate.allow(one, now + Duration::from_millis(600)));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_bucket_and_the_table_is_bounded() {
        let rate = RateLimit::new(Limit { burst: 1.0, per_second: 0.0 });
        let now = Instant::now();
        let network = |text: &str| network(text.parse().unwrap());
        assert!(rate.allow(network("2001:db8::1"), now));
        assert!(!rate.allow(network("2001:db8::2"), now));
        for n in 0..3000_u32 {
            rate.allow(IpAddr::V4(n.into()), now + Duration::from_millis(u64::from(n)));
        }
        assert!(rate.lock().len() <= MAX_KNOWN);
        assert_eq!(rate.allow_known(network("192.0.2.77"), now), None);
    }
}
