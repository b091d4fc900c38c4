//! What an operation promises to those who do not wait for it.

use iscsi_runtime::{Client, ClientConfig, Disk, Request, Server, Target, Transfer};
use scsi_block::cdb::Cdb;
use scsi_block::designator::{Association, Designator};
use scsi_block::vpd::DeviceIdentification;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

#[test]
fn a_command_goes_out_before_anybody_waits_for_it() {
    let name = "iqn.2026-01.io.example:disk";
    let target = Target::new(name).lun(0, Disk::memory(1 << 20));
    let server = Server::builder().listen(SocketAddr::from(([127, 0, 0, 1], 0))).target(target).start().unwrap();
    let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), name)).wait().unwrap();
    let disk = client.disk(0).wait().unwrap();
    drop(disk.write(7, vec![0xab; 512].into()));
    client.ping(b"x"[..].into()).wait().unwrap();
    assert_eq!(disk.read(7, 1).wait().unwrap(), vec![0xab; 512]);
}

/// The least that an executor is: futures that are polled when they were woken, and only then.
struct Executor(mpsc::Sender<usize>, usize);

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        self.0.send(self.1).ok();
    }
}

#[test]
fn operations_end_on_any_executor() {
    let name = "iqn.2026-01.io.example:disk";
    let target = Target::new(name).lun(0, Disk::memory(1 << 20));
    let server = Server::builder().listen(SocketAddr::from(([127, 0, 0, 1], 0))).target(target).start().unwrap();
    let config = ClientConfig::new(server.addresses()[0].to_string(), name);
    let work = |lba: u64| {
        let config = config.clone();
        async move {
            let client = Client::connect(config).await?;
            let disk = client.disk(0).await?;
            disk.write(lba, vec![lba as u8; 512].into()).await?;
            let read = disk.read(lba, 1).await?;
            client.logout().await.map(|()| read)
        }
    };
    let mut tasks: Vec<_> = (0..16).map(|lba| Some(Box::pin(work(lba)))).collect();
    let (sender, woken) = mpsc::channel();
    (0..tasks.len()).for_each(|task| sender.send(task).unwrap());
    while tasks.iter().any(Option::is_some) {
        let number = woken.recv_timeout(Duration::from_secs(20)).expect("somebody is woken");
        let waker = Arc::new(Executor(sender.clone(), number)).into();
        let Some(task) = &mut tasks[number] else { continue };
        if let Poll::Ready(end) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            assert_eq!(end.unwrap(), vec![number as u8; 512]);
            tasks[number] = None;
        }
    }
}

// RFC 7143 4.4.2-1: in the words of SCSI too.
#[test]
fn the_scsi_device_has_the_name_of_the_node() {
    let name = "iqn.2026-01.io.example:disk";
    let target = Target::new(name).lun(0, Disk::memory(1 << 20));
    let server = Server::builder().listen(SocketAddr::from(([127, 0, 0, 1], 0))).target(target).start().unwrap();
    let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), name)).wait().unwrap();
    let inquiry = Request::new(0.into(), &Cdb::inquiry_page(0x83, 1024), Transfer::Read(1024));
    let data: Vec<u8> = client.execute(inquiry).wait().unwrap().data.concat();
    let names = DeviceIdentification::decode(&data).unwrap().0;
    let of_device = names.iter().find(|name| name.association == Association::TargetDevice).unwrap();
    assert_eq!((of_device.kind, of_device.to_string()), (Designator::SCSI_NAME, name.to_owned()));
}
