//! What a PDU costs in the software port, each way, over a stream that costs as little as it can.

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use iscsi_pdu::{DataIn, Frame, Pdu};
use iscsi_transport::{BufferPool, ByteStream, Digests, PduPort, Received, SoftwarePort};
use std::hint::black_box;
use std::io::{self, IoSlice};

const PDUS: usize = 32;

fn frames(length: usize) -> Vec<Frame> {
    let data = Bytes::from(vec![0x5a; length]);
    vec![Pdu::from(DataIn { is_final: true, data, ..DataIn::default() }).encode(); PDUS]
}

/// Takes everything and keeps nothing.
struct Sink(usize);

impl ByteStream for Sink {
    fn receive(&mut self, _buffer: &mut BytesMut) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0 += slices.len();
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

/// Gives the same batch again and again, as a socket would: copied, and then nothing for now.
struct Source {
    batch: Bytes,
    is_given: bool,
}

impl ByteStream for Source {
    fn receive(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.is_given = !self.is_given;
        if !self.is_given {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer.put_slice(&self.batch);
        Ok(self.batch.len())
    }

    fn send(&mut self, _slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The bytes of a batch on the wire.
fn wire(frames: &[Frame], digests: Digests) -> Bytes {
    struct Collect(BytesMut);
    impl ByteStream for Collect {
        fn receive(&mut self, _buffer: &mut BytesMut) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            slices.iter().for_each(|slice| self.0.extend_from_slice(slice));
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }
    }
    let mut port = SoftwarePort::new(Collect(BytesMut::new()), BufferPool::new());
    port.set_digests(digests);
    frames.iter().for_each(|frame| port.send(frame.clone()));
    port.flush().expect("the stream takes everything");
    port.stream().0.clone().freeze()
}

fn bench(criterion: &mut Criterion) {
    let crc = Digests { header: true, data: true };
    for (name, digests) in [("plain", Digests::default()), ("digests", crc)] {
        let mut group = criterion.benchmark_group(format!("32 PDUs/{name}"));
        group.throughput(Throughput::Elements(PDUS as u64));
        for length in [0, 64, 128, 256, 512, 1024, 4096] {
            let frames = frames(length);
            group.bench_with_input(BenchmarkId::new("send", length), &frames, |bencher, frames| {
                let mut port = SoftwarePort::new(Sink(0), BufferPool::new());
                port.set_digests(digests);
                bencher.iter(|| {
                    frames.iter().for_each(|frame| port.send(black_box(frame).clone()));
                    port.flush().expect("the stream takes everything")
                });
            });
            let batch = wire(&frames, digests);
            group.bench_with_input(BenchmarkId::new("receive", length), &batch, |bencher, batch| {
                let source = Source { batch: batch.clone(), is_given: false };
                let mut port = SoftwarePort::new(source, BufferPool::new());
                port.set_digests(digests);
                bencher.iter(|| {
                    let mut count = 0;
                    while let Some(Received::Frame(frame)) = port.receive().expect("good PDUs") {
                        count += black_box(frame).data.len();
                    }
                    count
                });
            });
            // What of that is the copy out of the kernel, or would be.
            group.bench_with_input(BenchmarkId::new("memcpy", length), &batch, |bencher, batch| {
                let mut copy = vec![0; batch.len()];
                bencher.iter(|| copy.copy_from_slice(black_box(batch)));
            });
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
