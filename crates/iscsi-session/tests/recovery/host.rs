//! The owner of the initiator: what it submits, what becomes of that, and how it recovers.

use super::*;

impl World {
    pub(super) fn submit(&mut self) {
        let number = self.dice.below(self.slots.len());
        let Some(cid) = self.pick() else { return };
        if self.commands_left == 0 || self.initiator.window(cid) == 0 || !matches!(self.slots[number], Slot::Idle) {
            return;
        }
        let (slot, transfer) = match &self.parts[number] {
            Some(_) if self.dice.one_in(2) => {
                let length = self.dice.below(PART_BYTES);
                let offset = self.dice.below(PART_BYTES - length + 1);
                let slot = Slot::Reading { offset, length, data: Vec::new() };
                (slot, initiator::Transfer::Read(length as u32))
            }
            part => {
                let length = if part.is_none() { PART_BYTES } else { self.dice.below(PART_BYTES) };
                let offset = self.dice.below(PART_BYTES - length + 1);
                let data = self.dice.bytes(length);
                (Slot::Writing { offset, data: data.clone() }, initiator::Transfer::Write(data))
            }
        };
        let (offset, length) = match &slot {
            Slot::Reading { offset, length, .. } => (*offset, *length),
            Slot::Writing { offset, data } => (*offset, data.len()),
            Slot::Idle => unreachable!("a slot that begins something"),
        };
        let mut cdb = [0; 16];
        cdb[2..6].copy_from_slice(&((number * PART_BYTES + offset) as u32).to_be_bytes());
        cdb[6..10].copy_from_slice(&(length as u32).to_be_bytes());
        let command = initiator::Command { cdb, data: transfer, ..initiator::Command::default() };
        let tag = self.tag();
        self.commands.insert(tag, number);
        self.initiator.submit(self.now, cid, tag, command).expect("the window has room");
        self.slots[number] = slot;
        self.commands_left -= 1;
    }

    fn pick(&mut self) -> Option<Cid> {
        let cids: Vec<_> = self.initiator.cids().collect();
        if cids.is_empty() { None } else { Some(cids[self.dice.below(cids.len())]) }
    }

    pub(super) fn handle_events(&mut self) {
        while let Some(event) = self.initiator.poll_event() {
            match event {
                Event::Data { tag, offset, data } => {
                    let Slot::Reading { data: so_far, .. } = &mut self.slots[self.commands[&tag]] else {
                        panic!("data for a slot that does not read")
                    };
                    assert_eq!(so_far.len(), offset as usize);
                    so_far.extend_from_slice(&data);
                }
                Event::TaskComplete { tag, result } => {
                    let number = self.commands.remove(&tag).expect("a task ends once");
                    self.complete(number, &result);
                }
                Event::TaskLost { tag } => self.lose(tag),
                Event::PingComplete { tag, .. } | Event::TaskManagementComplete { tag, .. } => {
                    self.end_request(tag, &event)
                }
                Event::LogoutComplete { tag, response } => {
                    // It may have been reinstated, or forgotten, in the meantime.
                    let is_known = matches!(response, LogoutResponseCode::Closed | LogoutResponseCode::CidNotFound);
                    assert!(is_known, "{response:?}");
                    self.requests.remove(&tag).expect("a request ends once");
                }
                Event::PingDue { cid } => {
                    let tag = self.tag();
                    self.requests.insert(tag, Request::Ping);
                    self.initiator.ping(self.now, cid, tag, Bytes::new());
                }
                Event::ConnectionClosed { cid, .. } => {
                    self.wires.remove(&cid);
                    self.target.handle_connection_lost(self.now, cid);
                    self.handle_target_events();
                }
                Event::CleanupDue { cid } => self.to_reinstate.push(cid),
                Event::ReassignmentDue { tag } => self.to_reassign.push(tag),
                Event::PduRejected { .. } => {}
                Event::Closed(reason) => {
                    assert!(self.requests.is_empty());
                    self.closed = Some(reason);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn end_request(&mut self, tag: InitiatorTaskTag, event: &Event) {
        let request = self.requests.remove(&tag).expect("a request ends once");
        if let (Request::Reassign(task), Event::TaskManagementComplete { response, .. }) = (request, event) {
            use TaskManagementResponseCode::{FunctionComplete, TaskDoesNotExist, TaskStillAllegiant};
            match response {
                FunctionComplete | TaskDoesNotExist => {}
                TaskStillAllegiant => self.to_reassign.push(task),
                other => panic!("{other:?}"),
            }
        }
    }

    fn lose(&mut self, tag: InitiatorTaskTag) {
        if let Some(request) = self.requests.remove(&tag) {
            if let Request::Reassign(task) = request {
                self.to_reassign.push(task);
            }
            return;
        }
        self.lost += 1;
        let number = self.commands.remove(&tag).expect("a task ends once");
        if let Slot::Writing { .. } = std::mem::replace(&mut self.slots[number], Slot::Idle) {
            self.parts[number] = None;
        }
    }

    fn complete(&mut self, number: usize, result: &initiator::TaskResult) {
        let slot = std::mem::replace(&mut self.slots[number], Slot::Idle);
        assert_eq!((result.response, result.status), (ScsiResponseCode::CompletedAtTarget, 0), "{result:?} {slot:?}");
        match slot {
            Slot::Idle => panic!("a task ends once"),
            Slot::Reading { offset, length, data } => {
                let part = self.parts[number].as_ref().expect("a part that is known");
                assert!(data == part[offset..offset + length], "what is read is what was written last");
                assert_eq!(result.residual, Residual::None);
            }
            Slot::Writing { offset, data } => {
                assert_eq!(result.residual, Residual::None);
                let part = self.parts[number].get_or_insert_with(|| vec![0; PART_BYTES]);
                part[offset..offset + data.len()].copy_from_slice(&data);
            }
        }
    }

    /// What the owner does about connections and tasks that are lost.
    pub(super) fn recover(&mut self) {
        if let Some(cid) = self.to_reinstate.pop() {
            if self.initiator.cids().any(|other| other == cid) {
                return;
            }
            match self.pick() {
                Some(over) if self.dice.one_in(2) => {
                    let tag = self.tag();
                    self.requests.insert(tag, Request::Cleanup);
                    let logout = if self.level == 2 { Logout::ForRecovery(cid) } else { Logout::Connection(cid) };
                    self.initiator.logout(self.now, over, tag, logout);
                }
                _ if self.target.admission(cid) == LoginStatus::Success => self.log_in(cid),
                _ => {}
            }
        }
        if !self.to_reassign.is_empty()
            && let Some(cid) = self.pick()
        {
            let task = self.to_reassign.swap_remove(self.dice.below(self.to_reassign.len()));
            let tag = self.tag();
            self.requests.insert(tag, Request::Reassign(task));
            let function = TaskManagementFunction::TaskReassign;
            let asked = TaskManagement { function, lun: LunField::default(), referenced: Some(task) };
            self.initiator.manage_task(self.now, cid, tag, asked);
        }
    }
}
