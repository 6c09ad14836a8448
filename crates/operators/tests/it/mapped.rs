//! The arguments of a mapped task's copies.

use serde_json::json;
use updraft_core::{MapIndex, MapSource, Mapping};
use updraft_operators::prepare;

use crate::world::{World, order};

#[test]
fn a_copy_of_a_mapped_task_gets_its_own_arguments() {
    let world = World {
        xcoms: [
            ("words.return_value".to_owned(), vec![(-1, json!(["a", "b", "c"]))]),
            ("copies.return_value".to_owned(), vec![(0, json!("x")), (2, json!("z"))]),
            ("number.return_value".to_owned(), vec![(-1, json!(5))]),
        ]
        .into(),
        ..World::default()
    };
    let mapped = |over: &str, index| {
        let mut order = order("BashOperator", json!({"env": {"A": "1"}}));
        order.task.mapping =
            Some(Mapping::Product(vec![("bash_command".into(), MapSource::Result(over.into()))]));
        order.attempt.ti.map_index = MapIndex(index);
        prepare(&order, &world).map(|prepared| prepared.rendered["bash_command"].clone())
    };
    assert_eq!(mapped("words", 1).unwrap(), "b");
    assert_eq!(mapped("copies", 1).unwrap(), "z");
    assert!(mapped("words", 3).unwrap_err().to_string().contains("no copy 3"));
    assert!(mapped("number", 0).unwrap_err().to_string().contains("the number 5"));
    assert!(mapped("unreachable", 0).unwrap_err().to_string().contains("the server is away"));
}

#[test]
fn a_copy_without_a_mapping_of_arguments_says_what_it_found() {
    let long = "x".repeat(500);
    let world = World {
        xcoms: [
            ("words.return_value".to_owned(), vec![(-1, json!(["a", 5, [1], null, long]))]),
            ("pairs.return_value".to_owned(), vec![(-1, json!({"bash_command": "true"}))]),
        ]
        .into(),
        ..World::default()
    };
    let refused = |over: &str, index| {
        let mut order = order("BashOperator", json!({}));
        order.task.mapping = Some(Mapping::Kwargs(MapSource::Result(over.into())));
        order.attempt.ti.map_index = MapIndex(index);
        prepare(&order, &world).unwrap_err().to_string()
    };
    for (index, found) in
        [(0, "found the text \"a\""), (1, "found the number 5"), (2, "found the list [1]"), (3, "found null")]
    {
        let error = refused("words", index);
        assert!(error.contains("`expand_kwargs`") && error.contains(found), "{error}");
    }
    assert!(refused("words", 4).len() < 300);
    let pairs = refused("pairs", 0);
    assert!(
        pairs.contains(r#"["bash_command","true"]"#) && pairs.contains("leave a list of mappings"),
        "{pairs}"
    );
}

#[test]
fn a_copy_asks_for_no_more_of_long_results_than_it_takes() {
    let mut world = World {
        xcoms: [
            ("words.return_value".to_owned(), vec![(-1, json!(["a", "b", "c"]))]),
            ("copies.return_value".to_owned(), vec![(0, json!("x")), (2, json!("z"))]),
        ]
        .into(),
        ..World::default()
    };
    let mut order = order("BashOperator", json!({}));
    let over = |task: &str| MapSource::Result(task.into());
    order.task.mapping = Some(Mapping::Product(vec![
        ("bash_command".into(), over("words")),
        ("cwd".into(), MapSource::Concat(vec![over("copies"), over("words")])),
    ]));
    order.task.result_lengths = [("words".into(), 3), ("copies".into(), 2)].into();
    let mut copy = |index, world: &World| {
        order.attempt.ti.map_index = MapIndex(index);
        let rendered = prepare(&order, world).unwrap().rendered;
        (rendered["bash_command"].clone(), rendered["cwd"].clone())
    };
    assert_eq!(copy(6, &world), (json!("b"), json!("z")));
    let asked = std::mem::take(&mut *world.asked.lock().unwrap());
    assert_eq!(asked, ["xcom copies.return_value at 1", "xcom words.return_value at 1"]);
    assert_eq!(copy(12, &world), (json!("c"), json!("a")));
    world.gives_no_items = true;
    assert_eq!([copy(6, &world), copy(12, &world)], [(json!("b"), json!("z")), (json!("c"), json!("a"))]);
}
