//! iSCSI PDUs (RFC 7143 section 11) as bytes and as typed values
