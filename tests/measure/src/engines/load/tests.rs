use tailnet_harness::database::Database;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;

/// Tells nobody anything.
#[derive(Debug)]
struct Mute;

impl Engine for Mute {
    fn announce(&self, _: usize, _: u64) {}

    fn payloads(&self) -> Vec<u64> {
        vec![0; 4]
    }
}

fn heard(place: usize, version: u64) -> Heard {
    Heard { place, version, at: Instant::now() }
}

/// A load on two peers that have announced one node each, which the partners have heard.
async fn load() -> (Load, mpsc::UnboundedSender<Result<Vec<Heard>>>) {
    let database = Database::create(0).await.expect("there is a cluster");
    let ids = vec![Uuid::new_v4(), Uuid::new_v4()];
    let sql = database.connect().await.expect("it takes a session");
    sql.batch_execute("CREATE TABLE mute (id uuid, node json)").await.expect("a table is made");
    let node = "INSERT INTO mute SELECT id, '{\"id\":1}' FROM unnest($1::uuid[]) id";
    sql.execute(node, &[&ids]).await.expect("rows are made");
    let facts = Facts { database, table: "mute", kinds: &[], ids, listeners: 1, connections: 0 };
    let (mouth, ears) = mpsc::unbounded_channel();
    mouth.send(Ok(vec![heard(1, 1), heard(0, 1)])).expect("the other end is there");
    let load = Load::new(Box::new(Mute), facts, ears).await.expect("all was heard");
    (load, mouth)
}

#[tokio::test]
async fn a_wrong_view_is_noticed() {
    let (mut load, mouth) = load().await;
    assert_eq!(load.check().await.expect("all is right"), 2);
    load.send(0, Instant::now());
    mouth.send(Ok(vec![heard(0, 2)])).expect("the other end is there");
    let error = load.check().await.expect_err("the table has the first node").to_string();
    assert_eq!(error, "mute holds the last node of 1 peers of 2");
    load.send(1, Instant::now());
    mouth.send(Ok(vec![heard(1, 2), heard(1, 1)])).expect("the other end is there");
    let error = load.check().await.expect_err("an older node came last").to_string();
    assert_eq!(error, "the partner of peer 1 was told 1 after 2");
    load.send(1, Instant::now());
    drop(mouth);
    assert!(load.check().await.expect_err("the last was never told").to_string().contains("has ended"));
    load.facts.database.drop().await.expect("it is dropped");
}

#[tokio::test]
async fn a_later_node_answers_the_earlier_ones_from_when_they_were_due() {
    let (mut load, mouth) = load().await;
    let begun = Instant::now();
    load.send(0, begun);
    load.send(0, begun + Duration::from_millis(300));
    load.send(1, begun);
    let at = begun + Duration::from_secs(1);
    mouth.send(Ok(vec![Heard { place: 0, version: 3, at }])).expect("the other end is there");
    let answered = load.hear().await.expect("it was told");
    assert_eq!(answered, [(0, Duration::from_secs(1)), (0, Duration::from_millis(700))]);
    assert_eq!((load.in_flight, load.heard), (1, 3));
    load.facts.database.drop().await.expect("it is dropped");
}
