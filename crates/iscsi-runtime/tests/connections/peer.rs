//! One connection of an initiator, PDU by PDU, over a socket.

use bytes::{Bytes, BytesMut};
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, Isid, Pdu, ScsiCommand, Tsih};
use iscsi_session::initiator::{Login, LoginConfig, LoginEvent};
use iscsi_session::{Authentication, Limits, LoginFailure, LoginOutcome, Parameters, SessionType};
use iscsi_transport::{
    BufferPool, ByteStream, Digests, Flush, PduPort, PortError, ReceiveLimits, Received, SoftwarePort,
};
use scsi_block::cdb::Cdb;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const BLOCK: usize = 512;
pub(crate) const TARGET: &str = "iqn.2026-01.test:target";

/// Time that a target has to say something.
const PATIENCE: Duration = Duration::from_secs(10);

struct Stream(TcpStream);

impl ByteStream for Stream {
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let count = self.0.read(&mut bytes)?;
        buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }
}

/// A connection in the full feature phase.
pub(crate) struct Peer {
    port: SoftwarePort<Stream>,
    pub(crate) outcome: LoginOutcome,
}

impl Peer {
    /// Logs in, to a new session or to that with the handle `tsih`.
    pub(crate) fn log_in(address: SocketAddr, isid: u8, tsih: Tsih, cid: u16) -> Result<Self, LoginFailure> {
        let config = LoginConfig {
            initiator_name: "iqn.2026-01.test:initiator".into(),
            initiator_alias: None,
            target_name: Some(TARGET.into()),
            session_type: SessionType::Normal,
            isid: Isid([0x80, 0, 0, 0, 0, isid]),
            tsih,
            cid: Cid(cid),
            limits: Limits { max_connections: 8, error_recovery_level: 2, time_2_retain: 20, ..Limits::default() },
            authentication: Authentication::None,
            timeout: PATIENCE,
        };
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nonblocking(true).expect("a socket that does not block");
        let mut port = SoftwarePort::new(Stream(stream), BufferPool::new());
        let mut login = Login::new(config, InitiatorTaskTag(0), [7; 32], Instant::now());
        loop {
            while let Some(pdu) = login.poll_transmit() {
                send(&mut port, pdu);
            }
            match login.poll_event() {
                None => login.handle_pdu(Instant::now(), receive(&mut port).expect("an answer")),
                Some(LoginEvent::Complete(outcome)) => {
                    let Parameters { header_digest, data_digest, receive_segment_bytes_max, .. } = outcome.parameters;
                    port.set_digests(Digests { header: header_digest, data: data_digest });
                    port.set_receive_limits(ReceiveLimits::of_segments(receive_segment_bytes_max));
                    return Ok(Self { port, outcome: *outcome });
                }
                Some(LoginEvent::Failed(failure)) => return Err(failure),
                Some(other) => panic!("{other:?}"),
            }
        }
    }
}

impl Peer {
    /// Writes, with all data in the command, and waits for the status.
    pub(crate) fn write(&mut self, cmd_sn: CmdSn, lba: u32, data: Bytes) -> u8 {
        let command =
            ScsiCommand { write: true, expected_data_transfer_length: data.len() as u32, data, ..self.start(cmd_sn) };
        let blocks = (command.data.len() / BLOCK) as u16;
        self.run(command, &Cdb::write_10(lba, blocks)).0
    }

    /// Reads, and waits for data and status.
    pub(crate) fn read(&mut self, cmd_sn: CmdSn, lba: u32, blocks: u16) -> Vec<u8> {
        let expected_data_transfer_length = u32::from(blocks) * BLOCK as u32;
        let command = ScsiCommand { read: true, expected_data_transfer_length, ..self.start(cmd_sn) };
        let (status, data) = self.run(command, &Cdb::read_10(lba, blocks));
        assert_eq!(status, 0);
        data
    }

    /// Takes the unit attention of a new session.
    pub(crate) fn take_attention(&mut self, cmd_sn: CmdSn) {
        let command = self.start(cmd_sn);
        assert_eq!(self.run(command, &Cdb::test_unit_ready()).0, 2);
    }

    /// Waits until the target has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        receive(&mut self.port).is_err()
    }

    fn start(&self, cmd_sn: CmdSn) -> ScsiCommand {
        let initiator_task_tag = InitiatorTaskTag(cmd_sn.0 & 0xffff);
        ScsiCommand {
            is_final: true,
            initiator_task_tag,
            cmd_sn,
            exp_stat_sn: self.outcome.stat_sn,
            ..ScsiCommand::default()
        }
    }

    fn run(&mut self, mut command: ScsiCommand, cdb: &Cdb) -> (u8, Vec<u8>) {
        command.cdb[..cdb.as_bytes().len()].copy_from_slice(cdb.as_bytes());
        send(&mut self.port, command.into());
        let mut data = Vec::new();
        loop {
            match receive(&mut self.port).expect("an answer") {
                Pdu::ScsiResponse(response) => return (response.status, data),
                Pdu::DataIn(piece) => {
                    data.extend_from_slice(&piece.data);
                    if let Some(status) = piece.status {
                        return (status.status, data);
                    }
                }
                Pdu::NopIn(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn send(port: &mut SoftwarePort<Stream>, pdu: Pdu) {
    port.send(pdu.encode());
    let begin = Instant::now();
    while port.flush().expect("the target takes it") == Flush::Pending {
        assert!(begin.elapsed() < PATIENCE, "the target takes nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The next PDU, or how the connection has ended.
fn receive(port: &mut SoftwarePort<Stream>) -> Result<Pdu, PortError> {
    let begin = Instant::now();
    loop {
        match port.receive()? {
            Some(Received::Frame(frame)) => return Ok(Pdu::decode(frame).expect("a PDU")),
            Some(other) => panic!("{other:?}"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(begin.elapsed() < PATIENCE, "the target says nothing");
    }
}
