//! The well-known REPORT LUNS logical unit (SPC-5 8.2): it tells which units there are, and has neither medium nor state. Nothing is
//! told through it by unit attention.

use bytes::Bytes;

use super::{allocated, control, identify, reports};
use crate::cdb::Cdb;
use crate::opcodes::Operation;
use crate::rights::DeviceView;
use crate::sense::{AdditionalSense, Sense};
use crate::unit::NexusId;

/// Carries a command out; a unit of that kind knows four.
pub(crate) fn execute(device: &DeviceView, nexus: NexusId, cdb: &Cdb) -> Result<Bytes, Sense> {
    cdb.check_refused(false)?;
    match cdb.operation() {
        Operation::TestUnitReady => Ok(Bytes::new()),
        Operation::RequestSense => Ok(control::sense_as_data(cdb, Sense::NONE)),
        Operation::Inquiry => identify::inquiry_of_well_known(device, cdb).map(|data| allocated(cdb, data)),
        Operation::ReportLuns => reports::report_luns(device, nexus, cdb),
        _ => Err(Sense::illegal(AdditionalSense::INVALID_COMMAND_OPERATION_CODE)),
    }
}
