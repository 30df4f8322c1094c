//! A file's text into its documents, before any of them is understood, so that a broken one takes no other along.

use serde::de::IgnoredAny;

/// One document of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Document<'a> {
    /// Its number in the file, from 1.
    pub(super) number: u32,
    /// The number of the line that it begins on, from 1.
    pub(super) line: u32,
    /// Its text.
    pub(super) text: &'a str,
}

/// The documents of a YAML stream: it is cut at every line that begins a document (`---`) or ends one (`...`), which no
/// YAML content can hold at its left margin. Documents without content are passed over.
pub(super) fn yaml(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut start_line) = (0, 1);
    let mut offset = 0;
    let mut line = 0;
    for whole in text.split_inclusive('\n') {
        line += 1;
        let begins = is_marker(whole, "---");
        if begins || is_marker(whole, "...") {
            push(&mut documents, start_line, &text[start..offset]);
            // What follows the marker on its line belongs to the new document.
            (start, start_line) = if begins { (offset + 3, line) } else { (offset + whole.len(), line + 1) };
        }
        offset += whole.len();
    }
    push(&mut documents, start_line, &text[start..]);
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn push<'a>(documents: &mut Vec<Document<'a>>, line: u32, text: &'a str) {
    let text = if line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
    let has_content = text.lines().any(|line| {
        let content = line.trim_start();
        // A directive (`%YAML 1.2`) stands before its document's marker.
        !content.is_empty() && !content.starts_with('#') && !line.starts_with('%')
    });
    if has_content {
        documents.push(Document { number: documents.len() as u32 + 1, line, text });
    }
}

/// The values of a JSON file, one after the other. What follows an error is one document, which will not parse.
pub(super) fn json(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut start = 0;
    let mut line = 1;
    loop {
        let result = values.next();
        let end = if matches!(result, Some(Ok(_))) { values.byte_offset() } else { text.len() };
        let value = &text[start..end];
        let content = value.trim_start();
        let blank = &value[..value.len() - content.len()];
        line += count_lines(blank);
        if !content.is_empty() {
            documents.push(Document { number: documents.len() as u32 + 1, line, text: content });
        }
        if end == text.len() {
            return documents;
        }
        line += count_lines(content);
        start = end;
    }
}

fn count_lines(text: &str) -> u32 {
    text.bytes().filter(|&byte| byte == b'\n').count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts<'a>(documents: &[Document<'a>]) -> Vec<(u32, u32, &'a str)> {
        documents.iter().map(|document| (document.number, document.line, document.text)).collect()
    }

    #[test]
    fn yaml_is_cut_at_its_markers() {
        assert_eq!(texts(&yaml("a: 1\n---\nb: 2\n")), [(1, 1, "a: 1\n"), (2, 2, "\nb: 2\n")]);
        assert_eq!(texts(&yaml("---\n# only a comment\n---\nb: 2")), [(1, 3, "\nb: 2")]);
        assert_eq!(texts(&yaml("%YAML 1.1\n---\na: 1\n...\n---\nb: 2\n")), [(1, 2, "\na: 1\n"), (2, 5, "\nb: 2\n")]);
        assert_eq!(texts(&yaml("--- # why\na: 1\r\n--- \r\nb: 2")), [(1, 1, " # why\na: 1\r\n"), (2, 3, " \r\nb: 2")]);
        assert_eq!(texts(&yaml("--- {a: 1}\n--- {b: 2}")), [(1, 1, " {a: 1}\n"), (2, 2, " {b: 2}")]);
        assert_eq!(
            texts(&yaml("a: ---\nb: |\n  ---\n  text\n----\n")),
            [(1, 1, "a: ---\nb: |\n  ---\n  text\n----\n")]
        );
        assert_eq!(texts(&yaml("\u{feff}a: 1\n")), [(1, 1, "a: 1\n")]);
        assert!(yaml("").is_empty());
        assert!(yaml("\n# nothing\n---\n---\n").is_empty());
    }

    #[test]
    fn json_is_cut_between_its_values() {
        assert_eq!(
            texts(&json("{\"a\":1}\n\n{\"b\":\n2} {}")),
            [(1, 1, "{\"a\":1}"), (2, 3, "{\"b\":\n2}"), (3, 4, "{}")]
        );
        assert_eq!(texts(&json("{\"a\":1}\n{\"b\":\n")), [(1, 1, "{\"a\":1}"), (2, 2, "{\"b\":\n")]);
        assert_eq!(texts(&json("nonsense {}")), [(1, 1, "nonsense {}")]);
        assert!(json(" \n").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_cutting(text in "[-.a{}\": \n%#\u{feff}]{0,60}") {
            for documents in [yaml(&text), json(&text)] {
                for (position, document) in documents.iter().enumerate() {
                    prop_assert_eq!(document.number as usize, position + 1);
                    prop_assert!(text.contains(document.text));
                }
            }
        }
    }
}
