//! A load process: one thread reads commands, and one serves the peers.

use std::{
    io::{BufRead as _, stdin},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use mio::{Poll, Waker};

use super::{
    peers::Peers,
    serving::Service,
    talk::{COMMAND, say},
};
use crate::peers::control::{Answer, Command};

/// Does what stdin says until it ends.
pub fn run() -> Result<()> {
    let poll = Poll::new().context("cannot make an epoll")?;
    let waker = Arc::new(Waker::new(poll.registry(), COMMAND)?);
    let (sender, commands) = mpsc::channel();
    thread::spawn(move || read(sender, &waker));
    let done = serve(poll, &commands);
    if let Err(error) = &done {
        say(&Answer::Failed(format!("{error:#}")))?;
    }
    done
}

/// Sends the lines of stdin to the loop that waits for events.
fn read(sender: Sender<Result<Command>>, waker: &Waker) {
    for line in stdin().lock().lines() {
        let command = line.map_err(Into::into).and_then(|line| Ok(serde_json::from_str(&line)?));
        // When the other thread has ended there is nothing to do.
        if sender.send(command).is_err() || waker.wake().is_err() {
            return;
        }
    }
    drop(sender);
    // So that the other thread finds that nobody sends any more.
    let _ = waker.wake();
}

fn serve(poll: Poll, commands: &Receiver<Result<Command>>) -> Result<()> {
    let Ok(first) = commands.recv() else { return Ok(()) };
    let Command::Hold(hold) = first.context("cannot read the first command")? else { bail!("expected hold first") };
    let mut service = Service::new(Peers::new(poll, hold))?;
    say(&Answer::Ready)?;
    service.serve(commands)
}
