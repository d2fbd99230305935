//! The proxy's connections to Postgres are verified, or in the clear.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Parser as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tailnet_harness::{Proxy, Stack, deadline::until, run_with, stack::Setup};
use tailnet_proxy::config::Config;
use tailnet_tools::message::Request;
use tailnet_wire::Chain;
use uuid::Uuid;

/// A certificate authority, and its file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = std::env::temp_dir().join(format!("tailnet-test-{}.pem", Uuid::new_v4()));
        fs::write(&file, issuer.pem())?;
        Ok(Self { issuer, file })
    }

    fn option(&self) -> String {
        self.file.display().to_string()
    }

    /// Makes Postgres speak TLS, with a certificate for its address.
    async fn certify(&self, stack: &Stack) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &self.issuer)?;
        let sql = &stack.operator.sql;
        for (file, pem) in [("server.key", key.serialize_pem()), ("server.crt", certificate.pem())] {
            let lines = format!("SELECT string_to_table('{}', E'\\n')", pem.trim_end());
            sql.batch_execute(&format!("COPY ({lines}) TO PROGRAM 'umask 077; cat >{file}'")).await?;
        }
        for statement in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
            sql.batch_execute(statement).await?;
        }
        let on = "SELECT setting = 'on' FROM pg_settings WHERE name = 'ssl'";
        until("Postgres speaks TLS", async || Ok(sql.query_one(on, &[]).await?.get(0))).await
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // It may be gone.
        let _ = fs::remove_file(&self.file);
    }
}

/// Connects as a proxy with these options would. Ok: whether that used TLS; Err: what kept it out.
async fn connect(url: &str, options: &[&str]) -> Result<Result<bool, String>> {
    let arguments = ["tailnet-proxy", "--database-url", url];
    let arguments = arguments.iter().chain(options);
    let database = match Config::try_parse_from(arguments)?.database() {
        Ok(database) => database,
        Err(error) => return Ok(Err(Chain(&error).to_string())),
    };
    let (client, connection) = match database.connect("test").await {
        Ok(connected) => connected,
        Err(error) => return Ok(Err(Chain(&error).to_string())),
    };
    tokio::spawn(connection);
    let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(Ok(client.query_one(ssl, &[]).await?.get(0)))
}

fn setup() -> Setup<'static> {
    Setup { proxies: 1, private_cluster: true, ..Setup::default() }
}

#[tokio::test]
async fn postgres_is_verified_by_chain_and_by_name() {
    run_with(setup(), async |stack: &Stack| {
        let login = &stack.database().logins()[0];
        let url = stack.database().url(login)?;
        let (authority, stranger) = (Authority::new()?, Authority::new()?);
        let trusting = |authority: &Authority| ["--database-ca".to_owned(), authority.option()];
        let known = trusting(&authority);
        let known = known.each_ref().map(String::as_str);
        let refused = connect(&url, &known).await?.expect_err("it has no TLS yet");
        assert!(refused.contains("TLS"), "{refused}");

        authority.certify(stack).await?;
        assert_eq!(connect(&url, &known).await?, Ok(true));
        assert_eq!(connect(&url, &[]).await?, Ok(false), "nobody demands it");
        let unknown = trusting(&stranger);
        let refused = connect(&url, &unknown.each_ref().map(String::as_str)).await?;
        assert!(refused.as_ref().is_err_and(|error| error.contains("invalid peer certificate")), "{refused:?}");
        let other_name = url.replace("127.0.0.1", "localhost");
        let refused = connect(&other_name, &known).await?;
        assert!(refused.as_ref().is_err_and(|error| error.contains("not valid for name")), "{refused:?}");
        // The system trusts others, or nobody.
        let refused = connect(&format!("{url}?sslmode=require"), &[]).await?;
        assert!(refused.is_err(), "{refused:?}");
        let refused = connect(&format!("{url}?sslmode=disable"), &known).await?;
        assert!(refused.as_ref().is_err_and(|error| error.contains("contradicts --database-ca")), "{refused:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_proxy_coordinates_over_tls() {
    run_with(setup(), async |stack: &Stack| {
        let login = &stack.database().logins()[0];
        let (url, authority) = (stack.database().url(login)?, Authority::new()?);
        authority.certify(stack).await?;
        let proxy = Proxy::start_with("tls", &login.role, &url, &[("--database-ca", &authority.option())]).await?;
        let (client, agent) = stack.create_pair().await?;
        let (mut client, mut agent) = (proxy.connect(&client).await?, stack.left().connect(&agent).await?);
        let node = agent.announce(1).await?;
        client.send(Request::add_tunnel(agent.id())).await?;
        client.expect_node(agent.id(), &node).await;
        let unverified =
            "SELECT count(*), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                          WHERE application_name LIKE 'tailnet-proxy/tls/%'";
        let row = stack.operator.sql.query_one(unverified, &[]).await?;
        let (all, unverified): (i64, i64) = (row.get(0), row.get(1));
        assert!(all > 5, "its workers are connected");
        assert_eq!(unverified, 0);
        proxy.stop().await.context("the proxy over TLS")
    })
    .await;
}
