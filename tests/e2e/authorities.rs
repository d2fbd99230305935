//! The proxy's connections to Postgres are verified, or in the clear.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tailnet_harness::{Proxy, Stack, deadline::until, stack::Setup};
use uuid::Uuid;

tests_on! {
    own_postgres: Setup { private_cluster: true, ..Setup::of(1) } =>
        postgres_is_verified_by_chain_and_by_name, a_proxy_coordinates_over_tls;
}

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
        stack.operator.set(&["ssl = on"]).await?;
        let on = "SELECT setting = 'on' FROM pg_settings WHERE name = 'ssl'";
        stack.operator.until("Postgres speaks TLS", on, &[]).await
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // It may be gone.
        let _ = fs::remove_file(&self.file);
    }
}

/// Starts a proxy. Ok: how many connections to Postgres it has, and how many of them use TLS; Err: what it wrote when it
/// could not connect.
async fn connect(stack: &Stack, url: &str, trusted: Option<&Authority>) -> Result<Result<(i64, i64), String>> {
    let ca = trusted.map(Authority::option);
    let options: Vec<_> = ca.iter().map(|file| ("--database-ca", file.as_str())).collect();
    let name = Uuid::new_v4().to_string();
    let proxy = match Proxy::launch(&name, &stack.database().logins()[0].role, url, &options).await {
        Ok(proxy) => proxy,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let is_ready = async || anyhow::Ok(proxy.get("/readyz", &[]).await?.0 == 200);
    let has_tried = async || Ok(is_ready().await? || proxy.log().contains("registration given up"));
    until("the proxy is ready, or says why not", has_tried).await?;
    let outcome = if is_ready().await? { Ok(connections(stack, &name).await?) } else { Err(proxy.log()) };
    proxy.terminate().await?;
    proxy.stop().await?;
    Ok(outcome)
}

/// How many connections to Postgres a proxy has, and how many of them use TLS.
async fn connections(stack: &Stack, proxy: &str) -> Result<(i64, i64)> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE application_name LIKE $1";
    let row = stack.operator.sql.query_one(sql, &[&format!("tailnet-proxy/{proxy}/%")]).await?;
    Ok((row.get(0), row.get(1)))
}

async fn postgres_is_verified_by_chain_and_by_name(stack: &Stack) -> Result<()> {
    let url = stack.database().url(&stack.database().logins()[0])?;
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let refused = connect(stack, &url, Some(&authority)).await?.expect_err("it has no TLS yet");
    assert!(refused.contains("TLS"), "{refused}");

    authority.certify(stack).await?;
    let (all, secret) = connect(stack, &url, Some(&authority)).await?.expect("it is verified");
    assert!(all > 0 && secret == all, "{secret} of {all} use TLS");
    let (all, secret) = connect(stack, &url, None).await?.expect("nobody demands TLS");
    assert!(all > 0 && secret == 0, "{secret} of {all} use TLS");
    let other_name = url.replace("127.0.0.1", "localhost");
    let (demanded, forbidden) = (format!("{url}?sslmode=require"), format!("{url}?sslmode=disable"));
    for (url, trusted, said) in [
        (&url, Some(&stranger), "invalid peer certificate"),
        (&other_name, Some(&authority), "not valid for name"),
        // The system trusts other authorities, or none.
        (&demanded, None, ""),
        (&forbidden, Some(&authority), "contradicts --database-ca"),
    ] {
        let refused = connect(stack, url, trusted).await?.expect_err(said);
        assert!(refused.contains(said), "{refused}");
    }
    Ok(())
}

async fn a_proxy_coordinates_over_tls(stack: &Stack) -> Result<()> {
    let login = &stack.database().logins()[0];
    let (url, authority) = (stack.database().url(login)?, Authority::new()?);
    authority.certify(stack).await?;
    let proxy = Proxy::start_with("tls", &login.role, &url, &[("--database-ca", &authority.option())]).await?;
    let (client, agent) = stack.create_pair().await?;
    let (mut client, mut agent) = (proxy.connect(&client).await?, stack.left().connect(&agent).await?);
    agent.announce(1).await?;
    client.open_tunnel(agent.id()).await?;
    client.expect_node_of(&agent).await;
    let (all, secret) = connections(stack, "tls").await?;
    assert!(all > 5 && secret == all, "{secret} of {all} use TLS");
    proxy.stop().await.context("the proxy over TLS")
}
