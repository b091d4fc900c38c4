//! Task management functions about a command that is under way.

use crate::connect;
use crate::target::{Connection, target};
use iscsi_pdu::{TaskManagementFunction as Function, TaskManagementResponseCode as Response};
use iscsi_runtime::{ClientError, Request, Transfer};
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;

/// RFC 7144, RFC 7143 section 11.5.1.
#[test]
fn a_command_under_way_is_found_and_aborted() {
    let (config, served) = target(|listener| {
        let mut connection = Connection::log_in_with(listener, "DefaultTime2Wait=0\0iSCSIProtocolLevel=2\0");
        let command = connection.command();
        assert_eq!(command.priority, 4);
        for (function, response) in
            [(Function::QueryTask, Response::FunctionSucceeded), (Function::AbortTask, Response::FunctionComplete)]
        {
            let request = connection.task_management();
            assert_eq!((request.function, request.lun, request.ref_cmd_sn), (function, command.lun, command.cmd_sn));
            assert_eq!(request.referenced_task_tag, Some(command.initiator_task_tag));
            connection.manage(&request, response);
        }
        connection.answer_logout();
    });
    let client = connect(config);
    let request = Request::new(LogicalUnitNumber::from(5), &Cdb::test_unit_ready(), Transfer::None).with_priority(4);
    let (handle, end) = client.begin(request);
    assert!(client.query(handle).wait().unwrap());
    client.abort(handle).wait().unwrap();
    assert!(matches!(end.wait(), Err(ClientError::Aborted)));
    client.logout().wait().expect("a clean end");
    served.join().expect("the target has seen what it expected");
}
