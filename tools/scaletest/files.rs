//! Open files: each socket is one.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Besides those of the peers: the runtime, Postgres, outputs, and what the process was started with.
const SPARE: u64 = 64;

/// Raises the limit of this process as far as it goes, and sees whether that is enough.
///
/// # Errors
/// When the files of so many peers do not fit.
pub fn make_room(peers: usize, files: usize) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None: there is no limit.
    if current.is_some() && current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .context("cannot raise the limit of open files")?;
    }
    fits(peers, files, maximum)
}

fn fits(peers: usize, files: usize, limit: Option<u64>) -> Result<()> {
    let (needed, limit) = (files as u64 + SPARE, limit.unwrap_or(u64::MAX));
    ensure!(
        needed <= limit,
        "{peers} peers need {needed} open files, and this process may open {limit} (ulimit -Hn): raise that limit, \
         or start several processes with fewer --peers"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_are_refused_with_the_numbers() {
        assert!(fits(19_936, 19_936, Some(20_000)).is_ok());
        assert!(fits(1, usize::MAX / 2, None).is_ok());
        let error = fits(9_000, 19_937, Some(20_000)).expect_err("one too many").to_string();
        assert!(error.starts_with("9000 peers need 20001 open files, and this process may open 20000"), "{error}");
    }
}
