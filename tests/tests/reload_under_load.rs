//! A target is changed again and again under load: no I/O error, no wrong data, and no session is lost that no change names.

use bytes::Bytes;
use iscsi_runtime::{
    Authentication, Change, Client, ClientConfig, Configuration, Limits, RemoteDisk, Server, StoreKind, StoreSpec,
    Target, TargetSetting,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.test:loaded";
const OTHER: &str = "iqn.2026-01.test:other";
const CHANGES: u64 = 50;
const SESSIONS: u64 = 3;
/// Bytes of one command, and commands that a session has under way.
const PIECE_BYTES: u64 = 4096;
const PIECES: u64 = 16;
const DISK_BYTES: u64 = 4 << 20;

fn memory(bytes: u64) -> StoreSpec {
    StoreSpec::new(StoreKind::Memory { size_bytes: bytes })
}

/// The configuration after so many changes: devices, portals, access lists, keys and targets come, go and change in turn.
fn configuration(round: u64) -> Configuration {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let is = |part: u64, of: u64| round % of == part;
    let mut target = Target::new(TARGET).lun(0, memory(DISK_BYTES));
    for number in 1..1 + (round % 4) as u16 {
        target = target.lun(number, memory((1 + round) << 20));
    }
    if is(1, 3) {
        target = target.allow_initiator("iqn.2026-01.test:nobody");
    }
    if is(0, 2) {
        let limits = Limits { burst_bytes_max: 65536, max_connections: 1 + (round % 7) as u16, ..Limits::default() };
        target = target.limits(limits).window(1 + round as u32).alias(format!("round {round}"));
    }
    if is(2, 5) {
        target = target.redirect("192.0.2.1:3260", false);
    }
    target = target.authentication(Authentication::None).resettable(is(1, 2));
    let builder = Server::builder().cores(2).listen(any).target(target);
    let builder = (0..round % 3).fold(builder, |builder, _| builder.listen(any));
    let builder = if is(0, 4) { builder.target(Target::new(OTHER).lun(0, memory(1 << 20))) } else { builder };
    builder.login_timeout(Duration::from_secs(10 + round)).configuration()
}

/// What a session writes to a piece in a turn.
fn pattern(session: u64, piece: u64, turn: u64) -> Bytes {
    let words = (0..PIECE_BYTES / 8).map(|word| (session << 56 ^ piece << 40 ^ turn << 8 ^ word).to_le_bytes());
    words.flatten().collect::<Vec<u8>>().into()
}

/// Does something again that a unit attention was in the way of: those are how a session is told of units that come, go and change.
fn past_attentions<T>(mut what: impl FnMut() -> Result<T, iscsi_runtime::ClientError>) -> T {
    loop {
        match what() {
            Ok(done) => return done,
            Err(error) => assert!(error.to_string().contains("UNIT ATTENTION"), "{error}"),
        }
    }
}

/// Writes each piece, reads all back, and compares, turn by turn.
fn load(session: u64, disk: &RemoteDisk, stops: &AtomicBool, turns: &AtomicU64) {
    let blocks = PIECE_BYTES / u64::from(disk.block_size());
    let lba = |piece: u64| (session * PIECES + piece) * blocks;
    let mut turn = 0;
    while !stops.load(Ordering::Relaxed) || turn == 0 {
        let writes: Vec<_> = (0..PIECES).map(|piece| disk.write(lba(piece), pattern(session, piece, turn))).collect();
        for (piece, write) in (0..).zip(writes) {
            if let Err(error) = write.wait() {
                assert!(error.to_string().contains("UNIT ATTENTION"), "{error}");
                past_attentions(|| disk.write(lba(piece), pattern(session, piece, turn)).wait());
            }
        }
        let reads: Vec<_> = (0..PIECES).map(|piece| disk.read(lba(piece), blocks as u32)).collect();
        for (piece, read) in (0..).zip(reads) {
            let data = read.wait().unwrap_or_else(|error| {
                assert!(error.to_string().contains("UNIT ATTENTION"), "{error}");
                past_attentions(|| disk.read(lba(piece), blocks as u32).wait())
            });
            assert_eq!(data, pattern(session, piece, turn), "session {session}, piece {piece}, turn {turn}");
        }
        turn += 1;
        turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a change is about.
fn kind(change: &Change) -> &'static str {
    match change {
        Change::AddLun { .. } | Change::RemoveLun { .. } | Change::ResizeLun { .. } => "devices",
        Change::AddPortal(..) | Change::RemovePortal(..) | Change::MovePortal { .. } => "portals",
        Change::SetTarget(_, TargetSetting::Access(_)) => "access lists",
        Change::AddTarget(_) | Change::RemoveTarget(_) => "targets",
        Change::SetTarget(..) | Change::Set(_) => "keys",
    }
}

fn handles(server: &Server) -> BTreeSet<u16> {
    server.state().sessions.iter().map(|session| session.tsih.0).collect()
}

#[test]
fn fifty_changes_under_load_lose_nothing() {
    let server = iscsi_runtime::ServerBuilder::from(configuration(0)).start().unwrap();
    let address = server.addresses()[0].to_string();
    let connect = |number: u64| {
        let config = ClientConfig::new(&*address, TARGET);
        Client::connect(config.initiator_name(format!("iqn.2026-01.test:load{number}"))).wait().unwrap()
    };
    let clients: Vec<Client> = (0..SESSIONS).map(connect).collect();
    let disks: Vec<RemoteDisk> = clients.iter().map(|client| client.disk(0).wait().unwrap()).collect();
    let before = handles(&server);
    assert_eq!(before.len() as u64, SESSIONS);
    let (stops, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut rounds_by_kind = BTreeMap::<&str, u64>::new();
    std::thread::scope(|scope| {
        let loads: Vec<_> = (0..SESSIONS)
            .zip(&disks)
            .map(|(session, disk)| {
                let (stops, turns) = (&stops, &turns);
                scope.spawn(move || load(session, disk, stops, turns))
            })
            .collect();
        for round in 1..=CHANGES {
            let seen = turns.load(Ordering::Relaxed);
            let wanted = configuration(round);
            let report = server.reload(wanted.clone()).unwrap();
            assert!(!report.changes.is_empty() && report.faults.is_empty(), "{round}: {report}");
            assert_eq!(report.sessions.asked, 0, "{round}: {report}");
            let kinds: BTreeSet<&str> = report.changes.iter().map(kind).collect();
            kinds.into_iter().for_each(|kind| *rounds_by_kind.entry(kind).or_default() += 1);
            // The order of targets and addresses is that in which they came.
            assert!(server.configuration().changes_to(&wanted).is_empty(), "{round}");
            assert_eq!(handles(&server), before, "{round}: {report}");
            while turns.load(Ordering::Relaxed) < seen + SESSIONS && loads.iter().all(|load| !load.is_finished()) {
                std::thread::yield_now();
            }
        }
        stops.store(true, Ordering::Relaxed);
        loads.into_iter().for_each(|load| load.join().unwrap());
    });
    let often = [("access lists", 30), ("devices", 49), ("keys", 50), ("portals", 49), ("targets", 24)];
    for (kind, rounds) in often {
        assert!(rounds_by_kind[kind] >= rounds, "{rounds_by_kind:?}");
    }
    let traffic: u64 = server.state().sessions.iter().map(|session| session.traffic.written_bytes).sum();
    assert!(traffic >= turns.load(Ordering::Relaxed) * PIECES * PIECE_BYTES, "{traffic}");
    clients.into_iter().for_each(|client| client.logout().wait().unwrap());
    server.shutdown(Duration::from_secs(5)).unwrap();
}
