//! Objects of Python that a DAG file describes among the arguments of a function.

use serde_json::{Value, json};
use updraft_core::{MapIndex, MapSource, Mapping, ResultArg};

use super::{FUNCTIONS, prepared, python, run};
use crate::world::{World, order};

#[test]
fn objects_that_the_arguments_describe_are_made() {
    let call = |name, args| python("PythonOperator", name, args);
    let kwargs = json!({
        "at": {"__type__": "types.SimpleNamespace", "day": "{{ ds }}",
               "sum": {"__type__": "decimal.Decimal", "__args__": ["1.5"]}},
        "plain": {"key": "{{ ds_nodash }}"},
    });
    let args = json!({"op_args": [{"__type__": "pathlib.PurePosixPath", "__args__": ["a", "b"]}], "op_kwargs": kwargs});
    assert_eq!(
        call("functions.shown", args).result(),
        json!([
            "(PurePosixPath('a/b'),)",
            "namespace(day='2026-01-31', sum=Decimal('1.5'))",
            {"key": "20260131"},
        ])
    );
    let delta = json!({"__type__": "datetime.timedelta", "seconds": 7200});
    let zone = json!({"__type__": "datetime.timezone", "__args__": [delta]});
    let time =
        json!({"__type__": "datetime.datetime", "__args__": [2026, 1, 31, 6, 0, 0, 0], "tzinfo": zone});
    let args = json!({"op_args": [delta], "op_kwargs": {"at": time}});
    let (length, offset) =
        ("datetime.timedelta(seconds=7200)", "datetime.timezone(datetime.timedelta(seconds=7200))");
    assert_eq!(
        call("functions.shown", args).result(),
        json!([
            format!("({length},)"),
            format!("datetime.datetime(2026, 1, 31, 6, 0, tzinfo={offset})"),
            null
        ])
    );
    let of = |class: &str, args: Value| json!({"op_args": [{"__type__": class, "__args__": args}]});
    let refused = call("shown", of("nowhere.Class", json!([])));
    assert!(refused.outcome.message.unwrap().contains("No module named 'nowhere'"));

    // Without Airflow, its paths are those of files of this machine.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), "1,2").unwrap();
    let path = |protocol| format!("{protocol}://{}", folder.path().join("rows.csv").display());
    let class = "airflow.io.path.ObjectStoragePath";
    let parent = folder.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(call("lines", of(class, json!([path("file")]))).result(), json!([true, "1,2", parent]));
    let refused = call("lines", of(class, json!([path("s3")]))).outcome.message.unwrap();
    assert!(refused.contains("file://"), "{refused}");
}

/// Which classes are made, only who writes the DAG says.
#[test]
fn a_result_that_looks_like_an_object_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("functions.py"), FUNCTIONS).unwrap();
    let evil = json!({"__type__": "subprocess.getoutput", "__args__": ["id"]});
    let world = World {
        xcoms: [("a.return_value".to_owned(), vec![(-1, json!([evil.clone()]))])].into(),
        ..World::default()
    };
    let found = ResultArg { task_id: "a".into(), key: "return_value".into() }.to_argument();
    let args = json!({"python_callable": "functions.truth", "op_kwargs": {"value": found}});
    let mut order = order("PythonOperator", args);
    std::sync::Arc::make_mut(&mut order.run).source =
        folder.path().join("d.yaml").to_string_lossy().into_owned();
    assert_eq!(run(&prepared(&order, &world), None).result(), json!([evil.clone()]));
    order.args["op_kwargs"] = json!({});
    order.task.mapping =
        Some(Mapping::Product(vec![("op_kwargs.value".into(), MapSource::Result("a".into()))]));
    order.attempt.ti.map_index = MapIndex(0);
    assert_eq!(run(&prepared(&order, &world), None).result(), evil);
}

/// Also beside arguments that are results, which are not looked through.
#[test]
fn objects_that_are_mapped_over_are_made_where_they_are_written_down() {
    let day = json!({"__type__": "datetime.date", "__args__": [2026, 1, 31]});
    let world =
        World { xcoms: [("a.return_value".to_owned(), vec![(-1, json!([day]))])].into(), ..World::default() };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("functions.py"),
        "def told(*args, **kwargs):\n    return repr(kwargs)\n",
    )
    .unwrap();
    let mut order = order("PythonOperator", json!({"python_callable": "functions.told"}));
    std::sync::Arc::make_mut(&mut order.run).source =
        folder.path().join("d.yaml").to_string_lossy().into_owned();
    order.task.mapping = Some(Mapping::Product(vec![
        ("op_kwargs.found".into(), MapSource::Result("a".into())),
        ("op_kwargs.written".into(), MapSource::List(vec![day])),
    ]));
    order.attempt.ti.map_index = MapIndex(0);
    let told = run(&prepared(&order, &world), None).result();
    let told = told.as_str().unwrap();
    assert!(told.contains("'written': datetime.date(2026, 1, 31)"), "{told}");
    assert!(told.contains("'found': {") && told.contains("'__type__': 'datetime.date'"), "{told}");
}
