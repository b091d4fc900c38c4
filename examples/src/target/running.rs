//! A running target, and how it is made what its file has come to say.

use std::sync::Arc;

use chiscsi_config::{Configuration, KeyInfo, Reload};
use iscsi_runtime::{ReloadError, Report, Server};
use t5_model::adapter::Adapter;

use super::Configured;
use super::spelled::Spelled;
use crate::failure::{Failure, Kind};

/// A server, and the file that says what it is, if one does.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) server: Server,
    /// The adapter in software that it is on, if it is on one.
    pub(super) adapter: Option<Arc<Adapter>>,
    pub(super) configured: Option<Configured>,
    /// What a file would say, or why none could, if none does.
    pub(super) spelled: Option<Result<Spelled, Failure>>,
}

impl Running {
    /// What a file says or would say of the server, and what it would not.
    ///
    /// # Errors
    /// No file could say it.
    pub(super) fn configuration(&self) -> Result<(&Configuration, &[String]), Failure> {
        match (&self.configured, &self.spelled) {
            (Some(configured), _) => Ok((&configured.configuration, &[])),
            (None, Some(Ok(Spelled { configuration, notes }))) => Ok((configuration, notes)),
            (None, Some(Err(failure))) => Err(Failure::new(Kind::Device, failure.to_string())),
            (None, None) => Err(Failure::new(Kind::Device, "the target has no configuration")),
        }
    }

    /// The same as the text of a file.
    ///
    /// # Errors
    /// No file could say it.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let (configuration, _) = self.configuration()?;
        Ok(match &self.spelled {
            Some(Ok(spelled)) => spelled.to_text(),
            _ => configuration.to_text(),
        })
    }

    /// Makes the server what a file says that was read; targets that are stopped stay so. What cannot be is found before anything changes.
    ///
    /// # Errors
    /// The server cannot be what it says; then all is as before.
    pub(super) fn become_like(&mut self, new: Configured) -> Result<Report, Failure> {
        if let Some(running) = &self.configured {
            let fixed = fixed(&running.configuration, &new.configuration);
            let lines = fixed.into_iter().map(|text| new.in_file(&text));
            Failure::usages(lines).map_or(Ok(()), Err)?;
        }
        let running = self.server.configuration();
        let wanted =
            new.builder()?.configuration().with_process_settings_of(&running).with_targets_stopped_of(&running);
        let report = self.server.reload(wanted).map_err(|error| match &error {
            ReloadError::Configuration(error) => new.explain(error),
            error => Failure::usage(new.in_file(&error.to_string())),
        })?;
        self.configured = Some(new);
        Ok(report)
    }
}

/// The keys that differ and cannot change while a target runs.
fn fixed(running: &Configuration, new: &Configuration) -> Vec<String> {
    let name = |key: KeyInfo| (key.reload == Reload::Never).then_some(key.name);
    let global = running.global.changes(&new.global).into_iter().filter_map(name).map(str::to_owned);
    let of_targets = new.targets.iter().flat_map(|target| {
        let old = running.targets.iter().find(|old| old.name == target.name);
        let keys = old.map(|old| old.changes(target)).unwrap_or_default();
        keys.into_iter().filter_map(name).map(|key| format!("{}: {key}", target.name.as_str()))
    });
    let keys = global.chain(of_targets);
    keys.map(|key| {
        format!("{key}: it cannot change while the target runs: take the change back, or start the target anew")
    })
    .collect()
}
