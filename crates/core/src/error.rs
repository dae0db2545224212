//! The one error for input that cannot be taken as it is.

use std::fmt;

/// What was wrong with the input, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InputError {
    /// Path or name of what was read; none where the input has no name.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u64>,
    pub field: Option<String>,
    pub message: String,
}

impl InputError {
    /// For input without lines: an option, a column handed over from Python.
    pub fn in_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        InputError { file: None, line: None, field: Some(field.into()), message: message.into() }
    }

    /// For a file that cannot be read as a whole.
    pub fn in_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        InputError { file: Some(file.into()), line: None, field: None, message: message.into() }
    }
}

/// What is wrong with one row; the caller knows the file and the line.
#[derive(Debug)]
pub struct Fault {
    pub field: Option<String>,
    pub message: String,
}

impl Fault {
    pub fn in_field(field: &str, message: impl Into<String>) -> Self {
        Fault { field: Some(field.to_owned()), message: message.into() }
    }

    pub fn in_row(message: impl Into<String>) -> Self {
        Fault { field: None, message: message.into() }
    }

    pub fn at(self, file: &str, line: u64) -> InputError {
        InputError { file: Some(file.to_owned()), line: Some(line), field: self.field, message: self.message }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_before_what() {
        let error = InputError {
            file: Some("t.jsonl".into()),
            line: Some(3),
            field: Some("input_length".into()),
            message: "missing".into(),
        };
        assert_eq!(error.to_string(), "t.jsonl: line 3: input_length: missing");
        assert_eq!(InputError::in_field("seed", "negative").to_string(), "seed: negative");
    }
}
