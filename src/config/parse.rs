//! YAML text to a tree of [`Node`]s, with variables replaced and every fault collected.
//!
//! Takes less than all of YAML: one document, no anchors, aliases, merge keys or tags, text as keys, no key twice,
//! within the limits below. Knows nothing of configurations.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::mistake::{Mark, Mistake};
use super::node::{Content, Entry, Node, Scalar, join};
use super::substitute::{mask, replace, unmask, unmaskable};

/// Largest file. Ten thousand routes take about three million bytes.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Deepest nesting; the settings need eight levels.
const DEPTH_MAX: usize = 32;

/// Most nodes, so that a file made of brackets takes no gigabytes.
const NODES_MAX: usize = 1_000_000;

/// Most keys of one mapping: each new one is held against all before it.
const KEYS_MAX: usize = 10_000;

/// Reads `text`. What is at fault is pushed to `faults`; `None` where nothing of the document can be used.
pub(super) fn parse(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<Mistake>,
) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > FILE_BYTES_MAX {
        faults.push(Mistake::of_file(format!(
            "larger than {FILE_BYTES_MAX} bytes"
        )));
        return None;
    }
    if let Some(c) = unmaskable(text) {
        faults.push(Mistake::of_file(format!(
            "holds the private character {c:?}"
        )));
        return None;
    }
    let masked = mask(text);
    let end = end_of(&masked);
    let mut builder = Builder {
        variables,
        faults,
        open: Vec::new(),
        document: None,
        nodes: 0,
    };
    for event in Parser::new_from_str(&masked) {
        let taken = match event {
            Ok((event, span)) => builder.take(event, mark(span.start).min(end)),
            Err(error) => Err(Mistake::at(
                mark(*error.marker()).min(end),
                "",
                sentence(error.info()),
            )),
        };
        if let Err(fatal) = taken {
            builder.faults.push(fatal);
            return None;
        }
    }
    builder.document
}

/// Builds the tree from events; `open` holds the collections that have not ended, outermost first.
struct Builder<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
    faults: &'a mut Vec<Mistake>,
    open: Vec<Open>,
    document: Option<Node>,
    nodes: usize,
}

/// A collection that has not ended.
struct Open {
    mark: Mark,
    path: String,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// The key whose value comes next.
        key: Option<(String, Mark)>,
    },
}

impl Builder<'_> {
    /// Takes one event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Mistake> {
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Alias(_) => {
                self.report(mark, "aliases are not taken; repeat the value");
                self.place(mark, Content::Broken)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(mark, anchor, tag.is_some());
                self.scalar(&unmask(&text), style, mark)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decoration(mark, anchor, tag.is_some());
                self.start(mark, OpenContent::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decoration(mark, anchor, tag.is_some());
                let (entries, key) = (Vec::new(), None);
                self.start(mark, OpenContent::Map { entries, key })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn refuse_decoration(&mut self, mark: Mark, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.report(
                mark,
                "anchors are not taken; repeat the value where it is needed",
            );
        }
        if tagged {
            self.report(mark, "tags are not taken");
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, mark: Mark) -> Result<(), Mistake> {
        if let Some(Open {
            content: OpenContent::Map {
                key: key @ None, ..
            },
            ..
        }) = self.open.last_mut()
        {
            *key = Some((text.to_owned(), mark));
            return Ok(());
        }
        let mut faults = Vec::new();
        let replaced = replace(text, self.variables, &mut faults);
        let broken = !faults.is_empty();
        for fault in faults {
            self.report(mark, fault.to_string());
        }
        if broken {
            return self.place(mark, Content::Broken);
        }
        let scalar = Scalar {
            plain: style == ScalarStyle::Plain,
            substituted: replaced.is_some(),
            text: replaced.unwrap_or_else(|| text.to_owned()),
        };
        self.place(mark, Content::Scalar(scalar))
    }

    fn start(&mut self, mark: Mark, content: OpenContent) -> Result<(), Mistake> {
        let path = self.path();
        if let Some(Open {
            content: OpenContent::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return Err(Mistake::at(mark, &path, "a key must be text"));
        }
        if self.open.len() == DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(Mistake::at(mark, &path, message));
        }
        self.open.push(Open {
            mark,
            path,
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Mistake> {
        let Some(Open {
            mark,
            path: _,
            content,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let content = match content {
            OpenContent::List(items) => Content::List(items),
            OpenContent::Map { entries, .. } => Content::Map(entries),
        };
        self.place(mark, content)
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, mark: Mark, content: Content) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Mistake::at(
                mark,
                "",
                format!("more than {NODES_MAX} values"),
            ));
        }
        let node = Node {
            mark,
            path: self.path(),
            content,
        };
        match self.open.last_mut().map(|open| &mut open.content) {
            None if self.document.is_some() => {
                return Err(Mistake::at(
                    mark,
                    "",
                    "a second document; one file holds one",
                ));
            }
            None => self.document = Some(node),
            Some(OpenContent::List(items)) => items.push(node),
            Some(OpenContent::Map { entries, key }) => {
                let Some((key, mark)) = key.take() else {
                    return Err(Mistake::at(mark, &node.path, "a key must be text"));
                };
                if let Some(message) = invalid_key(&key, entries) {
                    self.faults.push(Mistake::at(mark, &node.path, message));
                } else {
                    let value = node;
                    entries.push(Entry { key, mark, value });
                }
            }
        }
        Ok(())
    }

    /// The key path of what comes next.
    fn path(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(open) => match &open.content {
                OpenContent::List(items) => format!("{}[{}]", open.path, items.len()),
                OpenContent::Map {
                    key: Some((key, _)),
                    ..
                } => join(&open.path, key),
                OpenContent::Map { key: None, .. } => open.path.clone(),
            },
        }
    }

    fn report(&mut self, mark: Mark, message: impl Into<String>) {
        let path = self.path();
        self.faults.push(Mistake::at(mark, &path, message));
    }
}

/// What is wrong with a key beside those that the mapping has already.
fn invalid_key(key: &str, entries: &[Entry]) -> Option<String> {
    if key == "<<" {
        return Some("merge keys are not taken; repeat the values".to_owned());
    }
    if key.contains("${") {
        return Some("variables are replaced in values, not in keys".to_owned());
    }
    if entries.len() == KEYS_MAX {
        return Some(format!("more than {KEYS_MAX} keys in one mapping"));
    }
    let first = entries.iter().find(|entry| entry.key == key)?;
    Some(format!(
        "the key `{key}` is here twice; it is first on line {}",
        first.mark.line
    ))
}

fn sentence(info: &str) -> String {
    format!("not valid YAML: {info}")
}

/// The end of a text. What is found where reading stopped may be said to be on a line after it, where no editor goes.
fn end_of(text: &str) -> Mark {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']);
    let last = lines.next_back().unwrap_or_default();
    Mark {
        line: lines.count() + 1,
        column: last.chars().count() + 1,
    }
}

fn mark(marker: Marker) -> Mark {
    Mark {
        line: marker.line(),
        column: marker.col() + 1,
    }
}
