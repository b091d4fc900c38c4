//! The iSCSI nodes in the real world: sockets, clocks, threads; Server and Client for embedding
