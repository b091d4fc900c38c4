//! The driver of the firmware's initiator against an adapter that says what the test wants.

mod fake;

use bytes::Bytes;
use fake::*;
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::driver::initiator::*;
use t5_hal::wire::*;
use zerocopy::{FromBytes, IntoBytes};

fn driver() -> FirmwareInitiator<Fake> {
    let mut now = Instant::now();
    let driver = FirmwareInitiator::bring_up(Fake::default(), &small(), &mut || {
        now += Duration::from_millis(100);
        now
    });
    let driver = driver.unwrap();
    driver.bus().take_requests();
    driver
}

fn only(driver: &FirmwareInitiator<Fake>) -> Vec<u8> {
    let mut requests = driver.bus().take_requests();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Answers a work request: its beginning, a code, and what is told where the request has its own fields.
fn answer(driver: &FirmwareInitiator<Fake>, request: &[u8], code: ReturnCode, rest: &[(usize, u8)]) {
    let mut reply = WorkRequestReply::to(request).with_code(code);
    rest.iter().for_each(|&(at, byte)| reply.rest[at] = byte);
    driver.bus().say(message(reply.as_bytes()));
}

fn message(data: &[u8]) -> Fw6Msg {
    Fw6Msg {
        opcode: ReplyOpcode::Fw6Msg.to_wire(),
        kind: FirmwareMessage::WorkRequestReply.to_wire(),
        data: data.try_into().unwrap(),
        ..Fw6Msg::default()
    }
}

fn events(driver: &mut FirmwareInitiator<Fake>) -> Vec<InitiatorEvent> {
    driver.poll();
    std::iter::from_fn(|| driver.poll_event()).collect()
}

/// A session of flow 5 and number 9.
fn online(driver: &mut FirmwareInitiator<Fake>) -> RequestId {
    let (session, device) = told_of_device(driver, 5);
    assert_eq!(events(driver), [InitiatorEvent::Online { session, device: Box::new(device) }]);
    session
}

/// A session of number 9 that the firmware says to stand, with a device of that flow.
fn told_of_device(driver: &mut FirmwareInitiator<Fake>, flow: u32) -> (RequestId, RemoteDevice) {
    let session = driver.log_in(&SessionRequest::new(1, "iqn.x", "10.0.0.1:3260".parse().unwrap())).unwrap();
    let request = only(driver);
    let device = RemoteDevice {
        op: WorkRequestOp::of(WorkRequestOpcode::RemoteDevice, 0),
        cookie: WorkRequestReply::to(&request).cookie,
        device_flow: flow.into(),
        ..RemoteDevice::default()
    };
    let (front, rest) = device.as_bytes().split_at(32);
    driver.bus().say_with(message(front), rest);
    answer(driver, &request, ReturnCode::Success, &[(2, FoiscsiState::Online.to_wire()), (11, 9)]);
    (session, device)
}

/// Work requests name a flow by 20 bits.
#[test]
fn a_session_with_a_device_that_no_request_can_name_has_failed() {
    let mut driver = driver();
    let (session, _) = told_of_device(&mut driver, 1 << 20);
    let (state, code) = (FoiscsiState::Failed, ReturnCode::Protocol);
    assert_eq!(events(&mut driver), [InitiatorEvent::Ended { session, state, code }]);
    assert!(driver.command(session, &ScsiRequest::default()).is_err());
}

#[test]
fn the_interface_is_the_firmwares_initiator() {
    let driver = driver();
    let kinds: Vec<u16> = driver
        .bus()
        .commands()
        .into_iter()
        .filter_map(|command| if let Command::ViCommand(vi) = command { Some(vi.kind.get(ViType::FUNC)) } else { None })
        .collect();
    assert_eq!(kinds, [u16::from(ViFunction::Foiscsi.to_wire())]);
}

/// Bytes of the work requests, where the tables have them.
#[test]
fn settings_stand_where_the_layouts_have_them() {
    let mut driver = driver();
    let isid = FoiscsiIsid::new().with(FoiscsiIsid::T, 2).with(FoiscsiIsid::B, 0x1234).with(FoiscsiIsid::C, 0x56);
    driver.add_node("iqn.a", "b", isid).unwrap();
    let node = only(&driver);
    assert_eq!((node.len(), node[0], node[7]), (496, 0x60, 31));
    assert_eq!((node[16], node[18], node[19]), (1, 1, 5));
    assert_eq!((&node[32..38], node[256], &node[480..484]), (&b"iqn.a\0"[..], b'b', &[0x80, 0x12, 0x34, 0x56][..]));

    driver.set_chap(3, true, "name", b"secret").unwrap();
    let chap = only(&driver);
    assert_eq!((chap.len(), chap[0]), (384, 0x6c));
    assert_eq!((&chap[17..22], &chap[24..28], &chap[248..254]), (&[4, 6, 1, 0, 3][..], &b"name"[..], &b"secret"[..]));

    driver.set_address([10, 0, 0, 2].into(), [255, 255, 255, 0].into()).unwrap();
    let address = only(&driver);
    assert_eq!((address.len(), address[0], address[21]), (80, 0x6b, 1));
    assert_eq!(address[40..48], [10, 0, 0, 2, 255, 255, 255, 0]);

    let wanted = SessionRequest {
        header_digest: FoiscsiDigest::Crc32,
        data_digest: FoiscsiDigest::Crc32First,
        authentication: AuthenticationWanted::Mutual,
        initial_r2t: true,
        ..SessionRequest::new(3, "iqn.target", "10.0.0.1:3261".parse().unwrap())
    };
    driver.log_in(&wanted).unwrap();
    let control = only(&driver);
    assert_eq!((control.len(), control[0], control[16], control[23]), (336, 0x6a, 1, 3));
    // Normal, both in order, immediate data, initial R2T; CRC32C, CRC32C first, CHAP, mutual.
    assert_eq!((&control[32..36], &control[56..60]), (&[0x7c, 0, 0, 0][..], &[0x62, 0x80, 0, 0][..]));
    assert_eq!((&control[68..70], &control[72..76], control[104]), (&[0x0c, 0xbd][..], &[10, 0, 0, 1][..], 10));
    assert_eq!(&control[112..122], b"iqn.target");
}

#[test]
fn commands_stand_where_the_layouts_have_them_and_data_is_lent() {
    let mut driver = driver();
    let session = online(&mut driver);
    let command = ScsiRequest { lun: [0, 1, 0, 0, 0, 0, 0, 0], cdb: [0x88; 16], attribute: 2, timeout_seconds: 9 };
    let id = driver.read(session, &command, 4096).unwrap();
    let request = only(&driver);
    assert_eq!((&request[..8], request.len()), (&[0x32, 0, 0, 32, 0, 0, 5, 6][..], 96));
    assert_eq!((&request[16..20], &request[24..28]), (&[0, RSS_QUEUE as u8, 9, 1][..], &4096u32.to_be_bytes()[..]));
    let (unit, list) = FcpCommand::read_from_prefix(&request[48..]).unwrap();
    assert_eq!((unit.lun, unit.cdb, unit.attribute, unit.length.get()), (command.lun, command.cdb, 2, 4096));
    let [piece] = UlpList::decode(list).unwrap()[..] else { panic!("one piece") };
    assert_eq!(piece.length, 4096);
    driver.bus().memory().write(piece.address, &[0x5a; 4096]).unwrap();
    answer(&driver, &request, ReturnCode::Success, &[]);
    let [InitiatorEvent::Completed { command: ended, completion }] = &events(&mut driver)[..] else { panic!() };
    assert_eq!((*ended, &completion.data[..]), (id, &[0x5a; 4096][..]));
    assert_eq!(driver.bus().memory().locate(&completion.data), Some(piece.address), "no copy");

    // The same end again is no end of anything else, even of what has the memory and the place now.
    let other = driver.read(session, &command, 4096).unwrap();
    let again = only(&driver);
    answer(&driver, &request, ReturnCode::Success, &[]);
    assert_eq!(events(&mut driver), []);
    answer(&driver, &again, ReturnCode::ScsiAborted, &[]);
    assert!(matches!(&events(&mut driver)[..],
        [InitiatorEvent::Completed { command, completion }] if *command == other && completion.data.is_empty()));
}

#[test]
fn a_status_comes_with_what_the_response_says_and_no_more() {
    let mut driver = driver();
    let session = online(&mut driver);
    let id = driver.read(session, &ScsiRequest::default(), 4096).unwrap();
    let request = only(&driver);
    let at = u64::from_be_bytes(request[32..40].try_into().unwrap());
    let response = FcpResponse {
        flags: FcpResponseFlags::new()
            .with_bit(FcpResponseFlags::UNDERRUN, true)
            .with_bit(FcpResponseFlags::SENSE_VALID, true),
        status: 2,
        residual: u32::MAX.into(),
        // More than there is.
        sense_length: u32::MAX.into(),
        ..FcpResponse::default()
    };
    driver.bus().memory().write(at, response.as_bytes()).unwrap();
    answer(&driver, &request, ReturnCode::ScsiResponseError, &[]);
    let [InitiatorEvent::Completed { command, completion }] = &events(&mut driver)[..] else { panic!() };
    assert_eq!((*command, completion.status, completion.data.len()), (id, 2, 0));
    assert_eq!(completion.sense.len(), 512 - 24);
}

#[test]
fn nonsense_ends_no_request_and_a_session_ends_once() {
    let mut driver = driver();
    let session = online(&mut driver);
    let request = driver.command(session, &ScsiRequest::default()).map(|_| only(&driver)).unwrap();
    // Cookies of nothing, of another generation, and codes that are none.
    for cookie in [0, u64::MAX, 7 << 32, 1 << 32 | 40] {
        let mut reply = WorkRequestReply::to(&request);
        reply.cookie = cookie.into();
        driver.bus().say(message(reply.as_bytes()));
    }
    assert_eq!(events(&mut driver), []);
    assert!(driver.log_out(RequestId::default()).is_err());
    driver.log_out(session).unwrap();
    let log_out = only(&driver);
    assert_eq!((log_out[16], &log_out[24..28]), (2, &[0, 0, 0, 9][..]));
    answer(&driver, &request, ReturnCode::DeviceLoggedOut, &[]);
    answer(&driver, &log_out, ReturnCode::Success, &[]);
    let ended = events(&mut driver);
    assert!(
        matches!(&ended[..], [InitiatorEvent::Completed { .. }, InitiatorEvent::Ended { session: ended, .. }] if *ended == session)
    );
    answer(&driver, &log_out, ReturnCode::Success, &[]);
    assert_eq!((events(&mut driver), driver.pending_count()), (vec![], 0));
    assert!(driver.write(session, &ScsiRequest::default(), Bytes::from_static(b"late")).is_err());
}

#[test]
fn memory_comes_back_whatever_becomes_of_commands() {
    let mut driver = driver();
    let session = online(&mut driver);
    // Sixteen times the memory for data.
    for round in 0..64 {
        driver.read(session, &ScsiRequest::default(), 1 << 20).unwrap();
        let request = only(&driver);
        let code = [ReturnCode::Success, ReturnCode::DeviceLost, ReturnCode::TimedOut][round % 3];
        answer(&driver, &request, code, &[]);
        driver.bus().say(SgeEgrUpdate {
            opcode_qid: ReplyOpcode::SgeEgrUpdate.of(DATA),
            consumer: driver.bus().consumer(DATA).into(),
            ..SgeEgrUpdate::default()
        });
        assert_eq!(events(&mut driver).len(), 1);
    }
}

#[test]
fn an_adapter_that_cannot_be_trusted_ends_everything() {
    let mut driver = driver();
    let session = online(&mut driver);
    let id = driver.command(session, &ScsiRequest::default()).unwrap();
    driver.bus().say_length(FreeListLength::new().with(FreeListLength::LEN, 1 << 20));
    let ended = events(&mut driver);
    assert!(matches!(&ended[..], [
        InitiatorEvent::Completed { command, completion: Completion { code: ReturnCode::NoDevice, .. } },
        InitiatorEvent::Ended { session: which, state: FoiscsiState::Failed, .. },
    ] if *command == id && *which == session));
    assert!(driver.failure().is_some());
    assert!(driver.command(session, &ScsiRequest::default()).is_err());
}
