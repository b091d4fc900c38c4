//! A session and a logical unit of its target: commands in, what has come of them out.

use bytes::Bytes;
use iscsi_runtime::url::Url;
use iscsi_runtime::{RemoteDisk, Request, Transfer};
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::vpd::{SupportedPages, page};

use super::connection::{Connection, Session, lun};
use crate::completion::{good, is_unit_attention};
use crate::failure::{Failure, Kind};

/// Bytes of a VPD page that are asked for.
const PAGE_BYTES: u16 = 4096;
/// Unit attentions that one unit may tell before it answers.
const UNIT_ATTENTIONS_MAX: usize = 16;

/// A session, and the logical unit that a URL names.
#[derive(Debug)]
pub struct Unit {
    /// The session.
    pub client: Session,
    /// The logical unit.
    pub lun: u16,
}

impl Unit {
    /// Logs in to the target of `url`.
    ///
    /// # Errors
    /// The URL names no logical unit, or the login fails.
    pub fn open(url: &Url, connection: &Connection) -> Result<Self, Failure> {
        Ok(Self::open_all(&[url], connection)?.pop().expect("there is a unit for each URL"))
    }

    /// Logs in to the targets of `urls`, once for each.
    ///
    /// # Errors
    /// As [`open`](Self::open), for any of them.
    pub fn open_all(urls: &[&Url], connection: &Connection) -> Result<Vec<Self>, Failure> {
        let luns = urls.iter().map(|url| lun(url)).collect::<Result<Vec<_>, _>>()?;
        let sessions = connection.connect_all(urls)?;
        Ok(sessions.into_iter().zip(luns).map(|(client, lun)| Self { client, lun }).collect())
    }

    /// The unit as a disk that is ready.
    ///
    /// # Errors
    /// It is none, or not ready.
    pub fn disk(&self) -> Result<RemoteDisk, Failure> {
        Ok(self.client.disk(self.lun).wait()?)
    }

    /// Sends a command that reads at most `length` bytes; unit attentions are taken and the command sent again.
    ///
    /// # Errors
    /// The command did not end with GOOD.
    pub fn read(&self, cdb: &Cdb, length: u32) -> Result<Bytes, Failure> {
        self.execute(cdb, Transfer::Read(length))
    }

    /// Sends a command with this data, or none if it is empty, as [`read`](Self::read).
    ///
    /// # Errors
    /// The command did not end with GOOD.
    pub fn run(&self, cdb: &Cdb, data: Bytes) -> Result<(), Failure> {
        let transfer = if data.is_empty() { Transfer::None } else { Transfer::Write(data) };
        self.execute(cdb, transfer).map(drop)
    }

    fn execute(&self, cdb: &Cdb, transfer: Transfer) -> Result<Bytes, Failure> {
        for _ in 0..UNIT_ATTENTIONS_MAX {
            let request = Request::new(LogicalUnitNumber::from(self.lun), cdb, transfer.clone());
            let completion = self.client.execute(request).wait()?;
            if !is_unit_attention(&completion) {
                return good(cdb.descriptor().name, completion);
            }
        }
        Err(Failure::new(Kind::Device, format!("{}: unit attentions without end", cdb.descriptor().name)))
    }

    /// The VPD pages that the unit has; none if it knows no pages. Targets that are asked for others have been seen to answer
    /// what ends the session.
    #[must_use]
    pub fn pages(&self) -> Vec<u8> {
        let pages = self.page(page::SUPPORTED_PAGES).ok().and_then(|bytes| SupportedPages::decode(&bytes).ok());
        pages.map_or_else(Vec::new, |pages| pages.0)
    }

    /// A VPD page.
    ///
    /// # Errors
    /// The unit does not give it.
    pub fn page(&self, code: u8) -> Result<Bytes, Failure> {
        self.read(&Cdb::inquiry_page(code, PAGE_BYTES), PAGE_BYTES.into())
    }

    /// Logs out. A target that does not answer is left all the same.
    pub fn close(self) {
        if let Err(error) = self.client.logout().wait() {
            tracing::debug!(%error, "no proper logout");
        }
    }
}
