//! What a client does when its target, or the way there, fails.

mod escalation;
mod functions;
mod reconnection;
mod target;

use iscsi_runtime::{Client, ClientConfig, ClientError, Completion, Operation, Request, Transfer};
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;

const BLOCK: usize = 512;

fn connect(config: ClientConfig) -> Client {
    Client::connect(config).wait().expect("a session")
}

fn execute(client: &Client, cdb: &Cdb, transfer: Transfer) -> Operation<Completion> {
    client.execute(Request::new(LogicalUnitNumber::from(0), cdb, transfer))
}

fn read(client: &Client, lba: u64) -> Operation<Completion> {
    execute(client, &Cdb::read_16(lba, 1), Transfer::Read(BLOCK as u32))
}

fn write(client: &Client, lba: u64, byte: u8) -> Operation<Completion> {
    execute(client, &Cdb::write_16(lba, 1), Transfer::Write(vec![byte; BLOCK].into()))
}

fn is_good(end: Operation<Completion>) -> bool {
    end.wait().is_ok_and(|completion| completion.status == 0)
}

fn is_lost(end: Operation<Completion>) -> bool {
    matches!(end.wait(), Err(ClientError::Lost(_)))
}
