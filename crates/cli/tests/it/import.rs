//! Crontabs made into DAGs: what is written, what is told, and what the DAGs do.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::Value;
use updraft_core::RunState;

use crate::system::{Done, System};

/// As people have them. Of its lines 12, 14 and 15 can't be had.
const OF_A_USER: &str = r#"# m h dom mon dow command
SHELL=/bin/bash
MAILTO=ops@example.com, dev@example.com
PATH=/usr/local/bin:/usr/bin:/bin

0 3 * * *	/usr/local/bin/backup.sh --all >> $HOME/backup.log 2>&1
*/5 * * * 1-5 cd /srv/app && ./bin/poll --format '{{.Names}} {\% if \%}'
MAILTO=""
30 4 1,15 * 5 /usr/local/bin/backup.sh
15 14 1 * * mail -s "It's 100\%" joe%Joe,%%Where are your kids?%
0 0 */100,1-7 * MON /opt/first-monday
0 0 */2 * MON /opt/both
SHELL=/bin/sh
61 * * * * /opt/no-such-minute
* * * *
CRON_TZ=America/New_York
@daily rm -rf /tmp/{a,b}
0~30 4 * * * /opt/any-minute
@reboot /opt/warm-up"#;

const OF_THE_SYSTEM: &str = "\
SHELL=/bin/sh
17 *	* * *	root    cd / && run-parts --report /etc/cron.hourly
25 6	* * *	root	test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )\r
*/10 * * * * nobody /usr/bin/backup -q
";

fn import(system: &System, arguments: &[&str], crontab: &str) -> Done {
    system
        .run_with(&[&["import", "crontab", "-", "--timezone", "Europe/Berlin"], arguments].concat(), crontab)
}

/// A folder with these files, named as that of the system's crontabs.
fn folder_of(system: &System, files: &[(&str, &str)]) -> PathBuf {
    let folder = system.shared().join("cron.d");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn files(system: &System) -> Vec<String> {
    let entries = std::fs::read_dir(system.home().join("dags")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn crontabs_become_dags_that_are_good_and_what_can_t_be_had_is_told_by_line() {
    let system = System::new(&[]);
    let done = import(&system, &["-o", "json"], OF_A_USER);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("3 of 11 lines were not imported"), "{done:?}");
    let rows: Vec<Value> = serde_json::from_str(&done.out).unwrap();
    let shown = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let (outcome, dag_id) = (text("outcome"), text("dag_id"));
        format!("{} {outcome} {dag_id}: {} {}", row["line"], text("schedule"), text("timezone"))
    };
    let shown: Vec<String> = rows.iter().map(shown).collect();
    let expected = [
        "6 written backup: 0 3 * * * Europe/Berlin",
        "7 written poll: */5 * * * 1-5 Europe/Berlin",
        "9 written backup_2: 30 4 1,15 * 5 Europe/Berlin",
        "10 written mail: 15 14 1 * * Europe/Berlin",
        "11 written first-monday: 0 0 * * 1#1 Europe/Berlin",
        "12 not imported -: - -",
        "14 not imported -: - -",
        "15 not imported -: - -",
        "17 written rm: @daily America/New_York",
    ];
    assert_eq!(shown[..9], expected);
    assert!(
        shown[9].starts_with("18 written any-minute: ") && shown[9].ends_with(" 4 * * * America/New_York")
    );
    assert_eq!(shown[10], "19 written warm-up: @reboot America/New_York");
    assert!(rows[5]["error"].as_str().unwrap().contains("begins with `*`"), "{}", rows[5]);

    let folder = folder_of(&system, &[("crontab", OF_THE_SYSTEM), ("old.dpkg-old", "bad")]);
    let folder = folder.to_str().unwrap();
    let done = system.run(&["import", "crontab", folder, "--prefix", "system_"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("old.dpkg-old") && done.out.contains("not read"), "{done:?}");
    assert!(done.err.contains("take these lines out"), "{done:?}");
    let yaml = std::fs::read_to_string(system.home().join("dags/system_backup.yaml")).unwrap();
    assert!(yaml.contains("run_as_user: nobody") && yaml.contains("LOGNAME: nobody"), "{yaml}");
    assert!(
        yaml.starts_with(&format!("# {folder}/crontab:4\n# */10 * * * * nobody /usr/bin/backup -q\n")),
        "{yaml}"
    );

    let dags = system.home().join("dags");
    let checked = system.run(&["dags", "check", dags.to_str().unwrap()]);
    assert!(checked.out.contains("11 DAGs are good, in 11 files"), "{checked:?}");
    assert_eq!((checked.code, &*checked.err), (0, ""));
}

#[test]
fn nothing_that_is_there_is_written_over_unasked() {
    let system = System::new(&[("etl.yaml", "load: {tasks: {a: {operator: empty}}}")]);
    let (first, second) = ("@daily /opt/a\n", "@daily /opt/a\n@hourly /opt/b\n");
    assert_eq!(import(&system, &["--dry-run"], first).code, 0);
    assert_eq!(files(&system), ["etl.yaml"]);
    import(&system, &[], first).good();
    let written = || std::fs::read_to_string(system.home().join("dags/a.yaml")).unwrap();
    let before = written();
    // What was imported before is not told as a fault, and what is new comes beside it.
    let again = import(&system, &[], second).good();
    assert!(again.contains("unchanged") && again.contains("written"), "{again}");
    assert_eq!(
        (files(&system), written()),
        (vec!["a.yaml".into(), "b.yaml".into(), "etl.yaml".into()], before.clone())
    );

    let other = "@weekly /opt/a\n";
    let refused = import(&system, &[], other);
    assert!(refused.code == 1 && refused.out.contains("a.yaml is there already: say --force"), "{refused:?}");
    assert_eq!(written(), before);
    import(&system, &["--force"], other).good();
    assert!(written().contains("@weekly"), "{}", written());

    let taken = import(&system, &[], "@daily /opt/load\n");
    assert!(taken.code == 1 && taken.out.contains("etl.yaml already: say --prefix"), "{taken:?}");
    import(&system, &["--prefix", "cron_"], "@daily /opt/load\n").good();
}

#[test]
fn a_dry_run_prints_dag_files_and_tells_beside_them() {
    let system = System::new(&[]);
    let done = import(&system, &["--dry-run", "--paused"], "0 3 * * * /opt/a\n");
    let folder = folder_of(&system, &[("a.yaml", &done.out)]);
    assert!(done.out.contains("is_paused_upon_creation: true"), "{done:?}");
    assert!(done.err.contains("to be written") && done.err.contains("nobody is told"), "{done:?}");
    let checked = system.run(&["dags", "check", folder.to_str().unwrap()]).good();
    assert!(checked.contains("a: 1 task\n"), "{checked}");
}

#[test]
fn without_a_file_it_is_what_crontab_lists() {
    let system = System::new(&[]);
    let script = "#!/bin/sh\n[ \"$*\" = '-l -u nobody' ] && exec printf '@daily /opt/a\\n'\n\
                  echo no crontab for you >&2; exit 1\n";
    let folder = folder_of(&system, &[("crontab", script)]);
    std::fs::set_permissions(folder.join("crontab"), PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let run = |arguments: &[&str]| {
        let output = system
            .command(&[&["import", "crontab"], arguments].concat())
            .env("PATH", &path)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&[]);
    assert!(code == 3 && said.contains("no crontab for you") && said.contains("name the file"), "{said}");
    assert_eq!(run(&["--user", "nobody"]).0, 0);
    let yaml = std::fs::read_to_string(system.home().join("dags/a.yaml")).unwrap();
    assert!(yaml.contains("# crontab of nobody:1\n") && yaml.contains("run_as_user: nobody\n"), "{yaml}");

    let none = import(&system, &[], "# nothing\nA=1\n");
    assert!(none.code == 1 && none.err.contains("no line of it asks for anything"), "{none:?}");
    assert_eq!(system.run(&["import", "crontab", "/no/such/file"]).code, 3);
    assert_eq!(import(&system, &["--timezone", "Mars"], "").code, 2);
}

#[tokio::test]
async fn imported_dags_do_what_cron_did() {
    let mut system = System::new(&[]);
    let shared = system.shared().display().to_string();
    let crontab = r#"
HOME = SHARED
GREETING = "  say $HOME "
0 0 1 1 * printf '\%s|' '{{.Names}}' '{\% raw \%}' "$GREETING" "$PWD" "$LOGNAME" > plain.out
0 0 1 1 * cat > input.out; printf '\%s|' "$0" >> input.out%first {{ ti }}%second \%%%
0 0 1 1 * tee given.out > /dev/null%one%two
SHELL=/bin/bash
0 0 1 1 * echo {a,b} "${BASH_VERSION:+bash}" '{#' > braces.out
0 0 1 1 * ./script.sh
0 0 1 1 * env > env.out
"#;
    let script = "#!/bin/sh\necho \"$# ran\" > script.out\n";
    std::fs::write(system.shared().join("script.sh"), script).unwrap();
    std::fs::set_permissions(system.shared().join("script.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    import(&system, &[], &crontab.replace("SHARED", &shared)).good();
    system.start(4);
    for dag in ["printf", "cat", "tee", "echo", "script", "env"] {
        system.until(&["dags", "show", dag], |done| done.code == 0).await;
        system.run(&["dags", "trigger", dag, "--run-id", "now", "--wait"]).good();
    }
    let runs = system.runs_over(6, std::time::Duration::from_secs(30)).await;
    assert!(
        runs.len() == 6 && runs.iter().all(|run| run.state == RunState::Success),
        "a run that no one asked for"
    );
    let written = |name: &str| std::fs::read_to_string(system.shared().join(name)).unwrap();
    let user =
        String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let user = user.trim();
    assert_eq!(written("plain.out"), format!("{{{{.Names}}}}|{{% raw %}}|  say $HOME |{shared}|{user}|"));
    let input = written("input.out");
    assert!(input.starts_with("first {{ ti }}\nsecond %\n\n/"), "{input}");
    // As cron's do_command.c ends it, which is once.
    assert_eq!(written("given.out"), "one\ntwo\n");
    assert_eq!(written("braces.out"), "a b bash {#\n");
    assert_eq!(written("script.out"), "0 ran\n");
    let env = written("env.out");
    let names = env.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let others = ["AIRFLOW_CTX_", "UPDRAFT_"];
    let mut names: Vec<&str> =
        names.filter(|name| !others.iter().any(|other| name.starts_with(other))).collect();
    names.sort();
    assert_eq!(names, ["GREETING", "HOME", "LOGNAME", "PATH", "PWD", "SHELL", "SHLVL", "USER", "_"], "{env}");
}
