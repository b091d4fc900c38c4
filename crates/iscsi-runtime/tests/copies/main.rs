//! Copies inside our target, asked for by our initiator over real sockets.

mod immediate;

use std::time::Duration;

use bytes::Bytes;
use iscsi_node::initiator::{Completion, Request};
use iscsi_runtime::{Client, ClientConfig, Disk, Server, StoreSpec, Target};
use iscsi_session::initiator::Transfer;
use scsi_block::cdb::Cdb;
use scsi_block::copy::{
    CopyList, CopyState, CopyStatus, Cscd, PopulateTokenList, RodTokenInformation, SEGMENTS_MAX, Segment,
    WriteUsingTokenList,
};
use scsi_block::designator::Designator;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::vpd::DeviceIdentification;
use scsi_block::{Extent, LogicalUnitNumber, Status};

const NAME: &str = "iqn.2026-01.io.ferriscsi:copies";
const BLOCKS: u16 = 65535;

/// A disk in memory and one in a file, each larger than the longest segment.
fn serve(folder: &tempfile::TempDir) -> (Server, Client) {
    let file = folder.path().join("disk");
    std::fs::File::create(&file).unwrap().set_len(40 << 20).unwrap();
    let specs = ["memory:40M".to_owned(), format!("file:{}", file.display())];
    serve_disks(specs.iter().map(|spec| Disk::open(&spec.parse::<StoreSpec>().unwrap()).unwrap()))
}

/// A target with those disks, and a session with it.
fn serve_disks(disks: impl IntoIterator<Item = Disk>) -> (Server, Client) {
    let target = (0..).zip(disks).fold(Target::new(NAME), |target, (number, disk)| target.lun(number, disk));
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap()).target(target).start().unwrap();
    let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), NAME)).wait().unwrap();
    (server, client)
}

fn request(lun: u16, cdb: &Cdb, transfer: Transfer) -> Request {
    Request::new(LogicalUnitNumber::from(lun), cdb, transfer)
}

fn data(completion: Completion) -> Vec<u8> {
    assert_eq!(completion.status, Status::Good.code(), "{:?}", Sense::decode(&completion.sense));
    completion.data.concat()
}

fn name(client: &Client, lun: u16) -> Designator {
    let page = client.execute(request(lun, &Cdb::inquiry_page(0x83, 1024), Transfer::Read(1024))).wait().unwrap();
    let names = DeviceIdentification::decode(&data(page)).unwrap().0;
    names.into_iter().find(|name| name.kind == Designator::NAA).unwrap()
}

/// The command that copies from the first disk to the second, again and again.
fn copy(client: &Client, identifier: u32, blocks: u16, times: usize) -> Request {
    let cscd = |lun| Cscd { designator: name(client, lun), block_size: 512 };
    let segment =
        Segment { source: 0, destination: 1, counts_destination: false, blocks, source_lba: 3, destination_lba: 7 };
    let list = CopyList {
        identifier: Some(identifier),
        immediate: false,
        cscds: vec![cscd(0), cscd(1)],
        segments: vec![segment; times],
    };
    let bytes = list.encode_lid4();
    request(0, &Cdb::extended_copy_lid4(bytes.len() as u32), Transfer::Write(bytes.into()))
}

#[test]
fn blocks_move_inside_the_target_and_are_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = serve(&folder);
    let (from, to) = (client.disk(0).wait().unwrap(), client.disk(1).wait().unwrap());
    let written: Vec<u8> = (0..4 << 20u32).map(|at| (at / 512 * 3 + at) as u8).collect();
    from.write(3, Bytes::from(written.clone())).wait().unwrap();
    to.write(0, Bytes::from(vec![0xee; 1 << 20])).wait().unwrap();
    data(client.execute(copy(&client, 1, 8192, 1)).wait().unwrap());
    assert!(to.read(7, 8192).wait().unwrap() == written);
    assert_eq!(to.read(0, 7).wait().unwrap(), vec![0xee; 7 * 512]);
    assert_eq!(to.read(7 + 8192, 1).wait().unwrap(), vec![0; 512]);
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
    let stored = std::fs::read(folder.path().join("disk")).unwrap();
    assert!(stored[7 * 512..][..written.len()] == written, "the file has it");
}

/// While a copy of 2 GiB goes on, other commands are answered, among them the one that ends it.
#[test]
fn a_long_copy_lets_others_through_and_can_be_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = serve(&folder);
    let (from, _) = (client.disk(0).wait().unwrap(), client.disk(1).wait().unwrap());
    let copy = client.execute(copy(&client, 5, BLOCKS, SEGMENTS_MAX));
    let status = request(0, &Cdb::receive_copy_status_lid4(5, 512), Transfer::Read(512));
    let status = client.execute(status);
    let read = from.read(100, 8);
    let abort = client.execute(request(0, &Cdb::copy_operation_abort(5), Transfer::None));
    let status = CopyStatus::decode_lid4(&data(status.wait().unwrap())).unwrap();
    assert_eq!(status.state, CopyState::InProgress);
    assert_eq!(read.wait().unwrap(), vec![0; 8 * 512]);
    data(abort.wait().unwrap());
    let ended = copy.wait().unwrap();
    assert_eq!(Sense::decode(&ended.sense).unwrap().key, SenseKey::CopyAborted);
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

/// A token that one session has made is used by another, at another disk, until somebody writes.
#[test]
fn a_token_carries_blocks_from_session_to_session() {
    let folder = tempfile::tempdir().unwrap();
    let (server, one) = serve(&folder);
    let two = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), NAME)).wait().unwrap();
    let (from, to) = (one.disk(0).wait().unwrap(), two.disk(1).wait().unwrap());
    let written: Vec<u8> = (0..2 << 20u32).map(|at| (at / 512 * 5 + at) as u8).collect();
    from.write(3, Bytes::from(written.clone())).wait().unwrap();
    let list = PopulateTokenList { inactivity_seconds: 0, ranges: vec![Extent { lba: 3, blocks: 4096 }] }.encode();
    let populate = Cdb::populate_token(1, list.len() as u32);
    data(one.execute(request(0, &populate, Transfer::Write(list.into()))).wait().unwrap());
    let told = request(0, &Cdb::receive_rod_token_information(1, 1024), Transfer::Read(1024));
    let told = RodTokenInformation::decode(&data(one.execute(told).wait().unwrap())).unwrap();
    let list = WriteUsingTokenList {
        token: told.token.unwrap(),
        immediate: false,
        offset_blocks: 1,
        delete: false,
        ranges: vec![Extent { lba: 100, blocks: 4095 }],
    };
    let list = Bytes::from(list.encode());
    let cdb = Cdb::write_using_token(2, list.len() as u32);
    data(two.execute(request(1, &cdb, Transfer::Write(list.clone()))).wait().unwrap());
    assert!(to.read(100, 4095).wait().unwrap() == written[512..]);
    from.write(4000, Bytes::from(vec![1; 512])).wait().unwrap();
    let refused = two.execute(request(1, &cdb, Transfer::Write(list))).wait().unwrap();
    assert_eq!(Sense::decode(&refused.sense).unwrap().additional, AdditionalSense::TOKEN_REVOKED);
    one.logout().wait().unwrap();
    two.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}
