//! The load processes: each holds half of the pairs, because a process may open 20,000 files.

use std::{env, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use tailnet_tools::websocket::Protocol;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command as Program},
    time::timeout,
};

use crate::{
    common::network::Credentials,
    peers::{
        clock::Moment,
        control::{Answer, Command, End, Hold, Hub, Progress, Totals, Update, Updated},
    },
};

/// Load processes.
pub const PROCESSES: usize = 2;

/// Nothing takes so long, unless it will never be done.
const DEADLINE: Duration = Duration::from_secs(120);

/// All load processes. They end when it is dropped.
#[derive(Debug)]
pub struct Fleet(Vec<Load>);

#[derive(Debug)]
struct Load {
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// A storm as the load processes saw it.
#[derive(Debug)]
pub struct Connected {
    /// When it began.
    pub begin: Moment,
    /// When the last view was right.
    pub right: Moment,
    /// How far each process was, in the order of time.
    pub progress: Vec<Vec<Progress>>,
}

/// Takes this answer; gives back any other.
macro_rules! expect {
    ($answer:path) => {
        |answer| match answer {
            $answer(what) => Ok(what),
            other => Err(other),
        }
    };
}

impl Fleet {
    /// Starts the processes; nobody is connected yet.
    pub async fn start(
        proxies: &[[SocketAddr; 2]],
        pairs: &[[Credentials; 2]],
        protocol: Protocol,
        in_flight: usize,
    ) -> Result<Self> {
        let shares = shares(pairs);
        let starts = shares.map(async |pairs| {
            let mut load = Load::start()?;
            let in_flight = (in_flight / PROCESSES).max(1);
            let hold = Hold { proxies: proxies.to_vec(), pairs: pairs.to_vec(), protocol, in_flight };
            load.send(&Command::Hold(hold)).await?;
            match load.answer().await? {
                Answer::Ready => Ok(load),
                other => bail!("a load process said {other:?}"),
            }
        });
        Ok(Self(try_join_all(starts).await?))
    }

    pub fn pids(&self) -> Result<Vec<u32>> {
        self.0.iter().map(|load| load.child.id().context("a load process has ended")).collect()
    }

    /// Everybody connects, and returns when every view is right. `shown` is told how many are connected, and right.
    pub async fn connect(&mut self, shown: impl Fn(usize, usize)) -> Result<Connected> {
        let begin = Moment::now();
        let now = std::cell::RefCell::new(vec![(0, 0); self.0.len()]);
        let connects = self.0.iter_mut().enumerate().map(async |(number, load)| {
            load.send(&Command::Connect).await?;
            let mut progress = Vec::new();
            loop {
                match load.answer().await? {
                    Answer::Progress(word) => {
                        now.borrow_mut()[number] = (word.connected, word.right);
                        let (connected, right) =
                            now.borrow().iter().fold((0, 0), |sum, word| (sum.0 + word.0, sum.1 + word.1));
                        shown(connected, right);
                        progress.push(word);
                    }
                    Answer::Right(at) => return Ok((at, progress)),
                    other => bail!("a load process said {other:?}"),
                }
            }
        });
        let done = timeout(DEADLINE, try_join_all(connects)).await;
        let done = done.with_context(|| {
            let (connected, right) = now.borrow().iter().fold((0, 0), |sum, word| (sum.0 + word.0, sum.1 + word.1));
            format!("after {DEADLINE:?} {connected} peers are connected and {right} views are right")
        })??;
        let right = done.iter().map(|(at, _)| *at).max().context("there are load processes")?;
        Ok(Connected { begin, right, progress: done.into_iter().map(|(_, progress)| progress).collect() })
    }

    /// Updates at a steady rate, of all processes together; returns when each partner was told. Also when it began.
    pub async fn update(&mut self, rate: Rate, seed: u64) -> Result<(Moment, Updated)> {
        let processes = self.0.len() as f64;
        let Rate { per_second, unmeasured, measured } = rate;
        let begin = Moment::now().after(Duration::from_millis(50));
        let pause = Duration::from_secs_f64(1.0 / per_second);
        let span = unmeasured + measured;
        let command = |number: u32| {
            Command::Update(Update {
                per_second: per_second / processes,
                // One after the other, as one process would.
                begin: begin.after(pause * number),
                seconds: span.as_secs_f64(),
                unmeasured_seconds: unmeasured.as_secs_f64(),
                seed: seed + u64::from(number),
            })
        };
        Ok((begin, self.updated(command, span).await?))
    }

    /// Each peer announces a node, and the next one when its partner was told, for so long. Also when it began.
    pub async fn saturate(&mut self, span: Duration) -> Result<(Moment, Updated)> {
        let begin = Moment::now();
        Ok((begin, self.updated(|_| Command::Saturate(begin.after(span)), span).await?))
    }

    /// What came of the updates that these commands, one for each process, lead to.
    async fn updated(&mut self, command: impl Fn(u32) -> Command, span: Duration) -> Result<Updated> {
        let updates = self.0.iter_mut().zip(0u32..).map(async |(load, number)| {
            load.send(&command(number)).await?;
            match timeout(span + DEADLINE, load.answer()).await.context("not every partner was told the updates")?? {
                Answer::Updated(updated) => Ok(updated),
                other => bail!("a load process said {other:?}"),
            }
        });
        let mut all = Updated::default();
        for updated in try_join_all(updates).await? {
            all.latencies.extend(updated.latencies);
            all.lateness.extend(updated.lateness);
            all.due += updated.due;
            all.merged += updated.merged;
            all.heard = all.heard.max(updated.heard);
        }
        Ok(all)
    }

    /// All peers of these ends announce their next node at once.
    pub async fn announce(&mut self, ends: &[End]) -> Result<Moment> {
        let announced = self.all(Command::Announce(ends.to_vec()), expect!(Answer::Announced));
        announced.await?.into_iter().max().context("there are load processes")
    }

    /// Waits until every peer was told the newest node of its partner. When the last of them was.
    pub async fn until_right(&mut self) -> Result<Moment> {
        self.until(Command::Await, "not every view is right").await
    }

    /// From now on the first so many peers of each process are told of a hub.
    pub async fn expect(&mut self, hub: Hub) -> Result<()> {
        let ready =
            self.all(Command::Expect(hub), |answer| if let Answer::Ready = answer { Ok(()) } else { Err(answer) });
        ready.await.map(drop)
    }

    /// Waits until they were told what was expected of it last. When the last of them was.
    pub async fn until_told_of_hub(&mut self) -> Result<Moment> {
        self.until(Command::AwaitHub, "not all were told of the hub").await
    }

    async fn until(&mut self, command: Command, otherwise: &str) -> Result<Moment> {
        let right = timeout(DEADLINE, self.all(command, expect!(Answer::Right))).await;
        right
            .with_context(|| format!("after {DEADLINE:?} {otherwise}"))??
            .into_iter()
            .max()
            .context("there are load processes")
    }

    /// The versions of the nodes that were announced last, by process.
    pub async fn recite(&mut self) -> Result<Vec<Vec<u64>>> {
        let said = self.all(Command::Recite, expect!(Answer::Said));
        said.await
    }

    /// What happened so far.
    pub async fn totals(&mut self) -> Result<Totals> {
        let totals = self.all(Command::Report, expect!(Answer::Totals));
        Ok(totals.await?.into_iter().fold(Totals::default(), |mut sum, totals| {
            sum.add(totals);
            sum
        }))
    }

    async fn all<T>(&mut self, command: Command, expect: impl Fn(Answer) -> Result<T, Answer>) -> Result<Vec<T>> {
        let answers = self.0.iter_mut().map(async |load| {
            load.send(&command).await?;
            match expect(load.answer().await?) {
                Ok(answer) => Ok(answer),
                Err(other) => bail!("a load process said {other:?}"),
            }
        });
        try_join_all(answers).await
    }
}

/// The pairs of each process.
pub fn shares(pairs: &[[Credentials; 2]]) -> impl Iterator<Item = &[[Credentials; 2]]> {
    pairs.chunks(pairs.len().div_ceil(PROCESSES))
}

/// A steady load.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Updates a second.
    pub per_second: f64,
    /// At the beginning, for the system to get into its stride.
    pub unmeasured: Duration,
    /// After that.
    pub measured: Duration,
}

impl Load {
    fn start() -> Result<Self> {
        let mut child = Program::new(env::current_exe()?)
            .arg("load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a load process")?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        Ok(Self { child, stdin, answers })
    }

    async fn send(&mut self, command: &Command) -> Result<()> {
        let line = serde_json::to_string(command)? + "\n";
        self.stdin.write_all(line.as_bytes()).await.context("a load process has ended")
    }

    async fn answer(&mut self) -> Result<Answer> {
        let line = self.answers.next_line().await?.context("a load process has ended")?;
        match serde_json::from_str(&line)? {
            Answer::Failed(error) => bail!("a load process failed: {error}"),
            answer => Ok(answer),
        }
    }
}
