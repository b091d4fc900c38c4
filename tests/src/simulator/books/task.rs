//! One command between its PDU and the release of its tag: what was granted, and what has moved.
//!
//! Where PDUs may be lost they come again, out of order; what is within a grant, a burst and the command stays so.

use iscsi_session::Parameters;

#[derive(Debug)]
pub(super) struct Task {
    /// The connection that it is allegiant to.
    pub(super) link: usize,
    pub(super) expected_bytes: u32,
    /// Bytes of data that came without a grant.
    unsolicited_bytes: u32,
    grants: Vec<Grant>,
    next_r2t_sn: u32,
    /// Where the data ends that was asked for.
    asked_end: u32,
    received_bytes: u32,
    /// Bytes of data-in since the last F bit.
    sequence_bytes: u32,
    next_data_sn: u32,
    pub(super) is_answered: bool,
}

/// What an R2T asks for.
#[derive(Debug)]
pub(super) struct Grant {
    link: usize,
    tag: u32,
    offset: u32,
    length: u32,
    sent_bytes: u32,
    next_data_sn: u32,
}

/// What one PDU carries.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) number: u32,
    pub(super) is_final: bool,
}

type Verdict = Result<(), &'static str>;

fn check(holds: bool, what: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(what) }
}

impl Grant {
    pub(super) fn new(link: usize, tag: u32, offset: u32, length: u32) -> Self {
        Self { link, tag, offset, length, sent_bytes: 0, next_data_sn: 0 }
    }
}

impl Piece {
    fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}

impl Task {
    pub(super) fn new(link: usize, expected_bytes: u32, immediate_bytes: u32) -> Self {
        Self {
            link,
            expected_bytes,
            unsolicited_bytes: immediate_bytes,
            grants: Vec::new(),
            next_r2t_sn: 0,
            asked_end: 0,
            received_bytes: 0,
            sequence_bytes: 0,
            next_data_sn: 0,
            is_answered: false,
        }
    }

    /// Data goes that nobody has asked for.
    pub(super) fn send_unsolicited(&mut self, piece: &Piece, parameters: &Parameters, may_recover: bool) -> Verdict {
        let in_order = piece.offset == self.unsolicited_bytes;
        self.unsolicited_bytes += piece.length;
        check(in_order || may_recover, "unsolicited data is out of order")?;
        let most = parameters.first_burst_bytes_max.min(self.expected_bytes);
        let within = piece.end() <= u64::from(most);
        check(within && !parameters.initial_r2t, "unsolicited data is beyond FirstBurstLength")
    }

    /// Data goes that the R2T with this tag has asked for.
    pub(super) fn send(&mut self, tag: u32, piece: &Piece, may_recover: bool) -> Verdict {
        let (link, is_meant) =
            (self.link, |grant: &Grant| grant.tag == tag && (!may_recover || piece.end() <= grant.end()));
        let Some(place) = self.grants.iter().rposition(|grant| grant.link == link && is_meant(grant)) else {
            return Err("data is sent that no R2T has asked for");
        };
        let grant = &mut self.grants[place];
        if may_recover {
            return check(piece.offset >= grant.offset, "data is sent beyond its grant");
        }
        let in_order = piece.offset == grant.offset + grant.sent_bytes && piece.number == grant.next_data_sn;
        grant.sent_bytes += piece.length;
        grant.next_data_sn += 1;
        let (within, done) = (grant.sent_bytes <= grant.length, grant.sent_bytes == grant.length);
        if piece.is_final {
            self.grants.remove(place);
        }
        check(in_order, "data of a grant is out of order")?;
        check(within && piece.is_final == done, "data does not end where its grant does")
    }

    /// RFC 7143 11.8: in order and numbered, within the command, MaxBurstLength and MaxOutstandingR2T.
    pub(super) fn grant(&mut self, grant: Grant, number: u32, parameters: &Parameters, may_recover: bool) -> Verdict {
        let (offset, length) = (grant.offset, grant.length);
        let numbered = number == self.next_r2t_sn;
        let ordered = if self.next_r2t_sn == 0 { offset >= self.unsolicited_bytes } else { offset == self.asked_end };
        self.next_r2t_sn += 1;
        self.asked_end = offset.wrapping_add(length);
        let within =
            grant.end() <= u64::from(self.expected_bytes) && (1..=parameters.burst_bytes_max).contains(&length);
        self.grants.push(grant);
        check(within, "an R2T asks for more than there is or may be")?;
        if may_recover {
            return Ok(());
        }
        check(numbered && ordered, "an R2T is out of order")?;
        let few = self.grants.len() <= usize::from(parameters.outstanding_r2t_max);
        check(few, "more R2Ts are outstanding than agreed upon")
    }

    /// RFC 7143 11.7: in order and numbered, within the command, MaxRecvDataSegmentLength and MaxBurstLength.
    pub(super) fn receive(&mut self, piece: &Piece, parameters: &Parameters, may_recover: bool) -> Verdict {
        let in_order = piece.number == self.next_data_sn && piece.offset == self.received_bytes;
        self.next_data_sn += 1;
        self.received_bytes += piece.length;
        self.sequence_bytes += piece.length;
        let in_burst = self.sequence_bytes <= parameters.burst_bytes_max;
        if piece.is_final {
            self.sequence_bytes = 0;
        }
        check(piece.end() <= u64::from(self.expected_bytes), "more read data comes than was asked for")?;
        check(piece.length <= parameters.receive_segment_bytes_max, "a segment is longer than we have declared")?;
        if may_recover {
            return Ok(());
        }
        check(in_order, "read data is out of order")?;
        check(in_burst, "a sequence of read data is longer than MaxBurstLength")
    }
}

impl Grant {
    fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}
