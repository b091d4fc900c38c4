//! What a driver is given, and how much of everything it makes.

use std::net::IpAddr;

/// How much of everything a driver has.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// The port that frames leave by.
    pub port: u8,
    /// Longest IP packet.
    pub mtu: u16,
    /// Ingress queues, 1 or more: a policy spreads connections over them.
    pub ingress_queues: u16,
    /// The processor that the driver's thread is on: `bind cpu` takes the queue of that number, counted round.
    pub cpu: u16,
    /// Whether nothing is offloaded until there is a policy (`cop_managed_offloading`).
    pub managed_offloading: bool,
    /// The interrupt's vector.
    pub vector: u16,
    /// Addresses of the function, each with the length of its network's prefix, at most [`HOST_ADDRESSES_MAX`](super::HOST_ADDRESSES_MAX): who asks for their address of
    /// the link is answered, as are echo requests. Without one, frames that belong to no connection are left to the adapter. Our ends of connections over
    /// IPv6 have one of these.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Descriptors of the queue for data, 16 to 8191.
    pub data_descriptors: u16,
    /// Descriptors of the queue for everything else, 16 to 8191.
    pub control_descriptors: u16,
    /// Entries of an ingress queue, 16 to 4095.
    pub ingress_entries: u16,
    /// Buffers of 64 KiB of each ingress queue for what has no place, a multiple of eight above sixteen.
    pub free_list_buffers: u16,
    /// Receive window of a connection, in bytes, up to 1023 KiB.
    pub receive_window_bytes: u32,
    /// Send window of a connection, in bytes.
    pub send_window_bytes: u32,
    /// Shortest transfer that gets a place, in bytes. What an initiator sends unasked, up to FirstBurstLength, names no tag of the target's and has
    /// none: with InitialR2T=Yes and ImmediateData=No all data of writes can be placed.
    pub placed_bytes_min: u32,
    /// Sequence numbers of connections begin with numbers made of this, and queues are drawn by it: random bytes.
    pub seed: u64,
}

impl Default for DriverConfig {
    fn default() -> Self {
        // Rings and buffers are gone round all the time, so no more of them than the processor's cache has place for.
        Self {
            port: 0,
            mtu: 1500,
            ingress_queues: 1,
            cpu: 0,
            managed_offloading: false,
            vector: 0,
            addresses: Vec::new(),
            data_descriptors: 1024,
            control_descriptors: 1024,
            ingress_entries: 1008,
            free_list_buffers: 24,
            receive_window_bytes: 512 << 10,
            send_window_bytes: 512 << 10,
            placed_bytes_min: 512,
            seed: 0,
        }
    }
}
