use super::*;

const OURS: &str = include_str!("../../../../deny.toml");

const POLICY: &str = r#"
[graph]
targets = []
all-features = true
[licenses]
allow = ["MIT"]
include-dev = true
unused-allowed-license = "allow"
[bans]
multiple-versions = "warn"
deny = [{ crate = "openssl", reason = "TLS is rustls" }]
[sources]
unknown-registry = "deny"
unknown-git = "warn"
"#;

fn package(name: &str, version: &str, licence: &str, source: &str) -> String {
    format!(
        r#"{{"id": "{name} {version}", "name": "{name}", "version": "{version}", "license": {licence},
            "source": {source}}}"#
    )
}

/// A package that the policy likes.
fn good(name: &str, version: &str) -> String {
    package(name, version, "\"MIT\"", &format!("\"{DEFAULT_REGISTRY}\""))
}

fn id(package: &str) -> &str {
    package.split('"').nth(3).unwrap()
}

/// What the policy says to packages of which each needs the next.
fn report(packages: &[String]) -> Report {
    let ids: Vec<&str> = packages.iter().map(|package| id(package)).collect();
    let node = |(index, id): (usize, &&str)| {
        let next = ids.get(index + 1).map_or(String::new(), |next| format!("\"{next}\""));
        format!(r#"{{"id": "{id}", "dependencies": [{next}]}}"#)
    };
    let nodes: Vec<String> = ids.iter().enumerate().map(node).collect();
    let printed =
        format!(r#"{{"packages": [{}], "resolve": {{"nodes": [{}]}}}}"#, packages.join(","), nodes.join(","));
    let tree = ids.join("\n").replace(' ', " v");
    Policy::parse(POLICY).unwrap().check(&Graph::parse(&printed, &tree).unwrap())
}

#[test]
fn our_own_policy_is_understood() {
    assert!(Policy::parse(OURS).is_ok());
}

#[test]
fn a_key_that_would_be_left_out_is_refused() {
    assert!(
        Policy::parse(&POLICY.replace("multiple-versions", "wildcards = \"deny\"\nmultiple-versions"))
            .is_err()
    );
    assert!(Policy::parse(&POLICY.replace("\"openssl\"", "\"openssl@1\"")).is_err());
    assert!(Policy::parse(&POLICY.replace("include-dev = true", "include-dev = false")).is_err());
}

#[test]
fn packages_within_the_policy_are_fine() {
    let report = report(&[good("a", "1.0.0"), package("updraft-core", "0.1.0", "\"MIT\"", "null")]);
    assert_eq!((report.errors.len(), report.warnings.len()), (0, 0));
}

#[test]
fn a_banned_crate_is_an_error_that_says_who_needs_it() {
    let report = report(&[good("a", "1.0.0"), good("openssl", "0.10.0")]);
    assert_eq!(report.errors, ["openssl is banned (TLS is rustls); needed by a"]);
}

#[test]
fn a_licence_that_is_missing_or_not_allowed_is_an_error() {
    let source = format!("\"{DEFAULT_REGISTRY}\"");
    let report =
        report(&[package("a", "1.0.0", "\"GPL-3.0\"", &source), package("b", "2.0.0", "null", &source)]);
    assert_eq!(
        report.errors,
        ["a 1.0.0 has a licence that is not allowed: GPL-3.0", "b 2.0.0 names no licence in its manifest"]
    );
}

#[test]
fn another_source_is_reported_at_its_level() {
    let report = report(&[
        package("a", "1.0.0", "\"MIT\"", "\"registry+https://example.com/index\""),
        package("b", "1.0.0", "\"MIT\"", "\"git+https://example.com/b\""),
    ]);
    assert_eq!(report.errors, ["a 1.0.0 comes from registry+https://example.com/index"]);
    assert_eq!(report.warnings, ["b 1.0.0 comes from git+https://example.com/b"]);
}

#[test]
fn a_second_version_is_a_warning() {
    let report = report(&[good("b", "1.0.0"), good("a", "1.0.0"), good("c", "1.0.0"), good("a", "2.0.0")]);
    assert_eq!(report.errors, <[&str; 0]>::default());
    assert_eq!(report.warnings, ["more than one copy of a: 1.0.0 (for b) and 2.0.0 (for c)"]);
}

#[test]
fn a_package_that_nothing_uses_is_left_out() {
    let packages = [good("openssl", "0.10.0"), good("a", "1.0.0"), good("a", "2.0.0")].join(",");
    let metadata = format!(r#"{{"packages": [{packages}], "resolve": {{"nodes": []}}}}"#);
    let graph = Graph::parse(&metadata, "a v1.0.0 (proc-macro)\na v1.0.0 (*)\n\n").unwrap();
    let names: Vec<(&str, &str)> =
        graph.packages.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
    assert_eq!(names, [("a", "1.0.0")]);
}

#[test]
fn a_tree_that_does_not_fit_the_metadata_is_refused() {
    assert!(Graph::parse(r#"{"packages": [], "resolve": {"nodes": []}}"#, "a v1.0.0").is_err());
}
