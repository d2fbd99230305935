//! Open files: each websocket is one.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Besides the websockets: the runtime, Postgres, outputs, and what the process was started with.
const SPARE: u64 = 64;

/// Raises the limit of this process as far as it goes, and sees whether that is enough.
///
/// # Errors
/// When so many websockets do not fit.
pub fn make_room(sockets: usize) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None: there is no limit.
    if current.is_some() && current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .context("cannot raise the limit of open files")?;
    }
    fits(sockets, maximum)
}

fn fits(sockets: usize, limit: Option<u64>) -> Result<()> {
    let (needed, limit) = (sockets as u64 + SPARE, limit.unwrap_or(u64::MAX));
    ensure!(
        needed <= limit,
        "{sockets} websockets need {needed} open files, and this process may open {limit} (ulimit -Hn): raise that limit, \
         or start several processes with fewer --peers"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_websockets_are_refused_with_the_numbers() {
        assert!(fits(19_936, Some(20_000)).is_ok());
        assert!(fits(usize::MAX / 2, None).is_ok());
        let error = fits(19_937, Some(20_000)).expect_err("one too many").to_string();
        assert!(
            error.starts_with("19937 websockets need 20001 open files, and this process may open 20000"),
            "{error}"
        );
    }
}
