//! The subcommands `copy` and `compare`: what they are given, and what they tell.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::connection::Connection;
use crate::copy;
use crate::failure::Failure;
use crate::parse::{self, hidden};
use crate::show;
use crate::storage::{self, DiskStorage, FileStorage, Location, Storage};

#[derive(Debug, Args)]
pub(super) struct Copy {
    /// File, block device or URL to read
    #[arg(value_parser = hidden::<Location>())]
    from: Location,

    /// File, block device or URL to write; a file is made, or emptied first
    #[arg(value_parser = hidden::<Location>())]
    to: Location,

    /// Reads both again afterwards and compares them
    #[arg(long)]
    verify: bool,

    /// Lets the target copy, between two disks of its own (EXTENDED COPY): nothing of them comes here
    #[arg(long)]
    offload: bool,

    /// Copies only so many bytes
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    size: Option<u64>,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// File, block device or URL
    #[arg(value_parser = hidden::<Location>())]
    one: Location,

    /// File, block device or URL
    #[arg(value_parser = hidden::<Location>())]
    other: Location,

    /// Compares only so many bytes; without it, what one has more than the other must be zeros
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    size: Option<u64>,

    #[command(flatten)]
    connection: Connection,
}

/// Copies, and compares afterwards if that was asked for.
pub(super) fn copy(arguments: &Copy) -> Result<(), Failure> {
    let Copy { from, to, verify, offload, size, connection } = arguments;
    check_sessions(&[from, to], connection)?;
    if let (true, Some(file)) =
        (*offload, [from, to].into_iter().find(|location| matches!(location, Location::File(_))))
    {
        return Err(Failure::usage(format!("--offload copies between two disks of a target, and {file} is a file")));
    }
    let wanted = |source: &Opened| limited(*size, source.storage().size(), from);
    let (source, destination) = match to {
        Location::File(path) => {
            let source = Opened::open(from, connection)?;
            let file = FileStorage::create(path, wanted(&source)?, source.as_file())?;
            (source, Opened::File(file))
        }
        Location::Url(_) => Opened::open_both(from, to, connection)?,
    };
    let size = wanted(&source)?;
    let room = destination.storage().size();
    if room < size {
        let (has, needs) = (show::size(room), show::size(size));
        return Err(Failure::usage(format!("{to} has {has}, and {from} has {needs}: --size {room} copies what fits")));
    }
    let begun = Instant::now();
    let progress = Progress::new("copy", size);
    let done = |bytes| progress.add(bytes);
    let how = match (&source, &destination) {
        (Opened::Disk(source), Opened::Disk(destination)) if *offload => {
            storage::offload(source, destination, size, &done)?;
            "by the target".into()
        }
        _ => {
            let copied = copy::copy(source.storage(), destination.storage(), size, &done)?;
            format!("{} of it zeros", show::size(copied.zero_bytes))
        }
    };
    progress.end();
    show::print(&format!("copied {} in {}, {how}", show::size(size), rate(size, begun.elapsed())));
    if *verify {
        let begun = Instant::now();
        let progress = Progress::new("verify", size);
        copy::compare(source.storage(), destination.storage(), size, &|bytes| progress.add(bytes))
            .map_err(|failure| failure.context(format!("{to} is not what was copied from {from}")))?;
        progress.end();
        show::print(&format!("verified {} in {}", show::size(size), rate(size, begun.elapsed())));
    }
    source.close();
    destination.close();
    Ok(())
}

/// Compares, and says so if there is no difference.
pub(super) fn compare(arguments: &Compare) -> Result<(), Failure> {
    let Compare { one, other, size, connection } = arguments;
    check_sessions(&[one, other], connection)?;
    let (left, right) = Opened::open_both(one, other, connection)?;
    let sizes = [left.storage().size(), right.storage().size()];
    if let Some(size) = *size {
        limited(Some(size), sizes[0], one)?;
        limited(Some(size), sizes[1], other)?;
    }
    let common = size.unwrap_or(sizes[0].min(sizes[1]));
    let begun = Instant::now();
    let progress = Progress::new("compare", common);
    let differ = |failure: Failure| failure.context(format!("{one} and {other}"));
    copy::compare(left.storage(), right.storage(), common, &|bytes| progress.add(bytes)).map_err(differ)?;
    if size.is_none() && sizes[0] != sizes[1] {
        let longer = if sizes[0] > sizes[1] { &left } else { &right };
        copy::check_zeros_from(longer.storage(), common).map_err(differ)?;
    }
    progress.end();
    show::print(&format!("the same: {} in {}", show::size(common), rate(common, begun.elapsed())));
    left.close();
    right.close();
    Ok(())
}

/// A file or a disk that is open.
enum Opened {
    File(FileStorage),
    Disk(DiskStorage),
}

impl Opened {
    /// Opens what is only read.
    fn open(location: &Location, connection: &Connection) -> Result<Self, Failure> {
        match location {
            Location::File(path) => FileStorage::open(path).map(Self::File),
            Location::Url(url) => DiskStorage::open(url, connection).map(Self::Disk),
        }
    }

    /// The same for two, each of which may be either.
    fn open_both(one: &Location, other: &Location, connection: &Connection) -> Result<(Self, Self), Failure> {
        match (one, other) {
            (Location::Url(one), Location::Url(other)) => {
                let (one, other) = DiskStorage::open_both(one, other, connection)?;
                Ok((Self::Disk(one), Self::Disk(other)))
            }
            _ => Ok((Self::open(one, connection)?, Self::open(other, connection)?)),
        }
    }

    fn storage(&self) -> &dyn Storage {
        match self {
            Self::File(file) => file,
            Self::Disk(disk) => disk,
        }
    }

    fn as_file(&self) -> Option<&FileStorage> {
        match self {
            Self::File(file) => Some(file),
            Self::Disk(_) => None,
        }
    }

    fn close(self) {
        if let Self::Disk(disk) = self {
            disk.close();
        }
    }
}

/// Refuses flags that are about one session, if there are two.
fn check_sessions(locations: &[&Location], connection: &Connection) -> Result<(), Failure> {
    let disks = locations.iter().filter(|location| matches!(location, Location::Url(_))).count();
    connection.check_sessions(disks)
}

/// The bytes to work on: all that there are, unless fewer are asked for.
fn limited(asked: Option<u64>, there: u64, location: &Location) -> Result<u64, Failure> {
    match asked {
        Some(asked) if asked > there => Err(Failure::usage(format!("--size {asked}: {location} has {there} bytes"))),
        Some(asked) => Ok(asked),
        None => Ok(there),
    }
}

/// Time, and bytes a second.
fn rate(bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-9);
    format!("{seconds:.2} s ({:.0} MiB/s)", bytes as f64 / f64::from(1 << 20) / seconds)
}

/// A progress bar on stderr, if that is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn new(what: &'static str, bytes: u64) -> Self {
        let template = "{prefix} [{bar:40}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is right").progress_chars("=> ");
        Self(ProgressBar::new(bytes).with_prefix(what).with_style(style))
    }

    fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
