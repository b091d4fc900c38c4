//! Something under way: to be awaited on any executor, or waited for by blocking code.

use super::ClientError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Something that was asked of a target. A command goes out at once, whether or not anybody waits for its end, so that many can
/// be under way; what takes several commands, such as [`Client::disk`](super::Client::disk), goes on while it is waited for.
#[must_use = "await it, or call `wait`, to learn how it ends"]
pub struct Operation<T>(Pin<Box<dyn Future<Output = Result<T, ClientError>> + Send>>);

impl<T> Operation<T> {
    pub(super) fn new(future: impl Future<Output = Result<T, ClientError>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    pub(super) fn failed(error: ClientError) -> Self
    where
        T: Send + 'static,
    {
        Self::new(std::future::ready(Err(error)))
    }

    /// Blocks the calling thread until it has ended. Not to be called on an executor's thread: await it there.
    ///
    /// # Errors
    /// Why it failed.
    pub fn wait(self) -> Result<T, ClientError> {
        pollster::block_on(self)
    }
}

impl<T> Future for Operation<T> {
    type Output = Result<T, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<T> std::fmt::Debug for Operation<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Operation")
    }
}
