//! The guard: a thief that must get nothing, and what a task may do all the same.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};
use updraft_core::log::Stream;
use updraft_worker::process::{
    Guard, GuardPolicy, GuardStatus, Program, Running, Secret, harden_self, survivors,
};

use super::{Bell, Lab, alone, inline, lines};

/// A server's home, a guard around it, and a task at work beside the thief.
struct Heist {
    lab: Lab,
    guard: Arc<Guard>,
    victim: Running,
    victim_folder: String,
    victim_may_end: Bell,
    _listener: UnixListener,
    abstract_name: String,
}

impl Heist {
    async fn new() -> Self {
        let lab = Lab::new();
        rustix::fs::chmod(lab.home.path(), 0o711.into()).unwrap();
        for folder in ["server", "server/logs", "server/dags"] {
            std::fs::create_dir(lab.path(folder)).unwrap();
        }
        std::fs::write(lab.path("server/key"), "the key").unwrap();
        std::fs::write(lab.path("server/dags/dag.py"), "a dag").unwrap();
        let guard = Guard::new(GuardPolicy {
            denied: vec![lab.path("server"), lab.path("scratch")],
            readable: vec![lab.path("server/dags")],
            ..GuardPolicy::default()
        });
        let guard = Arc::new(guard.unwrap());

        let (bell, victim_may_end) = (lab.bell("bell"), lab.bell("end"));
        let mut victim = lab.script(&format!(
            "echo dear > diary; dirname $PWD > {}; read x < {}",
            bell.path(),
            victim_may_end.path()
        ));
        victim.marker = lab.marker("victim");
        victim.log = lab.path("server/logs/victim.log");
        victim.guard = Some(Arc::clone(&guard));
        victim.handed.insert("PASSWORD".into(), Secret::new("the victim's password"));
        let victim = lab.spawn(victim).await;
        let victim_folder = bell.rung().await;
        std::fs::write(lab.path("server/logs/victim.log"), "what the victim said").unwrap();

        let abstract_name = lab.marker("socket").to_string();
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        Self { lab, guard, victim, victim_folder, victim_may_end, _listener: listener, abstract_name }
    }

    /// Lets the thief try, and gives what it says.
    async fn go(self, guard: Option<Arc<Guard>>, user: Option<&str>) -> Vec<String> {
        let words = [
            self.lab.path("server").to_str().unwrap().to_owned(),
            std::process::id().to_string(),
            self.victim.pid().to_string(),
            self.victim_folder,
            self.abstract_name,
        ];
        let mut spec = self.lab.script("");
        let interpreter = Some(vec!["/usr/bin/python3".into(), "-u".into()]);
        spec.program =
            Program::Script { body: include_str!("thief.py").into(), interpreter, args: words.to_vec() };
        spec.log = self.lab.path("server/logs/thief.log");
        spec.guard = guard;
        spec.run_as_user = user.map(str::to_owned);
        self.lab.run(spec.clone()).await;
        // A thief that is not stopped writes into its log by itself, so it is read without much trust.
        let log = std::fs::read_to_string(&spec.log).unwrap();
        assert!(!log.contains("\terr\t"), "the thief stumbled: {log}");
        let said = log.lines().filter_map(|line| Some(line.split_once("\tout\t")?.1.to_owned())).collect();
        self.victim_may_end.ring().await;
        self.victim.wait().await.unwrap();
        said
    }
}

fn beginning<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(word)).collect()
}

#[tokio::test]
async fn a_guarded_thief_gets_nothing_and_keeps_what_is_its_own() {
    let heist = Heist::new().await;
    let guard = Arc::clone(&heist.guard);
    let said = heist.go(Some(guard), None).await;
    assert_eq!(beginning(&said, "STOLEN"), [""; 0]);
    assert!(beginning(&said, "KEPT").len() > 45, "{said:?}");
    assert_eq!(beginning(&said, "MAY "), ["read what is excepted: a dag", "use its folder: own"]);
}

#[tokio::test]
async fn another_user_guarded_gets_nothing_either() {
    if !geteuid().is_root() {
        return;
    }
    let heist = Heist::new().await;
    let guard = Arc::clone(&heist.guard);
    let said = heist.go(Some(guard), Some("nobody")).await;
    assert_eq!(beginning(&said, "STOLEN"), [""; 0]);
    assert_eq!(beginning(&said, "MAY ").len(), 2);
}

#[tokio::test]
async fn without_a_guard_the_same_thief_gets_nearly_all_of_it() {
    if !alone("process::guard::without_a_guard_the_same_thief_gets_nearly_all_of_it") {
        return;
    }
    let heist = Heist::new().await;
    let said = heist.go(None, None).await;
    let stolen = beginning(&said, "STOLEN ");
    for loot in [
        "the key",
        "the key through a link",
        "another task's log",
        "another task's script",
        "another task's file",
        "another task's secret",
        "the environment of the server",
        "the environment of another task",
        "a signal to the server",
        "a trace of another task",
        "memory of the server",
        "a descriptor of another task",
        "a word with the server",
        "a changed key",
        "a forged log",
        "a second name of the key",
        "a moved key",
        "a removed log",
    ] {
        assert!(stolen.contains(&loot), "{loot} was kept, so the guard's test proves nothing: {said:?}");
    }
    // These two are kept without Landlock, too.
    assert!(!stolen.contains(&"a variable") && !stolen.contains(&"a descriptor"), "{said:?}");
}

#[tokio::test]
async fn the_status_of_the_guard_is_told() {
    let lab = Lab::new();
    let guard = Arc::new(Guard::new(GuardPolicy::default()).unwrap());
    assert!(matches!(guard.status(), GuardStatus::Active { abi: 1.., .. }), "{:?}", guard.status());
    let mut spec = lab.sh("grep NoNewPrivs /proc/self/status");
    assert_eq!(lab.run(spec.clone()).await.guard, GuardStatus::NotAsked);
    spec.guard = Some(Arc::clone(&guard));
    let ended = lab.run(spec).await;
    assert_eq!(&ended.guard, guard.status());
    assert_eq!(lines(&lab.log(), Stream::Out), ["NoNewPrivs:\t0", "NoNewPrivs:\t1"]);
}

#[tokio::test]
async fn a_socket_with_a_path_is_kept_only_where_the_status_does_not_say_otherwise() {
    let lab = Lab::new();
    let guard = Arc::new(
        Guard::new(GuardPolicy { denied: vec![lab.path("server")], ..GuardPolicy::default() }).unwrap(),
    );
    std::fs::create_dir(lab.path("server")).unwrap();
    let path = lab.path("server/socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let mut spec = lab.argv(&["/usr/bin/python3", "-c", connect, path.to_str().unwrap()]);
    spec.guard = Some(Arc::clone(&guard));
    let connects = lab.run(spec).await.outcome == updraft_worker::process::Outcome::Succeeded;
    let GuardStatus::Active { missing, .. } = guard.status() else { panic!("no Landlock") };
    assert_eq!(connects, missing.contains(&"Unix sockets with a path"));
}

#[tokio::test]
async fn neighbours_of_what_is_denied_are_free_and_their_folder_is_narrowed() {
    let lab = Lab::new();
    for folder in ["home", "home/server", "home/data"] {
        std::fs::create_dir(lab.path(folder)).unwrap();
    }
    std::fs::write(lab.path("home/notes"), "notes").unwrap();
    let policy = GuardPolicy { denied: vec![lab.path("home/server")], ..GuardPolicy::default() };
    let guard = Arc::new(Guard::new(policy).unwrap());
    assert!(guard.narrowed_folders().contains(&lab.path("home").canonicalize().unwrap()));
    let run = async |guard: &Arc<Guard>, text: &str| {
        let mut spec = lab.sh(text);
        spec.cwd = Some(lab.path("home"));
        spec.guard = Some(Arc::clone(guard));
        inline(&lab.run(spec).await)
    };
    assert_eq!(run(&guard, "echo ' more' >> notes; cat notes").await, "notes more");
    assert_eq!(run(&guard, "mkdir data/x && mv data/x data/y && ls data").await, "y");
    assert_eq!(run(&guard, "touch new 2>/dev/null || echo cannot create").await, "cannot create");
    assert_eq!(run(&guard, "echo $(ls)").await, "data notes server", "names can be listed");

    // What is new since the last task is found by the next one.
    std::fs::create_dir(lab.path("home/later")).unwrap();
    assert_eq!(run(&guard, "touch later/x && ls later").await, "x");
    // What is denied may come to be later.
    std::fs::remove_dir(lab.path("home/server")).unwrap();
    assert_eq!(run(&guard, "cat notes").await, "notes more");
    std::fs::create_dir(lab.path("home/server")).unwrap();
    std::fs::write(lab.path("home/server/key"), "").unwrap();
    assert_eq!(run(&guard, "cat server/key 2>/dev/null || echo kept").await, "kept");
}

#[test]
fn a_denied_path_that_is_not_absolute_is_refused() {
    let guard =
        Guard::new(GuardPolicy { denied: vec![PathBuf::from("no/such/relative")], ..GuardPolicy::default() });
    assert!(guard.unwrap_err().to_string().contains("no/such/relative"));
}

#[tokio::test]
async fn a_hardened_program_keeps_its_memory_without_a_guard_and_still_finds_its_tasks() {
    if !alone("process::guard::a_hardened_program_keeps_its_memory_without_a_guard_and_still_finds_its_tasks")
    {
        return;
    }
    // Nothing is kept from root.
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    if geteuid().is_root() {
        nix::unistd::setgid(nobody.gid).unwrap();
        nix::unistd::setuid(nobody.uid).unwrap();
    }
    let loot = [
        "the environment of the server",
        "the maps of the server",
        "a trace of the server",
        "memory of the server",
    ];
    set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    let said = Heist::new().await.go(None, None).await;
    assert!(loot.iter().all(|loot| beginning(&said, "STOLEN ").contains(loot)), "{said:?}");

    harden_self().unwrap();
    let said = Heist::new().await.go(None, None).await;
    assert!(!loot.iter().any(|loot| beginning(&said, "STOLEN ").contains(loot)), "{said:?}");

    let lab = Lab::new();
    let (bell, done) = (lab.bell("bell"), lab.bell("done"));
    let running = lab.spawn(lab.sh(&format!("echo > {}; read x < {}", bell.path(), done.path()))).await;
    bell.rung().await;
    assert_eq!(survivors(lab.marker("1").as_str()).unwrap().len(), 1);
    done.ring().await;
    running.wait().await.unwrap();
}
