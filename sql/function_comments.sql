-- What the functions do that are written in Rust. docs/protocol.md says more.

COMMENT ON FUNCTION tailnet.register_coordinator(uuid, text, integer) IS 'Registers a proxy that speaks this version of the protocol, and returns its registration, which is a secret. The log begins when the proxy listens';
COMMENT ON FUNCTION tailnet.listen_coordinator(uuid) IS 'Listens to the log of a registration on this connection. The channel is tailnet_ and the 32 hex digits of the registration';
COMMENT ON FUNCTION tailnet.heartbeat_coordinator(uuid, boolean) IS 'Heartbeat of a proxy: it lives, and has restored all its sessions or not. Expires coordinators that sent no heartbeat for too long, and returns their number. If there is none, removes peers that were lost for longer than tailnet.lost_peer_retention';
COMMENT ON FUNCTION tailnet.close_coordinator(uuid) IS 'Marks all peers of a proxy lost, deletes its registration, and returns the number of peers';
COMMENT ON FUNCTION tailnet.attach_peers(uuid, uuid[], bigint[], text[], uuid[]) IS 'Opens sessions. The view of each follows in the log. The tunnels of a session to others than the one in only_dsts are closed';
COMMENT ON FUNCTION tailnet.restore_peers(uuid, uuid[], bigint[], text[], text[], uuid[], uuid[], uuid[]) IS 'Restores sessions that a proxy holds, with their nodes and the tunnels that they opened. The tunnels of a session to others than the one in only_dsts are closed';
COMMENT ON FUNCTION tailnet.bind_peers(uuid, uuid[], bigint[], text[]) IS 'Announces the nodes of sessions';
COMMENT ON FUNCTION tailnet.lose_peers(uuid, uuid[], bigint[]) IS 'Ends sessions without a goodbye: partners see LOST, tunnels stay';
COMMENT ON FUNCTION tailnet.disconnect_peers(uuid, uuid[], bigint[], text[]) IS 'Ends sessions with a goodbye: their bindings and the tunnels that they opened are deleted';
COMMENT ON FUNCTION tailnet.open_tunnels(uuid, uuid[], bigint[], uuid[]) IS 'Opens tunnels from sessions to peers';
COMMENT ON FUNCTION tailnet.close_tunnels(uuid, uuid[], bigint[], uuid[]) IS 'Closes tunnels that sessions opened';
COMMENT ON FUNCTION tailnet.ready_for_handshake(uuid, uuid[], bigint[], uuid[]) IS 'Tells tunnel partners that a peer is ready for a handshake';
COMMENT ON FUNCTION tailnet.view_peers(uuid, uuid[], bigint[], uuid[]) IS 'Sends a page of the view of each session: the first one, or the one after a key';
COMMENT ON FUNCTION tailnet.reap(uuid) IS 'Ends what operators have taken away, what has expired, and peers of keys that stayed away for too long, at most 500 of them, and returns their number. A proxy calls it again at once until it returns 0';
COMMENT ON FUNCTION tailnet.judge_dials(bytea[], uuid[]) IS 'For each SHA-256 of a token, whether its peer may open a tunnel to the agent at the same place. An agent that does not exist and one of another network are like one that may not be reached';
COMMENT ON FUNCTION tailnet.explain_tunnel(uuid, uuid) IS 'Says by which rule a peer may open a tunnel to another, or what is missing';
COMMENT ON FUNCTION tailnet.revoke_key(uuid) IS 'Revokes a shared key: its tokens are refused from the commit on, and within seconds the proxies end all its peers. Returns false if it was revoked or expired already';
COMMENT ON FUNCTION tailnet.revoke_peer(uuid) IS 'Revokes an identity: its token is refused and it opens no tunnel from the commit on; within a second the proxies end its live session, and delete its binding and tunnels. Returns false if it was revoked already';
COMMENT ON FUNCTION tailnet.revoke_tunnel(uuid, uuid) IS 'Takes back a grant: it allows no tunnel from the commit on; within a second the proxies close the one that it allowed. Returns false if there was no such grant';
COMMENT ON FUNCTION tailnet.upsert_connection_logs(text) IS 'Writes a JSON array of connection events and returns the number of rows written. Events may come in any order, split into any batches, and repeatedly';
