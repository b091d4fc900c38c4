//! Answers for people.

use iscsi_control::{Answer, Block, Connection, Session, Status};

use crate::show;

/// Most characters of a line of keys.
const LINE_CHARACTERS: usize = 90;

/// An answer as lines, without the end of the last.
pub(super) fn of(answer: &Answer) -> String {
    let lines = match answer {
        Answer::Done { notes } => notes.clone(),
        Answer::Status(status) => status_lines(status),
        Answer::Sessions { sessions, silent_cores } => session_list(sessions, *silent_cores),
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

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iscsi_control::{KeyValues, TargetStatus};

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
