use proptest::prelude::*;

use super::*;

fn masker(secrets: &[&str]) -> Masker {
    Masker::new(Masks::new(secrets.iter().map(|secret| Secret::new(*secret))).unwrap())
}

/// What comes out at each piece, and at the end.
fn shown(mut masker: Masker, pieces: &[&[u8]]) -> Vec<String> {
    let mut all = Vec::new();
    let mut text = Vec::new();
    for piece in pieces {
        masker.push(piece, |safe| text.extend_from_slice(safe));
        all.push(String::from_utf8(std::mem::take(&mut text)).unwrap());
    }
    masker.finish(|safe| text.extend_from_slice(safe));
    all.push(String::from_utf8(text).unwrap());
    all
}

#[test]
fn a_secret_cut_into_pieces_is_masked_once() {
    let pieces: [&[u8]; 5] = [b"a hun", b"te", b"r", b"2 b", b""];
    assert_eq!(shown(masker(&["hunter2"]), &pieces), ["a ", "", "", "*** b", "", ""]);
}

#[test]
fn only_what_may_be_a_secret_is_held_back() {
    let pieces: [&[u8]; 3] = [b"progress 10%\n", b"progress h", b"igh\n"];
    assert_eq!(shown(masker(&["hunter2"]), &pieces), ["progress 10%\n", "progress ", "high\n", ""]);
}

#[test]
fn secrets_that_overlap_leave_nothing_of_each_other() {
    let pieces: [&[u8]; 3] = [b"xabcde", b"fgh", b"x"];
    assert_eq!(shown(masker(&["abcde", "cdefgh", "defgh"]), &pieces).concat(), "x***x");
}

#[test]
fn a_secret_that_comes_later_is_masked_from_then_on() {
    let masks = Masks::new([Secret::new("hunter2")]).unwrap();
    let mut masker = Masker::new(masks.clone());
    let mut text = Vec::new();
    masker.push(b"swordfish hunt", |safe| text.extend_from_slice(safe));
    masks.add([Secret::new("swordfish")]).unwrap();
    masker.push(b"er2 swordfish sword", |safe| text.extend_from_slice(safe));
    masker.finish(|safe| text.extend_from_slice(safe));
    assert_eq!(String::from_utf8(text).unwrap(), "swordfish *** *** sword");
}

#[test]
fn shorter_than_five_characters_is_no_secret() {
    assert!(Mask::new([Secret::new("abcd"), Secret::new("äöüß"), Secret::new("")].iter()).unwrap().is_none());
    assert_eq!(shown(masker(&["äöüßé"]), &["<äöüßé>".as_bytes()]).concat(), "<***>");
}

#[test]
fn a_secret_of_several_lines_is_masked_whole_and_line_by_line() {
    let key = "-----BEGIN KEY-----\r\nMIIEvQIBADANBg\r\n}\r\n-----END KEY-----\r\n";
    let printed = format!("{key}  MIIEvQIBADANBg\n>}}\n");
    assert_eq!(shown(masker(&[key]), &[printed.as_bytes()]).concat(), "***\r\n  ***\n>}\n");
}

#[test]
fn a_secret_of_a_megabyte_is_masked_across_pieces() {
    let secret: String = (0..100_000).map(|number| format!("{number:010}")).collect();
    let text = format!("<{secret}><{}>", &secret[..500_000]);
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(65_536).collect();
    // Of what is no whole secret its parts are hidden, of 1,024 bytes.
    assert_eq!(
        shown(masker(&[&secret]), &pieces).concat(),
        format!("<***><***{}>", &secret[499_712..500_000])
    );
}

#[test]
fn a_long_secret_that_repeats_itself_is_masked_as_soon_as_any() {
    let secret = "x".repeat(2_000_000);
    assert_eq!(shown(masker(&[&secret]), &[b"<", secret.as_bytes(), b">"]).concat(), "<***>");
}

/// Every byte that some secret covers, found the slow way; runs of them become stars.
fn model(secrets: &[String], text: &str) -> String {
    let mut covered = vec![false; text.len()];
    for secret in secrets {
        for start in 0..=text.len().saturating_sub(secret.len()) {
            if text[start..].starts_with(secret) {
                covered[start..start + secret.len()].fill(true);
            }
        }
    }
    let mut out = String::new();
    for (at, character) in text.char_indices() {
        match (covered[at], at > 0 && covered[at - 1]) {
            (false, _) => out.push(character),
            (true, false) => out.push_str("***"),
            (true, true) => {}
        }
    }
    out
}

proptest! {
    #[test]
    fn no_secret_appears_whatever_the_pieces(
        secrets in prop::collection::vec("[abc]{5,12}", 1..5),
        fragments in prop::collection::vec(prop_oneof![
            "[abc]{0,9}".prop_map(Err),
            (any::<prop::sample::Index>(), 0..13_usize).prop_map(Ok),
        ], 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        // Whole secrets, beginnings of secrets and other text, one after the other.
        let text: String = fragments.iter().map(|fragment| match fragment {
            Ok((index, length)) => {
                let secret = index.get(&secrets);
                secret[..secret.len().min(*length)].to_owned()
            }
            Err(other) => other.clone(),
        }).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let out = shown(masker(&secrets.iter().map(String::as_str).collect::<Vec<_>>()), &pieces).concat();
        prop_assert!(!secrets.iter().any(|secret| out.contains(secret.as_str())), "{out}");
        prop_assert_eq!(out, model(&secrets, &text));
    }
}
