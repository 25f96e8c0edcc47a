//! Files through connections, by the kernel or by reading.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use futures_lite::AsyncReadExt;
use picot_loop::spawn;

use crate::{pair, run};

fn file(name: &str, bytes: &[u8]) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("picot-net-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes)?;
    let file = File::open(&path);
    std::fs::remove_file(&path)?;
    file
}

#[test]
fn any_part_of_a_file_arrives_and_its_position_stays() {
    run(async {
        let bytes: Vec<u8> = (0..3_000_000).map(|n| (n % 251) as u8).collect();
        let mut file = file("send", &bytes)?;
        file.seek(SeekFrom::Start(7))?;
        let (mut client, server) = pair().await?;
        let reading = spawn(async move {
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.map(|_| back)
        });
        assert_eq!(server.send_file(&file, 0..bytes.len() as u64).await?, bytes.len() as u64);
        assert_eq!(server.send_file(&file, 10..20).await?, 10);
        assert_eq!(server.send_file(&file, 2_999_990..u64::MAX).await?, 10, "until the end of the file");
        assert_eq!(server.send_file(&file, 5_000_000..6_000_000).await?, 0, "nothing behind the end");
        assert_eq!(file.stream_position()?, 7);
        drop(server);
        let back = reading.await.unwrap()?;
        assert_eq!(back, [&bytes[..], &bytes[10..20], &bytes[2_999_990..]].concat());
        Ok(())
    });
}

/// A file that the kernel does not send: it is read instead.
#[cfg(target_os = "linux")]
#[test]
fn what_the_kernel_cannot_send_is_read_on_a_thread() {
    run(async {
        let (mut client, server) = pair().await?;
        // Files of the process's own folder have no pages to send from.
        let status = File::open("/proc/self/maps")?;
        let sent = server.send_file(&status, 0..100).await?;
        assert_eq!(sent, 100);
        let mut back = vec![0; 100];
        client.read_exact(&mut back).await?;
        assert!(String::from_utf8_lossy(&back).contains("r--p"), "{back:?}");
        Ok(())
    });
}
