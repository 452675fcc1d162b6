//! Presentation times of the run, from the source's own.

use std::time::{Duration, Instant};

/// How long before its arrival a frame's time may be, in nanoseconds.
const TOLERANCE: u64 = 200_000_000;

/// How long after its arrival a frame's time may be, in nanoseconds.
const EARLY: u64 = 1_000_000;

/// Smallest step from one frame to the next, in nanoseconds.
const STEP: u64 = 1_000;

/// Turns the source's times into times of the run, in nanoseconds. They strictly increase, keep the
/// source's own spacing while that is sound, and are at most 200 ms before a frame's arrival and
/// hardly ever after it.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// The source's time of a frame and its time in the run.
    anchor: Option<(u64, u64)>,
    /// The source's last time.
    source: u64,
    /// The last time given out.
    last: Option<u64>,
}

impl Timeline {
    /// The time of a frame that arrives `now` and that the source puts at `pts`.
    pub(super) fn next(&mut self, now: u64, pts: Option<u64>) -> u64 {
        let time = match (pts, self.anchor) {
            (None, _) => {
                self.anchor = None;
                now
            }
            (Some(pts), Some((from, to))) if pts > self.source => {
                let time = to.saturating_add(pts.saturating_sub(from));
                // A frame that comes before its time: the anchor itself was late.
                let early = time > now.saturating_add(EARLY);
                let late = now > time.saturating_add(TOLERANCE);
                if early || late { self.anchor(pts, now) } else { time }
            }
            (Some(pts), _) => self.anchor(pts, now),
        };
        self.source = pts.unwrap_or(0);
        let earliest = self.last.map_or(0, |last| last.saturating_add(STEP));
        let time = time.max(earliest);
        self.last = Some(time);
        time
    }

    /// Forgets the source's clock: the next frame is of another attempt.
    pub(super) fn restart(&mut self) {
        self.anchor = None;
    }

    fn anchor(&mut self, pts: u64, now: u64) -> u64 {
        self.anchor = Some((pts, now));
        now
    }
}

/// Holds frames back until they are due, so that a file plays like a camera.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    anchor: Option<(Instant, Duration)>,
    last: Duration,
}

impl Pacer {
    /// When the frame at `pts` is due. A jump, or falling behind by 200 ms, starts anew from now:
    /// the video then plays on at its own rate in place of catching up in a burst.
    pub(super) fn due(&mut self, pts: Duration, now: Instant) -> Instant {
        let forward = pts >= self.last && pts - self.last <= Duration::from_secs(1);
        self.last = pts;
        if let Some((start, from)) = self.anchor
            && forward
        {
            let due = start + pts.saturating_sub(from);
            if now.saturating_duration_since(due) <= Duration::from_nanos(TOLERANCE) {
                return due;
            }
        }
        self.anchor = Some((now, pts));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_sources_spacing_is_kept_and_not_the_arrivals_jitter() {
        let mut timeline = Timeline::default();
        let first = timeline.next(1000 * MS, Some(5 * MS));
        for i in 1..100u64 {
            let jitter = (i * 7919 % 30) * MS;
            let time = timeline.next(1000 * MS + i * 20 * MS + jitter, Some(5 * MS + i * 20 * MS));
            assert_eq!(time, first + i * 20 * MS);
        }
    }

    #[test]
    fn jumps_missing_and_backward_times_never_reach_the_output() {
        let mut timeline = Timeline::default();
        let given = [Some(0), Some(20), Some(9000), Some(9020), Some(40), None, None, Some(60)];
        let (mut now, mut last) = (0, None);
        for pts in given.iter().cycle().take(1000) {
            now += 20 * MS;
            let time = timeline.next(now, pts.map(|ms: u64| ms * MS));
            assert!(last.is_none_or(|last| time > last));
            assert!(time.abs_diff(now) <= TOLERANCE);
            last = Some(time);
        }
        // Frames that arrive at once still get different times.
        let a = timeline.next(now, None);
        assert!(timeline.next(now, None) > a);
    }

    #[test]
    fn a_late_first_frame_does_not_put_all_others_into_the_future() {
        let mut timeline = Timeline::default();
        timeline.next(1100 * MS, Some(0));
        for i in 1..50u64 {
            let now = (1000 + i * 20).max(1100) * MS;
            let time = timeline.next(now, Some(i * 20 * MS));
            assert!(time <= now + EARLY);
        }
    }

    #[test]
    fn a_clock_that_drifts_is_followed() {
        let mut timeline = Timeline::default();
        for i in 0..100_000u64 {
            let (now, pts) = (i * 20 * MS, i * 20 * MS + i * MS / 10);
            assert!(timeline.next(now, Some(pts)).abs_diff(now) <= TOLERANCE);
        }
    }

    #[test]
    fn a_paced_file_neither_runs_ahead_nor_catches_up_in_a_burst() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        let ms = Duration::from_millis;
        assert_eq!(pacer.due(ms(0), start), start);
        assert_eq!(pacer.due(ms(40), start), start + ms(40));
        // A second late: from here on at the video's rate.
        let late = start + ms(1080);
        assert_eq!(pacer.due(ms(80), late), late);
        assert_eq!(pacer.due(ms(120), late), late + ms(40));
        // Back to the start of a loop.
        assert_eq!(pacer.due(ms(0), late + ms(50)), late + ms(50));
    }
}
