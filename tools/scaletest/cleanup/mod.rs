//! `cleanup`: networks that runs have left are removed.

mod leftover;
pub mod options;

use std::io::{self, IsTerminal as _};

use anyhow::{Context, Result, bail, ensure};
use tailnet_tools::{
    cluster,
    program::{Progress, Signals},
};
use tokio_postgres::Client;

use self::{
    leftover::{Fate, Leftover, count},
    options::Cleanup,
};
use crate::identities::{Identities, is_superuser};

/// Does it, if the user agrees.
///
/// # Errors
/// When the user does not agree, it may not be done, or it is cancelled.
pub async fn run(options: Cleanup, progress: Progress) -> Result<()> {
    let sql = cluster::connect(&options.access.database_url).await?;
    let is_superuser = is_superuser(&sql).await?;
    let what = if is_superuser { "remove" } else { "revoke" };
    let mut touched = Vec::new();
    for left in Leftover::all(&sql).await? {
        match left.fate(is_superuser) {
            Fate::Keep(reason) => progress.say(&format!("keep {left}: {reason}")),
            Fate::Remove | Fate::Revoke => {
                progress.say(&format!("{}{what} {left}", if options.dry_run { "would " } else { "to " }));
                touched.push(left);
            }
        }
    }
    if touched.is_empty() {
        progress.say("cleanup: nothing to do");
        return Ok(());
    }
    let peers = count(touched.iter().map(|left| left.peers).sum(), "peer");
    let networks = count(touched.len() as i64, "network");
    if options.dry_run {
        progress.say(&format!("cleanup: would {what} {networks} with {peers}"));
        return Ok(());
    }
    if !options.yes {
        agree(&format!("{what} {networks} with {peers}"))?;
    }
    // Not before, so that Ctrl-C is an answer.
    let mut signals = Signals::new()?;
    progress.phase(&format!("cleanup: {networks}"), touched.len() as u64);
    let outcome = tokio::select! {
        outcome = clean_up(touched, is_superuser, &options, &sql, &progress) => outcome,
        () = signals.next() => bail!("cancelled"),
    };
    progress.finish();
    outcome
}

async fn clean_up(
    touched: Vec<Leftover>,
    is_superuser: bool,
    options: &Cleanup,
    sql: &Client,
    progress: &Progress,
) -> Result<()> {
    let (all, mut done) = (touched.len() as i64, 0);
    for left in touched {
        // Somebody may have thought about it for long.
        let fate = left.again(sql).await?.map(|left| left.fate(is_superuser));
        let verb = match fate {
            None => None,
            Some(Fate::Keep(reason)) => {
                progress.say(&format!("kept {left}: {reason}"));
                None
            }
            Some(Fate::Remove) => Some("removed"),
            Some(Fate::Revoke) => Some("revoked"),
        };
        if let Some(verb) = verb {
            let identities = Identities::new(options.access.database_url.clone(), left.network.clone());
            identities.remove().await.with_context(|| format!("cannot clean up {}", left.network))?;
            progress.say(&format!("{verb} {left}"));
            done += 1;
        }
        progress.step();
    }
    progress.say(&format!("cleanup: done with {done} of {}", count(all, "network")));
    Ok(())
}

/// # Errors
/// When the user does not, or cannot be asked.
fn agree(what: &str) -> Result<()> {
    let asked = io::stdin().is_terminal();
    ensure!(asked, "nothing was changed: stdin is no terminal, so --yes must be given to {what}");
    eprint!("{what}? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was changed");
    Ok(())
}
