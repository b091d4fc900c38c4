//! The pumps that join port, session and SCSI: an iSCSI target node and an initiator node, without I/O of their own
