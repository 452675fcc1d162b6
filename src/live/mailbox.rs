//! The newest picture, handed from one thread to another without either ever waiting.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::image::{Frame, ImageError, Planes, PlanesInfo};

/// A place for one picture, where a newer one replaces an older one. Three buffers go round: one is
/// written, one waits, one is read; all three are used again. One thread may offer and one may take
/// at a time; a second one that offers meanwhile is turned away.
#[derive(Debug)]
pub struct Mailbox {
    buffers: [Mutex<Letter>; 3],
    /// Which buffer waits, and [`FRESH`] if it was not taken yet.
    waiting: AtomicU8,
    /// Which buffer is written next.
    writing: Mutex<u8>,
    /// Which buffer was read last.
    reading: Mutex<u8>,
}

/// The mark of a buffer that holds something new.
const FRESH: u8 = 4;

/// What became of an offered picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It waits.
    Waits,
    /// It waits in the place of an older one that nobody took.
    Replaced,
    /// Another thread was just offering one.
    TurnedAway,
}

/// A picture as it waits: its planes without gaps.
#[derive(Debug, Default)]
pub struct Letter {
    number: u64,
    pts: Duration,
    info: Option<PlanesInfo>,
    bytes: Vec<u8>,
}

impl Letter {
    /// Copies a picture in, over the one before.
    fn write(&mut self, number: u64, pts: Duration, picture: &Planes<'_>) {
        let of = picture.info();
        let info = PlanesInfo::packed(of.layout, of.width, of.height, of.color);
        (self.number, self.pts, self.info) = (number, pts, Some(info));
        picture.pack_into(&mut self.bytes);
    }

    /// A copy of a picture.
    pub fn of(number: u64, pts: Duration, picture: &Planes<'_>) -> Self {
        let mut letter = Self::default();
        letter.write(number, pts, picture);
        letter
    }

    /// Number and presentation time.
    pub fn stamp(&self) -> (u64, Duration) {
        (self.number, self.pts)
    }

    /// Writes the picture as RGB into a frame whose memory is used again.
    ///
    /// # Errors
    /// [`ImageError::Size`] if there is no picture.
    pub fn convert_into(&self, frame: &mut Frame) -> Result<(), ImageError> {
        let empty = ImageError::Size { width: 0, height: 0, len: self.bytes.len() };
        let info = self.info.ok_or(empty)?;
        let lengths = info.layout.plane_sizes(info.width, info.height).map(|(row, n)| row * n);
        let mut rest = self.bytes.as_slice();
        let planes = lengths.map(|length| {
            let (plane, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            plane
        });
        Planes::new(info, planes)?.convert_into(frame);
        Ok(())
    }
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new() -> Self {
        Self {
            buffers: Default::default(),
            waiting: AtomicU8::new(1),
            writing: Mutex::new(0),
            reading: Mutex::new(2),
        }
    }

    /// Copies a picture in.
    pub fn offer(&self, number: u64, pts: Duration, picture: &Planes<'_>) -> Offered {
        let Ok(mut writing) = self.writing.try_lock() else { return Offered::TurnedAway };
        self.buffer(*writing).write(number, pts, picture);
        let before = self.waiting.swap(*writing | FRESH, Ordering::AcqRel);
        *writing = before & !FRESH;
        if before & FRESH == 0 { Offered::Waits } else { Offered::Replaced }
    }

    /// Reads the picture that waits; `None` if there is none.
    pub fn take<T>(&self, read: impl FnOnce(&Letter) -> T) -> Option<T> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.waiting.load(Ordering::Acquire) & FRESH == 0 {
            return None;
        }
        *reading = self.waiting.swap(*reading, Ordering::AcqRel) & !FRESH;
        Some(read(&self.buffer(*reading)))
    }

    /// A buffer that is this thread's alone: its lock is always free.
    fn buffer(&self, index: u8) -> MutexGuard<'_, Letter> {
        let buffer = self.buffers.get(usize::from(index)).unwrap_or(&self.buffers[0]);
        buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::image::{Color, PlaneLayout};

    fn grey(level: u8) -> Vec<u8> {
        vec![level; 12]
    }

    fn offer(mailbox: &Mailbox, number: u64, level: u8) -> Offered {
        let info = PlanesInfo::packed(PlaneLayout::I420, 4, 2, Color::usual(2));
        let bytes = grey(level);
        let planes = Planes::new(info, [&bytes[..8], &bytes[8..10], &bytes[10..]]).unwrap();
        mailbox.offer(number, Duration::from_millis(number), &planes)
    }

    #[test]
    fn the_newest_replaces_and_memory_is_used_again() {
        let mailbox = Mailbox::new();
        assert!(mailbox.take(|_| ()).is_none());
        assert_eq!(offer(&mailbox, 1, 10), Offered::Waits);
        assert_eq!(offer(&mailbox, 2, 20), Offered::Replaced);
        let places = |mailbox: &Mailbox| -> Vec<*const u8> {
            mailbox.buffers.iter().map(|b| b.lock().unwrap().bytes.as_ptr()).collect()
        };
        assert_eq!(mailbox.take(|letter| letter.stamp().0), Some(2));
        assert!(mailbox.take(|_| ()).is_none());
        for number in 3..9 {
            offer(&mailbox, number, 30);
            mailbox.take(|_| ());
        }
        let before = places(&mailbox);
        for number in 9..60 {
            offer(&mailbox, number, 40);
            if number % 3 == 0 {
                assert_eq!(mailbox.take(|letter| letter.stamp().0), Some(number));
            }
        }
        assert_eq!(places(&mailbox), before);
    }

    #[test]
    fn no_picture_is_torn_between_two_threads() {
        let mailbox = Mailbox::new();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=20_000 {
                    offer(&mailbox, number, number as u8);
                }
                done.store(true, Ordering::SeqCst);
            });
            let mut last = 0;
            while last < 20_000 {
                let ended = done.load(Ordering::SeqCst);
                let taken = mailbox.take(|letter| {
                    let (number, _) = letter.stamp();
                    assert!(letter.bytes.iter().all(|&byte| byte == number as u8));
                    assert!(number > last, "{number} after {last}");
                    last = number;
                });
                assert!(taken.is_some() || !ended || last == 20_000);
            }
        });
    }
}
