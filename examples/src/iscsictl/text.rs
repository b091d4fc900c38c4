//! Answers for people.

use std::fmt::Display;

use iscsi_control::{AdapterCounters, Answer, Block, Connection, Frames, PortCounters, Session, Status};

use crate::show;

/// Most characters of a line of keys.
const LINE_CHARACTERS: usize = 90;

/// An answer as lines, without the end of the last.
pub(super) fn of(answer: &Answer) -> String {
    let lines = match answer {
        Answer::Done { notes } => notes.clone(),
        Answer::Status(status) => status_lines(status),
        Answer::Sessions { sessions, silent_cores } => session_list(sessions, *silent_cores),
        Answer::Adapter(counters) => adapter_lines(counters),
        Answer::Configuration { blocks, notes } => {
            let notes = notes.iter().map(|note| format!("# {note}"));
            notes.chain(blocks.iter().flat_map(block_lines)).collect()
        }
        Answer::Error { messages, .. } => messages.clone(),
    };
    // Names come from initiators, and others from files.
    lines.iter().map(|line| show::text(line)).collect::<Vec<_>>().join("\n")
}

fn status_lines(status: &Status) -> Vec<String> {
    let config = status.config.as_ref().map_or("none".into(), |file| file.display().to_string());
    let heads = [
        ("process", vec![format!("{}, version {}", status.pid, status.version)]),
        ("config", vec![config]),
        ("portals", status.portals.clone()),
    ];
    let rows = status.targets.iter().map(|target| {
        let state = if target.started { "started" } else { "stopped" };
        vec![target.name.clone(), state.into(), count(target.luns, "LUN"), count(target.sessions, "session")]
    });
    let rows = columns(&rows.collect::<Vec<_>>());
    labelled("", heads).into_iter().chain(rows).chain(silence(status.silent_cores)).collect()
}

fn session_list(sessions: &[Session], silent_cores: usize) -> Vec<String> {
    let none = (sessions.is_empty() && silent_cores == 0).then(|| "no sessions".into());
    sessions.iter().flat_map(session_lines).chain(none).chain(silence(silent_cores)).collect()
}

/// What is missing from what was told.
fn silence(cores: usize) -> Option<String> {
    (cores > 0).then(|| format!("no answer in time from {}, whose sessions are not told", count(cores, "thread")))
}

fn session_lines(session: &Session) -> Vec<String> {
    let target = match (&session.target, session.discovery) {
        (None, _) => "none, discovery".into(),
        (Some(name), true) => format!("{name}, discovery"),
        (Some(name), false) => name.clone(),
    };
    let proven = session.authenticated_as.iter().map(|name| ("CHAP", vec![name.clone()]));
    let moved = format!(
        "{} answered, {} open; {} read, {} written",
        session.commands,
        session.open_commands,
        show::size(session.bytes_read),
        show::size(session.bytes_written)
    );
    let broken = (session.violations > 0).then(|| ("broken rules", vec![session.violations.to_string()]));
    let keys = session.keys.iter().map(|key| format!("{}={}", key.key, key.values.join(",")));
    let rows = [
        ("initiator", vec![session.initiator.clone()]),
        ("target", vec![target]),
        ("ISID", vec![format!("{}, portal group {}, core {}", session.isid, session.portal_group, session.core)]),
    ]
    .into_iter()
    .chain(proven)
    .chain([("commands", vec![moved])])
    .chain(broken)
    .chain([("connections", session.connections.iter().map(connection_line).collect()), ("keys", filled(keys))]);
    std::iter::once(format!("session {}", session.handle)).chain(labelled("  ", rows)).collect()
}

fn connection_line(connection: &Connection) -> String {
    let Connection { cid, initiator_address, target_address, header_digest, data_digest, offload, .. } = connection;
    let queue = connection.queue.map_or(String::new(), |queue| format!(", queue {queue}"));
    let rule = connection.rule.map_or(String::new(), |rule| format!(", rule {rule}"));
    format!(
        "{cid}: {initiator_address} -> {target_address}, HeaderDigest={header_digest}, DataDigest={data_digest}, \
         offload {offload}{queue}{rule}"
    )
}

/// What an adapter has counted. Of ports and filters, those are told that have something to tell.
fn adapter_lines(counters: &AdapterCounters) -> Vec<String> {
    let payload = |what, pdus, bytes| format!("{} {what}, {}", count(pdus, "PDU"), show::size(bytes));
    let passed = counters.pdus_passed;
    let passed = (passed > 0).then(|| format!("{} from end to end inside", count(passed, "PDU")));
    let placed = payload("placed", counters.pdus_placed, counters.bytes_placed);
    let copied = payload("copied by the driver", counters.pdus_delivered, counters.bytes_delivered);
    let AdapterCounters { digests_inserted, digests_checked, digests_wrong, .. } = counters;
    let heads = [
        ("connections", vec![counters.connections.to_string()]),
        ("payload", [placed, copied].into_iter().chain(passed).collect()),
        ("digests", vec![format!("{digests_inserted} inserted, {digests_checked} checked, {digests_wrong} wrong")]),
    ];
    let interfaces = counters.interfaces.iter().map(|of| {
        let dropped = format!("{} out, {} in", of.sends_dropped, of.receives_dropped);
        let [sent, offloaded, received] = [of.sent, of.offloaded, of.received].map(frames);
        vec![of.number.to_string(), of.function.clone(), of.port.to_string(), sent, offloaded, received, dropped]
    });
    let is_used = |of: &&PortCounters| **of != PortCounters { number: of.number, ..PortCounters::default() };
    let ports = counters.ports.iter().filter(is_used).map(|of| {
        let [sent, received, inside] = [of.sent, of.received, of.inside].map(frames);
        vec![of.number.to_string(), sent, received, inside, of.unclaimed.to_string()]
    });
    let filters = counters
        .filters
        .iter()
        .map(|of| vec![of.index.to_string(), of.action.clone(), of.hits.map_or_else(|| "not counted".into(), frames)]);
    let tables = [
        table(&["interface", "function", "port", "sent", "offloaded", "received", "dropped"], interfaces),
        table(&["port", "sent", "received", "inside", "for nobody"], ports),
        table(&["filter", "action", "hits"], filters),
    ];
    labelled("", heads).into_iter().chain(tables.into_iter().flatten()).collect()
}

fn frames(Frames { frames, bytes }: Frames) -> String {
    format!("{}, {}", count(frames, "frame"), show::size(bytes))
}

/// Rows below their headings, if there is one.
fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut all = vec![headings.iter().map(ToString::to_string).collect()];
    all.extend(rows);
    if all.len() > 1 { columns(&all) } else { Vec::new() }
}

/// A block as it would stand in a file, defaults among its keys.
fn block_lines(block: &Block) -> Vec<String> {
    let lines = block.keys.iter().flat_map(|key| key.values.iter().map(|value| format!("    {}={value}", key.key)));
    std::iter::once(format!("{}:", block.block)).chain(lines).collect()
}

/// A label in a column of its own, and its lines below each other. What has no line is left out.
fn labelled(indent: &str, rows: impl IntoIterator<Item = (&'static str, Vec<String>)>) -> Vec<String> {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    let lines = rows
        .into_iter()
        .flat_map(|(label, lines)| std::iter::once(label).chain(std::iter::repeat("")).zip(lines).collect::<Vec<_>>());
    lines.map(|(label, line)| format!("{indent}{label:width$}  {line}")).collect()
}

/// Rows whose cells are as wide as the widest of their column.
fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:width$}", width = width(column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Words in lines that are not too long.
fn filled(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < LINE_CHARACTERS => line.extend([" ", &word]),
            _ => lines.push(word),
        }
    }
    lines
}

fn count<N: Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    if number == N::from(1) { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iscsi_control::{FilterCounters, InterfaceCounters, KeyValues, TargetStatus};

    fn key(key: &str, values: &[&str]) -> KeyValues {
        KeyValues { key: key.into(), values: values.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn a_session_says_who_where_and_how_much() {
        let connection = Connection {
            cid: 0,
            initiator_address: "10.0.0.1:40000".into(),
            target_address: "10.0.0.2:3260".into(),
            header_digest: "CRC32C".into(),
            data_digest: "None".into(),
            offload: "ULP".into(),
            queue: Some(2),
            rule: Some(1),
        };
        let session = Session {
            handle: 7,
            discovery: false,
            target: Some("iqn.t".into()),
            initiator: "iqn.\u{1b}[31mi".into(),
            isid: "800000000001".into(),
            portal_group: 1,
            authenticated_as: Some("alice".into()),
            core: 0,
            commands: 42,
            open_commands: 3,
            bytes_read: 1 << 20,
            bytes_written: 512,
            violations: 2,
            keys: vec![key("MaxConnections", &["4"]), key("InitialR2T", &["Yes"])],
            connections: vec![connection],
        };
        let expected = "\
session 7
  initiator     iqn.\u{fffd}[31mi
  target        iqn.t
  ISID          800000000001, portal group 1, core 0
  CHAP          alice
  commands      42 answered, 3 open; 1 MiB read, 512 bytes written
  broken rules  2
  connections   0: 10.0.0.1:40000 -> 10.0.0.2:3260, HeaderDigest=CRC32C, DataDigest=None, offload ULP, queue 2, rule 1
  keys          MaxConnections=4 InitialR2T=Yes";
        let sessions = vec![session];
        assert_eq!(of(&Answer::Sessions { sessions: sessions.clone(), silent_cores: 0 }), expected);
        let silence = "no answer in time from 2 threads, whose sessions are not told";
        assert_eq!(of(&Answer::Sessions { sessions, silent_cores: 2 }), format!("{expected}\n{silence}"));
        assert_eq!(of(&Answer::Sessions { sessions: Vec::new(), silent_cores: 2 }), silence);
        assert_eq!(of(&Answer::Sessions { sessions: Vec::new(), silent_cores: 0 }), "no sessions");
    }

    #[test]
    fn a_status_is_aligned() {
        let target = |name: &str, started, luns| TargetStatus { name: name.into(), started, luns, sessions: 0 };
        let status = Status {
            pid: 5,
            version: "0.1.0".into(),
            config: None,
            portals: vec!["127.0.0.1:3260,1".into(), "[::1]:3260,2".into()],
            targets: vec![target("iqn.a", true, 1), target("iqn.longer", false, 12)],
            silent_cores: 1,
        };
        let expected = "\
process  5, version 0.1.0
config   none
portals  127.0.0.1:3260,1
         [::1]:3260,2
iqn.a       started  1 LUN    0 sessions
iqn.longer  stopped  12 LUNs  0 sessions
no answer in time from 1 thread, whose sessions are not told";
        assert_eq!(of(&Answer::Status(status)), expected);
    }

    #[test]
    fn an_adapter_tells_what_went_where() {
        let frames = |frames, bytes| Frames { frames, bytes };
        let interface = InterfaceCounters {
            number: 0,
            function: "PF4".into(),
            port: 0,
            sent: frames(3, 180),
            offloaded: frames(1000, 1 << 20),
            received: frames(20, 2048),
            sends_dropped: 1,
            receives_dropped: 2,
        };
        let port = PortCounters { sent: frames(1003, 1_048_756), unclaimed: 4, ..PortCounters::default() };
        let mut counters = AdapterCounters {
            connections: 2,
            pdus_placed: 256,
            bytes_placed: 1 << 20,
            pdus_delivered: 1,
            bytes_delivered: 48,
            digests_inserted: 10,
            digests_checked: 9,
            digests_wrong: 1,
            interfaces: vec![interface],
            ports: vec![port, PortCounters { number: 1, ..PortCounters::default() }],
            ..AdapterCounters::default()
        };
        let expected = "\
connections  2
payload      256 PDUs placed, 1 MiB
             1 PDU copied by the driver, 48 bytes
digests      10 inserted, 9 checked, 1 wrong
interface  function  port  sent                 offloaded           received          dropped
0          PF4       0     3 frames, 180 bytes  1000 frames, 1 MiB  20 frames, 2 KiB  1 out, 2 in
port  sent                  received           inside             for nobody
0     1003 frames, 1.0 MiB  0 frames, 0 bytes  0 frames, 0 bytes  4";
        assert_eq!(of(&Answer::Adapter(counters.clone())), expected);
        let filter = |index, hits| FilterCounters { index, action: "drop".into(), hits };
        counters.filters = vec![filter(3, Some(frames(2, 120))), filter(40, None)];
        counters.pdus_passed = 5;
        let text = of(&Answer::Adapter(counters));
        assert!(text.contains("\n             5 PDUs from end to end inside\n"), "{text}");
        let filters = "\nfilter  action  hits\n3       drop    2 frames, 120 bytes\n40      drop    not counted";
        assert!(text.ends_with(filters), "{text}");
    }

    #[test]
    fn keys_fill_lines_that_are_not_too_long() {
        let lines = filled((0..40).map(|number| format!("Key{number}=1")));
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= LINE_CHARACTERS), "{lines:?}");
    }

    #[test]
    fn a_block_reads_as_in_a_file() {
        let block = Block { block: "target".into(), keys: vec![key("TargetName", &["iqn.a"]), key("ACL", &[])] };
        let configuration = Answer::Configuration { blocks: vec![block], notes: vec!["more".into()] };
        assert_eq!(of(&configuration), "# more\ntarget:\n    TargetName=iqn.a");
    }
}
