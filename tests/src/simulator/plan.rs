//! What a seed stands for: who there is, what they are ready to agree upon, how slow and how bad the world is.

use super::Options;
use iscsi_session::Limits;
use iscsi_transport::Random;
use std::time::Duration;

/// Highest ErrorRecoveryLevel that a world has.
pub const RECOVERY_LEVEL_MAX: u8 = 2;

/// Most connections a session that a world has.
pub const CONNECTIONS_MAX: u16 = 4;

/// An initiator of the world.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    /// Place of the target; none is a discovery session.
    pub(crate) target: Option<usize>,
    /// Hosts with the same number have the same name and ISID: each takes the other's place.
    pub(crate) identity: u8,
    pub(crate) limits: Limits,
    /// A node with its one port has the session; otherwise an owner that may do more about its connections.
    pub(crate) uses_node: bool,
    pub(crate) ping_interval: Option<Duration>,
    /// Requests that it makes before it logs out for good.
    pub(crate) requests: u32,
    /// Requests that it has open at most.
    pub(crate) depth: usize,
    /// Blocks of one command at most.
    pub(crate) blocks_max: u64,
}

/// All that a seed decides before the world begins.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Units of each target, as numbers of blocks.
    pub(crate) targets: Vec<Vec<u64>>,
    pub(crate) limits: Limits,
    pub(crate) window: u32,
    /// Immediate requests that a connection may have open.
    pub(crate) immediate_max: u32,
    pub(crate) ping_interval: Option<Duration>,
    /// An initiator proves who it is by CHAP, and has the target prove who that is.
    pub(crate) authenticates: bool,
    /// An initiator may reset a target for all.
    pub(crate) resettable: bool,
    pub(crate) hosts: Vec<HostPlan>,
    /// Faults that happen before they stop.
    pub(crate) faults: u32,
    /// One turn of a host in so many brings a fault.
    pub(crate) fault_one_in: u32,
    /// Bytes that a link holds each way.
    pub(crate) link_bytes_max: usize,
    /// Bytes that one call moves at most; 0 is all.
    pub(crate) piece_bytes_max: usize,
    /// One call of a stream in so many moves nothing; 0 is none.
    pub(crate) blocked_one_in: u32,
    /// Longest way through a link, and longest ordinary request to a store, in microseconds.
    pub(crate) link_delay_max: u64,
    pub(crate) store_delay_max: u64,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random, options: &Options) -> Self {
        let targets: Vec<Vec<u64>> = (0..random.between(1, 2))
            .map(|_| (0..random.between(1, 2)).map(|_| random.pick(&[8, 24, 64, 200])).collect())
            .collect();
        let digests = random.pick(&[None, Some(false), Some(true)]);
        let drawn = random.between(0, u64::from(RECOVERY_LEVEL_MAX)) as u8;
        let common = Common {
            targets: targets.len(),
            digests,
            level: options.level.unwrap_or(drawn),
            time_2_wait: random.pick(&[0, 0, 1, 2]),
            time_2_retain: random.pick(&[0, 2, 5, 20]),
        };
        let draw_connections = |random: &mut Random| {
            let drawn = random.pick(&[1, 1, 1, 2, 3, CONNECTIONS_MAX]);
            options.connections.unwrap_or(drawn)
        };
        let mut hosts: Vec<HostPlan> = (0..random.between(1, 4))
            .map(|identity| {
                let connections = draw_connections(random);
                HostPlan::draw(random, identity as u8, &common, connections, options.requests_max)
            })
            .collect();
        if random.one_in(4) {
            let rival = HostPlan { requests: hosts[0].requests / 2, ..hosts[0].clone() };
            hosts.push(rival);
        }
        let link_bytes_max = random.pick(&[600, 5000, 70_000, 1 << 22]);
        let piece_bytes_max = random.pick(&[0, 0, 0, 0, 0, 0, 0, 40, 700, 9000]);
        // Where bytes trickle, commands are short: a world is to have many of them.
        let piece = if piece_bytes_max == 0 { link_bytes_max } else { piece_bytes_max.min(link_bytes_max) };
        for host in &mut hosts {
            host.blocks_max = host.blocks_max.min((piece as u64 / 64).max(2));
        }
        Self {
            limits: common.limits(random, options.connections.unwrap_or(CONNECTIONS_MAX)),
            window: random.pick(&[1, 2, 8, 32, 128]),
            immediate_max: random.pick(&[1, 2, 16]),
            ping_interval: random.pick(&[None, Some(Duration::from_secs(1)), Some(Duration::from_secs(7))]),
            authenticates: random.one_in(6),
            resettable: random.one_in(2),
            hosts,
            faults: random.pick(&[0, 0, 1, 3, 8, 20]),
            fault_one_in: random.pick(&[10, 40, 120]),
            link_bytes_max,
            piece_bytes_max,
            blocked_one_in: random.pick(&[0, 0, 3, 20]),
            link_delay_max: random.pick(&[1, 50, 400]),
            store_delay_max: random.pick(&[0, 0, 100, 1000]),
            targets,
        }
    }

    /// Whether two hosts take each other's place.
    pub(crate) fn has_rival(&self, host: usize) -> bool {
        let identity = self.hosts[host].identity;
        self.hosts.iter().filter(|other| other.identity == identity).count() > 1
    }
}

/// What all ends of a world have in common.
struct Common {
    targets: usize,
    /// All ends want digests, or none, or some of them.
    digests: Option<bool>,
    level: u8,
    time_2_wait: u16,
    time_2_retain: u16,
}

impl HostPlan {
    fn draw(random: &mut Random, identity: u8, common: &Common, connections: u16, requests_max: u32) -> Self {
        let is_discovery = random.one_in(8);
        Self {
            target: (!is_discovery).then(|| random.below(common.targets as u64) as usize),
            identity,
            limits: common.limits(random, connections),
            uses_node: is_discovery || connections == 1 && (common.level < 2 || random.one_in(2)),
            ping_interval: random.pick(&[None, Some(Duration::from_secs(2)), Some(Duration::from_secs(5))]),
            requests: if is_discovery { 4 } else { random.between(10, u64::from(requests_max.max(10))) as u32 },
            depth: random.pick(&[1, 4, 16, 64]),
            blocks_max: random.pick(&[1, 2, 4, 16, 64]),
        }
    }
}

impl Common {
    /// What one end is ready to agree upon.
    fn limits(&self, random: &mut Random, connections: u16) -> Limits {
        let digest = |random: &mut Random| match self.digests {
            Some(wanted) => vec![wanted],
            None => random.pick(&[&[true, false][..], &[false, true]]).to_vec(),
        };
        let burst_bytes_max = random.pick(&[512, 1000, 4096, 65_536]);
        Limits {
            header_digest: digest(random),
            data_digest: digest(random),
            max_connections: connections,
            initial_r2t: random.one_in(2),
            immediate_data: random.one_in(2),
            receive_segment_bytes_max: random.pick(&[512, 516, 1001, 8192, 65_536]),
            burst_bytes_max,
            first_burst_bytes_max: random.pick(&[512, 700, 4096]).min(burst_bytes_max),
            outstanding_r2t_max: random.between(1, 8) as u16,
            time_2_wait: self.time_2_wait,
            time_2_retain: self.time_2_retain,
            error_recovery_level: self.level,
            ..Limits::default()
        }
    }
}
