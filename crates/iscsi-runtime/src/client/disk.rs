//! A disk at the other end of a session.

use super::{Client, ClientError, Operation};
use bytes::{Bytes, BytesMut};
use iscsi_node::initiator::{Completion, Request};
use iscsi_pdu::Residual;
use iscsi_session::initiator::Transfer;
use scsi_block::cdb::Cdb;
use scsi_block::parameters::{Capacity16, UnitList, UnmapList};
use scsi_block::sense::{Sense, SenseKey};
use scsi_block::vpd::BlockLimits;
use scsi_block::{Extent, Geometry, LogicalUnitNumber, Segments, Status};
use smallvec::SmallVec;

/// Unit attentions that one unit may tell before it is ready; more would be a unit that never is.
const UNIT_ATTENTIONS_MAX: usize = 16;

/// Bytes in one command where the unit does not say what it takes.
const TRANSFER_BYTES_DEFAULT: u64 = 1 << 20;

/// A logical unit that holds blocks. Addresses and lengths are in its blocks.
#[derive(Clone, Debug)]
pub struct RemoteDisk {
    client: Client,
    lun: LogicalUnitNumber,
    geometry: Geometry,
    capacity: Capacity16,
    transfer_blocks_max: u64,
    unmap_blocks_max: u64,
}

impl RemoteDisk {
    pub(super) async fn open(client: Client, lun: LogicalUnitNumber) -> Result<Self, ClientError> {
        make_ready(&client, lun).await?;
        let capacity = client.command(read(lun, &Cdb::read_capacity_16(32), 32)).await.and_then(good)?;
        let capacity =
            Capacity16::decode(&join(capacity.data)).map_err(|_| ClientError::Answer("READ CAPACITY (16)"))?;
        if !matches!(capacity.block_size, 512..=65_536) || capacity.last_lba == u64::MAX {
            return Err(ClientError::Answer("READ CAPACITY (16) tells an impossible size"));
        }
        let geometry = Geometry { block_size: capacity.block_size, blocks: capacity.last_lba + 1 };
        // Not every unit has the page; then the defaults hold.
        let limits = client.command(read(lun, &Cdb::inquiry_page(0xb0, 64), 64)).await.and_then(good);
        let limits = limits.ok().and_then(|answer| BlockLimits::decode(&join(answer.data)).ok());
        let said = |blocks: u64| (blocks > 0).then_some(blocks);
        let transfer_blocks_max = limits.as_ref().and_then(|limits| said(limits.transfer_max.into()));
        let unmap_blocks_max = limits.as_ref().and_then(|limits| said(limits.unmap_max.into()));
        let default = TRANSFER_BYTES_DEFAULT / u64::from(geometry.block_size);
        Ok(Self {
            client,
            lun,
            geometry,
            capacity,
            transfer_blocks_max: transfer_blocks_max.unwrap_or(default).min(u64::from(u16::MAX)),
            unmap_blocks_max: unmap_blocks_max.unwrap_or(0),
        })
    }

    /// The size of the disk.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes in a block.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.geometry.block_size
    }

    /// Number of blocks.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.geometry.blocks
    }

    /// What the disk has said of itself.
    #[must_use]
    pub fn capacity(&self) -> &Capacity16 {
        &self.capacity
    }

    /// Blocks that one read or write may have at most.
    #[must_use]
    pub fn transfer_blocks_max(&self) -> u64 {
        self.transfer_blocks_max
    }

    /// Blocks that one unmap may have at most; zero if the disk cannot unmap.
    #[must_use]
    pub fn unmap_blocks_max(&self) -> u64 {
        self.unmap_blocks_max
    }

    /// Reads blocks.
    pub fn read(&self, lba: u64, blocks: u32) -> Operation<Bytes> {
        let length = match self.check(lba, u64::from(blocks), self.transfer_blocks_max) {
            Ok(length) => length,
            Err(error) => return Operation::failed(error),
        };
        let answer = self.client.command(read(self.lun, &Cdb::read_16(lba, blocks), length));
        Operation::new(async move {
            let data = join(good(answer.await?)?.data);
            // A GOOD read that gives less than was asked for has not read what was asked for.
            if data.len() == length as usize { Ok(data) } else { Err(ClientError::Answer("a READ came short")) }
        })
    }

    /// Writes blocks; they may be in a cache of the disk until a flush.
    pub fn write(&self, lba: u64, data: Bytes) -> Operation<()> {
        self.write_with(lba, data, Cdb::write_16)
    }

    /// Writes blocks; when it has ended, they would survive a power cut.
    pub fn write_durable(&self, lba: u64, data: Bytes) -> Operation<()> {
        self.write_with(lba, data, |lba, blocks| Cdb::write_16(lba, blocks).with_force_unit_access())
    }

    /// Everything written before is to survive a power cut.
    pub fn flush(&self) -> Operation<()> {
        self.run(Request::new(self.lun, &Cdb::synchronize_cache_16(0, 0), Transfer::None))
    }

    /// The blocks are not needed any more.
    pub fn unmap(&self, lba: u64, blocks: u64) -> Operation<()> {
        if let Err(error) = self.check(lba, blocks, self.unmap_blocks_max) {
            return Operation::failed(error);
        }
        let list = UnmapList(SmallVec::from_buf([Extent { lba, blocks }])).encode();
        self.run(Request::new(self.lun, &Cdb::unmap(list.len() as u16), Transfer::Write(list.into())))
    }

    /// Makes blocks read as zeros; the disk may give their space back.
    pub fn write_zeroes(&self, lba: u64, blocks: u32) -> Operation<()> {
        if let Err(error) = self.check(lba, u64::from(blocks), u64::from(u32::MAX)) {
            return Operation::failed(error);
        }
        // To WRITE SAME no blocks are all to the end of the medium.
        if blocks == 0 {
            return Operation::new(std::future::ready(Ok(())));
        }
        self.run(Request::new(self.lun, &Cdb::write_zeroes_16(lba, blocks, self.capacity.provisioning), Transfer::None))
    }

    fn write_with(&self, lba: u64, data: Bytes, cdb: impl Fn(u64, u32) -> Cdb) -> Operation<()> {
        let block_size = self.geometry.block_size as usize;
        if !data.len().is_multiple_of(block_size) {
            let text = format!("{} bytes are no whole number of blocks of {block_size} bytes", data.len());
            return Operation::failed(ClientError::Range(text));
        }
        let blocks = (data.len() / block_size) as u64;
        match self.check(lba, blocks, self.transfer_blocks_max) {
            Ok(_) => self.run_whole(Request::new(self.lun, &cdb(lba, blocks as u32), Transfer::Write(data))),
            Err(error) => Operation::failed(error),
        }
    }

    fn run(&self, request: Request) -> Operation<()> {
        let answer = self.client.command(request);
        Operation::new(async move { answer.await.and_then(good).map(|_| ()) })
    }

    /// As `run`, for a command that has to take all of its data: a GOOD one that took less, or wanted more, has not written it.
    fn run_whole(&self, request: Request) -> Operation<()> {
        let answer = self.client.command(request);
        Operation::new(async move { answer.await.and_then(good).and_then(whole) })
    }

    /// The length in bytes of a range that is on the disk and not longer than one command allows.
    fn check(&self, lba: u64, blocks: u64, blocks_max: u64) -> Result<u32, ClientError> {
        if lba.checked_add(blocks).is_none_or(|end| end > self.geometry.blocks) {
            let size = self.geometry.blocks;
            return Err(ClientError::Range(format!("{blocks} blocks at {lba} are not on a disk of {size} blocks")));
        }
        if blocks > blocks_max {
            return Err(ClientError::Range(format!("{blocks} blocks are more than the {blocks_max} of one command")));
        }
        Ok(u32::try_from(blocks.saturating_mul(u64::from(self.geometry.block_size))).unwrap_or(u32::MAX))
    }
}

/// Takes the unit attentions that wait for a new session, and waits for nothing else.
async fn make_ready(client: &Client, lun: LogicalUnitNumber) -> Result<(), ClientError> {
    let mut answer = Ok(());
    for _ in 0..UNIT_ATTENTIONS_MAX {
        let request = Request::new(lun, &Cdb::test_unit_ready(), Transfer::None);
        let completion = client.command(request).await?;
        let is_attention = Sense::decode(&completion.sense).is_ok_and(|sense| sense.key == SenseKey::UnitAttention);
        answer = good(completion).map(|_| ());
        if !is_attention {
            break;
        }
    }
    answer
}

pub(super) async fn report_luns(client: &Client) -> Result<Vec<LogicalUnitNumber>, ClientError> {
    let mut length = 4096;
    loop {
        let request = read(LogicalUnitNumber::from(0), &Cdb::report_luns(0, length), length);
        let data = join(good(client.command(request).await?)?.data);
        let wrong = |_| ClientError::Answer("REPORT LUNS");
        let needed = UnitList::bytes_needed(&data).map_err(wrong)?;
        // 16384 units are more than a target has.
        if needed <= u64::from(length) || length > 1 << 17 {
            return Ok(UnitList::decode(&data).map_err(wrong)?.0);
        }
        length = 1 << 18;
    }
}

fn read(lun: LogicalUnitNumber, cdb: &Cdb, length: u32) -> Request {
    Request::new(lun, cdb, Transfer::Read(length))
}

/// The completion of a command that went well.
fn good(completion: Completion) -> Result<Completion, ClientError> {
    match Status::try_from(completion.status) {
        Ok(Status::Good) => Ok(completion),
        Ok(Status::CheckCondition) if completion.sense.is_empty() => {
            Err(ClientError::Command("CHECK CONDITION without sense data".into()))
        }
        Ok(Status::CheckCondition) => Err(ClientError::Command(match Sense::decode(&completion.sense) {
            Ok(sense) => format!("CHECK CONDITION: {sense}"),
            Err(error) => format!("CHECK CONDITION with sense data that makes no sense: {error}"),
        })),
        Ok(status) => Err(ClientError::Command(status.name().into())),
        Err(unknown) => Err(ClientError::Command(unknown.to_string())),
    }
}

/// The completion of a command that has moved neither more nor less than was expected.
fn whole(completion: Completion) -> Result<(), ClientError> {
    match completion.residual {
        Residual::None => Ok(()),
        _ => Err(ClientError::Answer("a WRITE did not take what it was given")),
    }
}

/// Pieces as one, without a copy if there is one piece.
fn join(mut segments: Segments) -> Bytes {
    if segments.len() <= 1 {
        return segments.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(segments.iter().map(Bytes::len).sum());
    segments.iter().for_each(|segment| whole.extend_from_slice(segment));
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_took_less_than_it_was_given_has_failed() {
        let end = |status, residual| {
            let completion =
                Completion { status, status_qualifier: 0, sense: Bytes::new(), residual, data: Segments::new() };
            good(completion).and_then(whole)
        };
        assert!(end(0, Residual::None).is_ok());
        assert!(matches!(end(0, Residual::Underflow(512)), Err(ClientError::Answer(_))));
        assert!(matches!(end(0, Residual::Overflow(512)), Err(ClientError::Answer(_))));
        assert!(matches!(end(8, Residual::None), Err(ClientError::Command(_))));
    }
}
