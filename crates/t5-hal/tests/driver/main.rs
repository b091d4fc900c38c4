//! The driver against a bus that says what the test wants.

mod ends;
#[path = "../fake/mod.rs"]
mod fake;
mod opening;
mod pdus;

use fake::*;
use iscsi_pdu::{DataIn, Frame, InitiatorTaskTag, NopOut, Pdu};
use iscsi_transport::{Digests, Flush, PortErrorKind, Received};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::driver::*;
use t5_hal::wire::*;
use t5_policy::Policy;

const TID: u32 = 0x2a;
const PEER_MAC: [u8; 6] = [0, 7, 0x43, 9, 9, 9];

fn local() -> SocketAddr {
    "10.0.0.1:20001".parse().unwrap()
}

fn peer() -> SocketAddr {
    "10.0.0.2:3260".parse().unwrap()
}

fn driver() -> Driver<Fake> {
    let driver = bring_up(Fake::default()).unwrap();
    driver.bus().take_requests();
    driver
}

fn establish(driver: &mut Driver<Fake>, tid: u32, mode: OffloadMode) {
    let open = driver.connect(OpenTarget { local: local(), peer: peer(), peer_mac: PEER_MAC, mode }).unwrap();
    driver.bus().say(ActEstablish {
        opcode_tid: ReplyOpcode::ActEstablish.of(tid),
        tos_atid: TosId::new().with(TosId::ID, open),
        tcp_options: EstablishOptions::new().with(EstablishOptions::MSS_IDX, 8),
        snd_isn: 0x1000.into(),
        rcv_isn: 0x2000.into(),
        ..ActEstablish::default()
    });
    driver.poll(Instant::now());
    assert_eq!(driver.poll_event(), Some(DriverEvent::Connected { open, connection: tid }));
    while driver.poll_event().is_some() {}
    driver.bus().take_requests();
}

/// A driver with a connection of PDUs.
fn connected() -> Driver<Fake> {
    let mut driver = driver();
    establish(&mut driver, TID, OffloadMode::Ulp);
    driver
}

fn decode(request: &[u8]) -> Request {
    Request::decode(request).unwrap()
}

fn ping(length: usize) -> Frame {
    Pdu::from(NopOut { data: vec![0x5a; length].into(), ..NopOut::default() }).encode()
}

/// Says a PDU: its header, its data unless that is placed, and the verdict.
fn say_pdu(driver: &Driver<Fake>, sequence: u32, frame: &Frame, data: Option<&[u8]>, verdict: DdpVerdict) {
    let header = frame.header.0;
    driver.bus().say_with(
        IscsiHdr {
            opcode_tid: ReplyOpcode::IscsiHdr.of(TID),
            pdu_length: IscsiHdrLength::new().with(IscsiHdrLength::LEN, (48 + frame.data.len()) as u16),
            length: 48.into(),
            sequence: sequence.into(),
            ..IscsiHdr::default()
        },
        &header,
    );
    if let Some(data) = data {
        let opcode_tid = ReplyOpcode::IscsiData.of(TID);
        driver
            .bus()
            .say_with(IscsiData { opcode_tid, length: (data.len() as u16).into(), ..IscsiData::default() }, data);
    }
    driver.bus().say(RxIscsiDdp {
        opcode_tid: ReplyOpcode::RxIscsiDdp.of(TID),
        length: (48 + frame.data.len().next_multiple_of(4) as u16).into(),
        sequence: sequence.into(),
        verdict,
        ..RxIscsiDdp::default()
    });
}
