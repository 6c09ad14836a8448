//! What holds for large values wherever they are.

use futures_util::stream;

use super::*;
use crate::test_s3::{Passes, TestS3};

/// Does this with each kind of place.
async fn each(check: impl AsyncFn(&Blobs)) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    check(&Blobs::in_folder(folder.path()).unwrap()).await;
    check(&TestS3::start().bucket("up/draft").blobs()).await;
}

fn attempt() -> AttemptId {
    "7.0.-1.1.2".parse().unwrap()
}

fn body(parts: &[&'static str]) -> impl Stream<Item = Result<Bytes, &'static str>> + Unpin {
    stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect::<Vec<_>>())
}

#[tokio::test]
async fn what_was_written_in_parts_is_read_whole_and_the_last_counts() {
    each(async |blobs| {
        let (path, bytes) = blobs.put(attempt(), "return_value", body(&["[1,", "2]"]), 100).await.unwrap();
        assert_eq!((&*path, bytes), ("xcom/7/0/-1/1.2/return_value", 5));
        assert_eq!(blobs.get(&path).await.unwrap(), "[1,2]");
        // So many bytes are uploaded in parts.
        let part = Bytes::from("x".repeat(3 << 20));
        let large = stream::iter((0..4).map(|_| Ok::<_, &str>(part.clone())).collect::<Vec<_>>());
        let (_, bytes) = blobs.put(attempt(), "return_value", large, u64::MAX).await.unwrap();
        assert_eq!(bytes, 12 << 20);
        let mut read = 0;
        let mut parts = blobs.stream(&path).await.unwrap();
        while let Some(part) = parts.next().await {
            read += part.unwrap().len() as u64;
        }
        assert_eq!(read, bytes);
        blobs.put_at("bundles/a.tar.gz", body(&["a"])).await.unwrap();
        assert!(blobs.has("bundles/a.tar.gz").await.unwrap() && !blobs.has("bundles/b").await.unwrap());
        let listed: Vec<_> = blobs.list("bundles").await.unwrap().into_iter().map(|(path, _)| path).collect();
        assert_eq!(listed, ["bundles/a.tar.gz"]);
    })
    .await;
}

#[tokio::test]
async fn all_values_are_copied_from_one_place_to_another() {
    each(async |blobs| {
        let large = stream::iter([Ok::<_, &str>(Bytes::from("x".repeat(6 << 20)))]);
        let (large, _) = blobs.put(attempt(), "large", large, u64::MAX).await.unwrap();
        let (odd, _) = blobs.put(attempt(), "50 % größe", body(&["odd"]), 9).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let copy = Blobs::in_folder(folder.path()).unwrap();
        blobs.copy_to(&copy).await.unwrap();
        assert_eq!(copy.get(&large).await.unwrap().len(), 6 << 20);
        for path in [large, odd.clone()] {
            blobs.remove(&path).await.unwrap();
        }
        copy.copy_to(blobs).await.unwrap();
        assert_eq!(blobs.get(&odd).await.unwrap(), "odd");
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_is_away_fails_a_value_and_takes_it_when_it_is_back() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let s3 = TestS3::start();
    let way = s3.way();
    let mut settings = s3.settings("");
    settings.endpoint = Some(way.endpoint());
    let blobs = crate::objects::Bucket::new(settings).unwrap().blobs();
    let parts = || {
        // It goes away in the middle.
        let parts = (0..3).map(|at| (at, Bytes::from("x".repeat(4 << 20)))).collect::<Vec<_>>();
        let way = &way;
        stream::iter(parts).map(move |(at, part)| {
            way.lets(if at == 2 { Passes::Nothing } else { Passes::All });
            Ok::<_, &str>(part)
        })
    };
    assert!(matches!(blobs.put(attempt(), "a", parts(), u64::MAX).await, Err(Error::Store(_))));
    assert!(matches!(blobs.put(attempt(), "a", body(&["1"]), 9).await, Err(Error::Store(_))));
    assert!(matches!(blobs.get("xcom/7/0/-1/1.2/a").await, Err(Error::Store(_))));
    way.lets(Passes::All);
    assert!(matches!(blobs.get("xcom/7/0/-1/1.2/a").await, Err(Error::NotFound(_))));
    let (path, _) = blobs.put(attempt(), "a", body(&["1"]), 9).await.unwrap();
    assert_eq!(blobs.get(&path).await.unwrap(), "1");
}

#[tokio::test]
async fn lists_are_kept_up_to_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::in_folder(folder.path()).unwrap();
    let large = format!("[\"{}\", 7]", "x".repeat(LISTS_BYTES / 3));
    for name in ["a", "b", "c"] {
        let parts = stream::iter([Ok::<_, &str>(Bytes::from(large.clone()))]);
        blobs.put(attempt(), name, parts, u64::MAX).await.unwrap();
    }
    let kept = async || {
        blobs.lists.lock().await.iter().filter_map(|(path, _)| path.chars().last()).collect::<String>()
    };
    let path = |name: &str| format!("xcom/7/0/-1/1.2/{name}");
    for (name, then) in [("a", "a"), ("b", "ab"), ("a", "ba"), ("c", "ac")] {
        assert_eq!(blobs.item(&path(name), 1).await.unwrap(), Some(7.into()));
        assert_eq!(kept().await, then);
    }
    assert_eq!(blobs.item(&path("c"), 2).await.unwrap(), None);
    assert!(matches!(blobs.item(&path("d"), 0).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn blobs_are_found_by_their_age_and_removed() {
    each(async |blobs| {
        let (path, _) = blobs.put(attempt(), "a", body(&["1"]), 9).await.unwrap();
        assert_eq!(blobs.before(Timestamp::UNIX_EPOCH).await.unwrap(), []);
        let all = blobs.before(Timestamp::MAX).await.unwrap();
        assert_eq!(all, [(RunKey(7), path.clone())]);
        blobs.remove(&path).await.unwrap();
        assert_eq!(blobs.before(Timestamp::MAX).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_is_too_large_leaves_nothing() {
    each(async |blobs| {
        let torn = stream::iter([Ok(Bytes::from_static(b"abc")), Err("reset")]);
        assert!(matches!(blobs.put(attempt(), "a", torn, 100).await, Err(Error::Upload(_))));
        let torn = stream::iter([Ok(Bytes::from("x".repeat(6 << 20))), Err("reset")]);
        assert!(matches!(blobs.put(attempt(), "a", torn, u64::MAX).await, Err(Error::Upload(_))));
        assert!(matches!(blobs.put(attempt(), "a", body(&["abc"]), 2).await, Err(Error::TooLarge(2))));
        assert!(matches!(blobs.get("xcom/7/0/-1/1.2/a").await, Err(Error::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn a_value_may_have_any_name() {
    each(async |blobs| {
        let long = "ä".repeat(300);
        let names = ["my key", ".x", "a/b", "..", "50 %", "50 %25", "a\0b", "größe", &long, "CON"];
        let mut paths = std::collections::BTreeSet::new();
        for name in names {
            let put = blobs
                .put(attempt(), name, stream::iter([Ok::<_, &str>(Bytes::from(name.to_owned()))]), 999)
                .await;
            let (path, _) = put.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(blobs.get(&path).await.unwrap(), name);
            paths.insert(path);
        }
        assert_eq!(paths.len(), names.len());
        let all = blobs.before(Timestamp::MAX).await.unwrap();
        assert_eq!(
            all.iter().map(|(_, path)| path.clone()).collect::<std::collections::BTreeSet<_>>(),
            paths
        );
        for path in paths {
            blobs.remove(&path).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn no_name_and_no_path_leads_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    let blobs = Blobs::in_folder(&folder.path().join("blobs")).unwrap();
    assert!(matches!(blobs.put(attempt(), "", body(&["x"]), 9).await, Err(Error::NoName)));
    let (path, _) = blobs.put(attempt(), "../../../../../../secret", body(&["x"]), 9).await.unwrap();
    assert!(path.starts_with("xcom/7/0/-1/1.2/%2E."), "{path}");
    assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"s");
    for path in ["../secret", "/../secret", "xcom/../../secret"] {
        assert!(matches!(blobs.get(path).await, Err(Error::NotFound(_))), "{path}");
    }
}

#[tokio::test]
async fn a_folder_goes_with_the_last_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::in_folder(folder.path()).unwrap();
    let (path, _) = blobs.put(attempt(), "a", body(&["1"]), 9).await.unwrap();
    blobs.remove(&path).await.unwrap();
    assert!(!folder.path().join("xcom/7").exists());
}
