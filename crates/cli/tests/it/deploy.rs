//! What is in `deploy`: its form, by the linters of each kind, and that its settings are settings.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

/// A program of the tests' Python.
fn program(name: &str) -> Command {
    let python = std::env::var("UPDRAFT_TEST_PYTHON").unwrap();
    let program = Path::new(&python).with_file_name(name);
    assert!(program.exists(), "there is no {}: run `scripts/setup.sh test`", program.display());
    Command::new(program)
}

fn ok(output: Output) -> String {
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[test]
fn the_image_and_the_manifests_are_well_formed() {
    ok(program("hadolint").arg(deploy("Dockerfile")).output().unwrap());
    let strict =
        program("kubernetes-validate").arg("--strict").arg(deploy("kubernetes.yaml")).output().unwrap();
    assert_eq!(ok(strict).matches("passed for resource").count(), 8);
}

/// The environments in a file of YAML, each a map of names to texts.
const ENVIRONMENTS: &str = "
import json, sys, yaml
found = []
def look(value):
    if isinstance(value, list):
        names = {e['name']: e.get('value', '') for e in value if isinstance(e, dict) and 'name' in e}
        found.append(names)
        for item in value: look(item)
    elif isinstance(value, dict):
        found.append(value)
        for item in value.values(): look(item)
for document in yaml.safe_load_all(open(sys.argv[1])): look(document)
print(json.dumps([{k: v for k, v in e.items() if k.startswith('UPDRAFT') and isinstance(v, str)} for e in found]))
";

#[test]
fn what_they_set_can_be_set() {
    let mut count = 0;
    for file in ["compose.yaml", "kubernetes.yaml"] {
        let python = std::env::var("UPDRAFT_TEST_PYTHON").unwrap();
        let read = Command::new(python).args(["-c", ENVIRONMENTS]).arg(deploy(file)).output().unwrap();
        let found: Vec<BTreeMap<String, String>> = serde_json::from_str(&ok(read)).unwrap();
        for environment in found.into_iter().filter(|environment| !environment.is_empty()) {
            let home = tempfile::tempdir().unwrap();
            let mut show = Command::new(env!("CARGO_BIN_EXE_updraft"));
            show.arg("--home").arg(home.path()).args(["config", "-o", "json"]).envs(&environment);
            let shown = ok(show.output().unwrap());
            for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("UPDRAFT__")) {
                let key = name.trim_start_matches("UPDRAFT__").to_lowercase().replace("__", ".");
                let from = format!("\"{name}\"");
                assert!(
                    shown.contains(&format!("\"{key}\"")) && shown.contains(&from),
                    "{name}={value}: {shown}"
                );
                count += 1;
            }
        }
    }
    assert!(count >= 10, "only {count} settings were found");
}
