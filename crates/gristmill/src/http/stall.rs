//! [`Unstalled`]: a connection that is closed when its client does not read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// The most bytes that the system holds unsent for one client. Small, so that the system's room for
/// more tells soon whether a client reads, and so that many slow clients hold little memory.
const UNSENT_BYTES: u32 = 128 << 10;

/// What a client that does not read is allowed.
#[derive(Clone, Debug)]
pub(super) struct StallLimits {
    /// How long it may take `bytes_min` of what waits for it.
    pub(super) time: Duration,
    /// How many bytes end the waiting: a client that takes single bytes does not read either.
    pub(super) bytes_min: usize,
    /// How many clients may be waited for at once; one more is not waited for.
    pub(super) places: Arc<Semaphore>,
}

/// A connection on which no write waits for longer than its limits say. Such a write fails with
/// [`io::ErrorKind::TimedOut`], or at once with [`io::ErrorKind::ConnectionAborted`] where too many wait.
pub(super) struct Unstalled<Io> {
    io: Io,
    limits: StallLimits,
    /// What is waited for, while a write waits.
    stall: Option<Stall>,
}

struct Stall {
    ends: Pin<Box<Sleep>>,
    bytes_missing: usize,
    _place: OwnedSemaphorePermit,
}

/// Makes the system tell early that a client does not read.
pub(super) fn hold_little(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)
}

impl<Io> Unstalled<Io> {
    pub(super) fn new(io: Io, limits: StallLimits) -> Unstalled<Io> {
        Unstalled { io, limits, stall: None }
    }

    /// Passes on what a write came to, unless it waits for too long.
    fn bounded(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            // The runtime wants others to have their turn, and wakes this task by itself: the client is not asked.
            Poll::Pending if !tokio::task::coop::has_budget_remaining() => Poll::Pending,
            Poll::Pending => {
                let stall = match &mut self.stall {
                    Some(stall) => stall,
                    none => none.insert(Stall::begin(&self.limits)?),
                };
                ready!(stall.ends.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
            Poll::Ready(Ok(bytes)) => {
                if let Some(stall) = &mut self.stall {
                    stall.bytes_missing = stall.bytes_missing.saturating_sub(bytes);
                }
                self.stall.take_if(|stall| stall.bytes_missing == 0);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl Stall {
    fn begin(limits: &StallLimits) -> io::Result<Stall> {
        let place =
            limits.places.clone().try_acquire_owned().map_err(|_| {
                io::Error::new(io::ErrorKind::ConnectionAborted, "too many clients do not read")
            })?;
        let ends = Box::pin(tokio::time::sleep(limits.time));
        Ok(Stall { ends, bytes_missing: limits.bytes_min, _place: place })
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Unstalled<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Unstalled<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.bounded(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.bounded(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Called once everything is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stall = None;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const TIME: Duration = Duration::from_millis(300);
    const STEP: Duration = Duration::from_millis(20);
    /// More than a task may do in one turn.
    const WRITES: usize = 1000;

    /// Both ends of a connection that holds 100 bytes.
    fn connection(places: usize) -> (Unstalled<DuplexStream>, DuplexStream, StallLimits) {
        let limits = StallLimits { time: TIME, bytes_min: 100, places: Arc::new(Semaphore::new(places)) };
        let (ours, theirs) = duplex(100);
        (Unstalled::new(ours, limits.clone()), theirs, limits)
    }

    /// Takes so many bytes with every step, without end.
    async fn read_in_steps(mut client: DuplexStream, bytes: usize) {
        let mut buffer = vec![0; bytes];
        while client.read_exact(&mut buffer).await.is_ok() {
            tokio::time::sleep(STEP).await;
        }
    }

    #[tokio::test]
    async fn a_write_that_nobody_reads_ends() {
        let (mut io, _client, limits) = connection(1);
        io.write_all(&[0; 100]).await.unwrap();
        assert_eq!(limits.places.available_permits(), 1);
        let began = std::time::Instant::now();
        let error = io.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
        assert_eq!(limits.places.available_permits(), 0);
        drop(io);
        assert_eq!(limits.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn single_bytes_are_no_reading() {
        let (mut io, client, _) = connection(1);
        // 99 bytes would take longer than allowed, at one with every step.
        tokio::spawn(read_in_steps(client, 1));
        assert_eq!(io.write_all(&[0; 400]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_client_is_waited_for() {
        let (mut io, client, limits) = connection(1);
        let reading = tokio::spawn(read_in_steps(client, 50));
        let began = std::time::Instant::now();
        io.write_all(&[0; 2000]).await.unwrap();
        assert!(began.elapsed() > TIME, "{:?}", began.elapsed());
        io.flush().await.unwrap();
        assert_eq!(limits.places.available_permits(), 1);
        reading.abort();
    }

    #[tokio::test]
    async fn a_client_that_reads_needs_no_place_when_others_have_their_turn() {
        let limits = StallLimits { time: TIME, bytes_min: 100, places: Arc::new(Semaphore::new(0)) };
        let (ours, _client) = duplex(WRITES);
        let mut io = Unstalled::new(ours, limits);
        for write in 0..WRITES {
            let written = io.write_all(&[0; 1]).await;
            assert!(written.is_ok(), "{write}: {written:?}");
        }
    }

    #[tokio::test]
    async fn one_too_many_is_not_waited_for() {
        let (mut first, _reader, limits) = connection(1);
        let (ours, _other_reader) = duplex(100);
        let mut second = Unstalled::new(ours, limits);
        let waiting = tokio::spawn(async move { first.write_all(&[0; 101]).await });
        tokio::time::sleep(STEP).await;
        let began = std::time::Instant::now();
        let error = second.write_all(&[0; 101]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(began.elapsed() < TIME);
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
