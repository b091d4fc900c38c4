//! The SCSI commands that a host asks for, drawn.
//!
//! Out: a request, what is to be known of it, and the oracle told of the write that it is.

use super::host::{Host, Kind, Open, PATIENCE};
use super::oracle::{Oracle, Range};
use super::pattern::{BLOCK_BYTES, ZEROS, push_block};
use iscsi_node::initiator::Request;
use iscsi_pdu::Residual;
use iscsi_session::initiator::Transfer;
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::io::Extent;
use scsi_block::parameters::UnmapList;
use std::time::Duration;

impl Host {
    /// A SCSI command, and what it stands for. A write puts `stamp` into its blocks.
    pub(crate) fn draw_command(&mut self, oracle: &mut Oracle, stamp: u64, now: Duration) -> (Request, Open) {
        let at = self.units[self.random.below(self.units.len() as u64) as usize];
        let lba = self.random.below(at.blocks);
        let blocks = self.random.between(1, self.plan.blocks_max.min(at.blocks - lba));
        let range = Range { unit: at.unit, lba, blocks };
        let began = oracle.begin();
        let mut residual = Residual::None;
        let (cdb, transfer, kind) = match self.random.below(100) {
            0..45 => {
                residual = self.draw_residual(range.bytes());
                let (expected, bytes) = match residual {
                    Residual::None => (range.bytes(), range.bytes()),
                    Residual::Underflow(surplus) => (range.bytes() + surplus, range.bytes()),
                    Residual::Overflow(missing) => (range.bytes() - missing, range.bytes() - missing),
                };
                (self.draw_read(lba, blocks), Transfer::Read(expected), Kind::Read { range, bytes })
            }
            45..83 => {
                let mut data = blocks_of(range, std::iter::repeat(stamp));
                residual = self.draw_surplus(&mut data);
                let write = oracle.write_begins(range, stamp, began);
                (self.draw_write(lba, blocks), Transfer::Write(data.into()), Kind::Write(write))
            }
            83..86 => {
                let write = oracle.write_begins(range, ZEROS, began);
                let unmap = self.random.one_in(2);
                (Cdb::write_zeroes_16(lba, blocks as u32, unmap), Transfer::None, Kind::Write(write))
            }
            86..90 => {
                let list = UnmapList([Extent { lba, blocks }].into_iter().collect()).encode();
                let write = oracle.write_begins(range, ZEROS, began);
                (Cdb::unmap(list.len() as u16), Transfer::Write(list.into()), Kind::Write(write))
            }
            90..96 => {
                // What most likely stands there, or what hardly does.
                let guesses = !self.random.one_in(4);
                let guess = |lba| if guesses { oracle.likely(at.unit, lba) } else { ZEROS };
                let compare: Vec<u64> = (lba..lba + blocks).map(guess).collect();
                let mut data = blocks_of(range, compare.iter().copied());
                data.extend(blocks_of(range, std::iter::repeat(stamp)));
                let write = oracle.write_begins(range, stamp, began);
                let kind = Kind::CompareAndWrite { compare, write };
                (Cdb::compare_and_write(lba, blocks as u8), Transfer::Write(data.into()), kind)
            }
            96..98 => (Cdb::synchronize_cache_10(), Transfer::None, Kind::Plain),
            _ => (Cdb::test_unit_ready(), Transfer::None, Kind::Plain),
        };
        let open = Open { kind, began, lun: at.lun, deadline: now + PATIENCE, residual };
        (Request::new(LogicalUnitNumber::from(at.lun), &cdb, transfer), open)
    }

    fn draw_read(&mut self, lba: u64, blocks: u64) -> Cdb {
        match self.random.below(4) {
            0 => Cdb::read_10(lba as u32, blocks as u16),
            1 => Cdb::read_12(lba as u32, blocks as u32),
            _ => Cdb::read_16(lba, blocks as u32),
        }
    }

    fn draw_write(&mut self, lba: u64, blocks: u64) -> Cdb {
        match self.random.below(4) {
            0 => Cdb::write_10(lba as u32, blocks as u16),
            1 => Cdb::write_16(lba, blocks as u32).with_force_unit_access(),
            _ => Cdb::write_16(lba, blocks as u32),
        }
    }

    /// Now and then the Expected Data Transfer Length of a read is less or more than what the CDB asks for (RFC 7143 11.4.5.1).
    fn draw_residual(&mut self, wanted: u32) -> Residual {
        match self.random.below(16) {
            0 => Residual::Overflow(self.random.between(1, u64::from(wanted) - 1) as u32),
            1 => Residual::Underflow(self.random.between(1, 1000) as u32),
            _ => Residual::None,
        }
    }

    /// Now and then a write announces more than its CDB asks for.
    fn draw_surplus(&mut self, data: &mut Vec<u8>) -> Residual {
        if !self.random.one_in(16) {
            return Residual::None;
        }
        let surplus = self.random.between(1, 1000) as u32;
        data.resize(data.len() + surplus as usize, 0xee);
        Residual::Underflow(surplus)
    }
}

fn blocks_of(range: Range, stamps: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut data = Vec::with_capacity(range.blocks as usize * BLOCK_BYTES * 2);
    for (lba, stamp) in (range.lba..range.lba + range.blocks).zip(stamps) {
        push_block(&mut data, range.unit, lba, stamp);
    }
    data
}
