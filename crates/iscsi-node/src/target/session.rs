//! A session joined to a SCSI target device, and the connections that it has.
//!
//! In: PDUs of its connections, ends of block I/O, time. Out: PDUs to its connections, block I/O and events through the [`Outbox`].
//! What becomes of a command stands in `tasks`, what of other requests in `management`.

use super::access::Entrance;
use super::connections::Connections;
use super::event::{ConnectionId, Event, Outbox};
use super::management::OpenManagement;
use super::portal::Portal;
use super::sessions::SessionId;
use super::snapshot::Traffic;
use super::tasks::OpenTask;
use super::timers::Entry;
use iscsi_pdu::{Cid, CmdSn, LoginStatus, Pdu, TargetTransferTag, Tsih};
use iscsi_session::target::{self, LoginIdentity, SessionConfig, TaskId};
use iscsi_session::{BadPdu, CloseReason, LoginOutcome, SessionType};
use iscsi_transport::{PduPort, Received};
use scsi_block::reservations::{NexusName, Path, TransportId};
use scsi_block::{Nexus, Rights, Task};
use slab::Slab;
use std::time::{Duration, Instant};

/// Time between two looks whether block I/O of other sessions has come back.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// One session of the node.
pub(super) struct Session {
    id: SessionId,
    pub(super) machine: target::Session,
    /// What its leading login has agreed upon.
    pub(super) outcome: Box<LoginOutcome>,
    /// Place of the target in the portal; none in a discovery session.
    pub(super) target: Option<usize>,
    /// The portal group that all its connections come through.
    portal_group_tag: u16,
    /// What the initiator may do, by where its leading connection came in.
    rights: Rights,
    pub(super) nexus: Option<Nexus>,
    pub(super) connections: Vec<(Cid, ConnectionId)>,
    /// By the index of the session's task.
    pub(super) tasks: Vec<Option<OpenTask>>,
    pub(super) management: Vec<OpenManagement>,
    /// Block I/O in flight.
    pub(super) ios_in_flight: usize,
    /// Tasks that were aborted while their block I/O was in flight.
    pub(super) aborted_in_store: Vec<OpenTask>,
    /// Tasks that go on though their commands have been answered.
    pub(super) answered: Slab<Task>,
    /// Tasks that wait for block I/O of tasks that have ended with their connection.
    pub(super) behind_orphans: Vec<TaskId>,
    /// Tasks that wait for others that go before them (SAM-5 8.6), in the order in which they came.
    pub(super) dormant: Vec<TaskId>,
    /// Whether a task has ended since those were looked at.
    pub(super) has_ended: bool,
    /// Tasks that wait for block I/O of other sessions.
    pub(super) waiting: Vec<TaskId>,
    /// When it is to be seen whether that has come back.
    look_at: Option<Instant>,
    pub(super) traffic: Traffic,
    /// Rules that the initiator has broken.
    pub(super) violations: u64,
    /// The entry that the node's timers hold for this session.
    pub(super) timer: Entry,
}

/// What a step of a session works with: the time, the ports of its connections, and the node's outputs.
pub(super) struct Context<'a, P> {
    pub(super) now: Instant,
    pub(super) portal: &'a Portal,
    pub(super) connections: &'a mut Connections<P>,
    pub(super) outbox: &'a mut Outbox,
}

impl Session {
    /// A session that begins with its leading connection. `ping_tag` is a tag of that connection's port that places nothing.
    pub(super) fn new(
        id: SessionId,
        outcome: Box<LoginOutcome>,
        portal: &Portal,
        (connection, entrance): (ConnectionId, &Entrance),
        ping_tag: TargetTransferTag,
        now: Instant,
    ) -> Self {
        let target = match (outcome.session_type, &outcome.target_name) {
            (SessionType::Normal, Some(name)) => portal.find(name),
            _ => None,
        };
        let config = SessionConfig {
            window: target.and_then(|target| portal.targets[target].window).unwrap_or(portal.window),
            immediate_max: portal.immediate_max,
            ping_interval: portal.ping_interval,
            ping_timeout: portal.ping_timeout,
            logout_grace: portal.logout_grace,
            resettable: target.is_some_and(|index| portal.targets[index].resettable),
            ..SessionConfig::default()
        };
        // SAM-5 and RFC 7143 section 4.4.2: the initiator port's name is the initiator's name with the ISID, and a portal group is a
        // target port. RFC 7143 4.4.2-2.
        let name = NexusName {
            path: Path {
                initiator_port: TransportId::iscsi_port(&outcome.initiator_name, outcome.isid.0),
                target_port: entrance.portal.portal_group_tag,
            },
            initiator_device: Some(TransportId::iscsi_device(&outcome.initiator_name)),
        };
        let rights =
            target.map(|index| portal.targets[index].rights(&outcome.initiator_name, entrance)).unwrap_or_default();
        Self {
            id,
            machine: target::Session::new(&outcome, config, ping_tag, now),
            nexus: target.map(|index| portal.targets[index].device.connect_with(name, rights.clone())),
            connections: vec![(outcome.cid, connection)],
            outcome,
            target,
            portal_group_tag: entrance.portal.portal_group_tag,
            rights,
            tasks: Vec::new(),
            management: Vec::new(),
            ios_in_flight: 0,
            aborted_in_store: Vec::new(),
            answered: Slab::new(),
            behind_orphans: Vec::new(),
            dormant: Vec::new(),
            has_ended: false,
            waiting: Vec::new(),
            look_at: None,
            traffic: Traffic::default(),
            violations: 0,
            timer: None,
        }
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    pub(super) fn tsih(&self) -> Tsih {
        self.outcome.tsih
    }

    pub(super) fn target(&self) -> Option<usize> {
        self.target
    }

    pub(super) fn portal_group_tag(&self) -> u16 {
        self.portal_group_tag
    }

    /// Whether nothing is left: no connection that could take a word, no block I/O.
    pub(super) fn is_over(&self) -> bool {
        self.machine.is_closed() && self.connections.is_empty() && self.ios_in_flight == 0
    }

    /// ExpCmdSN and MaxCmdSN for a login that may join the session.
    ///
    /// # Errors
    /// The status to refuse it with.
    pub(super) fn admission(
        &self,
        identity: &LoginIdentity,
        entrance: &Entrance,
        portal: &Portal,
    ) -> Result<(CmdSn, CmdSn), LoginStatus> {
        let LoginIdentity { initiator_name, target_name, isid, cid, .. } = identity;
        let ours = &self.outcome;
        let theirs = (initiator_name, target_name, isid, entrance.portal.portal_group_tag);
        // RFC 7143 appendix C: a session does not span portal groups; the same names through another are those of another session.
        if theirs != (&ours.initiator_name, &ours.target_name, &ours.isid, self.portal_group_tag) {
            return Err(LoginStatus::SessionDoesNotExist);
        }
        // Nobody has the rights of another address by joining a session from there.
        if self.target.is_some_and(|target| portal.targets[target].rights(initiator_name, entrance) != self.rights) {
            return Err(LoginStatus::AuthorizationFailure);
        }
        match self.machine.admission(*cid) {
            LoginStatus::Success => Ok(self.machine.command_numbers()),
            status => Err(status),
        }
    }

    /// A login has joined that [`admission`](Self::admission) had nothing against. One with the same CID makes room for it.
    pub(super) fn add_connection<P: PduPort>(
        &mut self,
        id: ConnectionId,
        outcome: &LoginOutcome,
        ping_tag: TargetTransferTag,
        context: &mut Context<'_, P>,
    ) {
        self.machine.add_connection(outcome, ping_tag, context.now);
        // What the session says now about this CID is about the connection of old.
        self.handle_events(context);
        if let Some(old) = self.find(outcome.cid) {
            self.connections.retain(|(_, connection)| *connection != old);
            self.release_tags(old, context);
            if let Some(connection) = context.connections.get_mut(old) {
                connection.kill();
            }
            context.connections.flush_later(old);
        }
        self.connections.push((outcome.cid, id));
    }

    /// The connection that the session knows by this number.
    pub(super) fn find(&self, cid: Cid) -> Option<ConnectionId> {
        self.connections.iter().find(|(other, _)| *other == cid).map(|(_, id)| *id)
    }

    /// Whether PDUs that were lost with their headers are missed and asked for again (RFC 7143 section 7.8).
    pub(super) fn recovers_lost_pdus(&self) -> bool {
        self.machine.parameters().error_recovery_level > 0
    }

    /// A connection has received something.
    pub(super) fn handle_received<P: PduPort>(&mut self, cid: Cid, received: Received, context: &mut Context<'_, P>) {
        let now = context.now;
        match received {
            Received::Frame(frame) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => self.machine.handle_pdu(now, cid, pdu),
                    Err(error) => self.machine.handle_bad_pdu(now, cid, header, BadPdu::Undecodable(error)),
                }
            }
            Received::BadDataDigest(header) => self.machine.handle_bad_pdu(now, cid, header, BadPdu::DataDigest),
            Received::BadHeaderDigest(_) => {}
        }
        self.handle_events(context);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.machine.poll_timeout(), self.look_at].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout<P: PduPort>(&mut self, context: &mut Context<'_, P>) {
        self.machine.handle_timeout(context.now);
        if self.look_at.take_if(|at| *at <= context.now).is_some() {
            self.wake_waiting(context);
            self.answer_management(context);
        }
        self.handle_events(context);
    }

    /// Something waits for block I/O of other sessions, of whose end nobody tells this one.
    pub(super) fn look_again_after(&mut self, now: Instant) {
        self.look_at.get_or_insert(now + LOOK_INTERVAL);
    }

    /// Queues PDUs as long as a connection's port takes them, and lets tasks go on that waited for others. Returns whether there may be
    /// more when the port is flushed.
    pub(super) fn transmit<P: PduPort>(
        &mut self,
        (id, cid): (ConnectionId, Cid),
        context: &mut Context<'_, P>,
    ) -> bool {
        let Some(mut connection) = context.connections.get_mut(id) else { return false };
        if connection.has_tasks_to_ask() {
            self.ask_waiting(id, context);
            let Some(found) = context.connections.get_mut(id) else { return false };
            connection = found;
        }
        let mut queued = 0;
        while connection.port.can_send()
            && let Some(pdu) = self.machine.poll_transmit(cid)
        {
            connection.port.send(pdu.encode());
            queued += 1;
        }
        let mut more = !connection.port.can_send();
        if connection.has_tasks_to_start() {
            more |= self.start_waiting(id, context);
        }
        if self.has_ended && !self.dormant.is_empty() {
            self.handle_events(context);
            more = true;
        }
        // What was sent on one may have been waited for on another, be the last of the session, or have ended it.
        if queued > 0 && self.connections.len() > 1 || self.machine.has_event() {
            self.handle_events(context);
            self.flush_later(context.connections);
        }
        more
    }

    /// The initiator is to log out.
    pub(super) fn request_logout<P: PduPort>(&mut self, context: &mut Context<'_, P>) {
        self.machine.request_logout(context.now);
        self.handle_events(context);
    }

    /// Ends the session. Returns its connections, which are to end without a word.
    pub(super) fn end<P: PduPort>(&mut self, context: &mut Context<'_, P>) -> Vec<ConnectionId> {
        self.machine.terminate();
        self.handle_events(context);
        self.connections.iter().map(|(_, id)| *id).collect()
    }

    /// A connection is no more; its port is still there. One whose place another has taken is none of the session's.
    pub(super) fn handle_connection_lost<P: PduPort>(
        &mut self,
        (id, cid): (ConnectionId, Cid),
        context: &mut Context<'_, P>,
    ) {
        if self.find(cid) == Some(id) {
            self.machine.handle_connection_lost(context.now, cid);
            self.handle_events(context);
            self.release_tags(id, context);
            self.connections.retain(|(_, connection)| *connection != id);
        }
    }

    /// After anything was done to the session: each of its connections may have something to send.
    pub(super) fn flush_later<P: PduPort>(&self, connections: &mut Connections<P>) {
        for (_, id) in &self.connections {
            connections.flush_later(*id);
        }
    }

    /// Carries out what the session says, and what has waited for that.
    pub(super) fn handle_events<P: PduPort>(&mut self, context: &mut Context<'_, P>) {
        let mut aborted = Vec::new();
        loop {
            while let Some(event) = self.machine.poll_event() {
                aborted.extend(self.handle_event(event, context));
            }
            if !self.start_dormant(context) {
                break;
            }
        }
        self.tell_of_orphans(&aborted, context.connections);
    }

    /// Carries out one thing. Returns where a task was, if it has ended one.
    fn handle_event<P: PduPort>(
        &mut self,
        event: target::Event,
        context: &mut Context<'_, P>,
    ) -> Option<(ConnectionId, usize)> {
        match event {
            target::Event::Command(command) => self.begin(command, context),
            target::Event::Data { task, data, .. } => self.take_data(task, data),
            target::Event::DataComplete { task } => self.start_or_wait(task, context),
            target::Event::TagFree { cid, tag } => self.take_back(cid, tag, context),
            target::Event::Reassigned { task, cid } => self.reassign(task, cid, context),
            target::Event::Aborted { task } => return self.abort(task, context),
            target::Event::TaskManagement { id, function, lun } => self.manage(id, function, lun, context),
            target::Event::SendTargets { id, scope } => self.send_targets(id, &scope, context),
            target::Event::Violated { .. } => self.violations += 1,
            target::Event::ConnectionClosed { cid, reason } => {
                if let Some(id) = self.find(cid) {
                    if let Some(connection) = context.connections.get_mut(id) {
                        match reason {
                            CloseReason::LoggedOut | CloseReason::RemovedForRecovery => connection.leave(context.now),
                            _ => connection.close(context.now),
                        }
                    }
                    context.outbox.events.push_back(Event::ConnectionClosed { connection: id, reason });
                }
            }
            target::Event::Closed(reason) => {
                self.connections.iter().for_each(|(_, connection)| close(*connection, context));
                context.outbox.events.push_back(Event::SessionClosed { tsih: self.tsih(), reason });
                // RFC 7143 11.5.1-14: the owner ends the others.
                let reset = self.target.filter(|_| reason == CloseReason::TargetReset);
                context.outbox.events.extend(reset.map(|target| Event::TargetColdReset { target }));
            }
        }
        None
    }
}

/// A connection ends when what is queued for it has been sent.
fn close<P: PduPort>(id: ConnectionId, context: &mut Context<'_, P>) {
    if let Some(connection) = context.connections.get_mut(id) {
        connection.close(context.now);
    }
}
