//! The initiator in the firmware: its work requests, its connections, and what it says.

use super::Core;
use super::flow::{Flow, Phase};
use super::function::Function;
use super::inside::Way;
use super::open::{INSIDE_MTU_BYTES, SEND_BYTES};
use super::requests::Wrong;
use super::scsi::{Direction, abort_tasks, begin_task};
use crate::initiator::*;
use crate::iscsi::{IscsiCounters, PDU_BYTES_MAX};
use crate::switch::{InterfaceNumber, MacAddress};
use crate::tcp::{Connection, ConnectionConfig, Event, LinkHeader, Loss, Tuple};
use iscsi_pdu::{Cid, Tsih};
use iscsi_session::initiator::LoginConfig;
use iscsi_session::{Authentication, Limits, SessionType};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use t5_hal::driver::SEGMENT_BYTES_MAX;
use t5_hal::wire::*;
use zerocopy::IntoBytes;

/// First port of the firmware's connections.
const FIRST_PORT: u16 = 20000;
/// How many ports it has.
const PORTS: u16 = 20000;
/// How long a login may take.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);
/// PDUs of one session before others have their turn.
const BURST: usize = 64;
/// Bytes that may have come and not been looked at.
const RECEIVE_BYTES: usize = 512 << 10;

/// Whether a work request is one of the initiator's.
pub(super) const fn is_for_initiator(opcode: WorkRequestOpcode) -> bool {
    use WorkRequestOpcode::*;
    matches!(
        opcode,
        ChnetIfConf | FoiscsiNode | FoiscsiChap | FoiscsiControl | ScsiRead | ScsiWrite | ScsiCommand | ScsiAbort
    )
}

/// What the driver is told by the reply: a code, or that more will come.
pub(super) type Done<T = Option<WorkRequestReply>> = Result<T, ReturnCode>;

impl Core {
    /// Does a work request of the initiator's. What is refused is told in its reply; what is none is the driver's fault.
    pub(super) fn initiate(
        &mut self,
        who: FunctionId,
        opcode: WorkRequestOpcode,
        iq: u16,
        request: &[u8],
        now: Duration,
    ) -> Result<(), Wrong> {
        let reply = WorkRequestReply::to(request);
        let at = self.epoch + now;
        let (iq, done) = match opcode {
            WorkRequestOpcode::ChnetIfConf => {
                (iq, configure(self.function(who), &ChnetIfConf::split_from(request)?.0, reply))
            }
            WorkRequestOpcode::FoiscsiNode => {
                (iq, change_node(self.function(who), &FoiscsiNode::split_from(request)?.0, reply))
            }
            WorkRequestOpcode::FoiscsiChap => {
                (iq, set_chap(self.function(who), &FoiscsiChap::split_from(request)?.0, reply))
            }
            WorkRequestOpcode::FoiscsiControl => {
                (iq, self.control_session(who, &FoiscsiControl::split_from(request)?.0, iq, reply, now))
            }
            WorkRequestOpcode::ScsiAbort => {
                let abort = ScsiAbort::split_from(request)?.0;
                (abort.iq.get(), abort_tasks(self.function(who), &abort, reply, at))
            }
            WorkRequestOpcode::ScsiCommand => {
                let (command, rest) = ScsiCommandRequest::split_from(request)?;
                let transfer = ScsiTransfer {
                    op: command.op,
                    flow: command.flow,
                    timeout: command.timeout,
                    iq: command.iq,
                    response_address: command.response_address,
                    response_length: command.response_length,
                    ..ScsiTransfer::default()
                };
                (command.iq.get(), begin_task(self.function(who), &transfer, rest, Direction::None, reply, at)?)
            }
            read_or_write => {
                let (transfer, rest) = ScsiTransfer::split_from(request)?;
                let direction =
                    if read_or_write == WorkRequestOpcode::ScsiRead { Direction::Read } else { Direction::Write };
                (transfer.iq.get(), begin_task(self.function(who), &transfer, rest, direction, reply, at)?)
            }
        };
        match done {
            Ok(None) => {}
            Ok(Some(reply)) => self.function(who).send_reply(iq, &reply.with_code(ReturnCode::Success), now),
            Err(code) => {
                let mut reply = reply.with_code(code);
                if opcode == WorkRequestOpcode::FoiscsiControl {
                    (reply.rest[1], reply.rest[2]) = (code.to_wire(), FoiscsiState::Failed.to_wire());
                }
                self.function(who).send_reply(iq, &reply, now);
            }
        }
        self.wake_session(who, header_flow(request));
        Ok(())
    }

    /// Has the connection of a session looked after, if there is such a session.
    fn wake_session(&mut self, who: FunctionId, session: u32) {
        if let Some(tid) = self.function(who).initiator.sessions.get(session as usize).map(|session| session.tid) {
            self.make_ready(tid);
        }
    }

    /// FOISCSI_CTRL.
    fn control_session(
        &mut self,
        who: FunctionId,
        request: &FoiscsiControl,
        iq: u16,
        reply: WorkRequestReply,
        now: Duration,
    ) -> Done {
        match FoiscsiOperation::from_wire(request.operation) {
            Some(FoiscsiOperation::Add) => self.begin_session(who, request, iq, reply, now).map(|()| None),
            Some(FoiscsiOperation::Delete) => {
                let (at, number) = (self.epoch + now, request.session.get());
                let function = self.function(who);
                let session = function.initiator.sessions.get_mut(number as usize).ok_or(ReturnCode::NoEntry)?;
                session.log_out(at, reply, &function.memory);
                self.wake_session(who, number);
                Ok(None)
            }
            Some(FoiscsiOperation::Modify) | None => Err(ReturnCode::NotImplemented),
        }
    }

    fn begin_session(
        &mut self,
        who: FunctionId,
        request: &FoiscsiControl,
        iq: u16,
        mut reply: WorkRequestReply,
        now: Duration,
    ) -> Done<()> {
        let peer = peer_of(request)?;
        if !self.may_open(who, RECEIVE_BYTES) {
            return Err(ReturnCode::NoMemory);
        }
        let seed = self.random.u64(..);
        let own = self.function(who).interfaces.iter().next().ok_or(ReturnCode::LinkDown)?;
        let source = self.address_of(own);
        let destination = self.resolve(peer).ok_or(ReturnCode::NetworkUnreachable)?;
        let initiator = &mut self.function(who).initiator;
        let address = initiator.address.ok_or(ReturnCode::AddressNotAvailable)?;
        if initiator.sessions.len() >= SESSIONS_MAX {
            return Err(ReturnCode::NoMemory);
        }
        let number = initiator.sessions.vacant_key() as u32;
        let login = login_config(initiator, request)?;
        let local = self.free_local(who, own, address, request.local_port.get(), peer)?;
        let tcp = ConnectionConfig {
            link: LinkHeader { destination, source, vlan_tag: None, ipv6: false },
            mtu_bytes: INSIDE_MTU_BYTES,
            receive_bytes: RECEIVE_BYTES,
            send_bytes: SEND_BYTES,
            nagle: false,
            keep_alive: true,
            seed,
        };
        let tuple = Tuple { local, peer };
        let tcp = Connection::connect(tcp, tuple, now).map_err(|_| ReturnCode::AddressNotAvailable)?;
        let mut flow = Flow::new(who, own, tuple, iq, Phase::Firmware { session: number });
        (flow.tcp, flow.window_bytes) = (Some(tcp), RECEIVE_BYTES as u32);
        let tid = self.insert(flow).ok_or(ReturnCode::NoMemory)?;
        // The number stands where the driver's request has room for it.
        reply.rest[8..12].copy_from_slice(&number.to_be_bytes());
        let setup = SessionSetup { login, reply, iq, number, node: request.node.get(), tid };
        self.function(who).initiator.sessions.insert(FirmwareSession::new(setup));
        Ok(())
    }

    /// Whose interface an address is: of a function of this adapter that listens there.
    fn resolve(&self, peer: SocketAddr) -> Option<MacAddress> {
        let mut functions = self.functions.iter();
        let function = functions.find(|function| function.listener(peer).is_some())?;
        function.sources.values().next().copied()
    }

    /// Our end of a new connection: the port that the driver wants, or one that nobody has.
    fn free_local(
        &mut self,
        who: FunctionId,
        own: InterfaceNumber,
        address: Ipv4Addr,
        wanted: u16,
        peer: SocketAddr,
    ) -> Done<SocketAddr> {
        for _ in 0..PORTS {
            let opened = &mut self.function(who).initiator.opened;
            *opened = (*opened + 1) % PORTS;
            let port = if wanted == 0 { FIRST_PORT + *opened } else { wanted };
            let local = SocketAddr::new(address.into(), port);
            if !self.by_tuple.contains_key(&(own, Tuple { local, peer })) {
                return Ok(local);
            }
            if wanted != 0 {
                break;
            }
        }
        Err(ReturnCode::AddressInUse)
    }

    /// Moves a session of the firmware on.
    pub(super) fn run_session(&mut self, tid: u32, number: u32, now: Duration) {
        let at = self.epoch + now;
        let random = std::array::from_fn(|_| self.random.u8(..));
        let flow = &mut self.flows[tid as usize];
        let function = self.functions[flow.owner].as_mut().expect("a connection has a function");
        let tcp = flow.tcp.as_mut().expect("a connection of the firmware has TCP");
        let Some(session) = function.initiator.sessions.get_mut(number as usize) else {
            tcp.abort();
            flow.phase = Phase::Over;
            return;
        };
        // What the driver is told has to find room.
        if !function.ingress.get(&session.iq()).is_some_and(super::ingress::IngressQueue::has_room) {
            function.stalled.insert(tid);
            return;
        }
        let mut more = false;
        let had_much_to_tell = session.has_much_to_tell();
        let is_established = advance(session, tcp, at, random, &function.memory, &mut self.counted, &mut more);
        let (pdus, bytes) = session.take_placed();
        self.counted.count_placed(pdus, bytes);
        let outputs: Vec<Output> = std::iter::from_fn(|| session.poll_output()).collect();
        let (faults, is_over) = (session.take_faults(), session.is_over());
        if is_over {
            let session = function.initiator.sessions.remove(number as usize);
            // A target that has answered a logout closes too; another may say nothing any more.
            if session.is_logged_out {
                tcp.close()
            } else {
                tcp.abort()
            }
            flow.phase = Phase::Over;
        }
        faults.into_iter().for_each(|fault| function.fault(fault.into()));
        for output in outputs {
            match output {
                Output::Reply(iq, reply) => function.send_reply(iq, &reply, now),
                Output::Device(iq, device) => function.send_device(iq, &device, now),
            }
        }
        if is_established {
            let other_end = self.find_other_end(tid);
            self.flows[tid as usize].other_end = other_end;
        }
        if had_much_to_tell {
            self.wake_sender(tid);
        }
        if more || is_over || self.send_of_session(tid, number, now) {
            self.make_ready(tid);
        }
    }

    /// Sends what a session has to send, as far as there is room; says whether there may be more.
    fn send_of_session(&mut self, tid: u32, number: u32, now: Duration) -> bool {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        let mut left = BURST;
        while left > 0 {
            let way = self.way_of(tid);
            let flow = &mut self.flows[tid as usize];
            let has_room = flow.tcp.as_ref().is_some_and(|tcp| tcp.send_room() >= PDU_BYTES_MAX);
            if matches!(way, Way::Waits) || !has_room {
                break;
            }
            let function = self.functions[flow.owner].as_mut().expect("a connection has a function");
            let Some(session) = function.initiator.sessions.get_mut(number as usize) else { break };
            let Some(pdu) = session.poll_transmit() else { break };
            close(pdu, session.settings, &mut self.counted, &mut outgoing);
            let pdu = outgoing.pdu();
            let passed = matches!(way, Way::Inside(other_end) if self.pass(tid, other_end, pdu, now));
            if !passed && let Some(tcp) = &mut self.flows[tid as usize].tcp {
                tcp.send_all(pdu.parts());
            }
            left -= 1;
        }
        outgoing.release();
        self.outgoing = outgoing;
        left == 0
    }

    /// When a session of the firmware has something to do.
    pub(super) fn session_timeout(&self, who: FunctionId, session: u32) -> Option<Duration> {
        let due = self.functions[who].as_ref()?.initiator.sessions.get(session as usize)?.poll_timeout()?;
        Some(due.saturating_duration_since(self.epoch))
    }
}

/// What has come, and what is due. Says whether the connection has just come to stand.
fn advance(
    session: &mut FirmwareSession,
    tcp: &mut Connection,
    at: Instant,
    random: [u8; 32],
    memory: &t5_hal::dma::DmaMemory,
    counted: &mut IscsiCounters,
    more: &mut bool,
) -> bool {
    let (mut lost, mut is_established) = (None, false);
    while let Some(event) = tcp.poll_event() {
        match event {
            Event::Established => {
                is_established = true;
                session.handle_established(at, random);
            }
            Event::PeerClosed => lost = Some(ReturnCode::DeviceLost),
            Event::Lost(Loss::Reset) => lost = Some(ReturnCode::DeviceLost),
            Event::Lost(Loss::TimedOut) => lost = Some(ReturnCode::TimedOut),
            Event::Closed => {}
        }
    }
    let mut left = BURST;
    while !session.is_over()
        && left > 0
        && let Some(taken) = take(tcp, session.settings, counted)
    {
        session.handle(at, taken, memory);
        left -= 1;
    }
    *more = left == 0;
    // What came before the end was looked at.
    if let Some(code) = lost {
        session.handle_lost(at, code, memory);
    }
    if session.poll_timeout().is_some_and(|due| due <= at) {
        session.handle_timeout(at, memory);
    }
    is_established
}

fn header_flow(request: &[u8]) -> u32 {
    super::egress::header(request).flow.get(WorkRequestFlow::FLOWID)
}

/// CHNET_IFCONF: the address of the sessions to come.
fn configure(function: &mut Function, request: &ChnetIfConf, reply: WorkRequestReply) -> Done {
    let address = Ipv4Addr::from(request.address);
    match IfConfOperation::from_wire(request.operation) {
        Some(IfConfOperation::Ipv4Set) if address.is_unspecified() || address.is_multicast() => {
            Err(ReturnCode::AddressNotAvailable)
        }
        Some(IfConfOperation::Ipv4Set) => {
            function.initiator.address = Some(address);
            Ok(Some(reply))
        }
        _ => Err(ReturnCode::NotImplemented),
    }
}

/// FOISCSI_NODE.
fn change_node(function: &mut Function, request: &FoiscsiNode, mut reply: WorkRequestReply) -> Done {
    let Initiator { nodes, sessions, .. } = &mut function.initiator;
    match FoiscsiOperation::from_wire(request.operation) {
        Some(FoiscsiOperation::Add) => {
            let node = Node::new(request)?;
            if nodes.len() >= NODES_MAX {
                return Err(ReturnCode::NoMemory);
            }
            let number = nodes.insert(node) as u16;
            reply.rest[8..10].copy_from_slice(&number.to_be_bytes());
            Ok(Some(reply))
        }
        Some(FoiscsiOperation::Delete) => {
            let number = request.node.get();
            if sessions.iter().any(|(_, session)| session.node == u32::from(number)) {
                return Err(ReturnCode::Busy);
            }
            nodes.try_remove(number.into()).ok_or(ReturnCode::NoEntry)?;
            Ok(Some(reply))
        }
        Some(FoiscsiOperation::Modify) | None => Err(ReturnCode::NotImplemented),
    }
}

/// FOISCSI_CHAP.
fn set_chap(function: &mut Function, request: &FoiscsiChap, reply: WorkRequestReply) -> Done {
    let node = function.initiator.nodes.get_mut(request.node.get().into()).ok_or(ReturnCode::NoEntry)?;
    node.set_chap(request)?;
    Ok(Some(reply))
}

fn peer_of(request: &FoiscsiControl) -> Done<SocketAddr> {
    if request.connection_flags.is_set(FoiscsiConnectionFlags::IPV6) {
        return Err(ReturnCode::NotImplemented);
    }
    let four: [u8; 4] = request.peer[..4].try_into().expect("four of sixteen bytes");
    Ok(SocketAddr::new(Ipv4Addr::from(four).into(), request.peer_port.get()))
}

fn login_config(initiator: &Initiator, request: &FoiscsiControl) -> Done<LoginConfig> {
    let node = initiator.nodes.get(request.node.get() as usize).ok_or(ReturnCode::NoEntry)?;
    let (session, connection) = (request.session_flags, request.connection_flags);
    if session.get(FoiscsiSessionFlags::SESS_TYPE) != 1 {
        // The answer to SendTargets has no format that is known.
        return Err(ReturnCode::NotImplemented);
    }
    let authentication = match FoiscsiAuth::from_wire(connection.get(FoiscsiConnectionFlags::AUTH_METHOD) as u8) {
        Some(FoiscsiAuth::None) => Authentication::None,
        Some(_) => node.authentication(connection.get(FoiscsiConnectionFlags::AUTH_POLICY) == 1)?,
        None => return Err(ReturnCode::Invalid),
    };
    let target_name = iscsi_name(&request.target_name, request.target_name_length)?;
    let or_default = |value: u32, default: u32| if value == 0 { default } else { value };
    let defaults = Limits::default();
    let limits = Limits {
        header_digest: digests(connection.get(FoiscsiConnectionFlags::HDIGEST))?,
        data_digest: digests(connection.get(FoiscsiConnectionFlags::DDIGEST))?,
        max_connections: 1,
        initial_r2t: session.is_set(FoiscsiSessionFlags::INIT_R2T),
        immediate_data: session.is_set(FoiscsiSessionFlags::IMMD_DATA),
        receive_segment_bytes_max: or_default(request.receive_segment_bytes_max.get(), SEGMENT_BYTES_MAX)
            .min(SEGMENT_BYTES_MAX),
        burst_bytes_max: or_default(request.burst_bytes_max.get(), defaults.burst_bytes_max),
        first_burst_bytes_max: or_default(request.first_burst_bytes.get(), defaults.first_burst_bytes_max),
        time_2_wait: request.time2wait.get(),
        time_2_retain: request.time2retain.get(),
        outstanding_r2t_max: request.outstanding_r2t_max.get(),
        error_recovery_level: 0,
        ..defaults
    };
    Ok(LoginConfig {
        initiator_name: node.name.clone(),
        initiator_alias: node.alias.clone(),
        isid: initiator.vacant_isid(node, &target_name),
        target_name: Some(target_name),
        session_type: SessionType::Normal,
        tsih: Tsih(0),
        cid: Cid(0),
        limits,
        authentication,
        timeout: LOGIN_TIMEOUT,
    })
}

/// Which digests are offered, the preferred one first.
fn digests(code: u32) -> Done<Vec<bool>> {
    Ok(match FoiscsiDigest::from_wire(code as u8).ok_or(ReturnCode::Invalid)? {
        FoiscsiDigest::None => vec![false],
        FoiscsiDigest::Crc32 => vec![true],
        FoiscsiDigest::Crc32First => vec![true, false],
        FoiscsiDigest::Crc32Second => vec![false, true],
    })
}

impl Function {
    fn send_reply(&mut self, iq: u16, reply: &WorkRequestReply, now: Duration) {
        let message = firmware_message(reply.as_bytes());
        self.send(iq, [message.as_bytes(), &[]], false, now);
    }

    /// A device does not fit into a message: what is behind the first part follows in a buffer.
    fn send_device(&mut self, iq: u16, device: &RemoteDevice, now: Duration) {
        let (first, rest) = device.as_bytes().split_at(size_of::<WorkRequestReply>());
        let message = firmware_message(first);
        self.send(iq, [message.as_bytes(), rest], true, now);
    }
}

fn firmware_message(data: &[u8]) -> Fw6Msg {
    Fw6Msg {
        opcode: ReplyOpcode::Fw6Msg.to_wire(),
        kind: FirmwareMessage::WorkRequestReply.to_wire(),
        data: data.try_into().expect("a reply has 32 bytes"),
        ..Fw6Msg::default()
    }
}
