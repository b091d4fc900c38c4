//! Commands that take too long.

use super::*;
use crate::initiator::EscalationStep;

const AFTER: Duration = Duration::from_secs(30);

fn bench() -> Bench {
    let mut bench = Bench::new(Parameters::default());
    let config = SessionConfig { ping_interval: None, command_timeout: Some(AFTER), ..config() };
    bench.session = Session::new(&outcome(Parameters::default()), config, bench.now);
    bench
}

fn due(number: u32, step: EscalationStep) -> Event {
    Event::EscalationDue { tag: tag(number), step }
}

/// RFC 7143 7.11: a command is aborted, then its logical unit reset, and in the end the session is given up.
#[test]
fn a_command_that_takes_too_long_is_escalated_step_by_step() {
    let mut bench = bench();
    bench.submit(1, read(8));
    bench.sent();
    for step in [EscalationStep::AbortTask, EscalationStep::LogicalUnitReset, EscalationStep::Session] {
        assert_eq!(bench.session.poll_timeout(), Some(bench.now + AFTER));
        bench.session.handle_timeout(bench.now + AFTER - Duration::from_millis(1));
        assert_eq!(bench.events(), []);
        bench.now += AFTER;
        bench.session.handle_timeout(bench.now);
        assert_eq!(bench.events(), [due(1, step)]);
    }
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn a_command_that_ends_is_not_escalated_nor_is_another_of_its_tag() {
    let mut bench = bench();
    bench.submit(1, read(8));
    bench.sent();
    bench.now += Duration::from_secs(20);
    let response = bench.response(1);
    bench.take(response);
    bench.events();
    assert_eq!(bench.session.poll_timeout(), None);
    bench.submit(1, read(8));
    bench.now += Duration::from_secs(10);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), []);
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(20)));
}

#[test]
fn deadlines_of_what_has_ended_do_not_pile_up() {
    let mut bench = bench();
    bench.submit(1, read(0));
    for _ in 0..1000 {
        bench.submit(2, read(0));
        bench.sent();
        bench.max_cmd_sn = bench.max_cmd_sn.next();
        let response = bench.response(2);
        bench.take(response);
        bench.events();
    }
    assert!(bench.session.deadlines.len() < 80, "{}", bench.session.deadlines.len());
    bench.now += AFTER;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [due(1, EscalationStep::AbortTask)]);
}
