//! `iscsi-target`: a command line in, a running server out, and its end when a signal comes.

use iscsi_runtime::url::Url;
use iscsi_runtime::{AdapterFunction, Disk, Limits, Server, ServerBuilder, StartError, Target};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

mod adapter;
mod arguments;
mod chiscsi;
mod control;
mod device;
mod notes;
mod running;
mod spelled;

pub use adapter::AdapterArguments;
pub use arguments::Arguments;
pub use chiscsi::Configured;
use control::{Controlled, Told};
use running::Running;

use crate::failure::Failure;
use crate::process;
use crate::show;
use crate::t5::{Model, TARGET_PORTAL};

/// Name of the target unless another is given.
pub const TARGET_NAME: &str = "iqn.2026-01.io.ferriscsi:disk";

/// How long sessions may take to end, of the 5 s in which the process is to end: the stores are flushed after that.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);

/// Signals that come within this time are one wish: terminals and `timeout` send to a process and to its group at once.
const ONE_WISH: Duration = Duration::from_millis(500);

/// A target that has begun.
struct Started {
    running: Running,
    /// What initiators connect to, by a URL for each way to a target.
    urls: Vec<String>,
    /// The adapter that it is on, if it is on one, as long as that lives.
    model: Option<Model>,
}

/// Whose fault it is that a server does not start.
fn failure(error: &StartError, message: String) -> Failure {
    match error {
        StartError::Configuration(_) => Failure::usage(message),
        StartError::Listen { .. }
        | StartError::Open { .. }
        | StartError::System(_)
        | StartError::Records(_)
        | StartError::Kept(_) => Failure::local(message),
    }
}

/// LUN 0 of a target.
fn url(address: SocketAddr, target: &str) -> String {
    format!("iscsi://{address}/{target}/0")
}

/// Serves until a signal comes.
///
/// # Errors
/// What keeps the server from starting, or from ending well.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(file) = &arguments.check {
        show::print(&Configured::read(file)?.judgement());
        return Ok(());
    }
    process::start_log(&arguments.log)?;
    process::raise_descriptor_limit();
    // Before anybody can know that we are there, so that no signal finds us unprepared.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(no_signals)?;
    if arguments.config.is_some() {
        signals.add_signal(SIGHUP).map_err(no_signals)?;
    }
    let Started { running, urls, model } = arguments.start()?;
    let controlled = Controlled::start(running, arguments.control.as_deref())?;
    urls.iter().for_each(|url| show::print(&format!("ready {url}")));
    // One reload at most is asked for while another goes on: it reads the file as it is by then. None holds up the end.
    let (ask, asked) = mpsc::sync_channel(1);
    let reload = controlled.reloads();
    std::thread::spawn(move || asked.into_iter().for_each(|()| tell(reload())));
    let signal = signals.forever().find(|signal| match *signal {
        SIGHUP => {
            ask.try_send(()).unwrap_or_default();
            false
        }
        _ => true,
    });
    tracing::info!(signal, "ending: sessions are asked to log out, another signal ends at once");
    std::thread::spawn(move || end_when_asked_again(signals));
    controlled.end().shutdown(SHUTDOWN_PATIENCE).map_err(|error| Failure::local(error.to_string()))?;
    if let Some(model) = model {
        tracing::info!("{}", model.counters());
    }
    tracing::info!("ended");
    Ok(())
}

fn no_signals(error: std::io::Error) -> Failure {
    Failure::local(format!("cannot wait for signals: {error}"))
}

/// Tells on stderr what a reload has done, or why it has not.
fn tell(reloaded: Result<Told, Failure>) {
    match reloaded {
        Ok(Told { lines, notes, .. }) => {
            lines.iter().for_each(|line| tracing::info!("reload: {line}"));
            notes.iter().for_each(|note| tracing::warn!("reload: {note}"));
        }
        Err(failure) => {
            failure.to_string().lines().for_each(|line| tracing::error!("reload: {line}"));
            tracing::error!("reload: nothing has changed");
        }
    }
}

/// A target in this process, on loopback or on a function of an adapter, with `disk` as LUN 0; and where that is.
///
/// # Errors
/// The target does not start.
pub fn own_target(disk: Disk, limits: Limits, function: Option<AdapterFunction>) -> Result<(Server, Url), Failure> {
    let builder = Server::builder().limits(limits);
    let builder = match function {
        Some(function) => builder.function(function).listen(TARGET_PORTAL),
        None => builder.listen(SocketAddr::from(([127, 0, 0, 1], 0))),
    };
    start_own(builder, disk)
}

/// The same where `builder` says.
///
/// # Errors
/// The target does not start.
pub fn start_own(builder: ServerBuilder, disk: Disk) -> Result<(Server, Url), Failure> {
    let builder = builder.target(Target::new(TARGET_NAME).lun(0, disk));
    let server = builder.start().map_err(|error| Failure::local(error.to_string()))?;
    let url = url(server.addresses()[0], TARGET_NAME).parse().expect("an address and a checked name make a URL");
    Ok((server, url))
}

/// Somebody does not want to wait for sessions and disks any more.
fn end_when_asked_again(mut signals: Signals) {
    std::thread::sleep(ONE_WISH);
    signals.pending().for_each(drop);
    if let Some(signal) = signals.forever().next() {
        std::process::exit(128 + signal);
    }
}
