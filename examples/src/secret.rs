//! CHAP credentials: names on the command line, secrets in files or in the environment, and in no message.

use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;

use iscsi_session::{Credential, Secret};

use crate::failure::Failure;
use crate::file;

/// More than the longest secret has.
const FILE_BYTES_MAX: usize = 4096;

/// A user and the file whose first line is the user's secret: `USER:FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFile {
    /// The CHAP name.
    pub user: String,
    file: PathBuf,
}

impl FromStr for CredentialFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected USER:FILE, where the first line of FILE is the secret of USER";
        match text.split_once(':') {
            Some((user, file)) if !user.is_empty() && !file.is_empty() => {
                Ok(Self { user: user.into(), file: file.into() })
            }
            _ => Err(expected),
        }
    }
}

impl CredentialFile {
    /// Reads the secret.
    ///
    /// # Errors
    /// The file cannot be read, everybody may read it, or it holds no secret.
    pub fn read(&self) -> Result<Credential, Failure> {
        let wrong = |what: String| {
            Failure::usage(format!(
                "the secret of user {} is to be the first line of {}: {what}",
                self.user,
                self.place()
            ))
        };
        let opened = File::open(&self.file).map_err(|error| wrong(format!("it cannot be opened: {error}")))?;
        if file::is_everybodys(&opened).map_err(|error| wrong(error.to_string()))? {
            return Err(wrong("everybody may read that, forbid it with chmod 600".into()));
        }
        let mut bytes =
            file::read(opened, FILE_BYTES_MAX).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
        let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(line);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let secret = Secret::new(bytes).map_err(|error| wrong(error.to_string()))?;
        Ok(Credential { name: self.user.clone(), secret })
    }

    /// The file for a message: what does not look like a path may be a secret, written there by mistake, and is not
    /// repeated.
    fn place(&self) -> String {
        let is_path = ["/", "./", "../"]
            .iter()
            .any(|start| self.file.as_os_str().as_encoded_bytes().starts_with(start.as_bytes()));
        if is_path { self.file.display().to_string() } else { "a file".into() }
    }
}

/// The credential of `user`, with the secret in the environment variable `variable`.
///
/// # Errors
/// The variable is not set, or holds no secret; `flag` is named as the other way.
pub fn from_environment(user: &str, variable: &str, flag: &str) -> Result<Credential, Failure> {
    let Some(secret) = std::env::var_os(variable) else {
        return Err(Failure::usage(format!(
            "the URL names the user {user}, but nothing gives the secret: use {flag} {user}:FILE, or put the secret into \
             the environment variable {variable}"
        )));
    };
    let secret = Secret::new(secret.into_encoded_bytes())
        .map_err(|error| Failure::usage(format!("the environment variable {variable}: {error}")))?;
    Ok(Credential { name: user.into(), secret })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn read(content: &[u8], mode: u32) -> Result<Credential, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let given: CredentialFile = format!("alice:{}", file.path().display()).parse().unwrap();
        given.read().map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_first_line_is_the_secret() {
        let expected = Credential { name: "alice".into(), secret: Secret::new("a secret of alice").unwrap() };
        assert_eq!(read(b"a secret of alice\r\nmore\n", 0o600), Ok(expected.clone()));
        assert_eq!(read(b"a secret of alice", 0o640), Ok(expected));
    }

    #[test]
    fn what_others_can_read_is_refused() {
        assert!(read(b"a secret of alice", 0o644).unwrap_err().ends_with("forbid it with chmod 600"));
        assert!(read(b"\n", 0o600).is_err());
    }

    #[test]
    fn a_secret_in_the_place_of_the_file_is_not_repeated() {
        let given: CredentialFile = "alice:hunter2hunter2".parse().unwrap();
        let message = given.read().unwrap_err().to_string();
        assert!(message.contains("cannot be opened") && !message.contains("hunter2"), "{message}");
        let given: CredentialFile = "alice:/nowhere/secret".parse().unwrap();
        assert!(given.read().unwrap_err().to_string().contains("/nowhere/secret: it cannot be opened"));
        assert!("alice".parse::<CredentialFile>().is_err());
    }
}
