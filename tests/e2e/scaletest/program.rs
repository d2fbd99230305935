//! The program as a process.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tailnet_harness::{deadline::DEADLINE, process, process_tree};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout},
    time::timeout,
};

const BINARY: &str = "TAILNET_SCALETEST_BIN";

/// A run that goes on.
pub struct Running {
    child: Child,
    stdout: ChildStdout,
    stderr: Lines<BufReader<ChildStderr>>,
    pub said: Vec<String>,
}

/// A run that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    /// Lines of stderr.
    pub said: Vec<String>,
}

impl Running {
    pub fn start(command: &str, database: &str, proxies: &[String], options: &[&str]) -> Result<Self> {
        Self::start_with("-S -n 256", command, database, proxies, options)
    }

    /// The same with these limits of open files, as options of `ulimit`.
    pub fn start_with(
        files: &str,
        command: &str,
        database: &str,
        proxies: &[String],
        options: &[&str],
    ) -> Result<Self> {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/tailnet-scaletest");
        let binary = env::var_os(BINARY).map_or_else(|| PathBuf::from(built), PathBuf::from);
        ensure!(binary.is_file(), "there is no {}: 'make build' builds it, {BINARY} names another", binary.display());
        let mut child = process::command(Path::new("/bin/sh"))?
            .args(["-c", &format!("ulimit {files} && exec \"$0\" \"$@\"")])
            .arg(binary)
            .arg(command)
            .args(proxies.iter().flat_map(|url| ["--proxy", url]))
            .args(options)
            .env("TAILNET_SCALETEST_DATABASE_URL", database)
            .spawn()
            .context("cannot run setpriv")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let stderr = BufReader::new(child.stderr.take().context("stderr is piped")?).lines();
        Ok(Self { child, stdout, stderr, said: Vec::new() })
    }

    /// Waits for a line of stderr.
    pub async fn until_said(&mut self, part: &str) -> Result<()> {
        let reading = async {
            while let Some(line) = self.stderr.next_line().await? {
                self.said.push(line);
                if self.said.last().is_some_and(|line| line.contains(part)) {
                    return Ok(true);
                }
            }
            anyhow::Ok(false)
        };
        let said = timeout(DEADLINE, reading).await;
        assert!(matches!(said, Ok(Ok(true))), "it did not say {part:?}, but:\n{}", self.said.join("\n"));
        Ok(())
    }

    pub async fn signal(&self, signal: &str) -> Result<()> {
        process_tree::signal(signal, &[self.child.id().context("it runs")?]).await
    }

    pub async fn end(mut self) -> Result<Ended> {
        let mut stdout = String::new();
        let reading = async {
            while let Some(line) = self.stderr.next_line().await? {
                self.said.push(line);
            }
            self.stdout.read_to_string(&mut stdout).await?;
            anyhow::Ok(self.child.wait().await?)
        };
        let status = timeout(DEADLINE, reading).await;
        let status = status.with_context(|| format!("it did not end; it said:\n{}", self.said.join("\n")))??;
        Ok(Ended { code: status.code(), stdout, said: self.said })
    }
}

impl Ended {
    pub fn report(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("stdout is no JSON: {}", self.stdout))
    }

    /// What its peers logged as the bytes that they read and wrote, by role and pair.
    pub fn traffic_summaries(&self) -> Result<Vec<(String, usize, u64, u64)>> {
        let summary = |line: &String| {
            let field = |name: &str| {
                let (_, rest) = line.split_once(&format!("{name}=")).with_context(|| format!("no {name}: {line}"))?;
                Ok(rest.split([' ', '}']).next().unwrap_or_default().trim_matches('"').to_owned())
            };
            let runner = ["runner{peer", " name", " role", " pair"].map(field);
            let [_, name, role, pair] = runner.map(|field: Result<String>| field);
            let (role, pair) = (role?, pair?.parse()?);
            assert_eq!(name?, format!("scaletest-{role}-{pair}"), "{line}");
            Ok((role, pair, field("bytes_read")?.parse()?, field("bytes_written")?.parse()?))
        };
        let mut all = self
            .said
            .iter()
            .filter(|line| line.contains("traffic summary"))
            .map(summary)
            .collect::<Result<Vec<_>>>()?;
        all.sort_unstable();
        Ok(all)
    }

    /// The number of the one line that begins like this.
    #[track_caller]
    pub fn place(&self, start: &str) -> usize {
        let places: Vec<usize> = (0..self.said.len()).filter(|place| self.said[*place].starts_with(start)).collect();
        assert_eq!(places.len(), 1, "{start:?} in:\n{}", self.said.join("\n"));
        places[0]
    }

    /// It failed, and had printed a summary that begins like this before it said why.
    #[track_caller]
    pub fn assert_failed(&self, summary: &str, error: &str) {
        assert_eq!(self.code, Some(1), "{}", self.said.join("\n"));
        let (summary, error) = (self.place(summary), self.place(&format!("tailnet-scaletest: {error}")));
        assert!(summary < error, "{}", self.said.join("\n"));
        assert_eq!(error, self.said.len() - 1, "{}", self.said.join("\n"));
    }
}
