//! A watched folder: what is told of it, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::sync::mpsc;
use updraft_core::{DagId, Namespace};
use updraft_server::authoring::{Event, Folder, read_file, watch};

use super::holidays::folder;

/// A folder that is watched, and what was told of it.
struct Watched {
    dir: TempDir,
    events: mpsc::Receiver<Event>,
    /// The DAGs there are, and the file each comes from: what a server would have of them.
    dags: BTreeMap<DagId, Arc<str>>,
    errors: BTreeMap<Arc<str>, Vec<String>>,
}

impl Watched {
    /// Watches a folder within a new one, once `fill` has put something into it.
    async fn new(fill: impl FnOnce(&Path)) -> Self {
        Self::with(fill, BTreeMap::new()).await
    }

    async fn with(fill: impl FnOnce(&Path), owners: BTreeMap<DagId, Arc<str>>) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("dags")).unwrap();
        fill(&dir.path().join("dags"));
        let owners = owners
            .into_iter()
            .map(|(dag, file)| (dag, dir.path().join("dags").join(&*file).to_string_lossy().into()))
            .collect();
        let mut watched = Self::start(dir, owners);
        watched.until_scanned().await;
        watched
    }

    fn start(dir: TempDir, owners: BTreeMap<DagId, Arc<str>>) -> Self {
        let (sender, events) = mpsc::channel(16);
        let folder = Folder {
            root: Some(dir.path().join("dags")),
            above: Vec::new(),
            namespace: Namespace::default(),
            check: Arc::new(super::check),
            variable: Arc::new(super::variable),
            owners,
            // So that only notices can make these tests pass in time.
            look_every: Duration::from_secs(600),
            git: None,
            deployed: None,
        };
        tokio::spawn(watch(folder, sender));
        Self { dir, events, dags: BTreeMap::new(), errors: BTreeMap::new() }
    }

    async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await;
        let event = event.expect("something is told").expect("the watch goes on");
        match &event {
            Event::Changed { source, dags, errors, named } => {
                let good: BTreeSet<&DagId> = dags.iter().map(|read| &read.spec.dag_id).collect();
                self.dags.retain(|dag, from| {
                    from != source
                        || good.contains(dag)
                        || named.as_ref().is_none_or(|named| named.contains(dag))
                });
                self.dags.extend(good.into_iter().map(|dag| (dag.clone(), source.clone())));
                self.errors.insert(source.clone(), super::messages(errors));
                self.errors.retain(|_, errors| !errors.is_empty());
            }
            Event::Removed { source } => {
                self.dags.retain(|_, from| from != source);
                self.errors.remove(source);
            }
            Event::Scanned { .. } => {}
        }
        event
    }

    async fn until_scanned(&mut self) {
        while !matches!(self.next().await, Event::Scanned { .. }) {}
    }

    /// Waits until there are these DAGs and no others.
    async fn until(&mut self, expected: &[&str]) {
        let expected: Vec<DagId> = expected.iter().map(|&id| id.into()).collect();
        while self.dags.keys().cloned().collect::<Vec<_>>() != expected {
            self.next().await;
        }
    }

    async fn until_errors(&mut self, expected: usize) -> Vec<String> {
        while self.errors.values().map(Vec::len).sum::<usize>() != expected {
            self.next().await;
        }
        self.errors.values().flatten().cloned().collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("dags").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

/// A file with these DAGs.
fn file(dags: &[&str]) -> String {
    dags.iter().map(|dag| format!("{dag}: {{tasks: {{t: {{operator: empty}}}}}}\n")).collect()
}

#[tokio::test]
async fn files_are_told_at_the_start_and_changes_within_a_second() {
    let mut watched = Watched::new(|root| {
        fs::write(root.join("a.yml"), file(&["a1", "a2"])).unwrap();
        fs::write(root.join("notes.txt"), "nothing").unwrap();
        fs::write(root.join("compose.yaml"), "services: {}").unwrap();
        fs::create_dir_all(root.join("team/deep")).unwrap();
        fs::write(root.join("team/deep/b.yaml"), file(&["b"])).unwrap();
    })
    .await;
    watched.until(&["a1", "a2", "b"]).await;

    let begin = Instant::now();
    watched.write("a.yml", &file(&["a2", "a3"]));
    watched.until(&["a2", "a3", "b"]).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");

    fs::remove_file(watched.path("team/deep/b.yaml")).unwrap();
    watched.until(&["a2", "a3"]).await;
}

#[tokio::test]
async fn what_is_too_large_or_no_file_is_told_and_not_read() {
    let mut watched = Watched::new(|root| {
        fs::write(root.join("a.yml"), file(&["a"])).unwrap();
        // It takes no room on the disk.
        fs::File::create(root.join("x.yaml")).unwrap().set_len(1 << 40).unwrap();
        fs::create_dir(root.join("team")).unwrap();
        fs::write(root.join("team/b.yml"), file(&["b"])).unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.join("team/defaults.yml")).status();
        assert!(made.unwrap().success());
    })
    .await;
    watched.until(&["a"]).await;
    let errors = watched.until_errors(2).await;
    assert!(
        errors[0].contains("team/defaults.yml: this file can't be read: it is no regular file"),
        "{errors:?}"
    );
    assert!(errors[1].contains("1099511627776 bytes are more than the 33554432"), "{errors:?}");
}

#[tokio::test]
async fn new_folders_are_watched_too() {
    let mut watched = Watched::new(|_| {}).await;
    fs::create_dir_all(watched.path("x/y")).unwrap();
    watched.write("x/y/a.yml", &file(&["a"]));
    watched.until(&["a"]).await;
    watched.write("x/y/b.yml", &file(&["b"]));
    watched.until(&["a", "b"]).await;
    fs::rename(watched.path("x"), watched.path("z")).unwrap();
    fs::remove_dir_all(watched.path("z")).unwrap();
    watched.until(&[]).await;
}

#[tokio::test]
async fn an_editor_that_renames_over_the_file_changes_it() {
    let mut watched = Watched::new(|root| fs::write(root.join("a.yml"), file(&["a"])).unwrap()).await;
    watched.write(".a.yml.swp", &file(&["b"]));
    fs::rename(watched.path("a.yml"), watched.path("a.yml~")).unwrap();
    fs::rename(watched.path(".a.yml.swp"), watched.path("a.yml")).unwrap();
    watched.until(&["b"]).await;
}

#[tokio::test]
async fn a_swapped_link_as_of_git_sync_changes_all_files_at_once() {
    let dir = TempDir::new().unwrap();
    let version = |name: &str, dags: &[&str]| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("a.yml"), file(dags)).unwrap();
    };
    version("v1", &["a"]);
    version("v2", &["b", "c"]);
    symlink("v1", dir.path().join("dags")).unwrap();
    let mut watched = Watched::start(dir, BTreeMap::new());
    watched.until(&["a"]).await;
    symlink("v2", watched.dir.path().join("next")).unwrap();
    fs::rename(watched.dir.path().join("next"), watched.dir.path().join("dags")).unwrap();
    watched.until(&["b", "c"]).await;
    // What is written in the new folder is noticed as well.
    fs::write(watched.dir.path().join("v2/d.yml"), file(&["d"])).unwrap();
    watched.until(&["b", "c", "d"]).await;
}

#[tokio::test]
async fn a_config_map_of_kubernetes_is_followed() {
    let mut watched = Watched::new(|root| {
        fs::create_dir(root.join("..1")).unwrap();
        fs::write(root.join("..1/a.yml"), file(&["a"])).unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/a.yml", root.join("a.yml")).unwrap();
    })
    .await;
    watched.until(&["a"]).await;
    fs::create_dir(watched.path("..2")).unwrap();
    watched.write("..2/a.yml", &file(&["b"]));
    symlink("..2", watched.path("..data_tmp")).unwrap();
    fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
    watched.until(&["b"]).await;
}

#[tokio::test]
async fn the_last_good_version_stays_until_the_file_reads_well_without_it() {
    let mut watched = Watched::new(|root| fs::write(root.join("a.yml"), file(&["a", "b"])).unwrap()).await;
    watched.write("a.yml", "a: [");
    let errors = watched.until_errors(1).await;
    assert!(errors[0].ends_with("a.yml:1:4: this is not YAML: unclosed bracket '['"), "{errors:?}");
    watched.until(&["a", "b"]).await;
    watched.write("a.yml", &format!("{}b: {{tasks: {{t: {{operator: nothing}}}}}}\n", file(&["a"])));
    let event = watched.next().await;
    let Event::Changed { dags, errors, named, .. } = event else { panic!("{event:?}") };
    assert_eq!((dags.len(), errors.len()), (1, 1));
    assert_eq!(named, Some(vec!["a".into(), "b".into()]));
    watched.until(&["a", "b"]).await;
    watched.write("a.yml", &file(&["a"]));
    watched.until(&["a"]).await;
    assert_eq!(watched.until_errors(0).await, <[&str; 0]>::default());
}

#[tokio::test]
async fn what_can_not_be_read_is_an_import_error() {
    let mut watched = Watched::new(|root| fs::write(root.join("a.yml"), file(&["a"])).unwrap()).await;
    fs::write(watched.path("a.yml"), b"a: \xff").unwrap();
    let errors = watched.until_errors(1).await;
    assert!(
        errors[0].ends_with("a.yml: this file can't be read: it is not UTF-8; save it as UTF-8"),
        "{errors:?}"
    );
    watched.until(&["a"]).await;

    fs::set_permissions(watched.path("a.yml"), fs::Permissions::from_mode(0o000)).unwrap();
    // Who may do everything is kept out by no permissions.
    if fs::read(watched.path("a.yml")).is_ok() {
        return;
    }
    let Event::Changed { errors, .. } = watched.next().await else { panic!("not told") };
    let message = "this file can't be read: permission denied; let the server's user read it";
    assert_eq!(errors[0].message, message);
}

#[tokio::test]
async fn two_files_with_one_dag_are_an_error_that_names_both_until_one_lets_go() {
    let mut watched = Watched::new(|root| fs::write(root.join("b.yml"), file(&["x", "b"])).unwrap()).await;
    watched.write("a.yml", &file(&["a", "x"]));
    let errors = watched.until_errors(1).await;
    let (a, b) = (watched.path("a.yml"), watched.path("b.yml"));
    let (a, b) = (a.display(), b.display());
    assert_eq!(
        errors,
        [format!(
            "{a}:2:1: x: the DAG `x` is in `{b}` as well as in `{a}`, and the first counts: give one of the two another \
             name"
        )]
    );
    assert_eq!(*watched.dags["x"], *b.to_string());
    watched.write("b.yml", &file(&["b"]));
    watched.until_errors(0).await;
    watched.until(&["a", "b", "x"]).await;
    assert_eq!(*watched.dags["x"], *a.to_string());
}

#[tokio::test]
async fn a_dag_stays_with_the_file_it_came_from_before() {
    let fill = |root: &Path| {
        fs::write(root.join("a.yml"), file(&["x"])).unwrap();
        fs::write(root.join("b.yml"), file(&["x"])).unwrap();
    };
    let watched = Watched::new(fill).await;
    assert!(watched.dags["x"].ends_with("a.yml"));
    let watched = Watched::with(fill, BTreeMap::from([("x".into(), "b.yml".into())])).await;
    assert!(watched.dags["x"].ends_with("b.yml"));
    assert_eq!(watched.errors.len(), 1);
    let watched = Watched::with(fill, BTreeMap::from([("x".into(), "gone.yml".into())])).await;
    assert!(watched.dags["x"].ends_with("a.yml"));
}

#[test]
fn a_file_elsewhere_has_the_defaults_of_its_repository() {
    let dir = TempDir::new().unwrap();
    let repository = dir.path().join("checkout");
    fs::create_dir_all(repository.join("dags/team")).unwrap();
    let file = repository.join("dags/team/d.yml");
    fs::write(&file, "d: {tasks: {t: {operator: empty}}}").unwrap();
    let retries = |above: &Path| {
        fs::write(above.join("defaults.yml"), "default_args: {retries: 4}\n").unwrap();
        let reading = read_file(&folder(&dir.path().join("elsewhere")), &file);
        fs::remove_file(above.join("defaults.yml")).unwrap();
        reading.dags[0].spec.tasks[0].retry.retries
    };
    assert_eq!(retries(&repository), 0, "it is in no repository");
    fs::create_dir(repository.join(".git")).unwrap();
    assert_eq!([retries(&repository), retries(&repository.join("dags")), retries(dir.path())], [4, 4, 0]);
}

#[tokio::test]
async fn defaults_files_count_for_what_is_beneath_them() {
    let mut watched = Watched::new(|root| {
        fs::create_dir(root.join("team")).unwrap();
        fs::write(root.join("team/a.yml"), file(&["a"])).unwrap();
    })
    .await;
    watched.write("defaults.yml", "default_args: {retries: 4}\n");
    let Event::Changed { dags, .. } = watched.next().await else { panic!("not told") };
    assert_eq!(dags[0].spec.tasks[0].retry.retries, 4);
    watched.write("defaults.yml", "default_args: {retries: x}\n");
    let errors = watched.until_errors(1).await;
    assert!(
        errors[0].ends_with(
            "defaults.yml:1:25: default_args.retries: expected a whole number, 0 or more, found the text `x`"
        ),
        "{errors:?}"
    );
}

#[tokio::test]
async fn ignored_files_are_not_looked_at() {
    let mut watched = Watched::new(|root| {
        fs::write(root.join(".airflowignore"), "draft_*\n# a comment\n").unwrap();
        fs::write(root.join("a.yml"), file(&["a"])).unwrap();
        fs::write(root.join("draft_b.yml"), file(&["b"])).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/c.yml"), file(&["c"])).unwrap();
    })
    .await;
    assert_eq!(watched.dags.len(), 1);
    fs::remove_file(watched.path(".airflowignore")).unwrap();
    watched.until(&["a", "b"]).await;
}

#[tokio::test]
async fn a_folder_that_links_back_to_itself_is_read_once() {
    let watched = Watched::new(|root| {
        fs::write(root.join("a.yml"), file(&["a"])).unwrap();
        symlink(".", root.join("again")).unwrap();
    })
    .await;
    assert_eq!(watched.errors.len(), 0);
    assert_eq!(watched.dags.len(), 1);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_waited_for() {
    let mut watched = Watched::start(TempDir::new().unwrap(), BTreeMap::new());
    let errors = watched.until_errors(1).await;
    assert!(errors[0].contains("this folder can't be read"), "{errors:?}");
    let next = watched.dir.path().join("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("a.yml"), file(&["a"])).unwrap();
    fs::rename(next, watched.path("")).unwrap();
    watched.until(&["a"]).await;
    watched.until_errors(0).await;
    // Nor are its DAGs gone when it is.
    fs::rename(watched.path(""), watched.dir.path().join("away")).unwrap();
    watched.until_errors(1).await;
    watched.until(&["a"]).await;
}

#[tokio::test]
async fn a_link_to_nothing_is_told_and_keeps_its_dags() {
    let mut watched = Watched::new(|root| {
        symlink("gone/a.txt", root.join("a.yml")).unwrap();
        symlink("gone/b.txt", root.join("notes.txt")).unwrap();
    })
    .await;
    let errors = watched.until_errors(1).await;
    assert!(errors[0].contains("a.yml: this link leads to `gone/a.txt`, where nothing is"), "{errors:?}");
    fs::create_dir(watched.path("gone")).unwrap();
    watched.write("gone/a.txt", &file(&["a"]));
    watched.until(&["a"]).await;
    watched.until_errors(0).await;
    fs::remove_file(watched.path("gone/a.txt")).unwrap();
    watched.until_errors(1).await;
    watched.until(&["a"]).await;
    fs::remove_file(watched.path("a.yml")).unwrap();
    watched.until(&[]).await;
    watched.until_errors(0).await;
}

#[tokio::test]
async fn a_calendar_file_that_changes_makes_other_dags_of_those_that_name_it() {
    const CALENDAR: &str =
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nEND:VEVENT\nEND:VCALENDAR\n";
    let mut watched = Watched::new(|root| {
        let dag = "d: {schedule: '@daily', holidays: days.ics, tasks: {t: {operator: empty}}}";
        fs::write(root.join("d.yml"), dag).unwrap();
        fs::write(root.join("other.yml"), file(&["other"])).unwrap();
        fs::write(root.join("days.ics"), CALENDAR).unwrap();
    })
    .await;
    let hash = |event: Event| match event {
        Event::Changed { source, dags, .. } => {
            assert!(source.ends_with("/d.yml"), "{source}");
            dags.into_iter().next().map(|read| read.hash)
        }
        other => panic!("{other:?}"),
    };

    let begin = Instant::now();
    watched.write("days.ics", &CALENDAR.replace("20261225", "20261226"));
    let changed = hash(watched.next().await).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());

    // One that is gone is an error of the DAG, until it is there again.
    fs::rename(watched.path("days.ics"), watched.path("days.old")).unwrap();
    assert_eq!(hash(watched.next().await), None);
    assert_eq!(watched.errors.len(), 1);
    watched.write("days.ics", CALENDAR);
    let back = hash(watched.next().await).unwrap();
    assert_ne!(back, changed);
    assert!(watched.errors.is_empty());
}
