//! Timers that are exact to microseconds. Those of mio and tokio are exact to a millisecond, which is longer than an update
//! takes at rest.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    thread,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What is due within this time is done together: to wake up for each would cost more than what is measured.
pub const TOGETHER: Duration = Duration::from_micros(250);

/// A `timerfd` of Linux: it is readable from the moment that was set.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// One that is not set.
    pub fn new() -> io::Result<Self> {
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?))
    }

    /// Sets it to go off after this time, and not again.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        // Zero would turn it off.
        let after = after.max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Sends the moments at which something is due, each when it has come. They begin now, and are this far apart.
pub fn ticks(count: usize, apart: Duration) -> UnboundedReceiver<Instant> {
    let (sender, receiver) = unbounded_channel();
    let begin = Instant::now();
    thread::spawn(move || {
        for number in 0..count {
            let due = begin + apart.mul_f64(number as f64);
            let early = due.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                thread::sleep(early.max(TOGETHER));
            }
            if sender.send(due).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_tick_comes_once_and_never_early() {
        let begin = Instant::now();
        let mut ticks = ticks(5, Duration::from_millis(2));
        for number in 0..5 {
            let due = ticks.recv().await.expect("a tick");
            assert!(due >= begin + Duration::from_millis(2) * number && Instant::now() >= due);
        }
        assert_eq!(ticks.recv().await, None);
    }
}
