//! What comes before a rule is broken.

use super::super::data::open;
use super::super::ladder::*;
use super::super::stragglers::abandon;
use iscsi_pdu::*;
use iscsi_session::Parameters;

pub(super) fn usual() -> Ladder {
    Ladder::new(Parameters { max_connections: 2, ..Parameters::default() })
}

/// A ladder after these requests, of which the owner was told.
fn after(parameters: Parameters, requests: impl IntoIterator<Item = impl Into<Pdu>>) -> Ladder {
    let mut ladder = Ladder::new(parameters);
    for request in requests {
        ladder.i(request);
    }
    ladder.events();
    ladder
}

pub(super) fn after_64_errors() -> Ladder {
    after(Parameters::default(), vec![NopIn::default(); 64])
}

pub(super) fn with_a_read() -> Ladder {
    after(Parameters::default(), [read(1, 0)])
}

pub(super) fn with_two_pings() -> Ladder {
    after(Parameters::default(), [1, 2].map(|tag| NopOut { immediate: true, ..nop_out(tag, "") }))
}

pub(super) fn with_two_functions() -> Ladder {
    after(Parameters::default(), [1, 2].map(|tag| manage(tag, TaskManagementFunction::ClearAca)))
}

pub(super) fn with_a_logout_request() -> Ladder {
    let mut ladder = usual();
    ladder.session.request_logout(ladder.now);
    ladder
}

pub(super) fn without_immediate_data() -> Ladder {
    Ladder::new(Parameters { immediate_data: false, ..Parameters::default() })
}

fn in_any_order() -> Parameters {
    Parameters { data_pdu_in_order: false, ..open() }
}

pub(super) fn with_a_write() -> Ladder {
    after(Parameters::default(), [write(1, 512)])
}

pub(super) fn with_a_write_in_any_order() -> Ladder {
    after(in_any_order(), [write(1, 512)])
}

/// A write whose first 2048 bytes may come without an R2T.
pub(super) fn with_unsolicited_data() -> Ladder {
    after(open(), [ScsiCommand { is_final: false, ..write(1, 4096) }])
}

pub(super) fn with_unsolicited_data_in_any_order() -> Ladder {
    after(in_any_order(), [ScsiCommand { is_final: false, ..write(1, 4096) }])
}

/// A write whose 4096 bytes were asked for.
fn asked_for(parameters: Parameters) -> Ladder {
    let mut ladder = after(parameters, [write(1, 4096)]);
    let _ = ladder.receive(1, 4096);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder
}

pub(super) fn with_an_r2t() -> Ladder {
    asked_for(Parameters { max_connections: 2, ..open() })
}

pub(super) fn with_an_r2t_in_any_order() -> Ladder {
    asked_for(in_any_order())
}

pub(super) fn with_an_r2t_at_level_1() -> Ladder {
    asked_for(Parameters { error_recovery_level: 1, ..open() })
}

pub(super) fn with_data_withheld() -> Ladder {
    let mut ladder = usual();
    abandon(&mut ladder, 1..=1025);
    ladder
}

pub(super) fn with_a_question() -> Ladder {
    after(Parameters::default(), [text(1, "SendTargets=\0")])
}

/// A text that goes on.
pub(super) fn going_on(data: &str) -> TextRequest {
    TextRequest { is_final: false, continues: true, target_transfer_tag: Some(PING_TAG), ..text(1, data) }
}

pub(super) fn with_16_kib_of_text() -> Ladder {
    let part = "a".repeat(8192);
    after(Parameters::default(), [TextRequest { target_transfer_tag: None, ..going_on(&part) }, going_on(&part)])
}
