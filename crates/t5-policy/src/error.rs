//! What can be wrong with a policy.

use std::fmt;

/// What is wrong with one place of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What was expected, and what to do.
    pub text: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.line, self.column, self.text)
    }
}

impl std::error::Error for PolicyError {}

/// All that is wrong with a policy, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(pub Vec<PolicyError>);

impl fmt::Display for PolicyErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let line_end = if at == 0 { "" } else { "\n" };
            write!(formatter, "{line_end}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

/// A policy that cannot be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Its program would be too long.
    #[error("the policy needs more than {max} steps: join rules, or use nets and port ranges in place of lists")]
    TooLong {
        /// Most steps.
        max: usize,
    },
}

/// A file that is no compiled policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no compiled policy: {what} at byte {offset}; compile it with `cop -o`")]
pub struct FileError {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub offset: usize,
}
