use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::motion::GreyPicture;

/// Longest time that is kept.
const SPAN: Duration = Duration::from_secs(4);
/// Most pictures that are kept.
const PICTURES: usize = 256;
/// Most memory that their pixels may take, in bytes.
const BYTES: usize = 32 << 20;

/// A frame that passed the overlay.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) number: u64,
    pub(super) pts: Duration,
    pub(super) grey: GreyPicture,
}

/// The newest frames, oldest first: numbers and times rise.
#[derive(Debug, Default)]
pub(super) struct History {
    frames: VecDeque<Arc<Passed>>,
    bytes: usize,
}

impl History {
    /// Takes a frame in and forgets the oldest as far as the bounds ask for it.
    pub(super) fn push(&mut self, frame: Arc<Passed>) {
        self.bytes += frame.grey.bytes();
        let oldest = frame.pts.saturating_sub(SPAN);
        self.frames.push_back(frame);
        while self.frames.len() > 1
            && let Some(first) = self.frames.front()
            && (self.frames.len() > PICTURES || self.bytes > BYTES || first.pts < oldest)
        {
            self.bytes -= first.grey.bytes();
            self.frames.pop_front();
        }
    }

    pub(super) fn newest(&self) -> Option<&Arc<Passed>> {
        self.frames.back()
    }

    /// The frame of that number and time.
    pub(super) fn find(&self, number: u64, pts: Duration) -> Option<&Arc<Passed>> {
        self.place(number).and_then(|place| self.frames.get(place)).filter(|f| f.pts == pts)
    }

    /// Whether a frame of that number and time is older than all that are kept.
    pub(super) fn forgot(&self, number: u64, pts: Duration) -> bool {
        self.frames.front().is_some_and(|first| number < first.number && pts < first.pts)
    }

    /// The farthest frame within a time and a count of frames after a kept one, and how many frames
    /// after it that is. `None` if there is none; the very next frame may be any time later.
    pub(super) fn hop(
        &self,
        number: u64,
        time: Duration,
        count: usize,
    ) -> Option<(Arc<Passed>, usize)> {
        let place = self.place(number)?;
        let start = self.frames.get(place)?.pts;
        let next = self.frames.iter().skip(place + 1).take(count.max(1)).enumerate();
        next.take_while(|(step, f)| *step == 0 || f.pts.saturating_sub(start) <= time)
            .last()
            .map(|(step, f)| (f.clone(), step + 1))
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.frames.binary_search_by_key(&number, |frame| frame.number).ok()
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.frames.len(), self.bytes)
    }
}
