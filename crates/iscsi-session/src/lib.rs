//! iSCSI sessions as pure state machines: PDUs in, PDUs and events out, for both ends
