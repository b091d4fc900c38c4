use super::*;

#[test]
fn reads_writes_pings_and_logs_out() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(512));
    bench.submit(2, write(512));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    let data = bench.data_in(1, 0, 0, pattern(512));
    let stat_sn = bench.status();
    let status = Some(DataInStatus { status: 0, stat_sn, residual: Residual::None });
    bench.take(DataIn { is_final: true, status, ..data });
    let response = bench.response(2);
    bench.take(response);
    let events = bench.events();
    assert_eq!(events.len(), 3, "{events:?}");
    bench.session.ping(bench.now, tag(3), Bytes::from_static(b"there?"));
    assert_eq!(bench.sent().len(), 1);
    let mut echo = bench.nop_in(Some(3), None);
    echo.data = Bytes::from_static(b"there?");
    bench.take(echo);
    assert_eq!(bench.events(), [Event::PingComplete { tag: tag(3), data: Bytes::from_static(b"there?") }]);
    bench.session.logout(bench.now, tag(4), LogoutReason::CloseSession);
    assert_eq!(bench.sent().len(), 1);
    let stat_sn = bench.status();
    bench.take(LogoutResponse {
        response: LogoutResponseCode::Closed,
        initiator_task_tag: tag(4),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        time_2_wait: 0,
        time_2_retain: 0,
    });
    assert_eq!(
        bench.events(),
        [
            Event::LogoutComplete { tag: tag(4), response: LogoutResponseCode::Closed },
            Event::Closed(CloseReason::LoggedOut)
        ]
    );
}
