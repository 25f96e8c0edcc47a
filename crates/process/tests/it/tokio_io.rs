//! tokio's traits on pipes.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;

use picot_process::pipe;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::run::run;

#[test]
fn the_traits_of_tokio_move_the_same_bytes_and_shutting_down_closes() {
    run(async {
        let (mut reader, mut writer) = pipe()?;
        assert_eq!(poll_fn(|cx| Pin::new(&mut writer).poll_write(cx, b"one ")).await?, 4);
        let slices = [IoSlice::new(b"t"), IoSlice::new(b"wo")];
        assert!(AsyncWrite::is_write_vectored(&writer));
        assert_eq!(poll_fn(|cx| Pin::new(&mut writer).poll_write_vectored(cx, &slices)).await?, 3);
        poll_fn(|cx| AsyncWrite::poll_flush(Pin::new(&mut writer), cx)).await?;
        poll_fn(|cx| Pin::new(&mut writer).poll_shutdown(cx)).await?;
        let mut memory = [0; 16];
        let mut buffer = ReadBuf::new(&mut memory);
        poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut &reader), cx, &mut buffer)).await?;
        assert_eq!(buffer.filled(), b"one two");
        poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut reader), cx, &mut buffer)).await?;
        assert_eq!(buffer.filled().len(), 7, "the end of the stream");
        Ok(())
    });
}
