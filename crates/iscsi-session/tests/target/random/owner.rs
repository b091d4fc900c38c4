//! An owner that takes all that a session says, and checks that it says each thing once.

use super::*;

/// A device and an owner in one: commands wait here until they are ended.
#[derive(Default)]
pub(crate) struct Owner {
    /// Tags that the session has.
    lent: Vec<TargetTransferTag>,
    pub(crate) open: Vec<(TaskId, u32, bool)>,
    pub(crate) ended: usize,
    pub(crate) begun: usize,
    pub(crate) functions: Vec<RequestId>,
    pub(crate) questions: Vec<RequestId>,
    written: HashMap<TaskId, Vec<u8>>,
    pub(super) complete: HashSet<TaskId>,
    /// Connections that have ended.
    pub(crate) closed_connections: Vec<Cid>,
    pub(crate) closed: usize,
}

fn tag_of(task: TaskId) -> TargetTransferTag {
    TargetTransferTag(0x1000 + task.index() as u32)
}

impl Owner {
    /// Takes all events. A write's data is asked for at once, or later if `lazy`.
    pub(crate) fn take(&mut self, session: &mut Session, lazy: bool) {
        while let Some(event) = session.poll_event() {
            assert_eq!(self.closed, 0, "nothing comes after the end");
            match event {
                Event::Command(command) => {
                    assert!(!self.open.iter().any(|(id, ..)| *id == command.task), "a new name");
                    self.begun += 1;
                    self.open.push((command.task, command.expected_data_transfer_length, command.write));
                    self.written.insert(command.task, command.data.to_vec());
                    if command.write && !lazy {
                        self.want(session, command.task, command.expected_data_transfer_length);
                    }
                }
                Event::Data { task, offset, data } => {
                    let written = self.written.get_mut(&task).expect("the command is open");
                    assert_eq!(written.len(), offset as usize);
                    assert!(!data.is_empty());
                    written.extend_from_slice(&data);
                }
                Event::DataComplete { task } => {
                    self.take_back(tag_of(task));
                    assert!(self.complete.insert(task), "complete once");
                }
                Event::TagFree { tag, .. } => self.take_back(tag),
                Event::Reassigned { task, .. } => self.go_on(session, task),
                Event::Aborted { task } => self.end(task),
                Event::TaskManagement { id, .. } => self.functions.push(id),
                Event::SendTargets { id, .. } => self.questions.push(id),
                Event::Violated { .. } => {}
                Event::ConnectionClosed { cid, .. } => self.closed_connections.push(cid),
                Event::Closed(_) => self.closed += 1,
            }
        }
    }

    pub(super) fn want(&mut self, session: &mut Session, task: TaskId, length: u32) {
        if session.receive_data(task, tag_of(task), length) == iscsi_session::target::DataProgress::Complete {
            assert!(self.complete.insert(task), "complete once");
        } else {
            self.lent.push(tag_of(task));
        }
    }

    /// A tag that the session has no use for any more.
    fn take_back(&mut self, tag: TargetTransferTag) {
        let place = self.lent.iter().position(|lent| *lent == tag).expect("a tag comes back once");
        self.lent.swap_remove(place);
    }

    /// What has not come of a write is asked for again.
    fn go_on(&mut self, session: &mut Session, task: TaskId) {
        let (_, length, write) = *self.open.iter().find(|(id, ..)| *id == task).expect("the command is open");
        if write && !self.complete.contains(&task) {
            self.want(session, task, length);
        }
    }

    /// Whether all data of a write is there.
    pub(crate) fn is_complete(&self, task: TaskId) -> bool {
        self.complete.contains(&task)
    }

    pub(crate) fn end(&mut self, task: TaskId) {
        let place = self.open.iter().position(|(id, ..)| *id == task).expect("every task ends once");
        self.open.swap_remove(place);
        self.written.remove(&task);
        self.complete.remove(&task);
        self.ended += 1;
    }

    /// Answers all that was asked beside commands.
    pub(crate) fn answer_requests(&mut self, session: &mut Session) {
        for id in std::mem::take(&mut self.functions) {
            session.answer_task_management(id, TaskManagementResponseCode::FunctionComplete);
        }
        for id in std::mem::take(&mut self.questions) {
            session.answer_send_targets(id, &[]);
        }
    }

    /// Whatever data the owner has is what the initiator wrote.
    pub(crate) fn check_written(&self) {
        for written in self.written.values() {
            assert_eq!(*written, pattern(0, written.len()));
        }
        for (task, length, write) in &self.open {
            if *write && self.complete.contains(task) {
                assert_eq!(self.written[task].len(), *length as usize);
            }
        }
    }

    pub(crate) fn complete(&mut self, session: &mut Session, which: usize, outcome: TaskOutcome) {
        if let Some((task, ..)) = self.open.get(which % self.open.len().max(1)).copied() {
            session.complete(task, outcome);
            self.end(task);
        }
    }
}
