//! The options of `cleanup`.

use clap::Args;

use crate::common::{Access, Logging};

/// Removes what runs have left that were killed: their networks, with all identities
///
/// Each run makes a network scaletest-SEED-RANDOM, and removes it at its end. This removes those that are left. A network
/// is kept while the run that made it goes on, which is known by its connection to the database, or while one of its peers
/// is connected to a proxy. Networks with other names are never touched.
///
/// Only a superuser may remove a network. For another user its identities are revoked, so that their tokens are worth
/// nothing; the network stays.
#[derive(Debug, Clone, Args)]
#[command(mut_arg("database_url", |arg| arg.help(DATABASE_URL).long_help(DATABASE_URL)))]
#[command(after_long_help = "\
What is printed: a line for each network, to stdout. Before anything is changed, it asks; where nobody can answer, because \
stdin is no terminal, it changes nothing without --yes. The exit code is 0 when nothing is left to be done but what is \
kept.

Example:
  tailnet-scaletest cleanup --database-url postgres://ops:…@db/tailnet --dry-run")]
pub struct Cleanup {
    #[command(flatten)]
    pub access: Access,

    /// Only say what would be done
    #[arg(long, env = "TAILNET_SCALETEST_DRY_RUN")]
    pub dry_run: bool,

    /// Do not ask
    #[arg(long, short, env = "TAILNET_SCALETEST_YES")]
    pub yes: bool,

    #[command(flatten)]
    pub logging: Logging,
}

const DATABASE_URL: &str = "\
The database of the proxies, as a superuser, or as a user that may call tailnet.revoke_peer and is in the role \
tailnet_reader. No TLS yet: sslmode=require is refused";
