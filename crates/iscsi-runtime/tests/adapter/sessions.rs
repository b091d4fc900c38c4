//! A server and sessions of this program on two functions of one adapter.

use crate::world::*;
use iscsi_runtime::{
    AdapterFunction, Authentication, Client, ClientConfig, ClientError, Limits, Operation, PolicyError, Server,
    SessionLoop, StartError, Target,
};
use std::net::SocketAddr;
use std::time::Duration;
use t5_hal::wire::FunctionId;
use t5_model::runner::Runner;
use t5_policy::Policy;

fn start() -> (Runner, Server, AdapterFunction) {
    start_on(FUNCTIONS)
}

fn start_on(functions: [FunctionId; 2]) -> (Runner, Server, AdapterFunction) {
    let runner = Runner::start(1, 7).unwrap();
    let target = function(&runner, functions[0], TARGET);
    let initiator = function(&runner, functions[1], INITIATOR).neighbour(TARGET, target.mac());
    (runner, serve(target, Authentication::None), initiator)
}

#[test]
fn sessions_of_one_thread_move_data_of_any_length_through_the_adapter() {
    let (runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    for _ in 0..2 {
        let workloads = (0..5).map(|job| WriteAndRead::new(job * 3000, LENGTHS.len())).collect();
        for end in sessions.run(&config(), workloads) {
            assert_eq!(end.unwrap().ended, 2 * LENGTHS.len());
        }
    }
    let counted = runner.adapter().iscsi_counters();
    // All that has a place: reads, and what writes are asked for beyond the first burst. The longest transfer has none.
    let (read, asked) = ((1 + 16 + 700) * 512, 700 * 512 - u64::from(Limits::default().first_burst_bytes_max));
    assert_eq!(counted.placed_bytes, 10 * (read + asked), "{counted:?}");
    assert_eq!(counted.digests_inserted, counted.digests_checked, "{counted:?}");
    assert_eq!(counted.digests_wrong, 0, "{counted:?}");
    server.shutdown(Duration::from_secs(5)).unwrap();
    drop(sessions);
    assert_eq!(FUNCTIONS.map(|function| runner.adapter().take_fault(function)), [None, None]);
}

#[test]
fn virtual_functions_carry_sessions_as_physical_ones_do() {
    let functions = [FunctionId::virtual_of(0, 1), FunctionId::virtual_of(2, 16)];
    let (runner, server, initiator) = start_on(functions);
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    let workloads = (0..5).map(|job| WriteAndRead::new(job * 3000, LENGTHS.len())).collect();
    for end in sessions.run(&config(), workloads) {
        assert_eq!(end.unwrap().ended, 2 * LENGTHS.len());
    }
    let counted = runner.adapter().iscsi_counters();
    assert!(counted.placed_bytes > 0 && counted.digests_wrong == 0, "{counted:?}");
    server.shutdown(Duration::from_secs(5)).unwrap();
    drop(sessions);
    assert_eq!(functions.map(|function| runner.adapter().take_fault(function)), [None, None]);
}

#[test]
fn several_connections_of_a_session_stay_on_the_core() {
    let (_runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    let end = sessions.run(&config().connections(3), vec![WriteAndRead::new(0, LENGTHS.len())]).pop().unwrap();
    assert_eq!(end.unwrap().ended, 2 * LENGTHS.len());
    drop((server, sessions));
}

#[test]
fn a_client_goes_through_the_adapter_to_hosts_behind_a_gateway() {
    let runner = Runner::start(1, 7).unwrap();
    let target = function(&runner, FUNCTIONS[0], TARGET);
    let mac = target.mac();
    let server = serve(target, Authentication::None);
    let initiator = |pf| function(&runner, FunctionId::physical(pf), INITIATOR).gateway(mac);
    let client = Client::connect_through(initiator(5), ClientConfig::discovery(PORTAL.to_string())).wait().unwrap();
    assert_eq!(client.targets().wait().unwrap()[0].name, NAME);
    client.logout().wait().unwrap();
    let client = Client::connect_through(initiator(6), config()).wait().unwrap();
    let disk = client.disk(0).wait().unwrap();
    disk.write(7, vec![7; 64 << 10].into()).wait().unwrap();
    assert_eq!(disk.read(7, 128).wait().unwrap(), vec![7; 64 << 10]);
    client.logout().wait().unwrap();
    assert!(runner.adapter().iscsi_counters().digests_checked > 0);
    drop(server);
}

#[test]
fn several_clients_share_a_function_and_each_ends_by_itself() {
    let (runner, server, initiator) = start();
    let nowhere = ClientConfig::new(PORTAL.to_string(), "iqn.2026-01.io.example:none");
    let clients = Client::connect_all_through(initiator, vec![config(), nowhere, config()]);
    let [one, none, other] = <[_; 3]>::try_from(clients).map_err(|_| "three").unwrap().map(Operation::wait);
    assert!(matches!(none, Err(ClientError::Login { .. })), "{none:?}");
    let (one, other) = (one.unwrap(), other.unwrap());
    let disks = [&one, &other].map(|client| client.disk(0).wait().unwrap());
    // Both have something under way at the same time.
    let writes: Vec<_> = (0..64u64).map(|at| disks[at as usize % 2].write(at, vec![at as u8; 512].into())).collect();
    writes.into_iter().for_each(|write| write.wait().unwrap());
    one.logout().wait().unwrap();
    assert!(disks[0].read(0, 1).wait().is_err());
    let all: Vec<u8> = (0..64).flat_map(|at| [at; 512]).collect();
    assert_eq!(disks[1].read(0, 64).wait().unwrap(), all);
    other.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
    assert_eq!(FUNCTIONS.map(|function| runner.adapter().take_fault(function)), [None, None]);
}

#[test]
fn a_session_that_cannot_begin_says_why() {
    let (_runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    let mut failure = |address: &str| {
        let config = ClientConfig::new(address, NAME);
        sessions.run(&config, vec![WriteAndRead::new(0, LENGTHS.len())]).pop().unwrap().err().unwrap()
    };
    let nobody_listens = failure("192.0.2.4:3261");
    assert!(
        matches!(&nobody_listens, ClientError::Connect { error, .. } if error.contains("refused")),
        "{nobody_listens}"
    );
    let no_neighbour = failure("192.0.2.9");
    assert!(
        matches!(&no_neighbour, ClientError::Connect { error, .. } if error.contains("neighbour")),
        "{no_neighbour}"
    );
    drop(server);
    let gone = failure("192.0.2.4");
    assert!(matches!(gone, ClientError::Connect { .. }), "{gone}");
}

#[test]
fn what_an_adapter_cannot_offer_is_refused() {
    let runner = Runner::start(1, 7).unwrap();
    let builder = || Server::builder().function(function(&runner, FUNCTIONS[0], TARGET)).target(Target::new(NAME));
    let two_cores = builder().listen(PORTAL).cores(2).start().unwrap_err();
    assert!(matches!(&two_cores, StartError::Configuration(text) if text.contains("one loop")), "{two_cores}");
    let any_port = builder().listen(SocketAddr::new(TARGET, 0)).start().unwrap_err();
    assert!(any_port.to_string().contains("name one"), "{any_port}");
}

#[test]
fn a_policy_decides_on_connections_from_then_on() {
    let (_runner, server, initiator) = start();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    let mut end = || sessions.run(&config(), vec![WriteAndRead::new(0, LENGTHS.len())]).pop().unwrap();
    let policy = |text| Policy::parse(text).unwrap().compile().unwrap();
    server.set_policy(policy("any => !offload")).unwrap();
    let error = end().err().unwrap();
    assert!(matches!(&error, ClientError::Connect { .. }), "{error}");
    server.set_policy(policy("any => offload bind 0")).unwrap();
    assert_eq!(end().unwrap().ended, 2 * LENGTHS.len());
    let error = server.set_policy(policy("any => !offload\nany => offload bind 999")).unwrap_err();
    assert!(matches!(&error, PolicyError::Refused(text) if text.contains("no queue 999")), "{error}");
    assert_eq!(end().unwrap().ended, 2 * LENGTHS.len(), "the policy from before decides");
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_policy_is_nothing_for_the_kernels_tcp() {
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap()).target(Target::new(NAME)).start().unwrap();
    let policy = Policy::parse("any => offload").unwrap().compile().unwrap();
    assert_eq!(server.set_policy(policy), Err(PolicyError::NoAdapter));
}
