//! How often a peer may ask, and how often it may guess the token.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Most peers that are remembered; the one that was quiet longest is forgotten.
const MAX_PEERS: usize = 1024;

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
}

/// How much a bucket holds and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub burst: f64,
    pub per_second: f64,
}

/// One bucket for each peer.
#[derive(Debug)]
pub(super) struct RateLimit {
    limit: Limit,
    peers: Mutex<HashMap<IpAddr, Bucket>>,
}

impl RateLimit {
    pub fn new(limit: Limit) -> Self {
        Self { limit, peers: Mutex::new(HashMap::new()) }
    }

    /// Takes one use from the peer's bucket; `false` if it has none.
    pub fn allow(&self, peer: IpAddr, now: Instant) -> bool {
        self.with(peer, now, |bucket| {
            let has = bucket.left >= 1.0;
            if has {
                bucket.left -= 1.0;
            }
            has
        })
    }

    /// Whether the peer has a use left, without taking it.
    pub fn has(&self, peer: IpAddr, now: Instant) -> bool {
        self.with(peer, now, |bucket| bucket.left >= 1.0)
    }

    fn with(&self, peer: IpAddr, now: Instant, ask: impl FnOnce(&mut Bucket) -> bool) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(peer);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&key) {
            let quiet = peers.iter().min_by_key(|(_, bucket)| bucket.filled).map(|(key, _)| *key);
            if let Some(quiet) = quiet {
                peers.remove(&quiet);
            }
        }
        let full = Bucket { left: self.limit.burst, filled: now };
        let bucket = peers.entry(key).or_insert(full);
        bucket.fill(&self.limit, now);
        ask(bucket)
    }
}

/// Whoever has an IPv6 address usually has the 2^64 beside it as well.
fn key(peer: IpAddr) -> IpAddr {
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
        assert!(rate.allow("2001:db8::1".parse().unwrap(), now));
        assert!(!rate.allow("2001:db8::2".parse().unwrap(), now));
        for n in 0..3000_u32 {
            rate.allow(IpAddr::V4(n.into()), now + Duration::from_millis(u64::from(n)));
        }
        assert!(rate.peers.lock().unwrap().len() <= MAX_PEERS);
    }
}
