//! Zeros to hand out without a copy.

use bytes::Bytes;
use std::sync::LazyLock;

/// Never written to, so the kernel backs all of it with its one page of zeros.
static ZEROS: LazyLock<&'static [u8]> = LazyLock::new(|| Box::leak(vec![0; 1 << 20].into_boxed_slice()));

/// `length` zero bytes: shared ones up to 1 MiB.
pub(crate) fn zeros(length: usize) -> Bytes {
    match ZEROS.get(..length) {
        Some(shared) => Bytes::from_static(shared),
        None => vec![0; length].into(),
    }
}

/// Where `bytes` first differ from zero.
pub(crate) fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte != 0)
}
