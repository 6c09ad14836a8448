use proptest::prelude::*;
use updraft_core::log::Entry;

use super::*;

/// Writes bytes as one stream's, cut at the given places, and shows what has begun after each piece if
/// `eager`.
fn write(path: &Path, limit: u64, pieces: &[&[u8]], eager: bool) -> LogReport {
    let mut log = LogWriter::new(path.to_owned(), limit);
    let mut lines = Lines::default();
    for piece in pieces {
        let stamp = Stamp::now();
        lines.push(piece, |text, goes_on| log.entry(&stamp, Stream::Out, goes_on, text));
        if eager {
            lines.show_begun(|text, goes_on| log.entry(&stamp, Stream::Out, goes_on, text));
        }
    }
    lines.finish(|text, goes_on| log.entry(&Stamp::now(), Stream::Out, goes_on, text));
    log.finish()
}

#[test]
fn a_log_that_is_short_can_be_left_unwritten_unless_it_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    for (number, shown, text, unwritten) in
        [(1, false, "short", true), (2, true, "short", false), (3, false, &*"x".repeat(200), false)]
    {
        let path = folder.path().join(number.to_string());
        let mut log = LogWriter::new(path.clone(), u64::MAX).leaving(100);
        log.entry(&Stamp::now(), Stream::Out, false, text.as_bytes());
        if shown {
            log.flush();
        }
        let report = log.finish();
        let left = String::from_utf8(report.unwritten).unwrap();
        assert_eq!((left.ends_with("\tout\tshort\n"), path.exists()), (unwritten, !unwritten), "{number}");
        assert_eq!(report.bytes, path.metadata().map_or(0, |file| file.len()));
    }
}

fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| Entry::parse(line).unwrap_or_else(|| panic!("{line:?} is no entry"))).collect()
}

fn joined(entries: &[Entry]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for entry in entries {
        lines.last_mut().unwrap().push_str(&entry.text);
        if !entry.goes_on {
            lines.push(String::new());
        }
    }
    assert_eq!(lines.pop().unwrap(), "");
    lines
}

/// The lines of a text as the module's documentation has them, the slow way.
fn model(bytes: &[u8]) -> Vec<String> {
    let printable = |line: &[u8]| {
        let mut text = String::new();
        for chunk in line.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\t' | '\x1b' => text.push(character),
                    _ if character.is_ascii_control() => {
                        text.push_str(&format!("\\x{:02x}", character as u32))
                    }
                    _ => text.push(character),
                }
            }
            chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
        }
        text
    };
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut before = 0;
    for byte in bytes {
        match byte {
            b'\n' if before == b'\r' => {}
            b'\n' | b'\r' => lines.push(Vec::new()),
            _ => lines.last_mut().unwrap().push(*byte),
        }
        before = *byte;
    }
    lines.pop_if(|last| last.is_empty());
    lines.iter().map(|line| printable(line)).collect()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        "[a-zäß€😀]{0,30}".prop_map(String::into_bytes),
        "[\\r\\n\\t]{1,3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
        (1..4_usize, "[aä€😀]").prop_map(|(times, text)| text.repeat(times * 3000).into_bytes()),
    ];
    prop::collection::vec(fragment, 0..10).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_read_back_as_the_lines_they_are(
        bytes in text(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let report = write(&path, u64::MAX, &pieces, false);
        let entries = read(&path);
        prop_assert_eq!(joined(&entries), model(&bytes));
        prop_assert_eq!(report.lines, model(&bytes).len() as u64);
        prop_assert_eq!(report.bytes, std::fs::metadata(&path).unwrap().len());
    }
}

#[test]
fn an_entry_is_one_line_of_three_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    write(&path, u64::MAX, &[b"a\tb\n\xff\0\x1b[1m\r\n"], false);
    let text = std::fs::read_to_string(&path).unwrap();
    let columns: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(3, '\t').collect()).collect();
    assert_eq!((columns[0][1], columns[0][2]), ("out", "a\tb"));
    assert_eq!((columns[1][1], columns[1][2]), ("out", "\\xff\\x00\x1b[1m"));
    assert!(columns.iter().all(|columns| columns[0].len() == 27 && columns[0].ends_with('Z')), "{text}");
}

#[test]
fn a_begun_line_is_shown_with_its_mark_and_no_character_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let euro = "€".as_bytes();
    write(&path, u64::MAX, &[b"Password: ", &euro[..1], &euro[1..], b"\n..."], true);
    let entries = read(&path);
    let seen: Vec<_> = entries.iter().map(|entry| (entry.text.as_str(), entry.goes_on)).collect();
    assert_eq!(seen, [("Password: ", true), ("€", true), ("", false), ("...", true), ("", false)]);
}

#[test]
fn beyond_the_limit_the_beginning_and_the_end_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let text: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(10_000).collect();
    let report = write(&path, 1_000_000, &pieces, false);
    assert_eq!(report.lines, 100_000);
    assert!((900_000..1_010_000).contains(&report.bytes), "{}", report.bytes);
    let entries = read(&path);
    let (sys, out): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.stream == Stream::Sys);
    assert_eq!(out.first().unwrap().text, "line 0");
    assert_eq!(out.last().unwrap().text, "line 99999");
    assert_eq!(out.len() as u64 + report.cut.entries, 100_000);
    assert_eq!(sys.len(), 2, "{sys:?}");
    assert!(sys[0].text.contains("limit of 1000000 bytes"));
    assert_eq!(
        sys[1].text,
        format!("{} entries of {} bytes are cut here.", report.cut.entries, report.cut.bytes)
    );
}

#[test]
fn what_a_disk_did_not_take_is_counted_and_mentioned_once_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder/log");
    // A file in the folder's place is as good a hindrance as a full disk.
    std::fs::write(folder.path().join("folder"), "").unwrap();
    let mut log = LogWriter::new(path.clone(), u64::MAX);
    for text in ["a", "b"] {
        log.entry(&Stamp::now(), Stream::Out, false, text.as_bytes());
        log.flush();
    }
    std::fs::remove_file(folder.path().join("folder")).unwrap();
    log.entry(&Stamp::now(), Stream::Out, false, b"c");
    let report = log.finish();
    let loss = report.lost.unwrap();
    assert_eq!((report.lines, loss.missing.entries, loss.missing.bytes), (3, 2, 2 * 34));
    assert!(loss.error.contains("folder/log"), "{}", loss.error);
    let texts: Vec<_> = read(&path).into_iter().map(|entry| entry.text).collect();
    assert_eq!(texts, ["2 entries of 68 bytes could not be written and are missing here.", "c"]);
}
