//! The owner of the target: a disk.

use super::*;

impl World {
    pub(super) fn handle_target_events(&mut self) {
        while let Some(event) = self.target.poll_event() {
            match event {
                target::Event::Command(command) => self.begin(command),
                target::Event::Data { task, offset, data } => {
                    let work = self.receiving.get_mut(&task).expect("data for a command that asked for it");
                    assert_eq!(work.data.len(), offset as usize);
                    work.data.extend_from_slice(&data);
                }
                target::Event::DataComplete { task } => {
                    let work = self.receiving.remove(&task).expect("the end of data that was asked for");
                    self.ready.push(work);
                }
                target::Event::Aborted { task } => {
                    self.receiving.remove(&task);
                    self.ready.retain(|work| work.task != task);
                }
                target::Event::Reassigned { task, .. } => {
                    if let Some(work) = self.receiving.remove(&task) {
                        self.receive(work);
                    }
                }
                target::Event::TagFree { .. } | target::Event::Violated { .. } => {}
                target::Event::ConnectionClosed { .. } | target::Event::Closed(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn begin(&mut self, command: target::Command) {
        let number = |at: usize| u32::from_be_bytes(*command.cdb[at..].first_chunk().unwrap()) as usize;
        let (offset, length) = (number(2), number(6));
        let data = command.data.to_vec();
        let work = Work { task: command.task, write: command.write, offset, length, data };
        if !work.write {
            return self.ready.push(work);
        }
        self.receive(work);
    }

    fn receive(&mut self, work: Work) {
        self.next_tag += 1;
        match self.target.receive_data(work.task, TargetTransferTag(self.next_tag), work.length as u32) {
            target::DataProgress::Complete => self.ready.push(work),
            target::DataProgress::Pending => {
                self.receiving.insert(work.task, work);
            }
        }
    }

    pub(super) fn execute(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let work = self.ready.swap_remove(self.dice.below(self.ready.len()));
        let part = work.offset..work.offset + work.length;
        let mut outcome = target::TaskOutcome::default();
        if work.write {
            self.disk[part].copy_from_slice(&work.data[..work.length]);
            outcome.data_out_length = work.length as u32;
        } else {
            outcome.data_in = Bytes::copy_from_slice(&self.disk[part]);
            outcome.data_in_length = work.length as u32;
        }
        self.target.complete(work.task, outcome);
    }
}
