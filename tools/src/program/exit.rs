//! How a program ends.

use std::process::ExitCode;

use anyhow::Result;

/// The exit code of a program. What went wrong is printed to stderr, with its causes.
pub fn exit(program: &str, outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
