//! The data of one write: in order where nothing else can come, else put together (RFC 7143 sections 13.18 and 13.20).

use super::assembly::{Assembly, Silence};
use super::event::DataPiece;
use super::transfer::Transfer;
use crate::{Parameters, Violation};
use bytes::Bytes;
use iscsi_pdu::{DataOut, TargetTransferTag};

/// The data of one write.
#[derive(Debug)]
pub(super) enum Receive {
    /// Comes in order or not at all.
    InOrder(Transfer),
    /// May come with holes or out of order.
    Assembled(Box<Assembly>),
}

use Receive::{Assembled, InOrder};

impl Receive {
    /// A write of `expected` bytes, `immediate` of which are there; unsolicited data follows unless the command was final.
    pub(super) fn new(expected: u32, immediate: u32, unsolicited: bool, parameters: &Parameters) -> Self {
        let in_order = parameters.data_pdu_in_order && parameters.error_recovery_level == 0;
        // Where all has come with the command nothing can come otherwise.
        if in_order || expected == 0 || immediate == expected && !unsolicited {
            InOrder(Transfer::new(expected, immediate, unsolicited))
        } else {
            Assembled(Box::new(Assembly::new(expected, immediate, unsolicited, parameters)))
        }
    }

    /// Whether data that was lost can be asked for again.
    pub(super) fn recovers(&self, parameters: &Parameters) -> bool {
        parameters.error_recovery_level > 0 && matches!(self, Assembled(_))
    }

    /// Whether the initiator has sent all that it was allowed to.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            InOrder(transfer) => transfer.is_settled(),
            Assembled(assembly) => assembly.is_settled(),
        }
    }

    /// Whether an R2T waits for its last Data-Out.
    pub(super) fn has_outstanding_r2t(&self) -> bool {
        match self {
            InOrder(transfer) => transfer.has_outstanding_r2t(),
            Assembled(assembly) => assembly.has_outstanding_r2t(),
        }
    }

    /// Nothing of what comes is of use any more.
    pub(super) fn discard(&mut self) {
        match self {
            InOrder(transfer) => transfer.discard(),
            Assembled(assembly) => assembly.discard(),
        }
    }

    /// The owner's tag, if it waits for data under it.
    pub(super) fn lent_tag(&self) -> Option<TargetTransferTag> {
        match self {
            InOrder(transfer) => transfer.lent_tag(),
            Assembled(assembly) => assembly.lent_tag(),
        }
    }

    /// The owner asks for data. Returns whether all of it was there with the command.
    pub(super) fn want(&mut self, tag: Option<TargetTransferTag>, length: u32) -> bool {
        match self {
            InOrder(transfer) => transfer.want(tag, length),
            Assembled(assembly) => assembly.want(tag, length),
        }
    }

    /// Hands on data that came before the owner asked for it.
    pub(super) fn take_early(&mut self, mut give: impl FnMut(DataPiece)) {
        match self {
            InOrder(transfer) => transfer.take_early().map_or((), give),
            Assembled(assembly) => assembly.hand_on(&mut give),
        }
    }

    /// Whether all that the owner asked for is there now and was not before; the burst that brought it is over.
    pub(super) fn becomes_complete(&mut self) -> bool {
        match self {
            InOrder(transfer) => transfer.becomes_complete(),
            Assembled(assembly) => assembly.becomes_complete(),
        }
    }

    /// Whether an R2T may be sent now.
    pub(super) fn may_ask(&self, parameters: &Parameters) -> bool {
        match self {
            InOrder(transfer) => transfer.may_ask(parameters),
            Assembled(assembly) => assembly.may_ask(parameters),
        }
    }

    /// The tag, offset and length of the R2T that may be sent now. It counts as sent.
    pub(super) fn next_r2t(&mut self, parameters: &Parameters) -> Option<(TargetTransferTag, u32, u32)> {
        match self {
            InOrder(transfer) => transfer.next_r2t(parameters),
            Assembled(assembly) => assembly.next_r2t(parameters),
        }
    }

    /// The tag, offset and length of an R2T that was sent, if its data has not come.
    pub(super) fn repeat_r2t(&mut self, r2t_sn: u32) -> Option<(TargetTransferTag, u32, u32)> {
        match self {
            InOrder(_) => None,
            Assembled(assembly) => assembly.repeat_r2t(r2t_sn),
        }
    }

    /// Nothing that was asked for comes any more, and the owner has to give another tag. The initiator knows of so many R2Ts.
    pub(super) fn restart(&mut self, r2t_count: u32) {
        if let Assembled(assembly) = self {
            assembly.restart(r2t_count);
        }
    }

    /// Whether an R2T that was sent can be sent again.
    pub(super) fn is_missing(&self, r2t_sn: u32) -> bool {
        match self {
            InOrder(_) => false,
            Assembled(assembly) => assembly.is_missing(r2t_sn),
        }
    }

    /// Takes the header of a Data-Out of `length` bytes, whose data is not there if it was damaged.
    pub(super) fn accept(
        &mut self,
        pdu: &DataOut,
        length: u32,
        data: Option<&Bytes>,
        parameters: &Parameters,
    ) -> Result<(), Violation> {
        match self {
            InOrder(transfer) => transfer.accept(pdu, length, parameters),
            Assembled(assembly) => assembly.accept(pdu, length, data, parameters),
        }
    }

    /// Hands on the data of a Data-Out that was accepted just before, and what has waited for it: what the owner has asked for.
    pub(super) fn take(&mut self, offset: u32, data: Bytes, mut give: impl FnMut(DataPiece)) {
        match self {
            InOrder(transfer) => transfer.take(offset, data).map_or((), give),
            Assembled(assembly) => assembly.hand_on(&mut give),
        }
    }

    /// Some time has passed.
    pub(super) fn look_for_silence(&mut self) -> Silence {
        match self {
            InOrder(_) => Silence::Nothing,
            Assembled(assembly) => assembly.look_for_silence(),
        }
    }
}
