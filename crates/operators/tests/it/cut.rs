//! A way to a server that can be cut.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Passes on what comes on a port of its own, until so many bytes have passed in both directions together. Then all
/// that was open is closed.
pub struct Cut {
    pub port: u16,
}

impl Cut {
    pub fn after(bytes: u64, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicU64::new(bytes));
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let left = Arc::clone(&left);
                    thread::spawn(move || pass(from, to, &left));
                }
            }
        });
        Self { port: own }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let spent =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(read as u64));
        if spent.is_err() || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    for stream in [&from, &to] {
        // The other side may have closed it.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
