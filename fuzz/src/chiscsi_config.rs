//! A configuration file.

use chiscsi_config::{Configuration, FAULTS_MAX};

/// Any text has few faults or is a configuration that is the same when it has been written and read again.
pub fn chiscsi_config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match text.parse::<Configuration>() {
        Ok(configuration) => assert_eq!(configuration.to_text().parse(), Ok(configuration)),
        Err(faults) => assert!((1..=FAULTS_MAX).contains(&faults.as_slice().len())),
    }
}
