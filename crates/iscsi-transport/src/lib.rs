//! PduPort: where iSCSI PDUs cross between a session and the world; software, loopback and capture ports
