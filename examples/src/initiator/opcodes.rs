//! `opcodes`: which commands and task management functions a logical unit supports.

use iscsi_runtime::url::Url;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::rows_of;
use scsi_block::parameters::{SupportedCommand, TaskManagementFunctions};
use serde_json::{Value, json};

use super::connection::{Connection, at};
use super::unit::Unit;
use crate::bench::table;
use crate::failure::{Failure, Kind};
use crate::show;

/// Bytes that are asked for: more commands than there are operation codes.
const LIST_BYTES: u32 = 16384;
const FUNCTIONS_BYTES: u32 = 16;

/// Shows what the unit supports. That it tells nothing of task management functions is no failure.
///
/// # Errors
/// The unit cannot be asked, or does not tell its commands.
pub(super) fn run(url: &Url, connection: &Connection, json: bool) -> Result<(), Failure> {
    let unit = Unit::open(url, connection)?;
    let list = unit.read(&Cdb::report_supported_operation_codes(false, LIST_BYTES), LIST_BYTES).map_err(at(url))?;
    let wrong = |error: scsi_block::DecodeError| Failure::new(Kind::Device, error.to_string()).context(url);
    let commands = SupportedCommand::decode_list(&list).map_err(wrong)?;
    let functions = unit
        .read(&Cdb::report_supported_task_management_functions(FUNCTIONS_BYTES), FUNCTIONS_BYTES)
        .ok()
        .and_then(|data| TaskManagementFunctions::decode(&data).ok())
        .map(|functions| names(&functions));
    unit.close();
    match json {
        true => show::print(&to_json(&commands, functions.as_deref()).to_string()),
        false => show::print(&to_text(&commands, functions.as_deref())),
    }
    Ok(())
}

/// The command's name, if it is one that we know.
fn name(command: &SupportedCommand) -> Option<&'static str> {
    let mut rows = rows_of(command.opcode);
    rows.find(|row| row.service_action.map(u16::from) == command.service_action).map(|row| row.name)
}

fn names(functions: &TaskManagementFunctions) -> Vec<&'static str> {
    let all = [
        (functions.abort_task, "ABORT TASK"),
        (functions.abort_task_set, "ABORT TASK SET"),
        (functions.clear_aca, "CLEAR ACA"),
        (functions.clear_task_set, "CLEAR TASK SET"),
        (functions.logical_unit_reset, "LOGICAL UNIT RESET"),
        (functions.query_task, "QUERY TASK"),
        (functions.query_asynchronous_event, "QUERY ASYNCHRONOUS EVENT"),
        (functions.query_task_set, "QUERY TASK SET"),
        (functions.i_t_nexus_reset, "I_T NEXUS RESET"),
    ];
    all.into_iter().filter_map(|(supported, name)| supported.then_some(name)).collect()
}

fn to_json(commands: &[SupportedCommand], functions: Option<&[&str]>) -> Value {
    let command = |command: &SupportedCommand| {
        json!({
            "opcode": command.opcode,
            "service_action": command.service_action,
            "cdb_bytes": command.length,
            "name": name(command),
        })
    };
    json!({
        "commands": commands.iter().map(command).collect::<Vec<_>>(),
        "task_management_functions": functions,
    })
}

fn to_text(commands: &[SupportedCommand], functions: Option<&[&str]>) -> String {
    let mut rows = table(&["code", "action", "CDB bytes", "command"]);
    if let Some(column) = rows.column_mut(3) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    for command in commands {
        rows.add_row([
            format!("{:02x}h", command.opcode),
            command.service_action.map_or_else(String::new, |action| format!("{action:02x}h")),
            command.length.to_string(),
            name(command).unwrap_or("?").to_owned(),
        ]);
    }
    let functions = functions.map_or_else(|| "not told".to_owned(), |names| names.join(", "));
    format!("{}\n\nTask management functions: {functions}", rows.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_names_and_unknown_ones_their_numbers() {
        let command = |opcode, service_action| SupportedCommand { opcode, service_action, length: 16 };
        let commands = [command(0x88, None), command(0x9e, Some(0x10)), command(0xc1, None)];
        let functions = TaskManagementFunctions { abort_task: true, query_task_set: true, ..Default::default() };
        let text = to_text(&commands, Some(&names(&functions)));
        for words in ["88h", "READ (16)", "READ CAPACITY (16)", "c1h", "?", "ABORT TASK, QUERY TASK SET"] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        let json = to_json(&commands, None);
        assert_eq!(json["commands"][1]["name"], "READ CAPACITY (16)");
        assert_eq!(json["commands"][2]["name"], Value::Null);
        assert_eq!(json["task_management_functions"], Value::Null);
    }
}
