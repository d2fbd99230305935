//! How many peers each key has. The numbers change under the lock of the network of the key, with the rows that they count.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::{
    error::Error,
    pg::{
        statement::{rows, run},
        uuids::uuid_array,
    },
};

const COUNT: &str = "
    INSERT INTO tailnet_private.key_peers AS c (key_id, peers)
    SELECT q.key, q.difference FROM unnest($1, $2) q(key, difference)
    ON CONFLICT (key_id) DO UPDATE SET peers = c.peers + EXCLUDED.peers";

/// For keys that have a limit.
const ROOM: &str = "
    SELECT k.id, k.max_peers - coalesce(c.peers, 0)
    FROM unnest($1) q(id)
    JOIN tailnet_private.keys k ON k.id = q.id AND k.max_peers IS NOT NULL
    LEFT JOIN tailnet_private.key_peers c ON c.key_id = k.id";

/// Adds up differences, each of a key.
pub fn count(differences: impl IntoIterator<Item = (Uuid, i32)>) -> Result<(), Error> {
    let mut sums: BTreeMap<Uuid, i32> = BTreeMap::new();
    for (key, difference) in differences {
        *sums.entry(key).or_default() += difference;
    }
    if sums.is_empty() {
        return Ok(());
    }
    let (keys, sums): (Vec<Uuid>, Vec<i32>) = sums.into_iter().unzip();
    run(COUNT, &[uuid_array(keys).into(), sums.into()]).map(drop)
}

/// How many more peers each of these keys may have. Keys without a limit are left out.
pub fn room(keys: impl IntoIterator<Item = Uuid>) -> Result<HashMap<Uuid, i32>, Error> {
    let keys: BTreeSet<Uuid> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(rows(ROOM, &[uuid_array(keys).into()], |row| Ok((row.id(1)?, row.get(2)?)))?.into_iter().collect())
}
