//! A server of plain sockets that counts what it is asked.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use updraft_operators::{Prepared, Work};

use crate::world::{Lines, context};

/// What a request came with.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// A server that answers each request with the next of these answers, and the last one from then on: a status,
/// headers behind it where there are any, and behind `|` the body. `silence` is no answer at all.
pub struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Gets a word when somebody who waits for an answer has gone.
    pub gone: mpsc::Receiver<()>,
}

impl Server {
    pub fn start(answers: &[&str]) -> Self {
        let answers: Arc<[String]> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let (tell, gone) = mpsc::channel();
        let shared = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, count, tell) = (Arc::clone(&shared), Arc::clone(&count), tell.clone());
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || serve(stream, &answers, &asked, &count, &tell));
            }
        });
        Self { address, asked, gone }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Begins native work that asks this server, drops it while there is no answer, and sees the connection go.
    pub fn is_left_when_dropped(&self, prepared: Prepared) {
        let Work::Native(task) = prepared.work else { panic!("no native work") };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let context = context(Arc::new(Lines::default()));
        let running = runtime.spawn(task.run(context));
        while self.asked().is_empty() {
            std::thread::yield_now();
        }
        running.abort();
        self.gone.recv_timeout(Duration::from_secs(10)).expect("the connection is closed");
    }
}

fn serve(
    stream: TcpStream,
    answers: &[String],
    asked: &Mutex<Vec<Asked>>,
    count: &AtomicUsize,
    gone: &mpsc::Sender<()>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    asked.lock().unwrap().push(Asked { line: lines.remove(0), headers, body });
    let answer = &*answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
    if answer == "silence" {
        // Says nothing until the other side has gone.
        let _ = reader.read(&mut [0]);
        let _ = gone.send(());
        return;
    }
    let (status, body) = answer.split_once('|').unwrap_or((answer, ""));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\nX-State: ready\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
}
