use super::*;

#[test]
fn without_landlock_the_guard_says_so_and_lays_no_rules() {
    let folder = tempfile::tempdir().unwrap();
    let guard = Guard::with_abi(GuardPolicy::default(), Err("no Landlock here".into())).unwrap();
    assert_eq!(guard.status(), &GuardStatus::Unavailable { why: "no Landlock here".into() });
    let scratch = crate::process::folder::Scratch::new(folder.path()).unwrap();
    let mut private = scratch.folder().unwrap();
    guard.lay_rules(&mut private).unwrap();
    assert!(private.ruleset.is_none());
}

#[test]
fn an_older_abi_names_what_it_cannot_keep() {
    let missing = |abi| match GuardStatus::of(Ok(abi)) {
        GuardStatus::Active { missing, .. } => missing,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(1).len(), 5);
    assert_eq!(
        missing(5),
        [
            "signals to processes outside the task",
            "abstract Unix sockets outside the task",
            "Unix sockets with a path"
        ]
    );
    assert_eq!(missing(9), [""; 0]);
}

#[test]
fn narrowed_folders_are_those_above_the_outermost_denied_ones() {
    let denied = ["/usr/lib", "/usr/lib/x", "/nowhere/to/be"].map(PathBuf::from).to_vec();
    let guard = Guard::with_abi(GuardPolicy { denied, ..GuardPolicy::default() }, Ok(7)).unwrap();
    assert_eq!(guard.narrowed_folders(), ["/", "/nowhere", "/nowhere/to", "/usr"].map(PathBuf::from));
}
