//! A target that does what a test says, PDU by PDU.

use bytes::Bytes;
use iscsi_pdu::{
    AsyncEvent, AsyncMessage, CmdSn, DataIn, DataInStatus, Frame, HEADER_LENGTH, Header, LoginRequest, LoginResponse,
    LoginStatus, LogoutResponse, LogoutResponseCode, LunField, NopIn, NopOut, Pdu, Reject, RejectReason, Residual,
    ScsiCommand, ScsiResponse, ScsiResponseCode, Stage, StatSn, TaskManagementRequest, TaskManagementResponse,
    TaskManagementResponseCode, Tsih, padding,
};
use iscsi_runtime::{ClientConfig, Limits, Reconnection};
use scsi_block::sense::{AdditionalSense, Sense, SenseFormat, SenseKey};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.test:target";

/// Commands that the target takes beyond those that have come.
const WINDOW: u32 = 32;

/// A target that does this with who comes: its address, and its end.
pub(crate) fn listen(serve: impl FnOnce(&TcpListener) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    (address, std::thread::spawn(move || serve(&listener)))
}

/// The same, and the configuration of a client that is soon back if its session is lost.
pub(crate) fn target(serve: impl FnOnce(&TcpListener) + Send + 'static) -> (ClientConfig, JoinHandle<()>) {
    let (address, served) = listen(serve);
    let reconnection =
        Reconnection { attempts_max: 4, delay_min: Duration::from_millis(10), ..Reconnection::default() };
    let limits = Limits { time_2_wait: 0, ..Limits::default() };
    (ClientConfig::new(address, TARGET).limits(limits).reconnection(Some(reconnection)), served)
}

/// A connection of an initiator.
pub(crate) struct Connection {
    stream: TcpStream,
    stat_sn: StatSn,
    exp_cmd_sn: CmdSn,
    /// What the initiator has logged in with.
    pub(crate) login: LoginRequest,
}

impl Connection {
    /// Waits for an initiator, and for its Login Request.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let mut stream = listener.accept().expect("a connection").0;
        let Some(Pdu::LoginRequest(login)) = receive(&mut stream) else { panic!("a Login Request") };
        Self { stream, stat_sn: StatSn(1), exp_cmd_sn: login.cmd_sn, login }
    }

    /// Waits for an initiator and lets it in.
    pub(crate) fn log_in(listener: &TcpListener) -> Self {
        Self::log_in_with(listener, "DefaultTime2Wait=0\0")
    }

    /// The same with this text.
    pub(crate) fn log_in_with(listener: &TcpListener, text: &'static str) -> Self {
        let mut connection = Self::accept(listener);
        connection.answer_login(LoginStatus::Success, text);
        connection
    }

    /// Answers the Login Request, for good or ill.
    pub(crate) fn answer_login(&mut self, status: LoginStatus, text: &'static str) {
        let stat_sn = self.next_stat_sn();
        let is_good = status == LoginStatus::Success;
        let response = LoginResponse {
            transit: is_good.then_some(Stage::FullFeaturePhase),
            current_stage: self.login.current_stage,
            isid: self.login.isid,
            tsih: Tsih(u16::from(is_good)),
            initiator_task_tag: self.login.initiator_task_tag,
            stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.exp_cmd_sn.advanced_by(WINDOW),
            status,
            data: Bytes::from_static(text.as_bytes()),
            ..LoginResponse::default()
        };
        self.send(response.into());
    }

    /// The next PDU; none once the initiator has gone.
    pub(crate) fn receive(&mut self) -> Option<Pdu> {
        receive(&mut self.stream)
    }

    /// The next PDU, which is a command.
    pub(crate) fn command(&mut self) -> ScsiCommand {
        let Some(Pdu::ScsiCommand(command)) = self.receive() else { panic!("a SCSI Command") };
        self.exp_cmd_sn = command.cmd_sn.next();
        command
    }

    /// The next PDU, which is a task management function.
    pub(crate) fn task_management(&mut self) -> TaskManagementRequest {
        let Some(Pdu::TaskManagementRequest(request)) = self.receive() else { panic!("a task management function") };
        request
    }

    /// Takes a ping and answers it.
    pub(crate) fn answer_ping(&mut self) {
        let Some(Pdu::NopOut(NopOut { initiator_task_tag, lun, data, .. })) = self.receive() else { panic!("a ping") };
        let stat_sn = self.next_stat_sn();
        let (exp_cmd_sn, max_cmd_sn) = self.window();
        self.send(NopIn { initiator_task_tag, lun, data, stat_sn, exp_cmd_sn, max_cmd_sn, ..NopIn::default() }.into());
    }

    /// Says that something has happened.
    pub(crate) fn announce(&mut self, event: AsyncEvent, [parameter_1, parameter_2, parameter_3]: [u16; 3]) {
        let stat_sn = self.next_stat_sn();
        let (exp_cmd_sn, max_cmd_sn) = self.window();
        let message = AsyncMessage {
            event,
            vendor_code: 0,
            lun: LunField::default(),
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            parameter_1,
            parameter_2,
            parameter_3,
            data: Bytes::new(),
        };
        self.send(message.into());
    }

    /// Takes a logout and answers it.
    pub(crate) fn answer_logout(&mut self) {
        let Some(Pdu::LogoutRequest(request)) = self.receive() else { panic!("a logout") };
        let stat_sn = self.next_stat_sn();
        let (exp_cmd_sn, max_cmd_sn) = self.window();
        let initiator_task_tag = request.initiator_task_tag;
        let response = LogoutResponse {
            response: LogoutResponseCode::Closed,
            initiator_task_tag,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            time_2_wait: 0,
            time_2_retain: 0,
        };
        self.send(response.into());
    }

    /// Ends a command with GOOD.
    pub(crate) fn good(&mut self, command: &ScsiCommand) {
        self.respond(command, 0, Bytes::new());
    }

    /// Ends a command with CHECK CONDITION and a unit attention.
    pub(crate) fn attention(&mut self, command: &ScsiCommand, code: AdditionalSense) {
        self.fail(command, SenseKey::UnitAttention, code);
    }

    /// Refuses a command, since its data has not come as it was sent.
    pub(crate) fn reject_data(&mut self, command: &ScsiCommand) {
        let stat_sn = self.next_stat_sn();
        let (exp_cmd_sn, max_cmd_sn) = self.window();
        let reason = RejectReason::DataDigestError;
        let rejected = Pdu::from(command.clone()).encode().header;
        self.send(Reject { reason, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn: 0, rejected }.into());
    }

    /// Ends a command with CHECK CONDITION.
    pub(crate) fn fail(&mut self, command: &ScsiCommand, key: SenseKey, code: AdditionalSense) {
        let sense = Sense::new(key, code).encode(SenseFormat::Fixed);
        self.respond(command, 2, [&(sense.len() as u16).to_be_bytes()[..], &sense].concat().into());
    }

    /// Ends a read with these bytes and GOOD.
    pub(crate) fn data(&mut self, command: &ScsiCommand, data: Vec<u8>) {
        let stat_sn = self.next_stat_sn();
        let (exp_cmd_sn, max_cmd_sn) = self.window();
        let status = DataInStatus { status: 0, stat_sn, residual: Residual::None };
        let data_in = DataIn {
            is_final: true,
            status: Some(status),
            initiator_task_tag: command.initiator_task_tag,
            exp_cmd_sn,
            max_cmd_sn,
            data: data.into(),
            ..DataIn::default()
        };
        self.send(data_in.into());
    }

    /// Ends a task management function.
    pub(crate) fn manage(&mut self, request: &TaskManagementRequest, response: TaskManagementResponseCode) {
        let stat_sn = self.next_stat_sn();
        let (exp_cmd_sn, max_cmd_sn) = self.window();
        let initiator_task_tag = request.initiator_task_tag;
        let additional_information = [0; 3];
        let response = TaskManagementResponse {
            response,
            additional_information,
            initiator_task_tag,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
        };
        self.send(response.into());
    }

    fn respond(&mut self, command: &ScsiCommand, status: u8, data: Bytes) {
        let stat_sn = self.next_stat_sn();
        let (exp_cmd_sn, max_cmd_sn) = self.window();
        let response = ScsiResponse {
            response: ScsiResponseCode::CompletedAtTarget,
            status,
            status_qualifier: 0,
            initiator_task_tag: command.initiator_task_tag,
            snack_tag: 0,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            exp_data_sn: 0,
            bidirectional_read_residual: Residual::None,
            residual: Residual::None,
            data,
        };
        self.send(response.into());
    }

    fn window(&self) -> (CmdSn, CmdSn) {
        (self.exp_cmd_sn, self.exp_cmd_sn.advanced_by(WINDOW))
    }

    fn next_stat_sn(&mut self) -> StatSn {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.next();
        stat_sn
    }

    fn send(&mut self, pdu: Pdu) {
        let Frame { header, data, .. } = pdu.encode();
        let padding = vec![0; padding(data.len())];
        self.stream.write_all(&[&header.0[..], &data, &padding].concat()).expect("the initiator is there");
    }
}

fn receive(stream: &mut TcpStream) -> Option<Pdu> {
    let mut header = [0; HEADER_LENGTH];
    stream.read_exact(&mut header).ok()?;
    let header = Header(header);
    let mut data = vec![0; header.data_segment_length()];
    let length = data.len();
    stream.read_exact(&mut data).expect("a data segment");
    stream.read_exact(&mut vec![0; padding(length)]).expect("its padding");
    Some(Pdu::decode(Frame { header, ahs: Box::default(), data: data.into() }).expect("a PDU"))
}
