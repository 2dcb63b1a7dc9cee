// SPDX-License-Identifier: GPL-2.0

//! What the linter finds, and how it is shown: the mistake, each place that it concerns with its
//! source line, and what would be right.

use std::iter;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use crate::say::{BAD, DOUBTFUL, HEADING, POINTER};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The file cannot be applied.
    Error,
    /// It can, but perhaps somebody meant something else.
    Warning,
}

/// A place in the file and what is there. The span is in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    /// Where.
    pub(crate) span: Range<usize>,
    /// What is there; may be empty.
    pub(crate) text: String,
}

/// One mistake.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) level: Level,
    /// A fixed word for it, for programs.
    pub(crate) code: &'static str,
    /// What is wrong.
    pub(crate) message: String,
    /// The places concerned, the one to change first.
    pub(crate) labels: Vec<Label>,
    /// What would be right.
    pub(crate) help: Option<String>,
}

impl Finding {
    /// A mistake that keeps the file from being applied.
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        let (message, labels) = (message.into(), Vec::new());
        Self {
            level: Level::Error,
            code,
            message,
            labels,
            help: None,
        }
    }

    /// Something that may be a mistake.
    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            ..Self::error(code, message)
        }
    }

    /// Adds a place.
    pub(crate) fn at(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds what would be right.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A place as people count: from 1, in lines and characters.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    line: usize,
    column: usize,
    source: &'a str,
    /// Characters to be underlined.
    width: usize,
}

/// The text of a file with its name, to show findings in.
pub(crate) struct Source<'a> {
    /// Name of the file, as it was given.
    pub(crate) file: &'a Path,
    /// Its text.
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// Shows one finding for people.
    pub(crate) fn show(&self, finding: &Finding) -> String {
        let (style, word) = match finding.level {
            Level::Error => (BAD, "error"),
            Level::Warning => (DOUBTFUL, "warning"),
        };
        let mut shown = format!(
            "{style}{word}[{}]{style:#}{HEADING}: {}{HEADING:#}\n",
            finding.code, finding.message
        );
        let places: Vec<_> = finding
            .labels
            .iter()
            .map(|label| self.place(label))
            .collect();
        let lines = places.iter().map(|place| place.line.to_string().len());
        let gutter = lines.max().unwrap_or(1);
        let marks = iter::once(("-->", "^", style)).chain(iter::repeat((":::", "-", POINTER)));
        for ((label, place), (arrow, mark, style)) in finding.labels.iter().zip(&places).zip(marks)
        {
            let (file, line, column) = (self.file.display(), place.line, place.column);
            shown += &format!(
                "{:gutter$}{POINTER}{arrow}{POINTER:#} {file}:{line}:{column}\n",
                ""
            );
            shown += &excerpt(place, label, gutter, mark, style);
        }
        if let Some(help) = &finding.help {
            let (equals, word) = (
                format!("{POINTER}={POINTER:#}"),
                format!("{HEADING}help{HEADING:#}"),
            );
            shown += &format!("{:gutter$} {equals} {word}: {help}\n", "");
        }
        shown + "\n"
    }

    /// Shows all findings as values for programs.
    pub(crate) fn json(&self, findings: &[Finding]) -> Vec<JsonFinding> {
        findings
            .iter()
            .map(|finding| self.json_finding(finding))
            .collect()
    }

    fn json_finding(&self, finding: &Finding) -> JsonFinding {
        let labels = finding.labels.iter().map(|label| {
            let place = self.place(label);
            JsonLabel {
                file: self.file.display().to_string(),
                line: place.line,
                column: place.column,
                source: place.source.to_owned(),
                text: label.text.clone(),
            }
        });
        JsonFinding {
            level: finding.level,
            code: finding.code,
            message: finding.message.clone(),
            labels: labels.collect(),
            help: finding.help.clone(),
        }
    }

    fn place(&self, label: &Label) -> Place<'_> {
        let before = self.text.get(..label.span.start).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let rest = self.text.get(start..).unwrap_or("");
        let source = rest.lines().next().unwrap_or("");
        let column = before.get(start..).unwrap_or("").chars().count();
        // A place that goes over several lines is underlined on its first one.
        let spanned = self.text.get(label.span.clone()).unwrap_or("");
        let width = spanned.lines().next().unwrap_or("").chars().count();
        Place {
            line: before.matches('\n').count().saturating_add(1),
            column: column.saturating_add(1),
            source,
            width: width.max(1),
        }
    }
}

/// The source line with the place underlined.
fn excerpt(
    place: &Place<'_>,
    label: &Label,
    gutter: usize,
    mark: &str,
    style: anstyle::Style,
) -> String {
    // Tabs are kept in front of the mark, so that it stands below its place in any terminal.
    let indent: String = place
        .source
        .chars()
        .take(place.column.saturating_sub(1))
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let bar = format!("{POINTER}|{POINTER:#}");
    let underline = format!("{} {}", mark.repeat(place.width), label.text);
    format!(
        "{:gutter$} {bar}\n{POINTER}{:gutter$}{POINTER:#} {bar} {}\n{:gutter$} {bar} {indent}{style}{}{style:#}\n",
        "",
        place.line,
        place.source,
        "",
        underline.trim_end(),
    )
}

/// A finding, as `check --json` prints it.
#[derive(Serialize)]
pub(crate) struct JsonFinding {
    level: Level,
    code: &'static str,
    message: String,
    labels: Vec<JsonLabel>,
    help: Option<String>,
}

#[derive(Serialize)]
struct JsonLabel {
    file: String,
    line: usize,
    column: usize,
    source: String,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\nb = \"ö\"\n\tc = \"x\"\n";

    fn plain(finding: &Finding) -> String {
        let source = Source {
            file: Path::new("f.toml"),
            text: TEXT,
        };
        anstream::adapter::strip_str(&source.show(finding)).to_string()
    }

    #[test]
    fn both_sides_of_a_conflict_are_shown_with_their_lines() {
        let finding = Finding::error("twice", "two of them")
            .at(10..14, "this one")
            .at(0..1, "the other")
            .help("take one away");
        assert_eq!(
            plain(&finding),
            "error[twice]: two of them\n\
             \x20-->\u{20}f.toml:2:5\n\
             \x20 |\n\
             2 | b = \"ö\"\n\
             \x20 |     ^^^ this one\n\
             \x20:::\u{20}f.toml:1:1\n\
             \x20 |\n\
             1 | a = 1\n\
             \x20 | - the other\n\
             \x20 = help: take one away\n\n"
        );
    }

    #[test]
    fn tabs_keep_the_mark_below_its_place() {
        let at = TEXT.find("c =").unwrap();
        let shown = plain(&Finding::warning("tab", "indented").at(at..at + 1, ""));
        assert!(shown.contains("3 | \tc = \"x\"\n  | \t^\n"), "{shown}");
    }

    #[test]
    fn a_place_beyond_the_text_is_its_end() {
        assert!(plain(&Finding::error("end", "x").at(999..1000, "")).contains("f.toml:4:1"));
    }
}
